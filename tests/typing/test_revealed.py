"""mypy --strict on what a user writes: no cast, the types that DESIGN's shapes of a call promise, mistakes found."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import get_args

import pytest

import shared_files
from lstm_infer import typing as types
from lstm_infer.conversion.convert import FORMS
from lstm_infer.program.precision import KINDS

PACKAGE = shared_files.ROOT / "src" / "lstm_infer"
SCRIPT = shared_files.ROOT / "tests" / "typing" / "users_script.py"
needs_mypy = pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed")

ARRAY = "ndarray[tuple[Any, ...], dtype[Any]]"
FLOATS = "ndarray[tuple[Any, ...], dtype[float32]]"
REVEALED = {
    "ndarray": ARRAY,
    "ndarray | dict": f"{ARRAY} | dict[str, {ARRAY} | None]",
    "ndarray | dict of arrays": f"{ARRAY} | dict[str, {ARRAY}]",
    "dict": f"dict[str, {ARRAY} | None]",
    "dict of arrays": f"dict[str, {ARRAY}]",
    "list of ndarray | dict": f"list[{ARRAY} | dict[str, {ARRAY} | None]]",
    "list of dict": f"list[dict[str, {ARRAY} | None]]",
    "by id": f"dict[int, {ARRAY} | dict[str, {ARRAY} | None] | None]",
    "dicts by id": f"dict[int, dict[str, {ARRAY} | None]]",
    "float32 array": FLOATS,
    "dict of float32 arrays": f"dict[str, {FLOATS}]",
    "memoryview": "memoryview[int]",
    "int": "int",
    "str": "str",
    "ids": "list[int]",
    "shape": "tuple[int | None, ...]",
    "isa": "Literal['scalar', 'avx2', 'avx512', 'avx512vnni', 'neon', 'neondot']",
}


HEAD = [
    "import numpy as np",
    "import lstm_infer",
    'model = lstm_infer.load("x")',
    "stream, pool = model.stream(), model.pool()",
    "x, ids = np.zeros(3, np.float32), [pool.open()]",
]
MISTAKES = {
    'lstm_infer.load("x", precision="f8")': "arg-type",
    'lstm_infer.load("x", isa="avx3")': "arg-type",
    'lstm_infer.convert("x", "y", to="tflite")': "arg-type",
    "lstm_infer.load(3)": "arg-type",
    "stream.step([1.0, 2.0])": "call-overload",
    'stream.step("x")': "call-overload",
    "stream.step(x, out=[1.0])": "type-var|call-overload",
    "model.run(x)": "arg-type",
    "model.run([x])": "arg-type",
    "stream.step(x).shape": "union-attr",
    'stream.step({"x": x})["y"].shape': "union-attr",
    "pool.step(ids)": "call-overload",
    "model.isa = 'avx2'": "misc",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What mypy says of the two scripts, by name: one run, with the cache of `mypy --strict src`."""
    mistakes = tmp_path_factory.mktemp("typing") / "mistakes.py"
    mistakes.write_text("\n".join([*HEAD, *MISTAKES]) + "\n")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context", str(SCRIPT), str(mistakes)],
        capture_output=True, text=True, check=False, cwd=shared_files.ROOT,
    )  # fmt: skip
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    lines = ran.stdout.splitlines()
    return {path.name: [line for line in lines if f"{path.name}:" in line] for path in (SCRIPT, mistakes)}


def plain(revealed):
    """A type as mypy prints it, without the modules and with one spelling of unions."""
    text = re.sub(r"\b(?:\w+\.)+(?=\w)", "", revealed).replace("?", "").replace("floating[_32Bit]", "float32")
    while (found := re.sub(r"Union\[((?:[^\[\]]|\[(?:[^\[\]]|\[[^\[\]]*\])*\])*)\]", _bars, text)) != text:
        text = found
    return text.replace("] | Literal[", ", ")


def _bars(found):
    parts, depth, begin = [], 0, 0
    for at, mark in enumerate(found[1]):
        depth += (mark == "[") - (mark == "]")
        if mark == "," and not depth:
            parts.append(found[1][begin:at].strip())
            begin = at + 1
    return " | ".join([*parts, found[1][begin:].strip()])


@needs_mypy
def test_a_users_script_and_what_mypy_reveals(said):
    mine = said[SCRIPT.name]
    errors = [line for line in mine if ": error:" in line]
    assert not errors, "\n".join(errors)
    found = dict(re.findall(r':(\d+): note: Revealed type is "(.*)"', "\n".join(mine)))
    lines = SCRIPT.read_text().splitlines()
    expected = {str(n): line.partition("# E: ")[2] for n, line in enumerate(lines, 1) if "# E: " in line}
    assert found.keys() == expected.keys()
    for n, name in expected.items():
        assert plain(found[n]) == REVEALED[name], f"line {n}: {lines[int(n) - 1].strip()}"


@needs_mypy
def test_mistakes_are_found(said):
    mine = "\n".join(said["mistakes.py"])
    found = {int(n): code for n, code in re.findall(r"mistakes\.py:(\d+): error: .*\[([\w-]+)\]", mine)}
    for n, (line, codes) in enumerate(MISTAKES.items(), len(HEAD) + 1):
        assert n in found and re.fullmatch(codes, found[n]), f"{line}: {found.get(n)}\n{mine}"


def test_literals_are_what_there_is():
    rows = re.findall(r"^LI_ISA\((\w+),", (shared_files.ROOT / "kernels" / "li_isas.def").read_text(), re.MULTILINE)
    assert set(get_args(types.Isa)) == set(rows)
    assert get_args(types.Precision) == KINDS
    assert get_args(types.Format) == tuple(FORMS)


PUBLIC = [
    "isa.py", "model.py", "many.py", "stream.py", "pool.py", "records.py", "pools/collect.py",
    "typing.py", "_stream.pyi", "_pool.pyi",
    "comparison/compare.py", "comparison/records.py", "conversion/convert.py", "conversion/report.py",
    "doors/from_torch.py", "doors/from_keras.py", "doors/onnxruntime.py", "doors/ort_values.py", "doors/ort_options.py",
]  # fmt: skip


def loose(tree):
    """Public functions whose signature says Any of more than an element type."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or node.name.startswith("_"):
            continue
        arguments = node.args
        said = [a.annotation for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        said += [a.annotation for a in (arguments.vararg, arguments.kwarg) if a] + [node.returns]
        for annotation in filter(None, said):
            text = re.sub(r"(?:np\.)?(?:NDArray|dtype)\[Any\]", "", ast.unparse(annotation))
            if re.search(r"\bAny\b", text):
                yield f"{node.name}: {ast.unparse(annotation)}"


def inside(tree):
    """Nothing that stands inside a function, or in a private class, is public."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) or (isinstance(node, ast.ClassDef) and node.name.startswith("_")):
            node.body = []
    return tree


@pytest.mark.parametrize("name", PUBLIC)
def test_no_public_signature_says_any(name):
    assert not list(loose(inside(ast.parse((PACKAGE / name).read_text()))))
