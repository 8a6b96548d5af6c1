"""An input of the source that is an output of it too: one value under one name, two ports of what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from step_files import StepFile, session

import lstm_infer
import tolerances

F, H, T = 3, 4, 12


def handing_through(kind: str) -> onnx.ModelProto:
    """y = LSTM(x, h, c), and x or something else as it came in."""
    rng = np.random.default_rng(5)
    node, info, FLOAT = helper.make_node, helper.make_tensor_value_info, TensorProto.FLOAT
    ports = {"x": info("x", FLOAT, ["T", 1, F]), "y": info("y", FLOAT, ["T", 1, H])}
    ports |= {name: info(name, FLOAT, [1, 1, H]) for name in ("h", "c", "hn", "cn")} | {
        "kept": info("kept", FLOAT, [1, H])
    }
    nodes = [node("LSTM", ["x", "W", "R", "", "", "h", "c"], ["Y", "hn", "cn"], hidden_size=H),
             node("Squeeze", ["Y", "one"], ["y"])]  # fmt: skip
    inputs, outputs = ["x", "h", "c"], ["y", "hn", "cn"]
    weights = {"W": rng.normal(size=(1, 4 * H, F)), "R": rng.normal(size=(1, 4 * H, H))}
    if kind == "kept":  # what is fed the same at every step
        nodes += [node("Add", ["y", "kept"], ["z"])]
        ports["z"] = info("z", FLOAT, ["T", 1, H])
        inputs, outputs = [*inputs, "kept"], ["z", "hn", "cn", "kept"]
    elif kind == "name taken":  # what the second port would be called
        nodes += [node("Add", ["y", "x_out"], ["z"])]
        ports |= {"x_out": info("x_out", FLOAT, ["T", 1, H]), "z": info("z", FLOAT, ["T", 1, H])}
        inputs, outputs = [*inputs, "x_out"], ["z", "hn", "cn", "x"]
    elif kind == "ahead":  # another output looks ahead
        weights["K"] = rng.normal(size=(H, H, 3))
        nodes += [node("Transpose", ["y"], ["yt"], perm=[1, 2, 0]), node("Conv", ["yt", "K"], ["z"], pads=[1, 1])]
        ports["z"] = info("z", FLOAT, [1, H, "T"])
        outputs = ["z", "hn", "cn", "x"]
    else:
        outputs = [*outputs, "x"]
    tensors = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    graph = helper.make_graph(
        nodes, "g", [ports[k] for k in inputs], [ports[k] for k in outputs],
        [*tensors, numpy_helper.from_array(np.array([1]), "one")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("kind", ["x", "kept", "ahead", "name taken"])
def test_the_file_of_one_step_gives_it_a_name_of_its_own(kind: str, chunk: int, tmp_path: Path) -> None:
    source = handing_through(kind)
    options = {"time_axis": {"x": 0, "x_out": 0}} if kind == "name taken" else {}
    assert lstm_infer.convert(source, tmp_path / "step.onnx", chunk=chunk, **options).ok
    file = StepFile(tmp_path / "step.onnx")
    (again,) = (name for name, said in file.stream["outputs"].items() if "of" in said)
    assert file.stream["outputs"][again]["of"] == ("kept" if kind == "kept" else "x")
    assert again not in {port.name for port in file.proto.graph.input}
    rng = np.random.default_rng(6)
    feeds = {p.name: rng.normal(size=[d.dim_value or T for d in p.type.tensor_type.shape.dim]).astype(np.float32)
             for p in source.graph.input if p.name not in ("h", "c")}  # fmt: skip
    side = {name: feeds.pop(name) for name in ("kept",) if name in feeds}
    want = session(source.SerializeToString()).run(
        None, {**feeds, **side, **{n: np.zeros((1, 1, H), np.float32) for n in "hc"}}
    )
    got = file.run(feeds, T, side=side)
    names = [port.name for port in source.graph.output]
    tolerances.like_onnxruntime(got[names[0]], want[0])
    np.testing.assert_array_equal(got[again], want[-1])


@pytest.mark.parametrize("kind", ["x", "kept"])
def test_c_gives_it_a_parameter_of_its_own(kind: str, tmp_path: Path) -> None:
    assert lstm_infer.convert(handing_through(kind), tmp_path / "net", to="c").ok
    name = "kept" if kind == "kept" else "x"
    declared = (tmp_path / "net" / "net.h").read_text()
    assert f"const float *{name}," in declared and f"float *{name}_out)" in declared
