"""Install wheels in clean environments, run tests from them, and print the table wheel x check.

    pip install twine
    python wheels/prove.py dist/*.whl             on Linux; `build_local.py --test` calls it for what it built

A wheel of this Python and machine meets the tests of `[tool.cibuildwheel]` with each instruction set that the CPU runs forced,
and some of them on emulated older CPUs; one of 64-bit Arm under an emulated Python with and without dot products
(qemu-user-static, and a root that make_arm_root.sh makes, or --arm-root has). For musl nobody gives out onnx: NumPy alone
runs native files there, under the Python (with ctypes) that --musl-python names. What cannot be run here is "not run", with
the reason below the table. Exit status 1: a check failed.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FEW = ["tests/test_core.py", "tests/stream/test_kept_snapshots.py"]
"""Under an emulator."""
OLD_CPUS = {"Nehalem": "scalar", "SandyBridge": "scalar", "Haswell": "avx2"}
ARM_CPUS = {"cortex-a72": "neon", "max": "neondot"}
ARM_NEEDS = ["numpy>=2", "onnx", "protobuf", "ml_dtypes", "typing_extensions", "hypothesis", "sortedcontainers"]
ARM_NEEDS += ["attrs", "pytest", "iniconfig", "packaging", "pluggy", "pygments"]
OF_MUSL = ["ts_scripted_peephole", "dyn_causal_conv_lstm", "dyn_learned_state"]
"""Beside the demo's model."""
RAN = """
import lstm_infer; from lstm_infer.cli.demo.show import MODEL
model = lstm_infer.load(MODEL); model.stream().run(__import__("numpy").zeros((4, 1, 1), "f4"))
print(model.isa)"""


class NotHere(Exception):
    """A check that this machine cannot run, and why."""


class Failed(Exception):
    """A check that failed, and what it printed."""


@dataclass
class Proof:
    """What became of the checks of a wheel."""

    wheel: Path
    said: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def tried(self, check: str, what: Callable[[], str]) -> None:
        """Run a check, and keep what came of it."""
        print(f"{self.wheel.name}: {check} ...", file=sys.stderr, flush=True)
        try:
            self.said[check] = what()
        except (NotHere, Failed) as error:
            self.said[check] = "not run" if isinstance(error, NotHere) else "FAILED"
            self.notes.append(f"{self.wheel.name}: {check}: {error}")


def run(*command: str | Path, **environment: str) -> str:
    """What it prints, as long as its status is 0; away from the sources, so that nothing of them is imported."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "LSTM_INFER_ISA")}
    done = subprocess.run(
        [str(part) for part in command], cwd=environment.pop("CWD", tempfile.gettempdir()), env={**clean, **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"{shlex.join(map(str, command))}: status {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def put_into(folder: Path, tags: list[str], version: str, wheel: Path, *needs: str) -> None:
    """A wheel for another platform than this one and what it needs, as pip would choose them there."""
    wanted = [("--platform", tag) for tag in tags]
    wanted += [("--abi", abi) for abi in (wheel.name.split("-")[3], "abi3", "none")]
    run(
        sys.executable, "-m", "pip", "install", "-q", "--target", folder, "--no-deps", "--only-binary=:all:",
        "--python-version", version, "--implementation", "cp", *(part for pair in wanted for part in pair), *needs, wheel,
    )  # fmt: skip


def passed(output: str) -> str:
    """'112 passed' of pytest's last line."""
    found = re.findall(r"(\d+ passed)", output)
    if not found:
        raise Failed(f"no test has passed:\n{output[-1000:]}")
    return str(found[-1])


def tests_of_wheels() -> list[str]:
    """Those that a wheel meets on every platform."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["cibuildwheel"]
    return re.findall(r"\{project\}/(\S+)", settings["test-command"])


def with_set(isa: str, python: list[str | Path], tests: list[str], **environment: str) -> str:
    """Tests with one set forced, which is the one that then runs."""
    environment["LSTM_INFER_ISA"] = isa
    ran = run(*python, "-c", RAN, **environment).split()[-1]
    if ran != isa:
        raise Failed(f"{ran} ran instead of {isa}")
    return passed(run(*python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, CWD=str(ROOT), **environment))


# ---- this machine ------------------------------------------------------------------------------------------


def natively(proof: Proof, folder: Path) -> Path | None:
    """In an environment of its own, whose Python is given back, and on the CPUs that came before this one."""
    python = folder / "venv" / "bin" / "python"

    def install() -> str:
        run(sys.executable, "-m", "venv", python.parent.parent)
        run(python, "-m", "pip", "install", "-q", f"lstm_infer[test] @ {proof.wheel.resolve().as_uri()}")
        run(python, "-m", "pip", "check")
        run(python.parent / "lstm-infer", "demo", "--no-plot", CWD=str(folder))
        return "demo runs"

    proof.tried("installed", install)
    if proof.said["installed"] == "FAILED":
        return None
    listed = "from lstm_infer import _core; print(*(name for name, able in _core.list_isas() if able))"
    for isa in run(python, "-c", listed).split():
        proof.tried(isa, lambda isa=isa: with_set(isa, [python], tests_of_wheels()))
    if platform.machine() != "x86_64":
        return python
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('platlib'))").strip()
    for cpu, isa in OLD_CPUS.items():
        emulator = ["qemu-x86_64-static", "-cpu", cpu, os.path.realpath(sys.executable)]
        more = {"PYTHONPATH": site, "OPENBLAS_CORETYPE": "Nehalem"}
        proof.tried(cpu, lambda e=emulator, isa=isa, more=more: with_set(isa, found(e), FEW, **more))
    return python


def found(command: list[str | Path]) -> list[str | Path]:
    """The command, if its program is there."""
    if shutil.which(str(command[0])) is None:
        raise NotHere(f"needs {command[0]}")
    return command


# ---- 64-bit Arm --------------------------------------------------------------------------------------------


def emulated(proof: Proof, folder: Path, root: Path | None) -> None:
    """Under an Arm Python of Debian's, on a CPU without and with dot products."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "packages"

    def install() -> str:
        tags = [f"{tag}_aarch64" for tag in ("linux", "manylinux2014", "manylinux_2_27", "manylinux_2_28")]
        put_into(packages, tags, version, proof.wheel, *ARM_NEEDS)
        return "yes"

    proof.tried("installed", install)
    for cpu, isa in ARM_CPUS.items() if proof.said["installed"] == "yes" else ():

        def what(cpu: str = cpu, isa: str = isa) -> str:
            emulator = found(["qemu-aarch64-static"])
            python = arm_python(root, version)
            return with_set(
                isa, [*emulator, "-L", python.parents[2], python], FEW, QEMU_CPU=cpu, PYTHONPATH=str(packages)
            )

        proof.tried(f"{cpu} ({isa})", what)


def arm_python(root: Path | None, version: str) -> Path:
    """The Python of a root."""
    if root is None:
        raise NotHere("needs root (the user), debootstrap and its mirror to make an Arm root, or --arm-root")
    if not (root / "usr" / "bin" / f"python{version}").exists():
        raise NotHere(f"the Arm root has no Python {version}")
    return root / "usr" / "bin" / f"python{version}"


def arm_root(given: Path | None, folder: Path) -> Path | None:
    """The one that is given, or a new one where it can be made."""
    if given is None and os.geteuid() == 0 and shutil.which("debootstrap"):
        print("making a root for 64-bit Arm ...", file=sys.stderr, flush=True)
        try:
            run("bash", ROOT / "wheels" / "make_arm_root.sh", folder / "arm64")
        except Failed as error:
            print(error, file=sys.stderr)
        else:
            return folder / "arm64"
    return given


# ---- musl --------------------------------------------------------------------------------------------------


def with_musl(proof: Proof, folder: Path, python: list[str], native: Path | None) -> None:
    """Native files with NumPy alone, that the package of this machine has written."""
    packages, version = folder / "packages", re.findall(r"-cp3(\d+)-", proof.wheel.name)[0]

    def files() -> str:
        if not python or machine_of(proof.wheel) != platform.machine():
            raise NotHere("needs --musl-python of the wheel's machine")
        if native is None:
            raise NotHere("needs a manylinux wheel of this Python beside it, to write native files")
        got = run(*python, "-c", "import sys; print(sys.version_info[1])").strip()
        if got != version:
            raise NotHere(f"--musl-python is a 3.{got}, the wheel is for 3.{version}")
        put_into(packages, [f"musllinux_1_2_{machine_of(proof.wheel)}"], f"3.{version}", proof.wheel, "numpy>=2")
        ending = run(*python, "-c", "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))").strip()
        for module in packages.rglob("*-linux-musl.so"):  # a CPython of one's own may not name its C library
            other = module.with_name(module.name.partition(".")[0] + ending)
            if not other.exists():
                other.symlink_to(module.name)
        sources = [ROOT / "tests" / "zoo" / "files" / f"{name}.onnx" for name in OF_MUSL]
        run(native, ROOT / "tools" / "without_onnx.py", "write", folder / "files", *sources)
        said = run(*python, ROOT / "tools" / "without_onnx.py", "run", folder / "files", PYTHONPATH=str(packages))
        return f"{said.count('the bits of its source')} native files"

    proof.tried("musl", files)


def machine_of(wheel: Path) -> str:
    """x86_64 or aarch64, by the name."""
    return "aarch64" if wheel.stem.endswith("aarch64") else "x86_64"


# ---- all of them -------------------------------------------------------------------------------------------


def prove(wheels: list[Path], root: Path | None, musl: list[str]) -> Iterator[Proof]:
    """All checks of each wheel; those for musl last."""
    here = f"-cp{sys.version_info.major}{sys.version_info.minor}{'t' if sysconfig.get_config_var('Py_GIL_DISABLED') else ''}-"
    native: Path | None = None
    with tempfile.TemporaryDirectory() as raw:
        arm = [w for w in wheels if machine_of(w) == "aarch64" and "manylinux" in w.name and here in w.name]
        root = arm_root(root, Path(raw)) if arm and platform.machine() == "x86_64" else root
        for number, wheel in enumerate(sorted(wheels, key=lambda wheel: "musllinux" in wheel.name)):
            proof, folder = Proof(wheel), Path(raw) / str(number)
            folder.mkdir()
            proof.tried(
                "metadata",
                lambda wheel=wheel: run(sys.executable, "-m", "twine", "check", "--strict", wheel) and "fine",
            )
            if "musllinux" in wheel.name:
                with_musl(proof, folder, musl, native)
            elif here not in wheel.name:
                proof.tried(
                    "installed", lambda: not_here(f"run this under the wheel's Python, not under {here.strip('-')}")
                )
            elif machine_of(wheel) == platform.machine():
                native = natively(proof, folder)
            else:
                emulated(proof, folder, root)
            yield proof


def not_here(why: str) -> str:
    raise NotHere(why)


def table(proofs: list[Proof]) -> str:
    """Markdown: a row a wheel, a column a check, and what was not run or failed."""
    checks = list(dict.fromkeys(check for proof in proofs for check in proof.said))
    rows = [["wheel", *checks], ["---"] * (len(checks) + 1)]
    for proof in proofs:
        name = re.sub(r"^lstm_infer-[^-]+-", "", proof.wheel.stem).split(".")[0]
        rows.append([name, *(proof.said.get(check, "") for check in checks)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", *(f"- {note}" for proof in proofs for note in proof.notes)])


def main() -> int:
    """Parse arguments, prove, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheels", nargs="+", type=Path)
    add_options(parser)
    args = parser.parse_args()
    proofs = list(prove(args.wheels, args.arm_root, shlex.split(args.musl_python)))
    print(table(proofs))
    return any("FAILED" in proof.said.values() for proof in proofs)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `build_local.py --test` too."""
    parser.add_argument(
        "--arm-root", type=Path, help="made by make_arm_root.sh; else a new one is made where that can be"
    )
    parser.add_argument("--musl-python", default="", help="command of a Python built for musl")


if __name__ == "__main__":
    sys.exit(main())
