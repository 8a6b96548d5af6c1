"""Quantised layers against onnxruntime; what its quantizer writes for a network; numbers of inputs without a schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from run import ISAS, close, expected, folded, model, through_plan

import lstm_infer
from lstm_infer.ops.registry import registered
from sums_of_bytes import exact

DTYPES = ["uint8", "int8"]


def numbers(dtype: str, *shape: int, seed: int = 0) -> Any:
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)


def check(op: str, ins: list[Any], **attrs: Any) -> None:
    """One node: folded, and planned with its scales constant and fed, on each instruction set."""
    how: dict[str, Any] = {"opset": 1, "domain": "com.microsoft"}
    ins = [None if a is None else np.asarray(a) for a in ins]
    scales = {i for i, a in enumerate(ins) if a is not None and a.ndim == 0}
    for consts in (scales, set()):
        made = model(op, ins, attrs, consts=consts, **how)
        feeds = {f"x{i}": a for i, a in enumerate(ins) if a is not None and i not in consts}
        (want,) = expected(made, feeds)
        for isa in ISAS:
            close(through_plan(made, feeds, isa)[0][0], want)
    close(folded(model(op, ins, attrs, consts=set(range(len(ins))), **how))[0], want)


def scaled(x: Any, zero: int, scale: float = 0.04) -> list[Any]:
    return [x, np.float32(scale), x.dtype.type(zero)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_average_pools(dtype: str) -> None:
    x = numbers(dtype, 2, 3, 9, 8)
    behind = [np.float32(0.03), x.dtype.type(5)]
    for more in ({}, {"strides": [2, 2]}, {"pads": [1, 0, 1, 1]}, {"pads": [1, 1, 1, 1], "count_include_pad": 1}):
        check("QLinearAveragePool", [*scaled(x, 11), *behind], kernel_shape=[2, 3], **more)
    check("QLinearGlobalAveragePool", [*scaled(x, 11), *behind])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("axis", "opset"), [(-1, 13), (1, 13), (1, 12), (2, 11)])
def test_softmax(dtype: str, axis: int, opset: int) -> None:
    x = numbers(dtype, 2, 5, 7)
    low = int(np.iinfo(dtype).min)
    check("QLinearSoftmax", [*scaled(x, 3), np.float32(1 / 250), x.dtype.type(low)], axis=axis, opset=opset)


@pytest.mark.parametrize("dtype", DTYPES)
def test_where(dtype: str) -> None:
    x, y = numbers(dtype, 3, 4), numbers(dtype, 3, 1, seed=1)
    chosen = np.random.default_rng(2).random((3, 4)) > 0.5
    zero = x.dtype.type(7)
    check(
        "QLinearWhere", [chosen, *scaled(x, 3), *scaled(y, -3 if dtype == "int8" else 9, 0.1), np.float32(0.06), zero]
    )


def steps_are_the_whole(nodes: list[Any], consts: dict[str, Any], feeds: dict[str, Any], N: int) -> None:
    """`nodes` make "f" of 8 bits over time, of which an LSTM reads N values: steps against onnxruntime's whole."""
    rng, H = np.random.default_rng(3), 3
    consts = consts | {
        n: rng.standard_normal(s).astype(np.float32) for n, s in (("w", (1, 4 * H, N)), ("r", (1, 4 * H, H)))
    }
    nodes = [
        *nodes,
        helper.make_node("LSTM", ["f", "w", "r"], ["out"], hidden_size=H),
    ]
    ports = [helper.make_tensor_value_info(n, onnx.TensorProto.UINT8, ["T", *a.shape[1:]]) for n, a in feeds.items()]
    out = helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["T", 1, 1, H])
    inits = [numpy_helper.from_array(np.asarray(a), n) for n, a in consts.items()]
    graph = helper.make_graph(nodes, "g", ports, [out], inits)
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    )
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    (want,) = session.run(None, feeds)
    stream = lstm_infer.load(made).stream()
    got = [stream.run({n: a[t : t + 1] for n, a in feeds.items()})["out"] for t in range(len(want))]
    close(np.concatenate(got), want)


def test_where_over_two_signals() -> None:
    """Both follow time, and go into an LSTM: a chunk of theirs has the bits of the whole."""
    consts = {
        "chosen": np.array([True, False, True, False]),
        "s": np.float32(0.04),
        "zx": np.uint8(3),
        "zy": np.uint8(9),
    }
    ins = ["chosen", *("x", "s", "zx"), *("y", "s", "zy"), *("s", "zx")]
    nodes = [
        helper.make_node("QLinearWhere", ins, ["q"], domain="com.microsoft"),
        helper.make_node("DequantizeLinear", ["q", "s", "zx"], ["f"]),
    ]
    feeds = {n: numbers("uint8", 7, 1, 4, seed=i) for i, n in enumerate("xy")}
    steps_are_the_whole(nodes, consts, feeds, 4)


@pytest.mark.parametrize("last", [0, 1])
def test_the_mean_of_each_picture(last: int) -> None:
    """A picture each step, channels first or last: time goes on through what is a mean over the others."""
    consts = {"s": np.float32(0.04), "small": np.float32(0.01), "zx": np.uint8(3), "row": np.array([0, 1, -1])}
    nodes = [
        helper.make_node(
            "QLinearGlobalAveragePool",
            ["x", "s", "zx", "small", "zx"],
            ["q"],
            domain="com.microsoft",
            channels_last=last,
        ),
        helper.make_node("DequantizeLinear", ["q", "small", "zx"], ["means"]),
        helper.make_node("Reshape", ["means", "row"], ["f"]),
    ]
    pictures = numbers("uint8", 7, *((5, 6, 4) if last else (4, 5, 6)))
    steps_are_the_whole(nodes, consts, {"x": pictures}, 4)


# ---- whole networks ------------------------------------------------------------------------------------------------


def network(path: Path) -> None:
    """Conv, pools, Resize, LSTM, GRU, Concat, MatMul, Softmax over [1, 1, T, 16]."""
    rng = np.random.default_rng(0)
    shapes = {"cw": (4, 1, 3, 3), "cb": (4,), "lw": (1, 32, 32), "lr": (1, 32, 8), "lb": (1, 64), "gw": (1, 18, 8),
              "gr": (1, 18, 6), "gb": (1, 36), "mw": (14, 5), "mb": (5,)}  # fmt: skip
    inits = [numpy_helper.from_array((rng.standard_normal(s) * 0.3).astype(np.float32), n) for n, s in shapes.items()]
    inits.append(numpy_helper.from_array(np.array([1, 1, 1, 2], np.float32), "scales"))
    for name, value in (("rows", [0, 0, -1]), ("zero", [0]), ("one", [1])):
        inits.append(numpy_helper.from_array(np.array(value, np.int64), name))
    nodes = [
        helper.make_node(op, ins.replace("-", " ").split(" ") if "-" in ins else ins.split(), [out], name=out, **attrs)
        for op, ins, out, attrs in (
            ("Conv", "x cw cb", "c", {"pads": [1, 1, 1, 1]}),
            ("Relu", "c", "r", {}),
            ("MaxPool", "r", "m", {"kernel_shape": [1, 2], "strides": [1, 2]}),
            ("Resize", "m--scales", "z", {"mode": "nearest"}),
            ("AveragePool", "z", "a", {"kernel_shape": [1, 2], "strides": [1, 2]}),
            ("GlobalAveragePool", "a", "g", {}),
            ("Sigmoid", "g", "s", {}),
            ("Mul", "a s", "b", {}),
            ("LeakyRelu", "b", "l", {"alpha": 0.1}),
            ("Add", "l a", "d", {}),
            ("Transpose", "d", "t", {"perm": [2, 0, 1, 3]}),
            ("Reshape", "t rows", "q", {}),
            ("LSTM", "q lw lr lb", "ly", {"hidden_size": 8}),
            ("Squeeze", "ly one", "ls", {}),
            ("GRU", "ls gw gr gb", "gy", {"hidden_size": 6}),
            ("Squeeze", "gy one", "gs", {}),
            ("Concat", "ls gs", "k", {"axis": 2}),
            ("MatMul", "k mw", "mm", {}),
            ("Add", "mm mb", "ma", {}),
            ("ReduceMean", "k zero", "mean", {"keepdims": 1}),
            ("Softmax", "ma", "y", {"axis": -1}),
        )
    ]
    ports = [helper.make_tensor_value_info(name, 1, None) for name in ("y", "mean")]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", 1, [1, 1, 8, 16])], ports, inits)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)


def feeds(n: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [{"x": rng.standard_normal((1, 1, 8, 16)).astype(np.float32)} for _ in range(n)]


def same_as_onnxruntime(path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session, loaded = exact(path, options), lstm_infer.load(path)
    for fed in feeds(4):
        for got, want in zip(loaded.run(fed).values(), session.run(None, fed), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5)  # 16 bits: one step of the output's scale


STATIC = [(form, per_channel, kinds) for form in ("QOperator", "QDQ") for per_channel in (False, True)
          for kinds in ("QUInt8 QInt8", "QUInt8 QUInt8", "QInt8 QInt8", "QInt16 QInt8", "QUInt16 QUInt8")
          if form == "QDQ" or "16" not in kinds]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("form", "per_channel", "kinds"), STATIC)
def test_what_quantize_static_writes(tmp_path: Path, form: str, per_channel: bool, kinds: str) -> None:
    q = pytest.importorskip("onnxruntime.quantization")

    class Reader(q.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.rows = iter(feeds(4))

        def get_next(self) -> Any:
            return next(self.rows, None)

    network(tmp_path / "a.onnx")
    activations, weights = (getattr(q.QuantType, kind) for kind in kinds.split())
    q.quantize_static(tmp_path / "a.onnx", tmp_path / "b.onnx", Reader(), quant_format=getattr(q.QuantFormat, form),
                      per_channel=per_channel, activation_type=activations, weight_type=weights)  # fmt: skip
    same_as_onnxruntime(tmp_path / "b.onnx")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
def test_what_quantize_dynamic_writes(tmp_path: Path, per_channel: bool, kind: str) -> None:
    q = pytest.importorskip("onnxruntime.quantization")
    network(tmp_path / "a.onnx")
    q.quantize_dynamic(tmp_path / "a.onnx", tmp_path / "b.onnx", per_channel=per_channel,
                       weight_type=getattr(q.QuantType, kind))  # fmt: skip
    same_as_onnxruntime(tmp_path / "b.onnx")


# ---- numbers of inputs -----------------------------------------------------------------------------------------------


def test_every_operator_of_onnxruntime_says_how_many_inputs_it_takes() -> None:
    assert not [op.name for op in registered() if op.domain == "com.microsoft" and op.inputs is None]


@pytest.mark.parametrize(
    ("op", "n", "takes"), [("BiasGelu", 3, "2"), ("FusedMatMul", 1, "2"), ("QLinearAdd", 9, "7 to 8")]
)
def test_too_many_or_too_few_inputs(op: str, n: int, takes: str) -> None:
    x = np.zeros((2, 2), np.float32)
    made = model(op, [x] * n, {}, opset=1, domain="com.microsoft", consts=set())
    with pytest.raises(lstm_infer.LstmInferError, match=f"has {n} inputs, {op} takes {takes}"):
        lstm_infer.load(made).run({f"x{i}": x for i in range(n)})
