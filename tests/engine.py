"""The one door through which the crosschecks reach an engine, and onnxruntime as oracle.

LSTM_INFER_TEST_ENGINE=onnxruntime points the door at onnxruntime: it checks generators and oracles themselves.
"""

from __future__ import annotations

import os
from functools import cache

ENGINE = os.environ.get("LSTM_INFER_TEST_ENGINE", "lstm_infer")


@cache
def _ort():
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    return onnxruntime


def onnxruntime_run(data, feeds):
    """Results of onnxruntime by output name, or None where it refuses the model or the feeds."""
    ort = _ort()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))
    except Exception as error:  # its exception classes share no base
        if type(error).__module__.startswith("onnxruntime"):
            return None
        raise


def engine(data):
    """A callable from feeds to results. Raises what the engine raises at load."""
    if ENGINE == "onnxruntime":
        return lambda feeds: onnxruntime_run(data, feeds)
    import lstm_infer

    return lstm_infer.load(data).run
