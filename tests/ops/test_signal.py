"""DFT, STFT and MelWeightMatrix against onnxruntime or NumPy; STFT over time streams."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper, numpy_helper
from run import ISAS, close, expected, folded, model, through_plan

import lstm_infer
from lstm_infer.graph.ir import Array

RNG = np.random.default_rng(0)


def f32(*shape: int) -> Array:
    return RNG.standard_normal(shape).astype(np.float32)


def near(got: Array, want: Array) -> None:
    """Both sum in float32: within 1e-4 of the largest."""
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 + 1e-5 * np.abs(want).max())


def check(
    op: str, ins: list[Array | None], consts: set[int], opset: int, want: Array | None = None, **attrs: Any
) -> None:
    made = model(op, ins, attrs, opset=opset, consts=consts)
    feeds = {f"x{i}": a for i, a in enumerate(ins) if a is not None and i not in consts}
    want = expected(made, feeds)[0] if want is None else want
    near(folded(model(op, ins, attrs, opset=opset, consts=set(range(len(ins)))))[0], want)
    for isa in ISAS:
        near(through_plan(made, feeds, isa)[0][0], want)


@pytest.mark.parametrize("shape", [(2, 15, 1), (2, 16, 2), (1, 4, 12, 1), (3, 1, 1)])
@pytest.mark.parametrize("length", [None, 8, 21])
def test_dft(shape: tuple[int, ...], length: int | None) -> None:
    x, n = f32(*shape), None if length is None else np.array(length, np.int64)
    for attrs in ({}, {"inverse": 1}, {"onesided": 1}):
        if "onesided" in attrs and shape[-1] == 2:
            continue
        check("DFT", [x, n], {1}, 17, axis=1, **attrs)
        check("DFT", [x, n, np.array(1, np.int64)], {1, 2}, 20, **attrs)


@pytest.mark.parametrize("n", [8, 9])
def test_real_signal_from_half_a_spectrum(n: int) -> None:
    x = f32(2, n)
    z = np.fft.rfft(x)
    half = np.stack([z.real, z.imag], -1).astype(np.float32)
    check("DFT", [half, np.array(n, np.int64), np.array(1, np.int64)], {1, 2}, 20, x[..., None], inverse=1, onesided=1)


def test_a_large_one_runs_on_the_host() -> None:
    x = f32(1, 5000, 1)
    want = np.fft.fft(x[..., 0])
    made = model("DFT", [x], {"axis": 1}, opset=17, consts=set())
    (got,), slots = through_plan(made, {"x0": x}, ISAS[-1])
    assert "host:DFT" in slots
    near(got, np.stack([want.real, want.imag], -1).astype(np.float32))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("with_window", [None, "constant", "fed"])
def test_stft(parts: int, with_window: str | None) -> None:
    x, step, length = f32(2, 50, parts), np.array(5, np.int64), np.array(12, np.int64)
    window = None if with_window is None else np.hanning(12).astype(np.float32)
    consts = {1, 3} | ({2} if with_window == "constant" else set())
    for onesided in (0, 1) if parts == 1 else (0,):
        check("STFT", [x, step, window, length], consts, 17, onesided=onesided)


def test_stft_of_frames_as_long_as_the_window_and_of_single_samples() -> None:
    x, step = f32(2, 40, 1), np.array(4, np.int64)
    check("STFT", [x, step, np.hanning(8).astype(np.float32)], {1, 2}, 17)
    check("STFT", [x, step, None, np.array(1, np.int64)], {1, 3}, 17)


def test_mel_weights() -> None:
    ints, floats = np.int64, np.float32
    for n_mel, length, rate, low, high in (
        (8, 64, 8192, 0, 4096),
        (40, 400, 16000, 20, 7600),
        (5, 16, 8000, 100, 3000),
    ):
        ins = [np.array(v, t) for v, t in ((n_mel, ints), (length, ints), (rate, ints), (low, floats), (high, floats))]
        close(folded(model("MelWeightMatrix", ins, {}, opset=17, consts=set(range(5))))[0],
              expected(model("MelWeightMatrix", ins, {}, opset=17, consts=set(range(5))), {})[0])  # fmt: skip


@pytest.mark.parametrize(
    ("op", "values", "word"),
    [("DFT", [1 << 62], "length"), ("DFT", [0], "length"), ("DFT", [-3], "length"), ("STFT", [0, None, 4], "frames"),
     ("STFT", [5, None, 1 << 62], "do not fit"), ("STFT", [5, None, 60], "do not fit")],
)  # fmt: skip
def test_hostile_sizes(op: str, values: list[int | None], word: str) -> None:
    x = f32(1, 50, 1)
    ins = [x, *(None if v is None else np.array(v, np.int64) for v in values)]
    node = helper.make_node(op, ["" if a is None else f"x{i}" for i, a in enumerate(ins)], ["y"])
    inits = [numpy_helper.from_array(a, f"x{i}") for i, a in enumerate(ins) if i and a is not None]
    ports = [helper.make_tensor_value_info("x0", 1, x.shape)], [helper.make_tensor_value_info("y", 1, None)]
    made = helper.make_model(helper.make_graph([node], "g", *ports, inits), opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    with pytest.raises(lstm_infer.LstmInferError, match=word):
        lstm_infer.load(made).run({"x0": x})


def test_a_spectrogram_before_a_gru_streams() -> None:
    """Samples [1, T] -> STFT -> GRU over frames."""
    w, r, window = f32(1, 9, 10), f32(1, 9, 3), np.hanning(8).astype(np.float32)
    tensors = {"w": w, "r": r, "window": window, "rows": np.array([0, 0, -1]), "step": np.array(4), "n": np.array(8)}
    nodes = [
        helper.make_node("STFT", ["x", "step", "window", "n"], ["z"]),
        helper.make_node("Transpose", ["z"], ["zt"], perm=[1, 0, 2, 3]),
        helper.make_node("Reshape", ["zt", "rows"], ["s"]),
        helper.make_node("GRU", ["s", "w", "r"], ["y"], hidden_size=3),
    ]
    ports = [helper.make_tensor_value_info("x", 1, [1, "T", 1])], [helper.make_tensor_value_info("y", 1, None)]
    inits = [numpy_helper.from_array(a, n) for n, a in tensors.items()]
    graph = helper.make_graph(nodes, "g", *ports, inits)
    loaded = lstm_infer.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    x = f32(1, 64, 1)
    want = loaded.run({"x": x})["y"]
    stream = loaded.stream()
    parts = [stream.run(x[:, a:b]) for a, b in ((0, 3), (3, 20), (20, 64))]
    parts.append(stream.flush())
    got = np.concatenate([p for p in parts if p is not None])
    np.testing.assert_array_equal(got, want)
