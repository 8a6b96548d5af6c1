"""precision="int8" on whole models: errors beside f32 and onnxruntime's own 8 bits, and the promises that stay."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import models_build
from lstm_infer import _core
from lstm_infer.program import precision

FUSED = [name for name, runnable in _core.list_isas() if runnable and name != "scalar"]
KINDS = [("LSTM", {}), ("GRU", {"linear_before_reset": 1}), ("GRU", {"linear_before_reset": 0}), ("RNN", {})]
IDS = ["lstm", "gru_lbr1", "gru_lbr0", "rnn"]


def layer(op: str, inputs: int = 40, hidden: int = 72, directions: int = 1, **more: object) -> bytes:
    case = models_build.random_case(op, inputs=inputs, hidden=hidden, directions=directions, bias=True, **more)
    case = case.replace(w=case.w * np.float32(0.4), r=case.r * np.float32(0.4), outputs=("Y",))
    return models_build.build(case)[0]


def signal(steps: int, batch: int = 1, inputs: int = 40, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((steps, batch, inputs)).astype(np.float32)


def relative(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got - want).max() / np.abs(want).max())


@pytest.mark.parametrize(("op", "more"), KINDS, ids=IDS)
def test_close_to_f32(op: str, more: dict[str, int]) -> None:
    x = signal(50)
    wide, small = lstm_infer.load(layer(op, **more)), lstm_infer.load(layer(op, **more), precision="int8")
    (held,) = small.layers
    assert held.precision == "int8" and "as int8" in small.summary()
    want, got = wide.run({"X": x})["Y"], small.run({"X": x})["Y"]
    assert 0 < relative(got, want) < 0.03


@pytest.mark.parametrize(("op", "more"), KINDS, ids=IDS)
def test_pieces_equal_the_whole(op: str, more: dict[str, int]) -> None:
    model = lstm_infer.load(layer(op, **more), precision="int8")
    x = signal(61, batch=3)
    whole = model.run({"X": x})["Y"]
    for cuts in ([1] * 61, [61], [2, 30, 1, 28]):
        stream = model.stream(batch=3, max_chunk=16)
        at = np.cumsum([0, *cuts])
        parts = [stream.run(x[a:b]) for a, b in pairwise(at)]
        np.testing.assert_array_equal(np.concatenate(parts), whole, err_msg=str(cuts))
    for row in range(3):
        alone = model.run({"X": np.ascontiguousarray(x[:, row : row + 1])})["Y"]
        np.testing.assert_array_equal(alone, whole[:, :, row : row + 1])


@pytest.mark.skipif(len(FUSED) < 2, reason="one fused set can run here")
@pytest.mark.parametrize(("op", "more"), KINDS, ids=IDS)
@pytest.mark.parametrize("batch", [1, 5, 24])
def test_the_same_bits_on_every_set(op: str, more: dict[str, int], batch: int) -> None:
    x = signal(9, batch=batch)
    made = {isa: lstm_infer.load(layer(op, **more), precision="int8", isa=isa).run({"X": x})["Y"] for isa in FUSED}
    for isa, y in made.items():
        np.testing.assert_array_equal(y, made[FUSED[0]], err_msg=isa)


def test_what_a_signal_holds_stays_with_it() -> None:
    model = lstm_infer.load(layer("LSTM"), precision="int8")
    x = signal(4, batch=3)
    clean = model.run({"X": x})["Y"]
    x[1, 1, 7] = np.nan
    torn = model.run({"X": x})["Y"]
    np.testing.assert_array_equal(torn[:, :, [0, 2]], clean[:, :, [0, 2]])
    np.testing.assert_array_equal(torn[0], clean[0])
    assert np.isnan(torn[1:, :, 1]).all()


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_directions(direction: str) -> None:
    data = layer("LSTM", directions=2 if direction == "bidirectional" else 1, direction=direction)
    x = signal(20)
    want, got = lstm_infer.load(data).run({"X": x})["Y"], lstm_infer.load(data, precision="int8").run({"X": x})["Y"]
    assert 0 < relative(got, want) < 0.03


def test_a_layer_of_few_weights_stays_in_f32() -> None:
    model = lstm_infer.load(layer("GRU", inputs=4, hidden=8), precision="int8")
    (held,) = model.layers
    assert held.precision == "f32" and "no faster in 8 bits" in held.why


@pytest.mark.parametrize(("inputs", "hidden", "kind"), [(2, 63, "f32"), (96, 32, "int8")], ids=["4095", "4096"])
def test_where_few_weights_end(inputs: int, hidden: int, kind: str) -> None:
    (held,) = lstm_infer.load(layer("RNN", inputs=inputs, hidden=hidden), precision="int8").layers
    assert (held.n_weights, held.precision) == (hidden * (inputs + hidden), kind)


def product(op: str, k: int, m: int, n: int = 5) -> tuple[bytes, np.ndarray]:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(m)
    w, bias = rng.standard_normal((k, m)).astype(np.float32), rng.standard_normal(m).astype(np.float32)
    x = rng.standard_normal((n, k)).astype(np.float32)
    if op == "Conv":
        w = np.ascontiguousarray(w.T.reshape(m, k // 4, 4))
        x = rng.standard_normal((2, k // 4, 19)).astype(np.float32)
    names = ["x", "w", *(["b"] if op != "MatMul" else [])]
    more = {"pads": [3, 0], "strides": [2]} if op == "Conv" else {}
    node = helper.make_node(op, names, ["y"], name="product", **more)
    shape = [None] * (3 if op == "Conv" else 2)
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(w, "w"), *([numpy_helper.from_array(bias, "b")] if op != "MatMul" else [])],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString(), x


@pytest.mark.parametrize("op", ["MatMul", "Gemm", "Conv"])
@pytest.mark.parametrize(("k", "m"), [(256, 33), (64, 250)])
def test_products(op: str, k: int, m: int) -> None:
    data, x = product(op, k, m)
    want = lstm_infer.load(data).run({"x": x})["y"]
    model = lstm_infer.load(data, precision={"product": "int8"})
    assert [held.precision for held in model.layers] == ["int8"]
    got = model.run({"x": x})["y"]
    assert 0 < relative(got, want) < 0.03
    for isa in FUSED:
        np.testing.assert_array_equal(lstm_infer.load(data, precision="int8", isa=isa).run({"x": x})["y"], got)


def test_a_convolution_in_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "FEW_I8", 0)
    path = Path(__file__).parent / "zoo" / "files" / "dyn_causal_conv_lstm.onnx"
    model = lstm_infer.load(path, precision="int8")
    assert {held.precision for held in model.layers} == {"int8"}
    (info,), (out,) = model.inputs, model.outputs
    assert info.time_axis is not None and out.time_axis is not None
    shape = [20 if axis == info.time_axis else n or 1 for axis, n in enumerate(info.shape)]
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    whole = model.run({info.name: x})[out.name]
    stream = model.stream()
    parts = [stream.run(np.ascontiguousarray(part)) for part in np.split(x, 20, axis=info.time_axis)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=out.time_axis), whole)


@pytest.mark.parametrize("pads", [(4, 0), (2, 2)])
@pytest.mark.parametrize("isa", [name for name, runnable in _core.list_isas() if runnable])
def test_a_sequence_shorter_than_a_kernel_has_the_bits_of_a_longer_one(pads: tuple[int, int], isa: str) -> None:
    """What a short one sees of the kernel is a part, whose largest weight may be another."""
    rng = np.random.default_rng(0)
    w = rng.standard_normal((48, 32, 5)).astype(np.float32)
    w[..., 0] *= 5
    w[..., -1] *= 3
    gates = {"W": rng.standard_normal((1, 12, 48)), "R": rng.standard_normal((1, 12, 4))}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", pads=pads),
        helper.make_node("Transpose", ["c"], ["t"], perm=[2, 0, 1]),
        helper.make_node("GRU", ["t", "W", "R"], ["y"], hidden_size=4),
    ]
    ports = [
        helper.make_tensor_value_info(n, 1, s) for n, s in (("x", ["B", 32, "T"]), ("c", ["B", 48, None]), ("y", None))
    ]
    inits = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in {"w": w, **gates}.items()]
    graph = helper.make_graph(nodes, "short", ports[:1], ports[1:], inits)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    model = lstm_infer.load(made, precision="int8", isa=isa)
    assert model.layers[0].precision == "int8"
    x = rng.standard_normal((1, 32, 9)).astype(np.float32)
    long = model.run({"x": x})["c"]
    for T in range(1, 9):
        short, stream = model.run({"x": x[..., :T]})["c"], model.stream()
        np.testing.assert_array_equal(short[..., : max(T - pads[1], 0)], long[..., : max(T - pads[1], 0)])
        parts = [stream.run(x[..., :T])["c"], *([stream.flush()["c"]] if stream.lag else [])]
        np.testing.assert_array_equal(np.concatenate(parts, -1), short)


@pytest.mark.parametrize("directions", [1, 2])
def test_no_further_from_f32_than_onnxruntime(directions: int, tmp_path: Path) -> None:
    ort = pytest.importorskip("onnxruntime")
    quantization = pytest.importorskip("onnxruntime.quantization")
    data = layer(
        "LSTM", inputs=64, hidden=96, directions=directions, direction="bidirectional" if directions == 2 else "forward"
    )
    (tmp_path / "f32.onnx").write_bytes(data)
    quantization.quantize_dynamic(
        tmp_path / "f32.onnx", tmp_path / "int8.onnx", weight_type=quantization.QuantType.QInt8
    )
    session = ort.InferenceSession(tmp_path / "int8.onnx", providers=["CPUExecutionProvider"])
    wide, small = lstm_infer.load(data), lstm_infer.load(data, precision="int8")
    mine, theirs = [], []
    for seed in range(4):
        x = {"X": signal(60, inputs=64, seed=seed)}
        want = wide.run(x)["Y"]
        mine.append(np.abs(small.run(x)["Y"] - want).mean())
        theirs.append(np.abs(session.run(["Y"], x)[0] - want).mean())
    assert 0 < np.mean(mine) <= 1.05 * np.mean(theirs)


def test_a_convolution_by_channel_stays_in_f32() -> None:
    from lstm_infer.program.precision import decide

    w = np.ones((512, 1, 9), np.float32)
    held = decide("conv", "Conv", "int8", [w], 9, groups=512)
    assert held.kind == "f32" and "in 512 groups are no faster in 8 bits" in held.why
    assert decide("conv", "Conv", "int8", [w], 9).kind == "int8"


@pytest.mark.parametrize("groups", [1, 2])
def test_each_group_of_a_convolution_has_its_bias(groups: int) -> None:
    rng = np.random.default_rng(0)
    held = {"w": rng.standard_normal((128, 128 // groups, 3)) / 16, "b": 10 * rng.standard_normal(128)}
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 128, n]) for name, n in (("x", 20), ("y", 18)))
    consts = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in held.items()]
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=groups)
    data = helper.make_model(
        helper.make_graph([node], "g", [x], [y], consts), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    feed = {"x": rng.standard_normal((1, 128, 20)).astype(np.float32)}
    want, got = (lstm_infer.load(data, precision=kind).run(feed)["y"] for kind in ("f32", "int8"))
    assert 0 < np.abs(got - want).max() < 0.1
