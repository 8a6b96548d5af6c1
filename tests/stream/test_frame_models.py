"""A real frame model: its states are graph inputs, its recurrences run over the frequencies of one frame."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort

import lstm_infer
import shared_files


def test_gtcrn_streams_as_onnxruntime_does_by_hand() -> None:
    path = shared_files.model("gtcrn_stream_simple")
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    caches = {i.name: np.zeros(i.shape, np.float32) for i in session.get_inputs()[1:]}
    stream = lstm_infer.load(path).stream()
    rng = np.random.default_rng(0)
    for _ in range(20):
        frame = rng.normal(size=(1, 257, 1, 2)).astype(np.float32)
        want, *after = session.run(None, {names[0]: frame, **caches})
        caches = dict(zip(caches, after, strict=True))
        np.testing.assert_allclose(stream.step(frame), want, rtol=1e-4, atol=1e-5)
    for name, value in stream.state.items():
        np.testing.assert_allclose(value, caches[name], rtol=1e-4, atol=1e-5)
