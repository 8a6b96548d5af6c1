"""Random graphs over time: `run` is onnxruntime's, what streams gives the whole's bits in any split, the rest is refused.

LSTM_INFER_SEEDS=1000:2000 draws others; hunt.py draws many and counts. A failure names the seed: time_graphs.draw(seed) is
the model.
"""

from __future__ import annotations

import os

import pytest
import time_checks
import time_graphs

FIRST, LAST = (int(n) for n in os.environ.get("LSTM_INFER_SEEDS", "0:300").split(":"))
CHUNK = 25


@pytest.mark.parametrize("first", range(FIRST, LAST, CHUNK))
def test_right_or_refused(first):
    for seed in range(first, min(first + CHUNK, LAST)):
        time_checks.try_time(seed)


@pytest.mark.parametrize("seed", [718855, 1120913, 1569])
def test_seeds_that_were_wrong(seed):
    """718855: the smaller one of two signals, which a cache keeps, was a running minimum. 1120913: a step of a signal
    was the next value of another one. 1569: what a layer makes of a signal of any length was given twice."""
    time_checks.try_time(seed)


def test_enough_of_them_stream():
    models = [(case, time_checks.load(case)) for case in (time_graphs.draw(seed) for seed in range(60))]
    assert sum(time_checks.streamed(case, model) for case, model in models) >= 6
