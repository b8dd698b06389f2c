"""Checks the training contract of nanochat/train.py, as far as its source shows it. Pure."""

from __future__ import annotations

import ast

from core import syntax
from core.target.target import ContractError
from nanochat.contract.job import CrashClass

SEEDING = {"manual_seed", "manual_seed_all", "seed", "seed_all", "set_rng_state", "set_rng_state_all", "fork_rng"}
SEEDERS = {"torch", "np", "numpy", "random"}
SEEDED = {"default_rng", "Random", "RandomState", "SeedSequence", "PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"}
DEEPEST = 100  # levels of nesting; the shipped train.py has 14, and Python's own tools fail at some hundreds


def parse(source: str) -> ast.Module:
    """Parse a train.py and check it: it needs one function `train(run)` and must not set a seed. Raises ContractError."""
    try:
        tree = syntax.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" in line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ContractError(f"syntax error{where}: {getattr(error, 'msg', error)}.", CrashClass.SYNTAX) from None
    nodes = _nodes(tree)
    if nodes is None:
        raise ContractError(f"It nests more than {DEEPEST} levels deep; write it flatter.", CrashClass.CONTRACT)
    train = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "train"]
    if len(train) != 1 or len(train[0].args.posonlyargs + train[0].args.args) != 1:
        raise ContractError("It must have exactly one top-level function train(run).", CrashClass.CONTRACT)
    for node in nodes:
        if _seeds(node):
            raise ContractError(
                f"Line {getattr(node, 'lineno', 0)} sets a seed; the seed belongs to the harness and is set already. Leave it out.",
                CrashClass.CONTRACT,
            )
    return tree


def _nodes(tree: ast.AST) -> list[ast.AST] | None:
    """Return all nodes level by level, without recursion. None if there are more than DEEPEST levels."""
    nodes: list[ast.AST] = []
    level: list[ast.AST] = [tree]
    for _ in range(DEEPEST):
        nodes += level
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return nodes
    return None


def _seeds(node: ast.AST) -> bool:
    """Return whether a node sets a seed or refers to a function that does: by call, alias, import or string."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=args, keywords=keywords):
            return name in SEEDING or (name in SEEDED and bool(args or keywords))
        case ast.Attribute(attr="seed", value=ast.Name(id=owner)):  # run.seed may be read
            return owner in SEEDERS
        case ast.Attribute(attr=name) | ast.Name(id=name) | ast.Constant(value=str(name)):
            return name in SEEDING and name != "seed"
        case ast.ImportFrom(module=module, names=names):
            return (module or "").partition(".")[0] in SEEDERS and any(alias.name in SEEDING for alias in names)
    return False
