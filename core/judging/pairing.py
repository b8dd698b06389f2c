"""Which scores form pairs: those of two commits on one seed, from one group of nodes and from about the same time. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from core.judging import policy
from core.record.experiment import Conditions
from core.record.state import Scored, State


class Pair(NamedTuple):
    """The scores of two commits on one seed, in bpb, and the conditions of each. Earlier versions did not note conditions."""

    one: float
    other: float
    here: Conditions | None
    there: Conditions | None

    @property
    def turn(self) -> int:
        """When the later one was measured, in jobs of the run that had ended."""
        return max(conditions.turn if conditions is not None else 0 for conditions in (self.here, self.there))


def group(state: State, node: str) -> str:
    """Return the name of a node's group, which is that of its first node. A node that was not compared yet is alone."""
    return state.groups.get(node, node)


def has_several_groups(state: State) -> bool:
    """Return whether the nodes of the run are in more than one group."""
    return len({group(state, node) for node in state.nodes}) > 1


def comparable(state: State, first: Conditions | None, second: Conditions | None) -> bool:
    """Return whether two scores on one seed can form a pair. A score whose conditions are not known can."""
    if first is None or second is None or state.config is None:
        return True
    same = first.node == second.node or group(state, first.node) == group(state, second.node)
    return same and policy.comparable(first, second, state.config.device)


def by_group(state: State, commit: str) -> Mapping[str, Scored]:
    """Return the scores of a commit for each group of nodes; "" is the machine of the loop. The latest on a seed counts."""
    nodes = state.on_nodes.get(commit)
    if nodes is None:
        return {"": Scored(state.scores.get(commit, {}), state.conditions.get(commit, {}))}
    groups: dict[str, Scored] = {}
    for node, scored in nodes.items():
        name = group(state, node)
        groups[name] = _latest(groups[name], scored) if name in groups else scored
    return groups


def _latest(first: Scored, second: Scored) -> Scored:
    """Return the scores of both, the later one on each seed."""
    both = Scored(dict(first.scores), dict(first.conditions))
    for seed, value in second.scores.items():
        if seed not in both.scores or both.conditions[seed].turn < second.conditions[seed].turn:
            both.scores[seed], both.conditions[seed] = value, second.conditions[seed]
    return both


def pairs(state: State, first: str, second: str) -> dict[int, Pair]:
    """Return the pairs of two commits, as seed -> pair. All are of one group of nodes, but they may lie far apart in time.

    If several groups have a pair on a seed, the latest comparable one counts.
    """
    by_seed: dict[int, Pair] = {}
    theirs = by_group(state, second)
    for name, ours in by_group(state, first).items():
        if (those := theirs.get(name)) is None:
            continue
        for seed, value in ours.scores.items():
            if seed in those.scores:
                pair = Pair(value, those.scores[seed], ours.conditions.get(seed), those.conditions.get(seed))
                if seed not in by_seed or _rank(state, pair) > _rank(state, by_seed[seed]):
                    by_seed[seed] = pair
    return by_seed


def _rank(state: State, pair: Pair) -> tuple[bool, int]:
    return comparable(state, pair.here, pair.there), pair.turn


def paired_scores(state: State, first: str, second: str) -> tuple[Mapping[int, float], Mapping[int, float]]:
    """Return the scores of two commits as seed -> val_bpb, such that those on a common seed form a pair.

    If no group of nodes has both scores on a seed, the score of the other commit is left out.
    """
    ours, theirs = state.scores.get(first, {}), state.scores.get(second, {})
    if not state.on_nodes:
        return ours, theirs
    by_seed = pairs(state, first, second)
    paired = ({seed: pair.one for seed, pair in by_seed.items()}, {seed: pair.other for seed, pair in by_seed.items()})
    return {**ours, **paired[0]}, {seed: v for seed, v in theirs.items() if seed not in ours} | paired[1]


def differences(state: State, first: str, second: str) -> dict[int, float]:
    """Return the differences of two commits by seed: the other one's score minus that of the first, in bpb.

    Pairs that lie far apart in time count only if there are no others.
    """
    by_seed = pairs(state, first, second)
    near = {seed: pair for seed, pair in by_seed.items() if comparable(state, pair.here, pair.there)} or by_seed
    return {seed: pair.other - pair.one for seed, pair in near.items()}


def nodes(state: State, commit: str, seed: int) -> tuple[str, ...]:
    """Return the nodes on which a score would form a pair with that of a commit on a seed, without those that are gone.

    Returns () without such nodes, or on the machine of the loop.
    """
    there = state.on_nodes.get(commit, {})
    return nodes_in_groups(state, (node for node, scored in there.items() if seed in scored.scores))


def nodes_in_groups(state: State, names: Iterable[str]) -> tuple[str, ...]:
    """Return the nodes in the groups of these nodes, without those that are gone."""
    groups = {group(state, name) for name in names}
    return tuple(node for node in state.nodes if node not in state.gone and group(state, node) in groups)
