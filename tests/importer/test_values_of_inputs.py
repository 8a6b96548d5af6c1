"""Initializers that are graph inputs too, as old exporters write all weights: they may be fed, where that means something."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from lstm_infer.errors import DtypeError, FeedError, ShapeError

F, H = 3, 4
RNG = np.random.default_rng(7)
DTYPES = {"f": TensorProto.FLOAT, "i": TensorProto.INT64, "b": TensorProto.BOOL}


def drawn(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def made(nodes: list[onnx.NodeProto], values: dict[str, np.ndarray], ir_version: int = 8) -> bytes:
    """x [T, 1, F] -> y; every initializer is an input."""
    info = helper.make_tensor_value_info
    ports = [info("x", TensorProto.FLOAT, ["T", 1, F])]
    ports += [info(name, DTYPES[v.dtype.kind], v.shape) for name, v in values.items()]
    tensors = [numpy_helper.from_array(v, name) for name, v in values.items()]
    graph = helper.make_graph(nodes, "g", ports, [info("y", TensorProto.FLOAT, None)], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=ir_version)
    return bytes(model.SerializeToString())


def net(ir_version: int = 8) -> bytes:
    """y = (LSTM(x) Wo) gain + bias."""
    node = helper.make_node
    nodes = [
        node("Transpose", ["Wt"], ["W"], perm=[0, 2, 1]), node("LSTM", ["x", "W", "R"], ["Y"], hidden_size=H),
        node("Squeeze", ["Y", "one"], ["Ys"]), node("MatMul", ["Ys", "Wo"], ["o"]), node("Mul", ["o", "gain"], ["g"]),
        node("Exp", ["g"], ["e"]), node("Mul", ["e", "scale"], ["y"]),
    ]  # fmt: skip
    values = {"Wt": drawn(1, F, 4 * H), "R": drawn(1, 4 * H, H), "one": np.array([1]), "Wo": drawn(H, 2), "gain": drawn(1),
              "scale": drawn(2)}  # fmt: skip
    return made(nodes, values, ir_version)


def ran(file: bytes, feeds: dict[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(file, options).run(["y"], feeds)[0]


BODY = {"info": helper.make_tensor_value_info("t", TensorProto.FLOAT, None)}
NEG, EXP = (helper.make_graph([helper.make_node(op, ["x"], ["t"])], op, [], [BODY["info"]]) for op in ("Neg", "Exp"))
MADE_OF = {
    "transposed": ([helper.make_node("Transpose", ["W"], ["Wt"]), helper.make_node("MatMul", ["x", "Wt"], ["y"])],
                   {"W": drawn(H, F)}, "W"),
    "summed": ([helper.make_node("Add", ["b", "c"], ["d"]), helper.make_node("Add", ["x", "d"], ["y"])],
               {"b": drawn(F), "c": drawn(F)}, "b"),
    "bias": ([helper.make_node("MatMul", ["x", "W"], ["a"]), helper.make_node("Add", ["a", "b"], ["y"])],
             {"W": drawn(F, H), "b": drawn(H)}, "b"),
    "cut": ([helper.make_node("Slice", ["x", "s", "e", "a"], ["y"])],
            {"s": np.array([0]), "e": np.array([2**31]), "a": np.array([0])}, "e"),
    "choice": ([helper.make_node("If", ["c"], ["y"], then_branch=NEG, else_branch=EXP)], {"c": np.array(True)}, "c"),
}  # fmt: skip


@pytest.mark.parametrize("what", MADE_OF)
def test_a_value_that_constants_were_made_of_is_not_fed(what: str) -> None:
    """Fed all the same it would change nothing, or half of what is made of it; `constants=` changes all."""
    nodes, values, name = MADE_OF[what]
    file, x = made(nodes, values), drawn(5, 1, F)
    tolerances.like_onnxruntime(lstm_infer.load(file).run({"x": x})["y"], ran(file, {"x": x}))
    held = values[name]
    other = (
        np.array(not held)
        if held.dtype.kind == "b"
        else np.array([3])
        if held.dtype.kind == "i"
        else drawn(*held.shape)
    )
    with pytest.raises(FeedError, match=rf"'{name}' has a value in the file.*constants=\{{'{name}'"):
        lstm_infer.load(file).run({"x": x, name: other})
    got = lstm_infer.load(file, constants={name: other}).run({"x": x})["y"]
    tolerances.like_onnxruntime(got, ran(file, {"x": x, name: other}))


def test_what_stands_in_its_place_is_like_it() -> None:
    with pytest.raises(ShapeError, match=r"'gain' is \[1\] in the file, got \[2\]"):
        lstm_infer.load(net(), constants={"gain": drawn(2)})
    with pytest.raises(DtypeError, match="'gain' takes float32"):
        lstm_infer.load(net(), constants={"gain": np.array([2**24 + 1])})


def test_a_native_file_keeps_what_may_be_fed(tmp_path: Path) -> None:
    file, x = net(), drawn(6, 1, F)
    model = lstm_infer.load(file)
    assert lstm_infer.convert(file, tmp_path / "m.lsi").ok
    again = lstm_infer.load(tmp_path / "m.lsi")
    for feeds in ({}, {"gain": drawn(1)}, {"scale": drawn(2), "Wo": drawn(H, 2)}):
        tolerances.like_onnxruntime(model.run({"x": x, **feeds})["y"], ran(file, {"x": x, **feeds}))
        tolerances.exact(again.run({"x": x, **feeds})["y"], model.run({"x": x, **feeds})["y"])
    with pytest.raises(FeedError, match="'Wt'"):
        again.run({"x": x, "Wt": drawn(1, F, 4 * H)})
    tolerances.exact(again.stream().run(x), model.stream().run(x))


def test_a_native_file_keeps_what_was_said(tmp_path: Path) -> None:
    """Its streams go on where those of the source with the same value end, and not where others do."""
    file, x, gain = net(), drawn(6, 1, F), drawn(1)
    model = lstm_infer.load(file, constants={"gain": gain})
    assert lstm_infer.convert(file, tmp_path / "m.lsi", constants={"gain": gain}).ok
    again = lstm_infer.load(tmp_path / "m.lsi")
    tolerances.exact(again.run({"x": x})["y"], model.run({"x": x})["y"])
    tolerances.like_onnxruntime(model.run({"x": x})["y"], ran(file, {"x": x, "gain": gain}))
    again.stream().restore(model.stream().snapshot())
    with pytest.raises(lstm_infer.LstmInferError, match="constant"):
        lstm_infer.load(file).stream().restore(model.stream().snapshot())


@pytest.mark.parametrize("to,ir_version", [("native", 3), ("onnx", 3), ("native", 8), ("onnx", 8), ("c", 8)])
def test_such_a_file_converts(to: str, ir_version: int, tmp_path: Path) -> None:
    report = lstm_infer.convert(net(ir_version), tmp_path / "net", to=to)
    can_be_fed = ir_version > 3
    assert report.ok
    assert any("held" in note and "gain" in note for note in report.notes) == (can_be_fed and to != "native")
    if to == "onnx":
        ports = [port.name for port in onnx.load(tmp_path / "net").graph.input]
        assert ports[0] == "x" and not {"gain", "Wo", "R"} & set(ports)
