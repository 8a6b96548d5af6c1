"""Which tests run which lines of the source: what `mutate.py --map` needs, made once and kept in a folder.

    pip install coverage
    python tools/mutate_map.py FOLDER [tests ...]       # some fifteen minutes for the folders of `tests/` that stand in WHERE

Runs the tests once, in an unchanged tree, and notes for each that passes how long it took and, by coverage's contexts,
which lines it ran. Tests that fail or skip here are left out, as they would say nothing of a mutant; so are those that
take more than `MOST` seconds.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("analysis", "streams", "program", "recognise", "ops")
WHERE = [
    *("tests/program", "tests/stream", "tests/ops", "tests/recognise", "tests/importer", "tests/graph", "tests/pool"),
    *("tests/test_call.py", "tests/test_fuse.py", "tests/test_precision.py", "tests/test_programs_kept.py"),
    *("tests/test_held_weights.py", "tests/test_regroup.py", "tests/test_gate_swap.py", "tests/test_budget.py"),
    *("tests/crosscheck/test_recurrent.py", "tests/crosscheck/test_exports.py", "tests/review/test_lengths.py"),
    *("tests/review/test_states.py", "tests/review/test_mixed_axes.py", "tests/review/test_outputs.py"),
]

MOST = 5.0
"""Seconds of a test: what takes longer is rarely worth its time for a mutant."""


class TooLong(BaseException):
    """A test takes more than `MOST`."""


def stop(*_: object) -> None:
    raise TooLong


class Noted:
    """A plugin of pytest: one context of coverage for each test, and the seconds of each that passed."""

    def __init__(self, seen: coverage.Coverage) -> None:
        self.seen = seen
        self.passed: dict[str, float] = {}
        self.seconds = 0.0
        self.fine = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self.seconds, self.fine = 0.0, False
        self.seen.switch_context(item.nodeid)
        signal.signal(signal.SIGPROF, stop)  # a test may have put another there
        signal.setitimer(signal.ITIMER_PROF, MOST)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self.seen.switch_context("")
            if self.fine:
                self.passed[item.nodeid] = round(self.seconds, 4)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds += report.duration
        if report.when == "call":
            self.fine = report.passed
        elif report.failed:
            self.fine = False


def main() -> int:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    os.environ |= {"PYTHONPATH": str(ROOT / "src"), "LSTM_INFER_SEED": "1"}
    sys.path.insert(0, str(ROOT / "src"))
    sources = [str(ROOT / "src" / "lstm_infer" / package) for package in PACKAGES]
    seen = coverage.Coverage(data_file=str(folder / "lines.db"), source=sources, config_file=False)
    noted = Noted(seen)
    seen.start()
    pytest.main(["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", *(sys.argv[2:] or WHERE)], plugins=[noted])
    seen.stop()
    seen.save()
    (folder / "tests.json").write_text(json.dumps(noted.passed))
    print(f"{len(noted.passed)} tests, {sum(noted.passed.values()):.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
