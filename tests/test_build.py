"""The build: flags, instruction sets, stubs and metadata say the same thing in every place."""

from __future__ import annotations

import ast
import re
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lstm_infer import _check, _core, _keys, _pool, _rig, _states, _stream

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "kernels"
ROWS = re.findall(r"^LI_ISA\((\w+),", (KERNELS / "li_isas.def").read_text(), re.MULTILINE)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of setup.py, without its call of setup()."""
    pytest.importorskip("Cython")
    monkeypatch.chdir(ROOT)
    for name in ("LSTM_INFER_BUILD_ISAS", "_PYTHON_HOST_PLATFORM", "ARCHFLAGS"):
        monkeypatch.delenv(name, raising=False)
    tree = ast.parse((ROOT / "setup.py").read_text())
    tree.body = [node for node in tree.body if not isinstance(node, ast.Expr) or isinstance(node.value, ast.Constant)]
    names: dict[str, Any] = {"__name__": "setup"}
    exec(compile(tree, "setup.py", "exec"), names)
    return names


def test_every_row_has_flags_and_a_stub(script: dict[str, Any]) -> None:
    assert [*script["ISAS"], "scalar"] == sorted(ROWS, key=[*script["ISAS"], "scalar"].index)
    for isa in script["ISAS"]:
        assert f"LI_ISA_{isa}" in (KERNELS / "isa" / f"{isa}.c").read_text()
    assert (KERNELS / "isa" / "scalar.c").exists()


def test_this_build_is_in_the_order_of_the_rows() -> None:
    names = [name for name, _ in _core.list_isas()]
    assert names == [name for name in ROWS if name in names]


@pytest.mark.parametrize(
    ("platform", "archflags", "machine"),
    [
        ("linux-x86_64", "", "x86_64"),
        ("linux-aarch64", "", "arm64"),
        ("linux-riscv64", "", ""),
        ("win-amd64", "", "x86_64"),
        ("win-arm64", "", "arm64"),
        ("win32", "", ""),
        ("macosx-11.0-arm64", "", "arm64"),
        ("macosx-10.9-universal2", "", ""),
        ("macosx-10.9-universal2", "-arch x86_64", "x86_64"),
        ("macosx-10.9-universal2", "-arch arm64 -arch x86_64", ""),
        ("linux-x86_64", "-arch arm64", "x86_64"),
    ],
)
def test_target_machine(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, platform: str, archflags: str, machine: str
) -> None:
    monkeypatch.setattr(sysconfig, "get_platform", lambda: platform)
    monkeypatch.setenv("ARCHFLAGS", archflags)
    assert script["target_machine"]() == machine
    want = {"x86_64": ["avx512vnni", "avx512", "avx2"], "arm64": ["neondot", "neon"], "": []}[machine]
    assert script["vector_isas"]() == want
    monkeypatch.setenv("_PYTHON_HOST_PLATFORM", "linux-aarch64")  # cross builds go first
    assert script["target_machine"]() == "arm64"


def test_chosen_isas(script: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_PYTHON_HOST_PLATFORM", "linux-x86_64")
    sets = {"scalar": [], "avx2": ["avx2"], "avx2, avx512": ["avx512", "avx2"], "avx512vnni": ["avx512vnni", "avx512"]}
    for wanted, isas in sets.items():
        monkeypatch.setenv("LSTM_INFER_BUILD_ISAS", wanted)
        assert script["vector_isas"]() == isas
    monkeypatch.setenv("LSTM_INFER_BUILD_ISAS", "neon")
    with pytest.raises(SystemExit, match="neon"):
        script["vector_isas"]()


def test_flags_keep_the_arithmetic(script: dict[str, Any]) -> None:
    """Nothing lets a compiler fuse, reorder or approximate; nothing widens the baseline."""
    common = script["GNU_KERNEL"]
    assert "-ffp-contract=off" in common
    assert "/fp:precise" in script["MSVC_KERNEL"]
    everything = [*common, *script["GNU_DOOR"], *(flag for row in script["ISAS"].values() for flag in row[1])]
    assert not {"-ffast-math", "-Ofast", "-march=native", "-funsafe-math-optimizations"} & set(everything)
    assert not [flag for flag in [*common, *script["GNU_DOOR"]] if flag.startswith("-m")]


@pytest.mark.parametrize("module", [_core, _stream, _states, _rig, _pool, _keys, _check])
def test_stub_names_what_is_there(module: ModuleType) -> None:
    """Both ways, for functions, classes and their methods."""
    tree = ast.parse((ROOT / "src" / "lstm_infer" / f"{module.__name__.rpartition('.')[2]}.pyi").read_text())
    stub: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            stub[node.name] = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            stub[node.name] = set()
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            stub[node.target.id] = set()
    missing = {name for name in stub if not hasattr(module, name)}
    assert not missing
    owned = {name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
    assert {name for name in owned if not name.startswith("_")} <= set(stub)
    for name, methods in stub.items():
        real = getattr(module, name)
        if isinstance(real, type):
            assert not {method for method in methods if not hasattr(real, method)}, name
            extra = {method for method in vars(real) if not method.startswith("__")} - methods
            assert not extra, name


def test_metadata() -> None:
    tomllib = pytest.importorskip("tomllib", reason="tomllib came with Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {re.split(r"[<>=]", name)[0] for name in project["dependencies"]} == {"numpy", "onnx"}
    assert project["scripts"] == {"lstm-infer": "lstm_infer.__main__:run"}
    assert (ROOT / "src" / "lstm_infer" / "py.typed").exists()
