"""Tensors: every element type, every place data can be in, and every way for dims not to fit it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from importer_models import model, node, port
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer import importer
from lstm_infer.errors import OnnxImportError, UnsupportedOpError

T = TensorProto


def load(tensor: onnx.TensorProto) -> np.ndarray:
    """The array of an initializer that a node reads."""
    tensor.name = "w"
    made = model([node("Add", "x w", "y")])
    made.graph.initializer.append(tensor)
    return importer.read(made.SerializeToString()).consts["w"]


PLAIN = [
    (T.FLOAT, np.float32), (T.DOUBLE, np.float64), (T.FLOAT16, np.float16), (T.INT8, np.int8), (T.INT16, np.int16),
    (T.INT32, np.int32), (T.INT64, np.int64), (T.UINT8, np.uint8), (T.UINT16, np.uint16), (T.UINT32, np.uint32),
    (T.UINT64, np.uint64), (T.BOOL, np.bool_), (T.COMPLEX64, np.complex64), (T.COMPLEX128, np.complex128),
]  # fmt: skip


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize(("code", "dtype"), PLAIN, ids=[np.dtype(dtype).name for _, dtype in PLAIN])
def test_every_dtype(code: int, dtype: type, raw: bool) -> None:
    values = np.array([[0, 1, 5], [7, 100, 3]]).astype(dtype)
    if np.dtype(dtype).kind in "fic":
        values = -values
    if np.dtype(dtype).kind in "iu":
        values[0, 0] = np.iinfo(dtype).max
    got = load(helper.make_tensor("w", code, values.shape, values.tobytes() if raw else values.reshape(-1), raw=raw))
    assert got.dtype == values.dtype
    np.testing.assert_array_equal(got, values)
    assert not got.flags.writeable


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
def test_bfloat16_becomes_float32(raw: bool) -> None:
    values = np.array([1.0, -2.5, 0.15625, np.inf], np.float32)
    bits = (values.view(np.uint32) >> 16).astype(np.uint16)
    tensor = onnx.TensorProto(data_type=T.BFLOAT16, dims=[4])
    if raw:
        tensor.raw_data = bits.tobytes()
    else:
        tensor.int32_data.extend(bits.tolist())
    np.testing.assert_array_equal(load(tensor), values)


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "typed"])
@pytest.mark.parametrize(("name", "bits", "low", "high"), [("INT4", 4, -8, 7), ("UINT4", 4, 0, 15), ("INT2", 2, -2, 1)])
def test_small_integers_are_unpacked(name: str, bits: int, low: int, high: int, raw: bool) -> None:
    if not hasattr(T, name):
        pytest.skip(f"this onnx knows no {name}")
    values = np.array([low, high, 1, 0, low], np.int64)
    packed = np.zeros(-(-len(values) * bits // 8), np.uint8)
    for index, value in enumerate(values):
        packed[index * bits // 8] |= (int(value) & (2**bits - 1)) << (index * bits % 8)
    tensor = onnx.TensorProto(data_type=getattr(T, name), dims=[5])
    if raw:
        tensor.raw_data = packed.tobytes()
    else:
        tensor.int32_data.extend(packed.tolist())
    np.testing.assert_array_equal(load(tensor), values)


ENDS = {"INT4": (-8, 7), "UINT4": (0, 15), "INT2": (-2, 1), "UINT2": (0, 3)}


@pytest.mark.parametrize("said", ["zero point", "Constant", "output_dtype"])
@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("known", [True, False])
def test_small_integers_saturate_where_their_type_ends(name: str, said: str, known: bool) -> None:
    if not hasattr(T, name):
        pytest.skip(f"this onnx knows no {name}")
    low, high = ENDS[name]
    code, zero = getattr(T, name), 0 if said == "output_dtype" else low + 1
    x = np.linspace(-20, 20, 161, dtype=np.float32)
    point = helper.make_tensor("z", code, [], [zero])
    attrs = {"output_dtype": code} if said == "output_dtype" else {}
    read = "s" if attrs else "s z"
    nodes = [node("QuantizeLinear", f"x {read}", "q", **attrs), node("DequantizeLinear", f"q {read}", "d"),
             node("Identity", "q", "seen"), node("Cast", "seen", "n", to=T.FLOAT), node("Add", "d n", "y")]  # fmt: skip
    if said == "Constant":
        nodes.insert(0, node("Constant", "", "z", value=point))
    made = model(nodes, inputs=[] if known else [port("x", [161])], tensors={"s": np.float32(0.5)}, opset=25)
    if known:
        made.graph.initializer.append(numpy_helper.from_array(x, "x"))
    if said == "zero point":
        made.graph.initializer.append(point)
    q = np.clip(np.rint(x / np.float32(0.5)) + zero, low, high)
    (got,) = lstm_infer.load(made).run({} if known else {"x": x}).values()
    np.testing.assert_array_equal(got, (q - zero) * np.float32(0.5) + q)


def test_what_is_cast_to_small_integers_is_refused_by_name() -> None:
    made = model([node("CastLike", "x z", "q"), node("Cast", "q", "y", to=T.FLOAT)])
    made.graph.initializer.append(helper.make_tensor("z", T.INT4, [], [0]))
    with pytest.raises(UnsupportedOpError, match=r"CastLike.*int4"):
        importer.read(made.SerializeToString())


@pytest.mark.parametrize("name", ["FLOAT8E4M3FN", "FLOAT8E5M2", "FLOAT4E2M1", "STRING", "UNDEFINED"])
def test_other_dtypes_are_refused_by_name(name: str) -> None:
    if not hasattr(T, name):
        pytest.skip(f"this onnx knows no {name}")
    word = "no type" if name == "UNDEFINED" else name.lower()
    with pytest.raises(OnnxImportError, match=f"initializer 'w'.*{word}"):
        load(onnx.TensorProto(data_type=getattr(T, name), dims=[1], raw_data=b"\0"))


def test_a_string_nobody_reads_is_no_matter() -> None:
    made = model([node("Relu", "x", "y"), node("Constant", "", "s", value_string="hello")])
    made.graph.initializer.append(helper.make_tensor("w", T.STRING, [1], [b"text"]))
    graph = importer.read(made)
    assert not graph.consts


BROKEN = {
    "too few bytes": onnx.TensorProto(data_type=T.FLOAT, dims=[3], raw_data=b"\0" * 8),
    "too many bytes": onnx.TensorProto(data_type=T.FLOAT, dims=[1], raw_data=b"\0" * 8),
    "too few numbers": onnx.TensorProto(data_type=T.FLOAT, dims=[3], float_data=[1.0]),
    "a negative dim": onnx.TensorProto(data_type=T.FLOAT, dims=[-1], raw_data=b""),
    "dims that multiply to zero in 64 bits": onnx.TensorProto(data_type=T.FLOAT, dims=[2**32, 2**32], raw_data=b""),
    "a dim beyond memory": onnx.TensorProto(data_type=T.FLOAT, dims=[2**62], raw_data=b""),
    "huge beside zero": onnx.TensorProto(data_type=T.FLOAT, dims=[0, 2**62], raw_data=b""),
    "too many dims": onnx.TensorProto(data_type=T.FLOAT, dims=[1] * 80, raw_data=b"\0" * 4),
    "data in two places": onnx.TensorProto(data_type=T.FLOAT, dims=[1], raw_data=b"\0" * 4, float_data=[1.0]),
    "data in the wrong field": onnx.TensorProto(data_type=T.FLOAT, dims=[1], int64_data=[1]),
    "a number too large": onnx.TensorProto(data_type=T.INT8, dims=[1], int32_data=[200]),
    "a number below zero": onnx.TensorProto(data_type=T.FLOAT16, dims=[1], int32_data=[-1]),
    "a segment": onnx.TensorProto(
        data_type=T.FLOAT, dims=[1], float_data=[1.0], segment=onnx.TensorProto.Segment(begin=0, end=1)
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_dims_are_held_against_the_data(what: str) -> None:
    with pytest.raises(OnnxImportError, match="initializer 'w'"):
        load(BROKEN[what])


def test_an_empty_tensor() -> None:
    assert load(onnx.TensorProto(data_type=T.FLOAT, dims=[0, 3])).shape == (0, 3)
    assert load(onnx.TensorProto(data_type=T.FLOAT, dims=[2, 0], raw_data=b"")).shape == (2, 0)


# Sparse


def sparse(dims: list[int], values: list[float], indices: np.ndarray) -> onnx.SparseTensorProto:
    return onnx.SparseTensorProto(
        dims=dims,
        values=helper.make_tensor("w", T.FLOAT, [len(values)], values),
        indices=numpy_helper.from_array(indices.astype(np.int64)),
    )


def load_sparse(tensor: onnx.SparseTensorProto) -> np.ndarray:
    made = model([node("Add", "x w", "y")])
    made.graph.sparse_initializer.append(tensor)
    return importer.read(made).consts["w"]


def test_sparse_is_written_out() -> None:
    want = np.array([[0, 2, 0], [0, 0, 3]], np.float32)
    np.testing.assert_array_equal(load_sparse(sparse([2, 3], [2, 3], np.array([1, 5]))), want)
    np.testing.assert_array_equal(load_sparse(sparse([2, 3], [2, 3], np.array([[0, 1], [1, 2]]))), want)


@pytest.mark.parametrize(
    ("dims", "indices"),
    [([2, 3], [6]), ([2, 3], [-1]), ([2, 3], [[0, 3]]), ([2, 3], [[0]]), ([2**20, 2**20], [0]), ([2**62, 4], [0])],
)
def test_sparse_that_does_not_fit(dims: list[int], indices: list[int]) -> None:
    with pytest.raises(OnnxImportError, match="'w'"):
        load_sparse(sparse(dims, [1.0], np.array(indices)))


# External data


def external(folder: Path, entries: dict[str, object], dims: list[int] | None = None) -> Path:
    """A model whose w lies where `entries` says."""
    made = model([node("Add", "x w", "y")])
    tensor = made.graph.initializer.add(name="w", data_type=T.FLOAT, dims=dims or [3], data_location=T.EXTERNAL)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=str(value))
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    return folder / "m.onnx"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "model"
    inside.mkdir()
    np.arange(8, dtype=np.float32).tofile(inside / "w.bin")
    np.arange(8, dtype=np.float32).tofile(tmp_path / "outside.bin")
    return inside


@pytest.mark.parametrize("form", [str, Path])
def test_external_data(folder: Path, form: type, monkeypatch: pytest.MonkeyPatch) -> None:
    path = external(folder, {"location": "w.bin", "offset": 8, "length": 12})
    np.testing.assert_array_equal(importer.read(form(path)).consts["w"], [2, 3, 4])
    monkeypatch.chdir(folder)
    np.testing.assert_array_equal(importer.read("m.onnx").consts["w"], [2, 3, 4])


def test_external_data_without_offset_or_length(folder: Path) -> None:
    np.testing.assert_array_equal(importer.read(external(folder, {"location": "w.bin"})).consts["w"], [0, 1, 2])


def test_external_data_needs_a_path(folder: Path) -> None:
    data = external(folder, {"location": "w.bin"}).read_bytes()
    with pytest.raises(OnnxImportError, match="give the path"):
        importer.read(data)


@pytest.mark.parametrize(
    "location",
    ["../outside.bin", "sub/../../outside.bin", "{tmp}/outside.bin", "link.bin", "dir/outside.bin", "C:\\w.bin"],
)
def test_external_data_stays_in_the_folder(folder: Path, location: str) -> None:
    (folder / "link.bin").symlink_to(folder.parent / "outside.bin")
    (folder / "dir").symlink_to(folder.parent, target_is_directory=True)
    with pytest.raises(OnnxImportError, match="leaves the model's folder"):
        importer.read(external(folder, {"location": location.format(tmp=folder.parent)}))


@pytest.mark.parametrize(
    "entries",
    [
        {}, {"location": ""}, {"location": "nowhere.bin"}, {"location": "."}, {"location": "fifo"},
        {"location": "w.bin", "offset": 24}, {"location": "w.bin", "offset": 2**70}, {"location": "w.bin", "offset": -4},
        {"location": "w.bin", "length": 8}, {"location": "w.bin", "offset": "x"}, {"location": "w.bin", "offset": 2**63 - 1},
        {"location": "w\0.bin"}, {"location": "w.bin" * 1000},
    ],
)  # fmt: skip
def test_external_data_that_is_not_there(folder: Path, entries: dict[str, object]) -> None:
    os.mkfifo(folder / "fifo")
    with pytest.raises(OnnxImportError, match="initializer 'w'"):
        importer.read(external(folder, entries))


def test_external_data_larger_than_memory_is_not_allocated(folder: Path) -> None:
    with pytest.raises(OnnxImportError, match="that file has 32"):
        importer.read(external(folder, {"location": "w.bin"}, [2**38]))


def test_graph_inputs_keep_their_dtype() -> None:
    graph = importer.read(model([node("Cast", "x", "y", to=1)], inputs=[port("x", ["T", 3, None], T.FLOAT16)]))
    assert graph.inputs[0].dtype == np.float16
    assert graph.inputs[0].shape == ("T", 3, None)
