"""Puts the nodes of a cluster into groups by their scores of the same train.py. Pure.

Nodes with the same processor or card can still give different scores, such as when one of them has slower memory or a card that is
held down. The evidence is the trainings of one train.py on one seed on several nodes. A node that has none is alone,
so the incumbent is trained there beside the first candidate. That is the first such training. Once the node has joined others, the
incumbent's regular repeats give the next ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from core.judging import pairing, policy
from core.record.events import Grouped
from core.record.state import Scored, State

# Standard errors of the difference within which a node joins others, and beyond which it leaves them. A node that is left out by
# mistake costs trainings of the incumbent, and each of them corrects the mistake. A node that is let in by mistake makes
# candidates look better or worse than they are, and nothing corrects that. So the first limit is narrow.
JOIN, LEAVE = 1.0, 3.0
ENOUGH = 3  # trainings by which a node is compared with its group; the regular repeats of the incumbent give no more


@dataclass(frozen=True)
class Comparison:
    """A node against a group of nodes.

    Attributes:
        difference: The mean of its scores minus theirs, in bpb.
        trainings: The number of differences in the mean, each of one train.py and one seed.
        sigma: The noise of one score, in bpb.
    """

    difference: float
    trainings: int
    sigma: float

    def within(self, errors: float) -> bool:
        """Return whether the difference is at most so many standard errors, or too small to matter.

        Too small is less than half of the smallest gain that the keep rule accepts.
        """
        smallest = policy.least_gain(policy.MAX_PAIRS, self.sigma)
        error = policy.standard_error(self.trainings, self.sigma)
        return abs(self.difference) <= max(errors * error, smallest / 2)


def compared(state: State, node: str, others: Collection[str], sigma: float) -> Comparison | None:
    """Compare a node with others. None if no train.py was trained on one seed both here and there.

    Args:
        state: The state of the run.
        node: The node.
        others: The nodes of a group. Their mean counts where several have a score.
        sigma: The noise of one score, in bpb.
    """
    differences = list(_differences(state, node, others))
    return Comparison(sum(differences) / len(differences), len(differences), sigma) if differences else None


def _differences(state: State, node: str, others: Collection[str]) -> Iterator[float]:
    assert state.config is not None
    for nodes in _versions(state, node):
        ours = nodes[node]
        for seed, value in ours.scores.items():
            theirs = [
                nodes[other].scores[seed]
                for other in others
                if other in nodes
                and seed in nodes[other].scores
                and policy.comparable(ours.conditions[seed], nodes[other].conditions[seed], state.config.device)
            ]
            if theirs:
                yield value - sum(theirs) / len(theirs)


def _versions(state: State, node: str) -> list[dict[str, Scored]]:
    """Return the scores of each train.py that was trained on a node, as node -> scores. A kept change has two commits."""
    return list({id(nodes): nodes for nodes in state.on_nodes.values() if node in nodes}.values())


def is_common(state: State, commit: str, seed: int) -> bool:
    """Return whether a train.py was trained on a seed on several nodes."""
    return sum(seed in scored.scores for scored in state.on_nodes.get(commit, {}).values()) > 1


class Common(NamedTuple):
    """A seed on which the incumbent was trained, and a node on which it was not."""

    seed: int
    node: str


def to_compare(state: State) -> Common | None:
    """Return where the incumbent is trained again to compare a node with its group; None if that was done often enough."""
    candidates: list[tuple[int, Common]] = []
    best = state.on_nodes.get(state.incumbent, {})
    for node in state.nodes:
        others = [other for other in pairing.nodes_in_groups(state, [node]) if other != node]
        done = sum(len(nodes[node].scores.keys() & _seeds(nodes, others)) for nodes in _versions(state, node))
        lacking = _seeds(best, others) - _seeds(best, [node])
        if done < ENOUGH and lacking and node not in state.gone:
            candidates.append((done, Common(min(lacking), node)))
    return min(candidates, key=lambda candidate: candidate[0])[1] if candidates else None


def _seeds(nodes: dict[str, Scored], names: Collection[str]) -> set[int]:
    """Return the seeds on which a train.py was trained on one of these nodes."""
    return {seed for name in names if name in nodes for seed in nodes[name].scores}


def regrouped(state: State, sigma: float) -> tuple[Grouped, ...]:
    """Return what has changed in the groups of nodes.

    Each node is compared with the groups of the nodes before it, in the order in which the run came to use them. It stays in its
    group while it differs from it by at most LEAVE standard errors. So chance does not move it back and forth. Otherwise it joins the closest
    group from which it differs by at most JOIN. A node that joins no group is alone. If it differs by more than LEAVE, this is reported once.

    Args:
        state: The state of the run.
        sigma: The noise of one score, in bpb.
    """
    groups: dict[str, list[str]] = {}
    changes: list[Grouped] = []
    for node in state.nodes:
        known = state.groups.get(node)
        change = _change(state, node, groups, sigma)
        groups.setdefault(change.group, []).append(node)
        is_news = change.group != node or bool(change.other)
        if change.group != (known or node) or (known is None and is_news):
            changes.append(change)
    return tuple(changes)


def _change(state: State, node: str, groups: dict[str, list[str]], sigma: float) -> Grouped:
    """Return the group of a node, with the comparison that decides it. Without such a one, `other` is empty."""
    compare = {first: compared(state, node, members, sigma) for first, members in groups.items()}
    comparisons = {first: comparison for first, comparison in compare.items() if comparison is not None}
    own = state.groups.get(node, node)
    if own in comparisons and comparisons[own].within(LEAVE):
        return _event(node, own, own, comparisons[own])
    if near := [first for first, comparison in comparisons.items() if comparison.within(JOIN)]:
        closest = min(near, key=lambda first: abs(comparisons[first].difference))
        return _event(node, closest, closest, comparisons[closest])
    far = next((first for first, comparison in comparisons.items() if not comparison.within(LEAVE)), None)
    return _event(node, node, far, comparisons[far]) if far is not None else Grouped(node=node, group=node)


def _event(node: str, group: str, other: str, comparison: Comparison) -> Grouped:
    return Grouped(
        node=node, group=group, other=other, difference=comparison.difference, trainings=comparison.trainings
    )
