"""Public functions of `core` have complete types: `Any` stands only where a foreign package or a JSON answer has none."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UNTYPED = {
    "core/agents/llm/json_objects.py: objects_in": "JSON that a language model wrote",
    "core/agents/llm/ollama/models.py: described": "an answer of an Ollama server",
    "core/agents/llm/openai.py: package": "a package that is not required and has other types in each version",
    "core/cli_options.py: Commands.get_params": "the classes of a private copy of click",
    "core/cli_options.py: Commands.invoke": "the classes of a private copy of click",
    "core/cli_options.py: Commands.get_command": "the classes of a private copy of click",
    "core/cli_options.py: Commands.resolve_command": "the classes of a private copy of click",
    "core/execution/cluster/ray_cluster.py: RayCluster.__init__": "Ray, which is not required",
    "core/execution/cluster/ray_head.py: joined": "Ray, which is not required",
    "core/execution/cluster/ray_cluster.py: RayRemote.__init__": "Ray, which is not required",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield the public functions and methods of a module, and the constructors of public classes, with their names."""
    for node in body:
        if isinstance(node, Function) and (not node.name.startswith("_") or node.name == "__init__"):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body, f"{prefix}{node.name}.")


def names(node: ast.AST | None) -> set[str]:
    """Return the names in an annotation."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)} if node is not None else set()


def untyped(source: str) -> set[str]:
    """Return the public functions of a module whose annotations contain `Any`, directly or by an alias of the module."""
    tree = ast.parse(source)
    loose = {"Any"}
    for node in tree.body:
        if isinstance(node, ast.Assign) and names(node.value) & loose:
            loose |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    found = set()
    for name, function in functions(tree.body):
        given = function.args
        arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
        annotations = [function.returns, *(one.annotation for one in arguments if one is not None)]
        if any(names(annotation) & loose for annotation in annotations):
            found.add(name)
    return found


def test_public_functions_of_core_have_complete_types() -> None:
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {name}"
        for path in (ROOT / "core").rglob("*.py")
        for name in untyped(path.read_text(encoding="utf-8"))
    }
    assert found - UNTYPED.keys() == set()
    assert UNTYPED.keys() - found == set()  # a reason that is no longer needed


def test_any_is_found_directly_and_by_an_alias() -> None:
    source = """
Fields = dict[str, Any]
def direct(one: Any): ...
async def returned() -> list[Any]: ...
def aliased(one, *, two: Fields): ...
def _private(one: Any): ...
def typed(one: object) -> int: ...
class Public:
    def __init__(self, **rest: Any): ...
    def typed(self) -> None: ...
class _Private:
    def method(self, one: Any): ...
"""
    assert untyped(source) == {"direct", "returned", "aliased", "Public.__init__"}
