"""Files, classes and functions stay small enough to be read at once, and what an operator is stands with the operator.

Exceptions are listed here, and docs/architecture.md says why each is one.
"""

from __future__ import annotations

import ast

import pytest

import shared_files

PACKAGE = shared_files.ROOT / "src" / "lstm_infer"
ARCHITECTURE = shared_files.ROOT / "docs" / "architecture.md"

MOST_OF_A_FILE, MOST_OF_A_CLASS, MOST_OF_A_FUNCTION = 500, 300, 60

LARGE: set[str] = set()
"""Files, or file:class: at most three."""

TABLES = {"walk/decided.py", "walk/bodies.py", "walk/count.py"}
"""Files with a list of operators by name, outside of ops/, of recognise/ (which looks for them), and of importer/ (which
renames those of other opsets)."""


def parsed():
    """(path in the package, syntax tree) of every Python file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).as_posix(), ast.parse(path.read_text())


def length(node):
    """Lines of a class or a function, its docstring left out of a function's."""
    lines = node.end_lineno - node.lineno + 1
    if isinstance(node, ast.ClassDef) or ast.get_docstring(node) is None:
        return lines
    return lines - (node.body[0].end_lineno - node.body[0].lineno + 1)


def too_large():
    for path in sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".pyx")):
        if len(path.read_text().splitlines()) > MOST_OF_A_FILE:
            yield path.relative_to(PACKAGE).as_posix()
    for name, tree in parsed():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and length(node) > MOST_OF_A_CLASS:
                yield f"{name}:{node.name}"


def test_files_and_classes():
    assert set(too_large()) == LARGE
    assert len(LARGE) <= 3
    told = ARCHITECTURE.read_text()
    assert all(name.split(":")[0].split("/")[-1] in told for name in LARGE)


def test_functions():
    long = {
        f"{name}:{node.lineno} {node.name}: {length(node)} lines"
        for name, tree in parsed()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and length(node) > MOST_OF_A_FUNCTION
    }
    assert not long


def tables(names):
    """Files that hold three or more of these names in one set, list, tuple, or in the keys of one dict."""
    for path, tree in parsed():
        exported = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and any(ast.unparse(t) == "__all__" for t in node.targets)
        }
        for node in ast.walk(tree):
            if isinstance(node, (ast.Set, ast.List, ast.Tuple)):
                held = node.elts
            elif isinstance(node, ast.Dict):
                held = node.keys
            else:
                continue
            words = [entry.value for entry in held if isinstance(entry, ast.Constant)]
            if id(node) not in exported and sum(word in names for word in words if isinstance(word, str)) >= 3:
                yield path


def test_what_an_operator_is_stands_with_the_operator():
    pytest.importorskip("lstm_infer")
    from lstm_infer.ops import registry

    names = {op.name for op in registry.registered()}
    found = {path for path in tables(names) if path.split("/")[0] not in ("ops", "recognise", "importer")}
    assert found <= TABLES
