"""load(precision=): what is asked for, how each layer is held, and the bits that follow."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lstm_infer
import models_build
import stream_models
from lstm_infer.program.precision import FEW, exact_f16, within_f16

WEIGHTS = {"LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "Gemm": (1,), "MatMul": (1,), "Conv": (1,)}
FILES = Path(__file__).parent / "zoo" / "files"
PLAIN = sorted(FILES.glob("ts_*.onnx")) + sorted(FILES.glob("dyn_*lstm*.onnx")) + sorted(FILES.glob("dyn_*gru*.onnx"))


def rounded(path: Path) -> tuple[bytes, bool]:
    """The file with every weight that an initializer holds rounded to half; are there no others."""
    model = onnx.load(path)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    whole = True
    for node in model.graph.node:
        # a body brings weights of its own; batch normalization changes those of the Conv before it
        whole = whole and node.op_type not in ("Loop", "Scan", "If", "BatchNormalization")
        for index in WEIGHTS.get(node.op_type, ()):
            tensor = held.get(node.input[index])
            if tensor is None:
                whole = False
            else:
                value = numpy_helper.to_array(tensor)
                tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16).astype(value.dtype), tensor.name))
    return model.SerializeToString(), whole


def ran(model: lstm_infer.Model, seed: int = 3) -> dict[str, np.ndarray]:
    """Some run of the model."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for info in model.inputs:
        shape = [
            6 if n is None and a == info.time_axis else n or (32 if a == 2 else 1) for a, n in enumerate(info.shape)
        ]
        draw = rng.standard_normal(shape) if info.dtype.kind == "f" else np.ones(shape)
        feeds[info.name] = draw.astype(info.dtype)
    return model.run(feeds)


def lstm(hidden: int = 64, scale: float = 1.0, seed: int = 0) -> bytes:
    case = models_build.random_case("LSTM", hidden=hidden, inputs=32, seed=seed)
    case = case.replace(r=(case.r * np.float32(scale)).astype(np.float32), outputs=("Y",))
    return models_build.build(case)[0]


def test_f16_is_f32_on_the_rounded_weights_bit_for_bit() -> None:
    compared = 0
    for path in PLAIN:
        data, whole = rounded(path)
        if not whole:
            continue
        try:
            wide = lstm_infer.load(data)
            want = ran(wide)
        except lstm_infer.LstmInferError:
            continue  # a file that is refused, or one that these inputs do not fit
        half = lstm_infer.load(path, precision="f16")
        assert {layer.precision for layer in half.layers} == {"f16"}, path.name
        got = ran(half)
        for name in want:
            np.testing.assert_array_equal(got[name], want[name], err_msg=f"{path.name} {name}")
        compared += bool(want)
    assert compared >= 8


def test_weights_that_halves_hold_are_held_so_without_being_asked() -> None:
    data = lstm()
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    exact = lstm_infer.load(model)
    assert [(layer.precision, layer.why) for layer in exact.layers] == [("f16", "f16 holds every weight exactly")]
    assert "as f16 (f16 holds every weight exactly)" in exact.summary()
    assert [layer.precision for layer in lstm_infer.load(data).layers] == ["f32"]
    half = lstm_infer.load(data, precision="f16")
    assert exact.nbytes == half.nbytes < lstm_infer.load(data).nbytes
    want = ran(lstm_infer.load(model, isa=exact.isa, precision={"rec": "f32"}))
    np.testing.assert_array_equal(ran(exact)["Y"], want["Y"])


def test_few_weights_stay_as_they_are() -> None:
    model = lstm_infer.load(stream_models.hidden_state())
    assert sum(layer.n_weights for layer in model.layers) < FEW
    assert {layer.precision for layer in model.layers} == {"f32"}


def test_a_weight_beyond_the_range_keeps_its_layer_in_f32() -> None:
    model = lstm_infer.load(lstm(scale=1e6), precision="f16")
    (layer,) = model.layers
    assert layer.precision == "f32" and "beyond the range of f16, 65504" in layer.why
    assert layer.why in model.summary()
    np.testing.assert_array_equal(ran(model)["Y"], ran(lstm_infer.load(lstm(scale=1e6)))["Y"])


@pytest.mark.parametrize(
    ("asked", "kind"),
    [({"rec": "f16"}, "f16"), ({"rec": "f32", "*": "f16"}, "f32"), ({"*": "f16"}, "f16"), ({}, "f32")],
)
def test_by_name(asked: dict[str, str], kind: str) -> None:
    assert [layer.precision for layer in lstm_infer.load(lstm(), precision=asked).layers] == [kind]


@pytest.mark.parametrize("asked", ["f8", "F16", 16, None, {"rec": "half"}, {"rec": 2}, {3: "f16"}, ["f16"]])
def test_what_no_precision_is(asked: object) -> None:
    with pytest.raises(lstm_infer.ArgumentError, match="precision"):
        lstm_infer.load(lstm(), precision=asked)  # type: ignore[arg-type]


def test_a_name_that_no_layer_has_lists_those_there_are() -> None:
    with pytest.raises(lstm_infer.ArgumentError, match="no layer 'rex'; those with weights are 'rec'"):
        lstm_infer.load(lstm(), precision={"rex": "f16"})


def test_a_pickled_model_keeps_its_precision() -> None:
    model = lstm_infer.load(lstm(), precision={"rec": "f16"})
    twin = pickle.loads(pickle.dumps(model))
    assert twin.layers == model.layers
    np.testing.assert_array_equal(ran(twin)["Y"], ran(model)["Y"])


def test_a_snapshot_goes_to_its_own_precision_only() -> None:
    data = stream_models.hidden_state()
    wide, half = lstm_infer.load(data).stream(), lstm_infer.load(data, precision="f16").stream()
    with pytest.raises(lstm_infer.FormatError, match="another precision"):
        half.restore(wide.snapshot())


def test_exact_and_within() -> None:
    every = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    assert exact_f16(every)
    assert not exact_f16(np.float32([1e-8])) and not exact_f16(np.append(every, np.float32(0.1)))
    assert (
        within_f16(every) and within_f16(np.float32([65504, -65504, np.nan])) and not within_f16(np.float32([-65505]))
    )
    assert within_f16(np.zeros((0, 3), np.float32)) and exact_f16(np.zeros((0, 3), np.float32))


def in_half(graph: onnx.GraphProto) -> None:
    """Every float32 of a graph to float16, in place."""
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    for node in graph.node:
        for attribute in node.attribute:
            held = attribute.t
            if attribute.type == onnx.AttributeProto.TENSOR and held.data_type == onnx.TensorProto.FLOAT:
                held.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(held).astype(np.float16), held.name))
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = onnx.TensorProto.FLOAT16
            if attribute.type == onnx.AttributeProto.GRAPH:
                in_half(attribute.g)


@pytest.mark.parametrize(
    "name", ["ts_gru_cell_step", "ts_peephole_step", "ts_coupled_step", "dyn_paper_gru_step", "ts_unrolled_decoder"]
)
def test_cells_of_a_half_precision_file_are_recognised(name: str) -> None:
    path = FILES / f"{name}.onnx"
    wide, model = lstm_infer.load(path), onnx.load(path)
    in_half(model.graph)
    half = lstm_infer.load(model)
    assert len(half.rewritten) == len(wide.rewritten) > 0
    want, got = ran(wide), ran(half)
    for value in want:
        assert got[value].dtype == np.float16
        np.testing.assert_allclose(got[value].astype(np.float32), want[value], rtol=0.02, atol=0.01)
