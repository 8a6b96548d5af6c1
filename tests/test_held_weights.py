"""Weights are held once: packed, where all that reads them reads panels. What is unpacked again gives the same panels."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer.graph.weights import as_weight
from lstm_infer.program.packing import layout, panels
from lstm_infer.program.store import ConstStore
from lstm_infer.program.unpacking import Piece, Unpack

H, C = 72, 40
KINDS = ("f32", "f16", "int8")


def model(seed: int = 0, shared: bool = False, plain: bool = False) -> bytes:
    """x [T, B, 40]: Gemm, Conv of 1 and of 3, a bidirectional LSTM, both kinds of GRU, a MatMul, in turns."""
    rng = np.random.default_rng(seed)
    held: dict[str, np.ndarray] = {"one": np.array([1], np.int64), "shape": np.array([0, 0, -1], np.int64)}
    nodes = []

    def weight(name: str, *shape: int) -> str:
        held[name] = (rng.standard_normal(shape) / 8).astype(np.float32)
        return name

    def add(op: str, ins: list[str], out: str, **attrs: object) -> str:
        outs = {"LSTM": ["Y"], "GRU": ["Y"]}
        nodes.append(helper.make_node(op, ins, [out + outs.get(op, [""])[0]], name=out, **attrs))
        return out + outs.get(op, [""])[0]

    x = add("MatMul", ["x", weight("first", C, H)], "first_product")
    x = add("Transpose", [x], "channels", perm=[1, 2, 0])
    x = add("Conv", [x, weight("point", 2 * H, H, 1), weight("bias", 2 * H)], "point_conv", kernel_shape=[1])
    x = add("Conv", [x, weight("wide", 4 * H, H, 3)], "wide_conv", kernel_shape=[3], pads=[2, 0], group=2)
    x = add("Transpose", [x], "rows", perm=[2, 0, 1])
    for before in (0, 1):
        name = f"gru{before}"
        ins = [
            x,
            weight(f"{name}_w", 1, 3 * H, H if before else 4 * H),
            weight(f"{name}_r", 1, 3 * H, H),
            weight(f"{name}_b", 1, 6 * H),
        ]
        x = add("GRU", ins, name, hidden_size=H, linear_before_reset=before)
        x = add("Squeeze", [x, "one"], f"{name}_rows")
    ins = [x, weight("lw", 1, 4 * H, H), weight("lr", 1, 4 * H, H)]
    x = add("Squeeze", [add("LSTM", ins, "lstm", hidden_size=H), "one"], "lstm_rows")
    last = weight("last", H, H)
    y = add("MatMul", [x, last], "last_product")
    if shared:
        y = add("MatMul", [y, last], "same_product")
    if plain:
        y = add("MatMul", [last, add("Transpose", [y], "turned", perm=[0, 2, 1])], "left_product")
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, ["T", "B", C])], [info(y, TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(a, n) for n, a in held.items()])  # fmt: skip
    made = onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )
    return made.SerializeToString()


def fed(T: int = 9, B: int = 2) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((T, B, C)).astype(np.float32)


def result(loaded: lstm_infer.Model, x: np.ndarray) -> bytes:
    return next(iter(loaded.run({"x": x}).values())).tobytes()


def gone(loaded: lstm_infer.Model) -> dict[str, bool]:
    """Weight -> is it held packed alone."""
    found = {name: as_weight(array) for name, array in loaded._graph.consts.items()}
    return {name: weight.held is None for name, weight in found.items() if weight is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_unpacked_packs_to_the_same_bits(kind: str) -> None:
    rng = np.random.default_rng(5)
    for units, k, gates in ((1, 1, 1), (16, 4, 3), (37, 19, 4), (200, 33, 1)):
        parts = [
            rng.standard_normal((gates, units, n)).astype(np.float32) * np.float32(10.0 ** rng.integers(-9, 4))
            for n in (k, k + 1)
        ]
        parts[0][0, 0] = 0
        held = panels(kind, parts)
        size, starts = layout(kind, [(gates, k), (gates, k + 1)])
        view = ConstStore().packed("key", lambda held=held: held)
        back = []
        for part, start in zip(parts, starts, strict=True):
            one = Unpack(kind, part.shape, part.dtype, (Piece(view, *part.shape, size, start),))()
            back.append(one)
            want = {"f32": part, "f16": part.astype(np.float16).astype(np.float32)}.get(kind)
            if want is not None:
                np.testing.assert_array_equal(one, want)
        np.testing.assert_array_equal(panels(kind, back).view(np.uint8), held.view(np.uint8))


def test_every_scale_of_8_bits_comes_back() -> None:
    """A scale is a 127th of the largest of a row, and a 127th of 127 scales is the scale: for every number of two binades."""
    for exponent in (127, 128):
        largest = (np.arange(1 << 23, dtype=np.uint32) | np.uint32(exponent << 23)).view(np.float32)
        scale = largest / np.float32(127)
        np.testing.assert_array_equal(np.float32(127) * scale / np.float32(127), scale)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_weights_are_held_once(kind: str) -> None:
    source, x = model(), fed()
    first = lstm_infer.load(source, precision=kind)
    want = result(first, x)
    held = gone(first)
    stays = {"wide"} if kind == "int8" else set()  # at other sizes a part of it may be quantised by itself
    assert {name for name, went in held.items() if not went} == stays and len(held) == 10
    again = [first, pickle.loads(pickle.dumps(first)), copy.deepcopy(first)]
    assert all(result(one, x) == want for one in again)
    for T in (1, 2, 5):  # other sizes, packed from what was unpacked where they are packed anew
        assert result(first, x[:T]) == result(lstm_infer.load(source, precision=kind), x[:T])
    stream, alone = first.stream(2), lstm_infer.load(source, precision=kind).stream(2)
    np.testing.assert_array_equal(stream.run(x), alone.run(x))


def test_a_weight_that_is_read_otherwise_too_stays() -> None:
    loaded = lstm_infer.load(model(plain=True), precision="int8")
    result(loaded, fed())
    assert "last" not in gone(loaded) and gone(loaded)["lw"]


@pytest.mark.parametrize("order", [("int8", "f32"), ("f32", "int8"), ("f16", "f32"), ("int8", "f16"), ("int8", "int8")])
def test_a_weight_of_two_nodes_is_rounded_for_each_by_itself(order: tuple[str, str]) -> None:
    source, x = model(shared=True), fed()
    asked = {"last_product": order[0], "same_product": order[1]}
    loaded = lstm_infer.load(source, precision=asked)
    once = result(loaded, x)
    loaded._programs.kept.clear()
    assert result(loaded, x) == once
    apart = onnx.load_from_string(source)
    twin = onnx.TensorProto()
    twin.CopyFrom(next(t for t in apart.graph.initializer if t.name == "last"))
    twin.name = "twin"
    apart.graph.initializer.append(twin)
    next(n for n in apart.graph.node if n.name == "same_product").input[1] = "twin"
    assert result(lstm_infer.load(apart, precision=asked), x) == once
    assert gone(loaded)["last"] == ("f32" in order or order[0] == order[1])


MEASURE = """
import gc, sys, numpy as np, lstm_infer
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
def once(path, kind, n):
    model = lstm_infer.load(path, precision=kind)
    model.stream().step(np.zeros((1, 1, n), np.float32))
    gc.collect()
    return model
other = once(sys.argv[2], sys.argv[3], 256)
before = resident()
model = once(sys.argv[1], sys.argv[3], 1024)
print(model.nbytes, resident() - before)
"""


def layers(n: int) -> onnx.ModelProto:
    """Two LSTMs of n units over n inputs."""
    rng = np.random.default_rng(0)
    nodes, held, x = [], {"one": np.array([1], np.int64)}, "x"
    for i in range(2):
        held |= {f"{m}{i}": rng.standard_normal((1, 4 * n, n)).astype(np.float32) / 30 for m in "WR"}
        nodes.append(helper.make_node("LSTM", [x, f"W{i}", f"R{i}"], [f"Y{i}"], name=f"lstm{i}", hidden_size=n))
        nodes.append(helper.make_node("Squeeze", [f"Y{i}", "one"], [f"x{i}"]))
        x = f"x{i}"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, ["T", 1, n])], [info(x, TensorProto.FLOAT, ["T", 1, n])],
                              [numpy_helper.from_array(a, m) for m, a in held.items()])  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/statm")
def test_memory_of_large_layers(tmp_path) -> None:
    """(1024, 1024, 2): a half in f16, a quarter in int8, of what f32 takes; beside another model, so that code is there."""
    onnx.save(layers(1024), tmp_path / "large.onnx")
    onnx.save(layers(256), tmp_path / "small.onnx")
    weights = 4 * 2 * 8 * 1024 * 1024
    for kind, part in (("f32", 1), ("f16", 2), ("int8", 4)):
        ran = subprocess.run([sys.executable, "-c", MEASURE, tmp_path / "large.onnx", tmp_path / "small.onnx", kind],
                             capture_output=True, text=True, check=True)  # fmt: skip
        n_bytes, grown = map(int, ran.stdout.split())
        assert n_bytes <= 1.03 * weights / part, f"{kind}: {n_bytes:,}"
        assert grown <= 1.1 * weights / part + 1_000_000, f"{kind}: {grown:,}"
