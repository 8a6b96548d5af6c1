"""Ctrl-C ends the command line quietly, also while it is being imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lstm_infer.cli.demo.show import MODEL

INTERRUPTS = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
"""
"""Interrupts the process where it begins to import a module."""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to one process")
@pytest.mark.parametrize(
    "module",
    [
        "lstm_infer.cli",
        "argparse",
        "lstm_infer.cli.said",
        "lstm_infer.cli.describe",
        "numpy",
        "datetime",  # imported by C alone: NumPy makes an ImportError of the interrupt
        "lstm_infer.parts",
        "lstm_infer.records",
    ],
)
def test_an_interrupt_is_no_traceback(module: str, tmp_path: Path) -> None:
    heard = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a test may run in the background
    )
    (tmp_path / "sitecustomize.py").write_text(heard + INTERRUPTS)
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "lstm_infer", "inspect", str(MODEL)],
        env={**os.environ, "PYTHONPATH": paths, "INTERRUPTED_AT": module},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == "lstm-infer: interrupted\n", done.stderr
    assert done.returncode == 130


def test_one_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As where a shell runs the command in the background."""
    (tmp_path / "sitecustomize.py").write_text(
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + INTERRUPTS
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "lstm_infer", "isa"],
        env={**os.environ, "PYTHONPATH": paths, "INTERRUPTED_AT": "argparse"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "") and "picked" in done.stdout
