"""tools/count_instructions.py: whose instructions a dump of callgrind counts, and when a count is too high."""

from __future__ import annotations

import importlib.util
import json
import sys

import pytest

import shared_files

PATH = shared_files.ROOT / "tools" / "count_instructions.py"

# fn g of our call runs 7 and 3, and calls li_gates of the kernels (40 inside); memcpy of libc runs 5
DUMP = """version: 1
desc: Trigger: Client Request: 3:200
positions: line
events: Ir

ob=(1) /venv/lstm_infer/_stream.cpython-311.so
fl=(1) _stream.c
fn=(1) g
10 7
cob=(2) /venv/lstm_infer/_core.cpython-311.so
cfn=(2) li_gates
calls=4 20
+2 40
+3 3

ob=(2)
fn=(2)
20 40

ob=(3) /lib/libc.so.6
fn=(3) memcpy
* 5

ob=(1)
fn=(1)
-4 2
totals: 57
"""


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("count_instructions", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_costs_go_to_the_module_that_has_them(tool):
    assert tool.by_module(DUMP) == {"kernels": 40, "call": 12, "else": 5}


@pytest.mark.parametrize("factor, status", [(1.0, 0), (1.07, 0), (1.09, 1)])
def test_a_count_that_is_too_high_fails(tool, factor, status, monkeypatch, capsys):
    counts = json.loads(tool.STORED.read_text())["counts"]
    assert set(counts) == set(tool.ROADS), "every road has its counts"
    found = {road: {**parts, "else": 100} for road, parts in counts.items()}
    road = next(iter(found))
    found[road] = {**found[road], "call": counts[road]["call"] * factor}
    monkeypatch.setattr(tool, "count", lambda folder: found)
    monkeypatch.setattr(tool.shutil, "which", lambda name: name)
    monkeypatch.setattr(sys, "argv", [str(PATH), "--json"])
    assert tool.main() == status
    assert json.loads(capsys.readouterr().out)["above"] == ([[road, "call"]] if status else [])
