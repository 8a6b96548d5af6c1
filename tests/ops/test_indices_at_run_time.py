"""GatherElements, GatherND, ScatterElements, ScatterND and MaxUnpool where the indices are known only at run time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from run import ISAS, close, expected, model, through_plan

import lstm_infer
from lstm_infer.graph.ir import Array

REDUCTIONS = ("none", "add", "mul", "min", "max")
DTYPES = (
    "float32",
    "float64",
    "float16",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
)


def numbers(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Few and small ones: each sum and product of them is exact in every dtype that is no integer."""
    return rng.choice([0, 1, 1, 2], shape).astype(dtype)


def check(op: str, ins: list[Array | None], want: Array | None = None, opset: int = 18, **attrs: Any) -> None:
    made = model(op, ins, attrs, opset=opset, consts=set())
    feeds = {f"x{i}": a for i, a in enumerate(ins) if a is not None}
    want = expected(made, feeds)[0] if want is None else want
    for isa in ISAS:
        (got,), slots = through_plan(made, feeds, isa)
        close(got, want)
        assert {"gather_nd", "scatter_nd"} & set(slots)
        assert not [slot for slot in slots if slot.startswith("host:")]


@pytest.mark.parametrize("dtype", DTYPES)
def test_picked(dtype: str) -> None:
    rng = np.random.default_rng(0)
    x = numbers(rng, (4, 5, 6), dtype)
    for axis, n in enumerate(x.shape):
        index = rng.integers(-n, n, (3, 5, 2)).astype(np.int32 if axis else np.int64)
        cut = tuple(slice(None) if a == axis else slice(k) for a, k in enumerate(index.shape))
        check("GatherElements", [x, index], np.take_along_axis(x[cut], index, axis), axis=axis)
    index = rng.integers(-4, 4, (7, 2, 3))
    check("GatherND", [x, index], x[tuple(np.moveaxis(index, -1, 0))])
    index = rng.integers(-5, 5, (4, 3, 1))
    check("GatherND", [x, index], np.stack([x[b][index[b, :, 0]] for b in range(4)]), batch_dims=1)
    index = rng.integers(-6, 6, (4, 5, 1))
    check("GatherND", [x, index], np.take_along_axis(x, index, 2)[..., 0], batch_dims=2)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_put(dtype: str, reduction: str) -> None:
    """Several values for one place: the last one counts, or all of them, in order."""
    rng = np.random.default_rng(1)
    x = numbers(rng, (4, 5, 6), dtype)
    reduce: Any = {"add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}.get(reduction)

    def put(out: Array, place: Any, value: Any) -> None:
        out[place] = value if reduce is None else reduce(out[place], value)

    for axis, n in enumerate(x.shape):
        index = rng.integers(-n, n, (3, 5, 4)).astype(np.int32 if axis else np.int64)
        updates, want = numbers(rng, index.shape, dtype), x.copy()
        for at in np.ndindex(index.shape):
            put(want, (*at[:axis], index[at], *at[axis + 1 :]), updates[at])
        check("ScatterElements", [x, index, updates], want, axis=axis, reduction=reduction)
    for depth in (0, 1, 2, 3):
        index = np.stack([rng.integers(-n, n, (7, 2)) for n in x.shape[:depth]] or [np.zeros((0, 7, 2))], -1)
        index = index.reshape(7, 2, depth).astype(np.int64)
        updates, want = numbers(rng, (7, 2, *x.shape[depth:]), dtype), x.copy()
        for at in np.ndindex(7, 2):
            put(want, tuple(index[at]), updates[at])
        check("ScatterND", [x, index, updates], want, reduction=reduction)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_put_as_onnxruntime_does(reduction: str) -> None:
    rng = np.random.default_rng(2)
    for dtype in ("float32", "int64"):
        x, index = numbers(rng, (4, 5, 6), dtype), rng.integers(-5, 5, (4, 9, 6))
        check("ScatterElements", [x, index, numbers(rng, index.shape, dtype)], axis=1, reduction=reduction)
        index = np.stack([rng.integers(-4, 4, 30), rng.integers(-5, 5, 30)], -1)
        check("ScatterND", [x, index, numbers(rng, (30, 6), dtype)], reduction=reduction)


def expanded(op: str, shape: tuple[int, ...], to: list[int], axis: int, reduction: str) -> onnx.ModelProto:
    """One index for many elements: what exporters make of `index.expand_as(x)`."""
    ins = [("x", TensorProto.FLOAT, [6, 5, 4]), ("index", TensorProto.INT64, shape), ("u", TensorProto.FLOAT, to)]
    attrs = {"reduction": reduction} if op == "ScatterElements" else {}
    names = ["x", "wide", "u"][: 3 if attrs else 2]
    nodes = [
        helper.make_node("Expand", ["index", "to"], ["wide"]),
        helper.make_node(op, names, ["y"], axis=axis, name="node", **attrs),
    ]
    ports = [helper.make_tensor_value_info(*port) for port in ins[: 3 if attrs else 2]]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [6, 5, 4] if attrs else to)
    graph = helper.make_graph(nodes, "g", ports, [y], [helper.make_tensor("to", TensorProto.INT64, [3], to)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("op", ["GatherElements", "ScatterElements"])
@pytest.mark.parametrize(
    ("shape", "to", "axis"),
    [([3, 1, 1], [3, 5, 4], 0), ([1, 7, 1], [6, 7, 4], 1), ([6, 5, 1], [6, 5, 4], 1), ([1, 1, 1], [6, 5, 4], 0),
     ([3, 5, 1], [3, 5, 3], 0), ([6, 1, 2], [6, 5, 2], 2), ([3, 1, 1], [3, 2, 4], 0)],
)  # fmt: skip
def test_indices_that_repeat_are_not_copied(op: str, shape: list[int], to: list[int], axis: int) -> None:
    rng = np.random.default_rng(3)
    for reduction in REDUCTIONS if op == "ScatterElements" else ("none",):
        made = expanded(op, tuple(shape), to, axis, reduction)
        n = (6, 5, 4)[axis]
        feeds = {
            "x": rng.normal(size=(6, 5, 4)).astype(np.float32),
            "index": rng.integers(-n, n, shape),
            "u": rng.normal(size=to).astype(np.float32),
        }
        feeds = {port.name: feeds[port.name] for port in made.graph.input}
        for isa in ISAS:
            (got,), slots = through_plan(made, feeds, isa)
            np.testing.assert_array_equal(got, expected(made, feeds)[0])
            assert slots in (("gather_nd",), ("copy", "scatter_nd"))


def test_nothing_to_put_and_nothing_to_pick() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for op, index, updates in (
        ("ScatterElements", np.zeros((0, 3), np.int64), np.zeros((0, 3), np.float32)),
        ("ScatterND", np.zeros((0, 1), np.int64), np.zeros((0, 3), np.float32)),
    ):
        made = model(op, [x, index, updates], {}, opset=18, consts=set())
        for isa in ISAS:
            (got,), _ = through_plan(made, {"x0": x, "x1": index, "x2": updates}, isa)
            np.testing.assert_array_equal(got, x)


OUTSIDE: list[tuple[str, list[Array], dict[str, Any]]] = [
    ("GatherElements", [np.zeros((2, 3), np.float32), np.zeros((2, 3), np.int64)], {"axis": 1}),
    ("GatherND", [np.zeros((3, 3), np.float32), np.zeros((2, 2), np.int64)], {}),
    ("ScatterElements", [np.zeros((2, 3), np.float32), np.zeros((2, 2), np.int64), np.ones((2, 2), np.float32)], {"axis": 1}),
    ("ScatterND", [np.zeros((3, 2), np.float32), np.zeros((2, 1), np.int64), np.ones((2, 2), np.float32)], {"reduction": "add"}),
    (
        "MaxUnpool",
        [np.ones((1, 1, 2, 2), np.float32), np.zeros((1, 1, 2, 2), np.int64)],
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("op", "ins", "attrs"), OUTSIDE, ids=[case[0] for case in OUTSIDE])
def test_an_index_outside_names_the_node(op: str, ins: list[Array], attrs: dict[str, Any]) -> None:
    made = lstm_infer.load(model(op, list(ins), attrs, opset=18, consts=set()))
    feeds = {f"x{i}": a for i, a in enumerate(ins)}
    end = 16 if op == "MaxUnpool" else 3
    for bad in (end, -1 if op == "MaxUnpool" else -4, 2**62, -(2**63)):
        index = ins[1].copy()
        index.reshape(-1)[-1] = bad
        with pytest.raises(lstm_infer.LstmInferError, match=f"node 'node' .*{op}.*index lies outside"):
            made.run({**feeds, "x1": index})
    made.run(feeds)


def test_inside_a_loop() -> None:
    """What cannot run on the host runs in the body of a loop."""
    body = helper.make_graph(
        [
            helper.make_node("Unsqueeze", ["i", "axis"], ["at"]),
            helper.make_node("GatherND", ["x", "at"], ["row"]),
            helper.make_node("Unsqueeze", ["row", "axis"], ["rows"]),
            helper.make_node("Unsqueeze", ["at", "axis"], ["ats"]),
            helper.make_node("ScatterND", ["held", "ats", "rows"], ["next"], reduction="add"),
            helper.make_node("Identity", ["go"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("held", TensorProto.FLOAT, [5, 3]),
        ],
        [
            helper.make_tensor_value_info("still", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [5, 3]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["n", "", "start"], ["y"], body=body)],
        "loop",
        [
            helper.make_tensor_value_info("n", TensorProto.INT64, []),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [5, 3]),
            helper.make_tensor_value_info("start", TensorProto.FLOAT, [5, 3]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [5, 3])],
        [helper.make_tensor("axis", TensorProto.INT64, [1], [0])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.checker.check_model(made)
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    start = np.ones((5, 3), np.float32)
    for n in (0, 2, 5):
        feeds = {"n": np.array(n), "x": x, "start": start}
        np.testing.assert_array_equal(lstm_infer.load(made).run(feeds)["y"], expected(made, feeds)[0])
    with pytest.raises(lstm_infer.LstmInferError, match="index lies outside"):
        lstm_infer.load(made).run({"n": np.array(6), "x": x, "start": start})
