"""The supervisor moves the core from outside: it asks what the core offers, and carries out actions in one place."""

import ast
from pathlib import Path

SUPERVISOR = ast.parse((Path(__file__).resolve().parents[2] / "supervisor.py").read_text())
OFFERED = {
    *("handle", "sweep", "end"),
    *("dispatch", "take_actions"),
    *("epoch", "pending", "ready_workers", "in_hand"),
}


def asked_of_the_core(tree: ast.AST) -> set[str]:
    """The attributes of `self._core` that are used."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "_core"
    }


def test_the_supervisor_reaches_into_none_of_the_cores_insides() -> None:
    assert asked_of_the_core(SUPERVISOR) == OFFERED


def test_actions_are_taken_and_carried_out_in_one_place() -> None:
    functions = [node for node in ast.walk(SUPERVISOR) if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions if asked_of_the_core(function) & {"dispatch", "take_actions"}] == [
        "_step"
    ]
