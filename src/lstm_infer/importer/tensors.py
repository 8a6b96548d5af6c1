"""TensorProto to NumPy. Declared dims are held against the data that is there before anything is allocated."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lstm_infer.errors import OnnxImportError
from lstm_infer.graph.ir import Array
from lstm_infer.importer.external import ExternalData

__all__ = ["DTYPES", "Tensors", "element", "frozen"]

T = onnx.TensorProto

DTYPES: dict[int, np.dtype[np.generic]] = {
    T.FLOAT: np.dtype(np.float32),
    T.UINT8: np.dtype(np.uint8),
    T.INT8: np.dtype(np.int8),
    T.UINT16: np.dtype(np.uint16),
    T.INT16: np.dtype(np.int16),
    T.INT32: np.dtype(np.int32),
    T.INT64: np.dtype(np.int64),
    T.BOOL: np.dtype(np.bool_),
    T.FLOAT16: np.dtype(np.float16),
    T.DOUBLE: np.dtype(np.float64),
    T.UINT32: np.dtype(np.uint32),
    T.UINT64: np.dtype(np.uint64),
    T.COMPLEX64: np.dtype(np.complex64),
    T.COMPLEX128: np.dtype(np.complex128),
}
"""Element types that NumPy has too."""

_PACKED = {"INT4": (4, True), "UINT4": (4, False), "INT2": (2, True), "UINT2": (2, False)}
"""Integers of less than a byte: bits, signed. They become int8 or uint8."""

_FIELDS: dict[int, str] = {
    T.FLOAT: "float_data",
    T.COMPLEX64: "float_data",
    T.DOUBLE: "double_data",
    T.COMPLEX128: "double_data",
    T.INT64: "int64_data",
    T.UINT32: "uint64_data",
    T.UINT64: "uint64_data",
}
"""Which typed field holds an element type; all others use int32_data."""

_ALL_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")

MAX_RANK = 32
MAX_ELEMENTS = 2**40
MAX_DENSE_BYTES = 2**28
"""What all sparse tensors of one model may take when written out."""


def element(code: int) -> str:
    """The name of an element type, in words that the ONNX page uses."""
    names = {value: key for key, value in T.DataType.items()}
    return str(names.get(code, f"number {code}")).lower()


def frozen(array: Array) -> Array:
    """The same array, read-only: constants are shared."""
    array.flags.writeable = False
    return array


class Tensors:
    """Decodes the tensors of one model, each of them once."""

    def __init__(self, external: ExternalData) -> None:
        self._external = external
        self.sparse_bytes = 0
        self._small: dict[int, tuple[Array, str]] = {}
        """Arrays of a type of less than a byte by their id, which stays their own as they are kept; and that type."""

    def small(self, array: Array | None) -> str:
        """The element type of an array that was read here, where it is less than a byte; else ""."""
        return self._small.get(id(array), (None, ""))[1]

    def dense(self, tensor: onnx.TensorProto, where: str) -> Array:
        """The array of a TensorProto: bfloat16 as float32, 4- and 2-bit integers as int8 or uint8."""
        shape, count = _shape(tensor.dims, where)
        if tensor.HasField("segment"):
            raise OnnxImportError(f"{where}: is split into segments, which ONNX no longer has; save the model again")
        name = element(tensor.data_type).upper()
        if tensor.data_type == T.BFLOAT16:
            bits = self._elements(tensor, np.dtype(np.uint16), count, where)
            return frozen((bits.astype(np.uint32) << 16).view(np.float32).reshape(shape))
        if name in _PACKED:
            array = frozen(self._packed(tensor, *_PACKED[name], count, where).reshape(shape))
            self._small[id(array)] = array, name.lower()
            return array
        dtype = DTYPES.get(tensor.data_type)
        if dtype is None:
            what = "no type" if tensor.data_type == T.UNDEFINED else f"elements of type {name.lower()}"
            raise OnnxImportError(
                f"{where}: has {what}, which cannot be run; supported are bool, integers of 2 to 64 bits "
                "and floats of 16 to 64 bits"
            )
        if dtype == np.bool_:
            return frozen((self._elements(tensor, np.dtype(np.uint8), count, where) != 0).reshape(shape))
        return frozen(self._elements(tensor, dtype, count, where).reshape(shape))

    def _packed(self, tensor: onnx.TensorProto, bits: int, signed: bool, count: int, where: str) -> NDArray[Any]:
        per_byte = 8 // bits
        data = self._elements(tensor, np.dtype(np.uint8), -(-count // per_byte), where)
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        flat: NDArray[Any] = ((data[:, None] >> shifts) & np.uint8(2**bits - 1)).reshape(-1)[:count]
        if not signed:
            return flat
        half = 1 << (bits - 1)
        return ((flat ^ half).astype(np.int8) - np.int8(half)).astype(np.int8)

    def _elements(self, tensor: onnx.TensorProto, dtype: np.dtype[np.generic], count: int, where: str) -> NDArray[Any]:
        """`count` elements, wherever the tensor keeps them."""
        n_bytes = count * dtype.itemsize
        little = dtype.newbyteorder("<")
        present = [field for field in _ALL_FIELDS if len(getattr(tensor, field))]
        if tensor.data_location == T.EXTERNAL:
            if present or tensor.HasField("raw_data"):
                raise OnnxImportError(f"{where}: holds its data twice, inside and in a file; the file is damaged")
            return self._external.read(tensor, n_bytes, where).view(little)
        if tensor.HasField("raw_data"):
            raw = tensor.raw_data
            if present:
                raise OnnxImportError(
                    f"{where}: holds its data twice, as raw_data and {present[0]}; the file is damaged"
                )
            if len(raw) != n_bytes:
                raise OnnxImportError(f"{where}: its dims need {n_bytes} bytes, but it holds {len(raw)}")
            return np.frombuffer(raw, little)
        field = _FIELDS.get(tensor.data_type, "int32_data")
        if present and present != [field]:
            raise OnnxImportError(
                f"{where}: its data is in {', '.join(present)}, expected {field}; the file is damaged"
            )
        return _typed(getattr(tensor, field), tensor.data_type, dtype, count, where)

    def sparse(self, tensor: onnx.SparseTensorProto, where: str) -> Array:
        """A sparse tensor, written out."""
        shape, count = _shape(tensor.dims, where)
        values: NDArray[Any] = self.dense(tensor.values, f"{where} (values)")
        indices: NDArray[Any] = self.dense(tensor.indices, f"{where} (indices)")
        self.sparse_bytes += count * values.dtype.itemsize
        if self.sparse_bytes > MAX_DENSE_BYTES:
            raise OnnxImportError(
                f"{where}: sparse tensors take more than {MAX_DENSE_BYTES} bytes written out; save dense"
            )
        if values.ndim != 1 or indices.dtype != np.int64:
            raise OnnxImportError(f"{where}: sparse values must be one row and indices int64; the file is damaged")
        if indices.shape == (len(values), len(shape)) and indices.ndim == 2:
            if len(shape) and not (np.all(indices >= 0) and np.all(indices < np.array(shape))):
                raise OnnxImportError(f"{where}: a sparse index lies outside dims {list(shape)}; the file is damaged")
            strides = np.array(
                [int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape))], np.int64
            )
            indices = indices @ strides
        if indices.shape != values.shape or not (np.all(indices >= 0) and np.all(indices < count)):
            raise OnnxImportError(
                f"{where}: sparse indices do not fit values and dims {list(shape)}; the file is damaged"
            )
        dense = np.zeros(count, values.dtype)
        dense[indices.astype(np.int64)] = values
        return frozen(dense.reshape(shape))


def _shape(dims: Iterable[int], where: str) -> tuple[tuple[int, ...], int]:
    shape, count, extent = tuple(int(dim) for dim in dims), 1, 1
    if len(shape) > MAX_RANK:
        raise OnnxImportError(f"{where}: has {len(shape)} dims, at most {MAX_RANK} are supported")
    for dim in shape:
        if dim < 0:
            raise OnnxImportError(f"{where}: has a negative dim in {list(shape)}; the file is damaged")
        count *= dim
        extent *= max(dim, 1)
        if extent > MAX_ELEMENTS:
            raise OnnxImportError(f"{where}: dims {list(shape)} are more than any model holds; the file is damaged")
    return shape, count


def _typed(field: Collection[float], code: int, dtype: np.dtype[np.generic], count: int, where: str) -> NDArray[Any]:
    part = dtype
    if dtype.kind == "c":
        part = np.dtype(np.float32 if dtype.itemsize == 8 else np.float64)
    bits = np.dtype(np.uint16) if part == np.float16 else part
    need = count * (dtype.itemsize // part.itemsize)
    if len(field) != need:
        raise OnnxImportError(f"{where}: its dims need {need} numbers, but it holds {len(field)}")
    wide: np.dtype[np.generic] = bits
    if bits.kind in "iu" and bits.itemsize < 8:
        wide = np.dtype(np.int64)
    values = np.fromiter(field, wide, need)
    if wide != bits:
        limits = np.iinfo(bits.str)
        if need and (values.min() < limits.min or values.max() > limits.max):
            raise OnnxImportError(f"{where}: a number in it does not fit {element(code)}; the file is damaged")
    return values.astype(bits, copy=False).view(dtype)
