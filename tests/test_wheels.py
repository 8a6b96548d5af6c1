"""The release's targets, its Pythons and its instruction sets stand in several files: they say the same."""

from __future__ import annotations

import re

import pytest

import shared_files

tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
PROJECT = tomllib.loads((shared_files.ROOT / "pyproject.toml").read_text())
TARGETS = tomllib.loads((shared_files.ROOT / "wheels" / "targets.toml").read_text())
WORKFLOWS = shared_files.ROOT / ".github" / "workflows"
PLATFORMS = {name: target for name, target in TARGETS.items() if isinstance(target, dict)}


def test_pythons() -> None:
    assert PROJECT["tool"]["cibuildwheel"]["build"].split() == [f"{python}-*" for python in TARGETS["pythons"]]
    named = {line.split()[-1] for line in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", line)}
    assert named == {f"3.{python.rstrip('t')[3:]}" for python in TARGETS["pythons"]}
    assert PROJECT["project"]["requires-python"] == ">=" + min(named, key=lambda v: int(v.split(".")[1]))


def test_platforms() -> None:
    linux = PROJECT["tool"]["cibuildwheel"]["linux"]["archs"]
    wanted = {f"{kind}_{arch}" for kind in ("manylinux", "musllinux") for arch in linux}
    wanted |= {f"macosx_{arch}" for arch in PROJECT["tool"]["cibuildwheel"]["macos"]["archs"]}
    wanted |= {f"win_{arch.lower()}" for arch in PROJECT["tool"]["cibuildwheel"]["windows"]["archs"]}
    assert set(PLATFORMS) == wanted


def test_sets() -> None:
    """As the flags in setup.py have them, in the order of kernels/li_isas.def."""
    rows = re.findall(r'^    "(\w+)": \(\s*"(\w+)"', (shared_files.ROOT / "setup.py").read_text(), re.MULTILINE)
    assert rows
    for name, target in PLATFORMS.items():
        machine = "arm64" if re.search("arm64|aarch64", name) else "x86_64"
        assert target["sets"] == [isa for isa, needs in rows if needs == machine] + ["scalar"], name
        assert target["state"] in ("tested", "builds", "compiles", "planned"), name


def test_tests_of_a_wheel_are_there() -> None:
    """A path that has gone would fail each job of a release."""
    named = re.findall(r"\{project\}/(\S+)", PROJECT["tool"]["cibuildwheel"]["test-command"])
    assert named and not [path for path in named if not (shared_files.ROOT / path).exists()]


@pytest.mark.skipif(not WORKFLOWS.exists(), reason="an sdist has no workflows")
def test_actions_are_commits() -> None:
    """A tag can be moved."""
    used = [line for file in sorted(WORKFLOWS.glob("*.yml")) for line in re.findall(r"uses: (.+)", file.read_text())]
    loose = [line for line in used if not re.fullmatch(r"\S+@[0-9a-f]{40} # v[\d.]+", line)]
    assert len(used) > len(loose) and loose == ["pypa/gh-action-pypi-publish@release/v1"]
