"""The compilers and emulators of this machine, and a build of a folder of C with one of them."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import _core
from ...errors import ConvertError
from .sets import COMMON_FLAGS, InstructionSet

__all__ = ["Toolchain", "build", "toolchain"]

MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
CROSS = {
    "arm64": ("aarch64-linux-gnu-gcc", ("qemu-aarch64-static", "qemu-aarch64"), "max"),
    "x86_64": ("x86_64-linux-gnu-gcc", ("qemu-x86_64-static", "qemu-x86_64"), "max"),
}
"""By machine: the compiler for it on another one, what emulates it, and the CPU that is emulated."""

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic")


@dataclass(frozen=True)
class Toolchain:
    """A compiler; what runs its programs, if they do not run as they are; flags of the linker."""

    compiler: str
    runner: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    cpu: str = ""

    def run(self, command: Sequence[str], seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program that it made."""
        env = {**os.environ, **({"QEMU_CPU": self.cpu} if self.cpu else {})}
        return subprocess.run(
            [*self.runner, *command], capture_output=True, text=True, check=False, env=env, timeout=seconds
        )


def toolchain(isa: InstructionSet) -> Toolchain | str:
    """What builds and runs programs of this set here, or why nothing does."""
    machine = MACHINES.get(platform.machine().lower(), "")
    if isa.machine in ("", machine):
        if not dict(_core.list_isas()).get(isa.name, False):
            return f"this CPU cannot run {isa.name}"
        asked = os.environ.get("CC", "")
        found = next((path for name in (asked, "cc", "gcc", "clang") if name and (path := shutil.which(name))), None)
        return Toolchain(found) if found else "there is no C compiler (cc, gcc or clang)"
    compiler, emulators, cpu = CROSS[isa.machine]
    built_by = shutil.which(compiler)
    runner = next((path for name in emulators if (path := shutil.which(name))), None)
    if built_by is None or runner is None:
        return f"{isa.name} is of another machine, and {compiler} and {emulators[0]} are not both there"
    return Toolchain(built_by, (runner,), ("-static",), cpu)


def build(
    folder: Path,
    name: str,
    isa: InstructionSet,
    tools: Toolchain,
    into: Path,
    *,
    weights: str = "S",
    level: str = "-O3",
    kept: Path | None = None,
) -> Path:
    """Compile the folder and link its test.

    Parameters
    ----------
    weights : {"S", "c"}
        Which of the two files with the constants.
    level : str
        How much the compiler optimises: no bit depends on it.
    kept : path, optional
        Where objects of the kernels are kept from build to build: they take longest, and depend on the set alone.

    Raises
    ------
    ConvertError
        The compiler refuses something, or warns; with its words.
    """
    folder, into = folder.resolve(), into.resolve()  # the compiler runs in the one
    kernels = sorted((folder / "kernels").glob("unit_*.c"))
    flags = [level, *COMMON_FLAGS, *isa.flags, *WARNINGS, "-Werror", "-ffunction-sections", "-fdata-sections"]
    found = [f"-I{folder}", f"-I{folder / 'kernels'}"]
    objects = []
    for source in [folder / f"{name}.c", folder / f"{name}_test.c", folder / f"{name}_weights.{weights}"]:
        target = into / f"{source.stem}.o"
        _compiler(tools, [*flags, *found, "-c", str(source), "-o", str(target)], folder)
        objects.append(target)
    key = _digest(folder / "kernels", [tools.compiler, *flags])
    for source in kernels:
        target = (kept or into) / f"{key}_{source.stem}_{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}.o"
        if not target.exists():
            made = target.with_suffix(f".{os.getpid()}.o")
            _compiler(tools, [*flags, *found, "-c", str(source), "-o", str(made)], folder)
            made.replace(target)
        objects.append(target)
    program = into / f"{name}_test"
    drop = "-Wl,-dead_strip" if platform.system() == "Darwin" else "-Wl,--gc-sections"
    _compiler(tools, [*tools.link, drop, *map(str, objects), "-lm", "-o", str(program)], folder)
    return program


def _digest(folder: Path, flags: Sequence[str]) -> str:
    """What objects of the kernels depend on besides their own file: those that they read, whichever of them are there."""
    found = hashlib.sha256(repr(list(flags)).encode())
    found.update((folder / "names.h").read_bytes())
    found.update((folder / "li_kernels.h").read_bytes())
    return found.hexdigest()[:16]


def _compiler(tools: Toolchain, arguments: Sequence[str], folder: Path) -> None:
    done = subprocess.run([tools.compiler, *arguments], capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ConvertError(f"{tools.compiler} refuses the code: " + "\n".join(said[:12]))
