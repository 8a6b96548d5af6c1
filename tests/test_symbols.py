"""What the kernel objects may export and which instructions they may hold.

A helper that is compiled with wide flags and not static would be picked by the linker for everyone, and crash where
the CPU lacks the set. Reads the objects of the last build of this tree; skips where there are none.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ISAS = re.findall(r"^LI_ISA\((\w+),", (ROOT / "kernels" / "li_isas.def").read_text(), re.MULTILINE)
VEX = re.compile(r"\tv(?!err|erw|mcall|mlaunch|mresume|mxoff|mread|mwrite)[a-z0-9]+\s|[yz]mm\d|%k[0-7]")
EVEX = re.compile(r"zmm\d|%k[0-7]|[xy]mm(?:1[6-9]|2\d|3[01])\b")

# What C compilers call on their own, and string.h. No libm: its results differ from one system to the next.
HELPERS = re.compile(
    r"_?(mem(cpy|set|move|cmp)|_GLOBAL_OFFSET_TABLE_|__stack_chk_fail|__(asan|ubsan|tsan|sanitizer)\w*)"
)


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@cache
def objects(group: str) -> tuple[Path, ...]:
    """Objects of one group ("baseline", "avx2") of the newest build folder."""
    if not shutil.which("nm") or not shutil.which("objdump"):
        pytest.skip("nm and objdump (binutils) are not installed")
    folders = sorted((ROOT / "build").glob(f"temp.*/kernels_{group}"), key=os.path.getmtime)
    found = tuple(sorted(folders[-1].rglob("*.o"))) if folders else ()
    sources = {path.stem for path in (ROOT / "kernels").rglob("*.c")}
    found = tuple(path for path in found if path.stem in sources)  # not what an older tree left behind
    if not found:
        pytest.skip(f"no objects of {group} under build/: run `python setup.py build_ext --inplace`")
    return found


def symbols(path: Path, option: str) -> set[str]:
    return {line.split()[-1] for line in run("nm", option, str(path)).splitlines() if line.strip()}


def isa_objects(isa: str) -> list[Path]:
    if isa != "scalar":
        return list(objects(isa))
    return [path for path in objects("baseline") if path.stem.startswith("scalar")]


def disassembly(path: Path) -> str:
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        pytest.skip("looks for x86 instructions")
    return run("objdump", "-d", "--no-show-raw-insn", str(path))


@pytest.mark.parametrize("isa", ISAS)
def test_exports_name_their_set(isa: str) -> None:
    for path in isa_objects(isa):
        exported = symbols(path, "--extern-only") & symbols(path, "--defined-only")
        assert not {name for name in exported if not name.endswith(f"_{isa}")}, path.name


@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "scalar"])
def test_vector_objects_call_nothing(isa: str) -> None:
    """Only string.h, and the slots that a set takes from another one, under its name."""
    lender = re.search(r"^#define LI_LENDER (\w+)", (ROOT / "kernels" / "isa" / f"{isa}.c").read_text(), re.MULTILINE)
    ending = f"_{lender[1]}" if lender else "_scalar"
    for path in isa_objects(isa):
        calls = symbols(path, "--undefined-only")
        assert not {name for name in calls if not HELPERS.fullmatch(name) and not name.endswith(ending)}, path.name


def test_baseline_has_no_vex() -> None:
    for path in objects("baseline"):
        found = [line for line in disassembly(path).splitlines() if VEX.search(line)]
        assert not found, f"{path.name}: {found[:3]}"


def test_avx2_has_no_avx512() -> None:
    for path in objects("avx2"):
        found = [line for line in disassembly(path).splitlines() if EVEX.search(line)]
        assert not found, f"{path.name}: {found[:3]}"


def test_wide_objects_are_wide() -> None:
    """The flags took effect: fused multiply-adds at the full width of the set."""
    for isa, register in (("avx2", "ymm"), ("avx512", "zmm")):
        text = "".join(disassembly(path) for path in objects(isa))
        assert re.search(rf"\tvfmadd\w+ps\s.*{register}", text), isa


def test_dot_products_are_in_their_sets_alone() -> None:
    for isa in ("avx2", "avx512", "avx512vnni"):
        text = "".join(disassembly(path) for path in objects(isa))
        assert (re.search(r"\tvpdpbusd\s.*zmm", text) is not None) == (isa == "avx512vnni"), isa


def test_modules_export_only_their_init() -> None:
    from lstm_infer import _check, _core, _stream

    if not shutil.which("nm"):
        pytest.skip("nm (binutils) is not installed")
    for module in (_core, _stream, _check):
        path = Path(str(module.__file__))
        if path.suffix != ".so" or platform.system() != "Linux":
            pytest.skip("reads ELF modules")
        names = {line.split()[-1] for line in run("nm", "-D", "--defined-only", str(path)).splitlines()}
        assert names - {"_init", "_fini"} == {f"PyInit_{module.__name__.rpartition('.')[2]}"}
