"""A cache that a stream writes at places it is fed: one crossing into C, changed where it lies, whole again after an error."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer

ROWS, WIDTH = 9, 5


def n(op, inputs, outputs, **attrs):
    return helper.make_node(op, inputs, outputs, **attrs)


KINDS = {
    "written": [n("ScatterND", ["cache", "at", "x"], ["next"]), n("GatherND", ["next", "from"], ["y"])],
    "elements": [n("Expand", ["at", "wide"], ["each"]), n("ScatterElements", ["cache", "each", "x"], ["next"], axis=0),
                 n("GatherElements", ["next", "each"], ["y"])],
    "added": [n("ScatterND", ["cache", "at", "x"], ["next"], reduction="add"), n("GatherND", ["next", "from"], ["y"])],
    "read early": [n("GatherND", ["cache", "from"], ["old"]), n("Tanh", ["old"], ["y"]),
                   n("ScatterND", ["cache", "at", "x"], ["next"])],
    "read late": [n("ScatterND", ["cache", "at", "x"], ["next"]), n("Sub", ["next", "cache"], ["d"]),
                  n("GatherND", ["d", "at"], ["y"])],
    "moved": [n("GatherND", ["cache", "from"], ["rows"]), n("ScatterND", ["cache", "at", "rows"], ["c2"]),
              n("ScatterND", ["c2", "from", "x"], ["next"]), n("GatherND", ["next", "at"], ["y"])],
    "a part of itself": [n("Slice", ["cache", "i0", "i2"], ["rows"]), n("ScatterND", ["cache", "at", "rows"], ["c2"]),
                         n("ScatterND", ["c2", "from", "x"], ["next"]), n("GatherND", ["next", "at"], ["y"])],
    "fixed places": [n("ScatterND", ["cache", "box", "x"], ["c2"]), n("ScatterND", ["c2", "at", "x"], ["next"]),
                     n("GatherND", ["next", "from"], ["y"])],
    "shifted": [n("Slice", ["cache", "i1", "end"], ["rows"]), n("ScatterND", ["cache", "head", "rows"], ["c2"]),
                n("ScatterND", ["c2", "at", "x"], ["next"]), n("GatherND", ["next", "from"], ["y"])],
}  # fmt: skip
COPIES = {"written": 0, "elements": 0, "added": 0, "read early": 0, "moved": 0, "fixed places": 1}
"""Of what is fed; the others copy the cache as well, since the old one is read again."""


def model(kind):
    consts = {
        "wide": np.array([2, WIDTH]), "i0": np.array([0]), "i1": np.array([1]), "i2": np.array([2]), "end": np.array([ROWS]),
        "box": np.array([[3], [4]]), "head": np.arange(ROWS - 1)[:, None],
    }  # fmt: skip
    read = {name for node in KINDS[kind] for name in node.input}
    ports = [
        ("x", TensorProto.FLOAT, [2, WIDTH]), ("at", TensorProto.INT64, [2, 1]), ("from", TensorProto.INT64, [2, 1]),
        ("cache", TensorProto.FLOAT, [ROWS, WIDTH]),
    ]  # fmt: skip
    graph = helper.make_graph(
        [*KINDS[kind], n("Identity", ["next"], ["cache_out"])],
        "cached",
        [helper.make_tensor_value_info(*port) for port in ports if port[0] in read],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, WIDTH]),
            helper.make_tensor_value_info("cache_out", TensorProto.FLOAT, [ROWS, WIDTH]),
        ],
        [numpy_helper.from_array(np.asarray(value, np.int64), name) for name, value in consts.items() if name in read],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


@pytest.mark.parametrize("kind", KINDS)
def test_a_cache_against_onnxruntime(rng, kind):
    made = model(kind)
    session = onnxruntime.InferenceSession(made)
    stream = lstm_infer.load(made, states={"cache": "cache_out"}).stream()
    assert stream._plan.call is not None, "off the road"
    slots = stream._plan.blocks[-1].program.slots
    assert slots.count("copy") == COPIES[kind] if kind in COPIES else "copy" in slots
    taken = {port.name for port in session.get_inputs()}
    cache = np.zeros((ROWS, WIDTH), np.float32)
    for _ in range(20):
        feeds = {"x": rng.normal(size=(2, WIDTH)).astype(np.float32)}
        for name in ("at", "from"):
            feeds[name] = rng.permutation(ROWS)[:2, None] - rng.integers(0, 2, (2, 1)) * ROWS
        want, cache = session.run(
            ["y", "cache_out"], {k: v for k, v in {**feeds, "cache": cache}.items() if k in taken}
        )
        got = stream.step({k: v for k, v in feeds.items() if k in taken})
        np.testing.assert_allclose(got["y"] if isinstance(got, dict) else got, want, rtol=1e-6)
        np.testing.assert_array_equal(stream.state["cache"], cache)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.bool_, np.float32])
def test_a_state_of_one_element_is_read_behind_its_change(dtype):
    """Did it change: a state of one byte is as one of many."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [n("ScatterElements", ["old", "at", "x"], ["new"]), n("Equal", ["new", "old"], ["y"]),
             n("Identity", ["new"], ["out"])]  # fmt: skip
    ports = [(name, kind, [1]) for name in ("x", "old", "out")]
    inputs, outputs = [*ports[:2], ("at", TensorProto.INT64, [1])], [("y", TensorProto.BOOL, [1]), ports[2]]
    rows = [[helper.make_tensor_value_info(*port) for port in some] for some in (inputs, outputs)]
    made = helper.make_model(
        helper.make_graph(nodes, "one", *rows), opset_imports=[helper.make_opsetid("", 18)], ir_version=8
    ).SerializeToString()
    session, old = onnxruntime.InferenceSession(made), np.zeros(1, dtype)
    stream = lstm_infer.load(made, states={"old": "out"}).stream()
    for value in (1, 1, 0, 0, 1):
        feeds = {"x": np.array([value], dtype), "at": np.array([0])}
        want, old = session.run(["y", "out"], {**feeds, "old": old})
        assert stream.step(feeds)["y"] == want, value


@pytest.mark.parametrize("kind", ["written", "added", "elements"])
def test_an_index_outside_leaves_the_cache_as_it_was(rng, kind):
    stream = lstm_infer.load(model(kind), states={"cache": "cache_out"}).stream()
    feeds = {"x": rng.normal(size=(2, WIDTH)).astype(np.float32), "at": np.array([[3], [8]])}
    feeds |= {} if kind == "elements" else {"from": np.array([[3], [0]])}
    stream.step(feeds)
    before = stream.state["cache"].copy()
    assert before.any()
    with pytest.raises(lstm_infer.LstmInferError, match=r"Scatter.*index lies outside"):
        stream.step({**feeds, "at": np.array([[2], [ROWS]])})
    np.testing.assert_array_equal(stream.state["cache"], before)
    stream.step(feeds)
