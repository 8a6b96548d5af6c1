"""What a time has to be read with: machine, compiler, versions, method."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from .. import _core
from ..drive.timing import ROUND_S
from .verify import versions

__all__ = ["compiler", "conditions"]


def conditions(isa: str, *, threads: int, core: int | None, rounds: int) -> dict[str, str]:
    """What a number has to be read with."""
    return {
        "CPU": _cpu(),
        "kernels": f"{isa}, built by {compiler()}",
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {_load()}",
        "versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
        "threads": f"{threads}, " + ("not pinned" if core is None else f"pinned to core {core}"),
        "onnxruntime": "CPU provider, sequential, all graph optimisations, no spinning",
        "method": f"median of {rounds} interleaved rounds of {ROUND_S * 1000:.0f} ms"
        + (" of the thread's own time" if threads == 1 else "")
        + ", weights warm; "
        "states carried by our stream, fed back by hand to onnxruntime; outputs compared in the same run",
    }  # fmt: skip


def _load() -> str:
    try:
        return f"{os.getloadavg()[0]:.1f}"
    except (AttributeError, OSError):
        return "unknown"


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def compiler() -> str:
    """Of the kernels: what it wrote into their module, if it did."""
    try:
        data = Path(_core.__file__).read_bytes()
    except OSError:
        return "an unknown compiler"
    found = re.search(rb"GCC: \([^\0]{1,60}\) ([\d.]+)|(clang version [\w.]+)", data)
    if not found:
        return "an unknown compiler"
    return f"gcc {found[1].decode()}" if found[1] else found[2].decode()
