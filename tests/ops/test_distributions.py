"""Random operators: what they draw has the distribution that ONNX names, and is told by seed, node, signal, step and place."""

from __future__ import annotations

from math import erf, sqrt
from typing import Any

import numpy as np
import pytest
from run import ISAS, model

import lstm_infer
from lstm_infer.graph.ir import Array

N = 200_000


def drawn(op: str, ins: list[Array | None], *, seed: int | None = 1, isa: str = "", **attrs: Any) -> Array:
    made = lstm_infer.load(model(op, ins, attrs, opset=15, consts=set()), seed=seed, isa=isa or None)
    return made.run({f"x{i}": a for i, a in enumerate(ins) if a is not None})["y0"]


def distance(x: Array, cdf: Any) -> float:
    """Kolmogorov-Smirnov, times the square root of the count: above 1.95 once in a thousand draws."""
    x = np.sort(x.reshape(-1).astype(np.float64))
    at, n = np.array([cdf(v) for v in x]), len(x)
    return float(sqrt(n) * max((np.arange(1, n + 1) / n - at).max(), (at - np.arange(n) / n).max()))


def moments(x: Array, mean: float, std: float) -> None:
    x = (x.reshape(-1).astype(np.float64) - mean) / std
    assert abs(x.mean()) < 4 / sqrt(len(x))
    assert abs((x**2).mean() - 1) < 6 / sqrt(len(x))
    assert abs((x**3).mean()) < 16 / sqrt(len(x))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_normal(isa: str, seed: int) -> None:
    x = drawn("RandomNormal", [], shape=[200, N // 200], mean=2.0, scale=3.0, seed=seed, isa=isa)
    assert x.dtype == np.float32
    moments(x, 2, 3)
    assert distance(x, lambda v: (1 + erf((v - 2) / 3 / sqrt(2))) / 2) < 1.95
    kurtosis = (((x.astype(np.float64) - 2) / 3) ** 4).mean()
    assert abs(kurtosis - 3) < 40 / sqrt(N)
    assert np.isfinite(x).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_uniform(isa: str, seed: int) -> None:
    x = drawn("RandomUniformLike", [np.zeros((200, N // 200), np.float32)], low=-1.0, high=3.0, seed=seed, isa=isa)
    moments(x, 1, 4 / sqrt(12))
    assert distance(x, lambda v: (v + 1) / 4) < 1.95
    assert x.min() >= -1
    assert x.max() < 3
    pairs = np.histogram2d(x.reshape(-1)[::2], x.reshape(-1)[1::2], 8)[0]
    assert ((pairs - N / 128) ** 2 / (N / 128)).sum() < 104  # chi-square of 63 degrees: above once in a thousand


def test_uniform_at_its_ends() -> None:
    one = np.float32(1)
    for low, high in ((0.0, 1.0), (1.0, float(np.nextafter(one, 2 * one))), (-1e30, 1e30), (5.0, 5.0), (3.0, -1.0)):
        x = drawn("RandomUniform", [], shape=[N], low=low, high=high)
        assert (x >= min(low, high)).all()
        assert (x <= max(low, high)).all()
        assert low >= high or (x < high).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "bool", "int32", "uint8", "int64"])
def test_bernoulli(isa: str, dtype: str) -> None:
    code = {"float32": 1, "float64": 11, "bool": 9, "int32": 6, "uint8": 2, "int64": 7}[dtype]
    p = np.tile(np.array([0.0, 0.1, 0.5, 0.9, 1.0], np.float32), (N // 5, 1))
    x = drawn("Bernoulli", [p], isa=isa, dtype=code)
    assert x.dtype == dtype
    assert set(np.unique(x).tolist()) == {0, 1}
    n = N // 5
    assert (np.abs(x.mean(0) - p[0]) <= 4 * np.sqrt(p[0] * (1 - p[0]) / n)).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("dtype", [6, 7])
def test_multinomial(isa: str, dtype: int) -> None:
    p = np.array([[0.2, 0.5, 0.3, 0.0], [0.0, 0.7, 0.0, 0.3], [0.25, 0.25, 0.25, 0.25]])
    with np.errstate(divide="ignore"):
        logits = (np.log(p) + np.array([[0], [50], [-800]])).astype(np.float32)
    x = drawn("Multinomial", [logits], sample_size=N, isa=isa, dtype=dtype)
    assert x.dtype == (np.int32 if dtype == 6 else np.int64)
    for row, want in zip(x, p, strict=True):
        count = np.bincount(row, minlength=4)
        assert (count[want == 0] == 0).all()
        seen = want > 0
        assert ((count[seen] - N * want[seen]) ** 2 / (N * want[seen])).sum() < 17  # 3 degrees: 16.3 once in a thousand


@pytest.mark.parametrize(
    ("op", "ins", "attrs"),
    [
        ("RandomNormal", [], {"shape": [5, 7]}),
        ("RandomUniform", [], {"shape": [5, 7]}),
        ("RandomNormalLike", [np.zeros((5, 7), np.float32)], {}),
        ("Bernoulli", [np.full((5, 7), 0.5, np.float32)], {}),
        ("Multinomial", [np.zeros((5, 7), np.float32)], {"sample_size": 9}),
    ],
)
def test_what_tells_the_numbers(op: str, ins: list[Array], attrs: dict[str, Any]) -> None:
    made = model(op, list(ins), attrs, opset=15, consts=set())
    feeds = {f"x{i}": a for i, a in enumerate(ins)}

    def run(seed: int | None, times: int = 1) -> Array:
        loaded = lstm_infer.load(made, seed=seed)
        return [loaded.run(feeds)["y0"] for _ in range(times)][-1]

    np.testing.assert_array_equal(run(1), run(1, 3))  # a run begins at the first step, every time
    assert (run(1) != run(2)).any()
    assert (run(None) != run(None)).any()
    loaded = lstm_infer.load(made)
    assert (loaded.run(feeds)["y0"] != loaded.run(feeds)["y0"]).any(), "nobody gave a seed: each run has its own"
    made.graph.node[0].name = "another"
    assert (
        run(1) != lstm_infer.load(model(op, list(ins), attrs, opset=15, consts=set()), seed=1).run(feeds)["y0"]
    ).any()
    own = model(op, list(ins), {**attrs, "seed": 3.0}, opset=15, consts=set())
    first, second = (lstm_infer.load(own).run(feeds)["y0"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first != lstm_infer.load(own, seed=4).run(feeds)["y0"]).any(), "load(seed=) comes first"
    np.testing.assert_array_equal(
        lstm_infer.load(own, seed=4).run(feeds)["y0"], lstm_infer.load(own, seed=4).run(feeds)["y0"]
    )


def test_sets_draw_the_same() -> None:
    fused = [isa for isa in ISAS if isa != "scalar"]
    for op, attrs in (("RandomNormal", {"shape": [999]}), ("RandomUniform", {"shape": [999]})):
        first, *others = (drawn(op, [], isa=isa, **attrs) for isa in fused)
        for other in others:
            np.testing.assert_array_equal(first, other)
        np.testing.assert_allclose(drawn(op, [], isa="scalar", **attrs), first, rtol=1e-5, atol=1e-6)


def test_what_is_refused() -> None:
    for op, ins, attrs in (
        ("RandomNormal", [], {"shape": [3], "dtype": 7}),
        ("Multinomial", [np.zeros((2, 3), np.float32)], {"dtype": 1}),
        ("Multinomial", [np.zeros((2, 3), np.float32)], {"sample_size": 0}),
        ("Multinomial", [np.zeros((2, 3, 4), np.float32)], {}),
    ):
        with pytest.raises(lstm_infer.LstmInferError, match="node 'node'"):
            drawn(op, list(ins), **attrs)


def test_drawn_in_a_loop() -> None:
    """Each iteration is a step of its own."""
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [helper.make_node("RandomUniformLike", ["held"], ["r"], name="noise"), helper.make_node("Identity", ["go"], ["on"]),
         helper.make_node("Identity", ["r"], ["next"]), helper.make_node("Identity", ["r"], ["each"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, []),
         helper.make_tensor_value_info("held", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("on", TensorProto.BOOL, []), helper.make_tensor_value_info("next", TensorProto.FLOAT, [3]),
         helper.make_tensor_value_info("each", TensorProto.FLOAT, [3])],
    )  # fmt: skip
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "x"], ["y", "all"], body=body)],
        "loop",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [3])],
        [helper.make_tensor_value_info("all", TensorProto.FLOAT, None)],
        [helper.make_tensor("n", TensorProto.INT64, [], [50])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    loaded = lstm_infer.load(made, seed=1)
    x = loaded.run({"x": np.zeros(3, np.float32)})["all"]
    assert x.shape == (50, 3)
    assert len(np.unique(x)) == x.size
    np.testing.assert_array_equal(x, loaded.run({"x": np.zeros(3, np.float32)})["all"])
