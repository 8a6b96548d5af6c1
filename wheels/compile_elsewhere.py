"""Compile every C source for the machines that are not here: Windows and macOS, by zig and by mingw. A warning is an error.

    pip install 'cython>=3.1' 'numpy>=2' 'setuptools>=77' ziglang==0.17.1        # and Debian's gcc-mingw-w64-x86-64-win32
    python wheels/compile_elsewhere.py                                           # all; --only mingw_x86_64 --kernels for some

The kernels compile with the flags of setup.py, but at -O1 (`--short`: only read, in seconds). The modules
that Cython writes take this Python's headers; for Windows those of an unpacked source archive of CPython (`--cpython
FOLDER`), as pyconfig.h is another there: without it, Windows gets the kernels only. For macOS this Python's pyconfig.h
does: it differs in what the modules do not ask.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ZIG = [sys.executable, "-m", "ziglang", "cc", "-target"]
TARGETS = {
    "zig_win_amd64": ([*ZIG, "x86_64-windows-gnu"], "win-amd64"),
    "zig_win_arm64": ([*ZIG, "aarch64-windows-gnu"], "win-arm64"),
    "zig_macosx_arm64": ([*ZIG, "aarch64-macos"], "macosx-11.0-arm64"),
    "zig_macosx_x86_64": ([*ZIG, "x86_64-macos"], "macosx-11.0-x86_64"),
    "mingw_x86_64": (["x86_64-w64-mingw32-gcc"], "win-amd64"),
}
"""Name: compiler, and the platform as Python would call it there."""


def build_script() -> dict[str, Any]:
    """Return the names of setup.py, without its call of setup()."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    tree.body = [node for node in tree.body if not isinstance(node, ast.Expr) or isinstance(node.value, ast.Constant)]
    names: dict[str, Any] = {"__name__": "setup"}
    exec(compile(tree, "setup.py", "exec"), names)
    return names


def kernel_jobs(script: dict[str, Any], compiler: list[str], platform: str, level: list[str]) -> list[list[str]]:
    """Return the compiler's words for each source of the kernels, as setup.py would say them on that platform."""
    os.environ["_PYTHON_HOST_PLATFORM"] = platform
    isas = script["vector_isas"]()
    if not isas:
        raise SystemExit(f"setup.py knows no vector set of {platform}")
    common = [*compiler, *script["GNU_KERNEL"], *level, "-Werror", "-Ikernels"]
    baseline = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "kernels").glob("*.c"))
    baseline += sorted(str(path.relative_to(ROOT)) for path in (ROOT / "kernels" / "isa").glob("scalar*.c"))
    jobs = [[*common, *(f"-DLI_HAVE_{isa}=1" for isa in isas), source] for source in baseline]
    for isa in isas:
        flags = [script["ZIG"].get(flag, flag) if "ziglang" in compiler else flag for flag in script["ISAS"][isa][1]]
        jobs.append([*common, *flags, f"-DLI_ISA_{isa}=1", f"kernels/isa/{isa}.c"])
    return jobs


def module_jobs(script: dict[str, Any], compiler: list[str], made: Path, headers: list[str]) -> list[list[str]]:
    """Return the same for the modules that Cython wrote into `made`."""
    words = [*compiler, *script["GNU_DOOR"], "-O1", "-Wall", "-Werror", "-DNPY_NO_DEPRECATED_API=NPY_1_7_API_VERSION"]
    words += ["-Ikernels", *(f"-I{folder}" for folder in headers)]
    return [[*words, str(path)] for path in sorted(made.glob("*.c"))]


def write_pyconfig(cpython: Path, folder: Path) -> str:
    """Put the pyconfig.h of Windows into a folder of its own: beside it lie headers that are not wanted."""
    folder.mkdir()
    (found,) = (cpython / "PC").glob("pyconfig.h*")  # .in since 3.13
    (folder / "pyconfig.h").write_text(found.read_text())
    return str(folder)


def copy_numpy(include: Path, folder: Path, windows: bool) -> str:
    """Copy NumPy's headers, and say in the one that its build writes what that platform would say there."""
    shutil.copytree(include, folder)
    config = folder / "numpy" / "_numpyconfig.h"
    said = re.sub(r"#define NPY_HAVE_ENDIAN_H 1", "", config.read_text())
    if windows:
        said = re.sub(r"(#define NPY_SIZEOF_LONG) 8", r"\1 4", said)
    config.write_text(said)
    return str(folder)


def write_modules(into: Path) -> None:
    """Run Cython on the modules of the package, with the words of setup.py."""
    from Cython.Build import cythonize

    sources = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "src" / "lstm_infer").glob("_*.pyx"))
    # not the tree: what a build left there may be of other directives
    cythonize(
        sources,
        include_path=["src"],
        build_dir=str(into),
        quiet=True,
        compiler_directives={"language_level": 3, "freethreading_compatible": True, "binding": True},
    )


def compile_all(jobs: list[list[str]], folder: Path) -> list[str]:
    """Run the compiler over each; return what it said where it failed or warned."""

    def compile_one(numbered: tuple[int, list[str]]) -> str:
        number, words = numbered
        done = subprocess.run(
            [*words, "-c", "-o", str(folder / f"{number}.o")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return f"{words[-1]}: exit status {done.returncode}\n{done.stdout}" if done.returncode or done.stdout else ""

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        return [said for said in workers.map(compile_one, enumerate(jobs)) if said]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=TARGETS, action="append", help="this target, may be given again")
    parser.add_argument("--kernels", action="store_true", help="only the kernels, not the modules that Cython writes")
    parser.add_argument("--short", action="store_true", help="the kernels only, and read only: no code is made")
    parser.add_argument(
        "--cpython", type=Path, metavar="FOLDER", help="a source tree of CPython, for the modules on Windows"
    )
    args = parser.parse_args()
    args.kernels |= args.short
    os.chdir(ROOT)
    script = build_script()
    status = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = folder / "src" / "lstm_infer"
        if not args.kernels:
            write_modules(folder)
        for name in args.only or TARGETS:
            compiler, platform = TARGETS[name]
            jobs = kernel_jobs(script, compiler, platform, ["-fsyntax-only"] if args.short else ["-O1"])
            kernels, modules = len(jobs), 0
            windows = platform.startswith("win")
            if not args.kernels and (args.cpython or not windows):
                headers = [sysconfig.get_path("include")]
                if windows:
                    headers = [write_pyconfig(args.cpython, folder / f"headers_{name}"), str(args.cpython / "Include")]
                numpy = copy_numpy(Path(script["numpy"].get_include()), folder / f"numpy_{name}", windows)
                added = module_jobs(script, compiler, made, [*headers, numpy])
                jobs, modules = jobs + added, len(added)
            said = compile_all(jobs, folder)
            print(*said, sep="\n", end="\n" if said else "")
            told = f"{kernels} sources of the kernels, {modules} modules" + (
                "" if modules else " (asked for kernels only)" if args.kernels else " (no --cpython)"
            )
            print(f"{name}: {told}: {f'{len(said)} FAILED' if said else 'no warning'}", flush=True)
            status |= bool(said)
    return status


if __name__ == "__main__":
    sys.exit(main())
