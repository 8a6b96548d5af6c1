"""Builds the kernels once per instruction set and links them into the extension module that hands them to the others.

Everything that is not C lives in pyproject.toml. Flags differ per file, which `Extension` cannot say: BuildExt
compiles the kernels itself, each set into its own folder, and hands the objects to this one.

Environment
-----------
LSTM_INFER_BUILD_ISAS
    Comma-separated vector sets to build, e.g. "avx2"; "scalar" builds none. Unset: all that the target can have.
CFLAGS
    As ever. Debug information, which many Pythons ask for, makes the modules ten times larger: it is left out unless
    -g stands here. An -O here goes for the kernels too: with sanitizers, -O3 takes minutes.
"""

import os
import re
import runpy
import shutil
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

# One row per vector set of kernels/li_isas.def: the machine it belongs to and the flags of its one source file.
# scalar, and all that is not under kernels/isa, takes the baseline of the target: no row, no -march.
# Name: machine, flags of gcc and clang, flags of msvc.
AVX2 = ["-mavx2", "-mfma", "-mf16c"]
AVX512 = [*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"]
ISAS = {
    "avx512vnni": ("x86_64", [*AVX512, "-mavx512vnni"], ["/arch:AVX512"]),
    "avx512": ("x86_64", AVX512, ["/arch:AVX512"]),
    "avx2": ("x86_64", AVX2, ["/arch:AVX2"]),
    "neondot": ("arm64", ["-march=armv8.2-a+dotprod"], []),
    "neon": ("arm64", [], []),
}
ZIG = {"-march=armv8.2-a+dotprod": "-mcpu=generic+dotprod"}  # zig has its own words
# A set that holds but a few slots of its own, and the one that it takes the others from.
LENDERS = {"avx512vnni": "avx512", "neondot": "neon"}

# -ffp-contract=off: every fused multiply-add is written out, so that all compilers round alike. No -ffast-math and
# none of its parts that change results; -fno-math-errno only lets sqrt be an instruction.
GNU_KERNEL = ["-std=c11", "-fvisibility=hidden", "-ffp-contract=off", "-fno-math-errno", "-Wall", "-Wextra"]
MSVC_KERNEL = ["/std:c11", "/O2", "/fp:precise", "/W3"]
GNU_DOOR = ["-fvisibility=hidden"]
MSVC_DOOR = ["/O2"]

CPUS = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1

KERNELS = Path("kernels")
WITH_KERNELS = "lstm_infer._core"
MACHINES = {"amd64": "x86_64", "x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def target_machine() -> str:
    """Return the machine the objects are for: "x86_64", "arm64", or "" (another one, or two at once)."""
    platform = os.environ.get("_PYTHON_HOST_PLATFORM") or sysconfig.get_platform()
    names = {re.split(r"-", platform)[-1]}
    if platform.startswith("macosx"):
        names = set(re.findall(r"-arch\s+(\S+)", os.environ.get("ARCHFLAGS", ""))) or names
    return MACHINES.get(names.pop().lower(), "") if len(names) == 1 else ""


def vector_isas() -> list[str]:
    """Return the vector sets of this build, best first."""
    machine = target_machine()
    fits = [isa for isa, (needs, _, _) in ISAS.items() if needs == machine]
    wanted = os.environ.get("LSTM_INFER_BUILD_ISAS")
    if wanted is None:
        return fits
    names = {name.strip() for name in wanted.split(",")} - {"", "scalar"}
    if not names <= set(fits):
        raise SystemExit(
            f"LSTM_INFER_BUILD_ISAS={wanted!r}: {sorted(names - set(fits))} not among {fits} of {machine!r}"
        )
    names |= {LENDERS[name] for name in names & set(LENDERS)}
    return [isa for isa in fits if isa in names]


def gnu_flags(level: str) -> list[str]:
    """Optimised at this level, without debug information, where CFLAGS does not say otherwise."""
    given = os.environ.get("CFLAGS", "").split()
    return [
        *([] if any(flag.startswith("-O") for flag in given) else [level]),
        *([] if "-g" in given else ["-g0"]),
    ]


class BuildExt(build_ext):
    """build_ext that compiles the kernels first, as many files at a time as there are CPUs."""

    def build_extensions(self) -> None:
        if self.compiler.compiler_type != "msvc":
            self.parallel = self.parallel or CPUS
        objects = self.compile_kernels()
        for ext in self.extensions:
            # assigned, not appended: this may run twice
            ext.extra_objects = objects if ext.name == WITH_KERNELS else []
            ext.extra_compile_args = MSVC_DOOR if self.compiler.compiler_type == "msvc" else GNU_DOOR + gnu_flags("-O2")
        super().build_extensions()

    def compile_kernels(self) -> list[str]:
        msvc = self.compiler.compiler_type == "msvc"
        zig = not msvc and "ziglang" in self.compiler.compiler
        common = MSVC_KERNEL if msvc else GNU_KERNEL + gnu_flags("-O3")
        isas = vector_isas()
        have = [(f"LI_HAVE_{isa}", "1") for isa in isas]
        baseline = sorted(map(str, [*KERNELS.glob("*.c"), *KERNELS.glob("isa/scalar*.c")]))
        with ThreadPoolExecutor(self.parallel or 1) as pool:
            jobs = []
            for isa in isas:
                flags = ISAS[isa][2] if msvc else [ZIG.get(flag, flag) if zig else flag for flag in ISAS[isa][1]]
                source = str(KERNELS / "isa" / f"{isa}.c")
                jobs.append(pool.submit(self.compile_one, isa, source, [(f"LI_ISA_{isa}", "1")], common + flags))
            jobs += [pool.submit(self.compile_one, "baseline", source, have, common) for source in baseline]
            return [job.result() for job in jobs]

    def compile_one(self, group: str, source: str, macros: list[tuple[str, str]], flags: list[str]) -> str:
        """Compile a source if it is out of date. One folder per group: object paths would collide otherwise."""
        folder = os.path.join(self.build_temp, "kernels_" + group)
        (obj,) = self.compiler.object_filenames([source], output_dir=folder)
        newest = max(os.path.getmtime(path) for path in [*depends(), source])
        if self.force or not os.path.exists(obj) or os.path.getmtime(obj) < newest:
            self.compiler.compile(
                [source], output_dir=folder, macros=macros, include_dirs=[str(KERNELS)], extra_postargs=flags
            )
        return obj


class BuildPy(build_py):
    """build_py that puts the sources of the kernels beside the writer of C, which copies some of them into what it writes."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # which finds them in the tree
            target = Path(self.build_lib, "lstm_infer", "conversion", "c", "kernels")
            for source in [*KERNELS.rglob("*.c"), *KERNELS.rglob("*.h"), *KERNELS.rglob("*.def")]:
                copy = target / source.relative_to(KERNELS)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)


class BdistWheel(bdist_wheel):
    """bdist_wheel that puts the bill of what is compiled in among the metadata (PEP 770)."""

    def egg2dist(self, egginfo_path: str, distinfo_path: str) -> None:
        super().egg2dist(egginfo_path, distinfo_path)
        names = runpy.run_path(str(Path("wheels", "sbom.py")))
        linked = {name: version(name) for name in names["LINKED"]}
        names["write"](Path(distinfo_path), self.distribution.get_version(), linked)


def depends() -> list[str]:
    """Every file whose change makes all objects stale."""
    found = [path for ext in ("*.h", "*.def") for path in KERNELS.rglob(ext)]
    return ["setup.py", *sorted(map(str, found))]


def extension(name: str) -> Extension:
    return Extension(
        f"lstm_infer.{name}",
        [f"src/lstm_infer/{name}.pyx"],
        include_dirs=[str(KERNELS), numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
        depends=[*depends(), *sorted(map(str, KERNELS.rglob("*.c")))],
    )


setup(
    ext_modules=cythonize(
        [extension(name) for name in ("_core", "_stream", "_states", "_rig", "_pool", "_keys", "_check")],
        include_path=["src"],
        cache=os.environ.get("CYTHON_CACHE_DIR", False),  # for who builds the same tree again and again, as CI does
        nthreads=CPUS if sys.platform == "linux" else 0,  # elsewhere each would run this file anew
        compiler_directives={
            "language_level": 3,
            "freethreading_compatible": True,
            "binding": True,
            "embedsignature": True,
            "embedsignature.format": "python",
        },
    ),
    cmdclass={"build_ext": BuildExt, "build_py": BuildPy, "bdist_wheel": BdistWheel},
)
