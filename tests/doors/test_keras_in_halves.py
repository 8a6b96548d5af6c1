"""from_keras: layers that compute in half precision round at every step, which this engine does not."""

from __future__ import annotations

import os
from importlib import import_module

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", os.environ.get("LSTM_INFER_KERAS") or "torch")
keras = pytest.importorskip("keras", reason="from_keras needs Keras")
if keras.backend.backend() == "torch":
    pytest.importorskip("onnxscript", reason="the exporters of PyTorch need onnxscript")
else:
    pytest.importorskip("tf2onnx", reason="Model.export needs tf2onnx")

import lstm_infer  # noqa: E402
import tolerances  # noqa: E402


def net(policy):
    """A recurrence of Keras under a policy."""
    keras.config.set_dtype_policy(policy)
    try:
        return keras.Sequential([keras.Input((None, 3)), keras.layers.SimpleRNN(4, return_sequences=True)])
    finally:
        keras.config.set_dtype_policy("float32")


def refused(*args):
    raise lstm_infer.ConvertError("no export of the module gives what it gives itself: output 'y' is off by 0.002")


def test_what_rounds_to_halves_is_told_what_does_not(monkeypatch):
    """Deep ones are off by what halves round, and refused after all exporters; the same in float32 is right."""
    half, plain = net("mixed_float16"), net("float32")
    with monkeypatch.context() as patched:  # what a deep one comes to takes half a minute
        patched.setattr(import_module("lstm_infer.doors.from_keras"), "_exported", refused)
        with pytest.raises(
            lstm_infer.ConvertError, match=r"is off by 0.002; .*half precision.*set_dtype_policy\('float32'\)"
        ):
            lstm_infer.from_keras(half)
        with pytest.raises(lstm_infer.ConvertError) as error:
            lstm_infer.from_keras(plain)
    assert "half" not in str(error.value)
    plain.set_weights(half.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 6, 3)).astype(np.float32)
    model = lstm_infer.from_keras(plain)
    got = model.run({model.inputs[0].name: x})[model.outputs[0].name]
    tolerances.like_onnxruntime(got, keras.ops.convert_to_numpy(plain(x)))
    deviation = np.abs(got - keras.ops.convert_to_numpy(half(x)))
    assert 0 < deviation.max() < 2e-3
