"""What is said through `logging`: what was recognised, repaired, found of states, planned; nothing where nobody listens."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import time

import numpy as np
import pytest

import lstm_infer
import stream_models
from lstm_infer import log
from lstm_infer.cli import tables


def said(caplog, topic):
    return [r.getMessage() for r in caplog.records if r.name == f"lstm_infer.{topic}"]


def test_what_is_found_is_said(caplog):
    with caplog.at_level(logging.INFO, logger="lstm_infer"):
        model = lstm_infer.load(stream_models.state_io())
        model.stream()
        model.stream()
    (how, *states) = said(caplog, "stream")
    assert "streams in mode 'time', fed x, lag 0" in how
    assert len(states) == 2 and "state h0 <- hn: enters the recurrence" in states[0], "once a model"
    assert not said(caplog, "plan"), "plans are for who debugs"


def test_what_was_recognised_and_refused_is_said(caplog):
    with caplog.at_level(logging.INFO, logger="lstm_infer"):
        model = lstm_infer.load(stream_models.both_ways())
        assert not model.states
    assert "does not stream: node 'rec'" in said(caplog, "stream")[0]
    assert said(caplog, "recognise") == [f"{model._graph.name}: {note}" for note in model.rewritten]


def test_what_is_planned_is_said_to_who_debugs(caplog):
    model = lstm_infer.load(stream_models.hidden_state())
    with caplog.at_level(logging.DEBUG, logger="lstm_infer"):
        model.run({"x": np.zeros((5, 1, stream_models.INPUTS), np.float32)})
        model.stream(batch=3)
    assert any("'x': (5, 1, " in one for one in said(caplog, "plan"))
    assert "a stream of 3 signals, blocks up to 64 steps" in said(caplog, "plan")


def test_a_call_says_nothing(caplog):
    stream = lstm_infer.load(stream_models.hidden_state()).stream()
    x = np.zeros((70, 1, stream_models.INPUTS), np.float32)
    stream.run(x)
    with caplog.at_level(logging.DEBUG):
        stream.run(x)
        stream.step(x[0])
    assert not caplog.records


def test_where_nobody_imported_logging_nobody_is_told(monkeypatch):
    monkeypatch.delitem(sys.modules, "logging")
    log.info("load", "%d", "no number: formatting this would fail")
    code = "import sys, lstm_infer; lstm_infer.load; print('logging' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "False\n"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_load_that_takes_long_says_where_it_is(monkeypatch):
    monkeypatch.setattr(tables, "PATIENCE_S", 0.05)
    monkeypatch.setattr(sys, "stderr", Terminal())
    logger = logging.getLogger("lstm_infer.load")
    before = logger.level, logger.propagate, list(logger.handlers)
    with tables.loading():
        log.debug("load", "reading")
        time.sleep(0.4)
        log.debug("load", "loaded, or refused")
        shown = len(sys.stderr.getvalue())
        time.sleep(0.3)
        assert len(sys.stderr.getvalue()) == shown, "what is loaded is told no more"
    assert "loading: reading, 0." in sys.stderr.getvalue() and sys.stderr.getvalue().endswith("\r\033[K")
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


@pytest.mark.parametrize("shown", [True, False])
def test_elsewhere_nothing_is_shown(shown, monkeypatch):
    monkeypatch.setattr(tables, "PATIENCE_S", 0.0)
    monkeypatch.setattr(sys, "stderr", io.StringIO() if shown else Terminal())
    with tables.loading(shown):
        log.debug("load", "reading")
        time.sleep(0.15)
    assert sys.stderr.getvalue() == ""
