"""Random graphs, each converted to stateful ONNX and run beside its stream: opset and chunk drawn with them."""

from __future__ import annotations

import random
import tempfile
import warnings
from pathlib import Path

import frame_graphs
import time_graphs

import lstm_infer
from lstm_infer.conversion.stateful.step import NoMultipleError

__all__ = ["try_convert"]

ASKED_FOR = ("lie outside an axis", "is open, and nothing in the file says its size")
"""What a stream says too when it is opened: a file that needs two signals, a size that the caller has to give."""


def try_convert(seed, *, kind):
    """What becomes of the graph of a number: not streamed, or converted with an open or with a fixed batch. Raises where a
    result is wrong, or refused."""
    case, pick = (time_graphs if kind == "time" else frame_graphs).draw(seed), random.Random(seed)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        try:
            model = lstm_infer.load(case.data)
            model.streaming  # noqa: B018
        except lstm_infer.LstmInferError:
            return "not streamed"
        options = {"opset": pick.choice([13, 17, 21]), "seed": seed}
        try:
            try:
                report = lstm_infer.convert(model, Path(folder) / "a.onnx", chunk=pick.choice([None, 4, 6]), **options)
            except NoMultipleError:
                report = lstm_infer.convert(model, Path(folder) / "a.onnx", **options)
        except lstm_infer.LstmInferError as error:
            if any(text in str(error) for text in ASKED_FOR):
                return "not streamed"
            raise
    return f"converted, batch {'open' if report.facts['batch'] == 'open' else 'fixed'}"
