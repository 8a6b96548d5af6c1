"""OrtValue and IOBinding: arrays as onnxruntime's Python interface hands them about. All memory is the CPU's."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import given
from ..errors import ArgumentError, FeedError, ShapeError

__all__ = ["IOBinding", "OrtValue", "type_name"]

_TYPES = {"float32": "float", "float64": "double", "bool": "bool"}
_ELEMENTS = {
    "float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
    "float64": 11, "uint32": 12, "uint64": 13,
}  # fmt: skip
"""onnx.TensorProto.DataType by NumPy's names."""
_NAMES = {code: name for name, code in _ELEMENTS.items()}


def type_name(dtype: np.dtype[Any]) -> str:
    """A type as onnxruntime writes it: tensor(float)."""
    return f"tensor({_TYPES.get(dtype.name, dtype.name)})"


def _dtype(element_type: Any) -> np.dtype[Any]:
    code = isinstance(element_type, int) and not isinstance(element_type, bool)
    asked = _NAMES.get(int(element_type)) if code else element_type
    try:
        found: np.dtype[Any] | None = None if asked is None else np.dtype(asked)
    except Exception:  # a stranger's object may raise anything
        found = None
    if found is None or found.name not in _ELEMENTS:
        raise ArgumentError(f"element_type: a type of NumPy or ONNX expected, got {given.shown(element_type)}")
    return found


def _on_cpu(device_type: Any) -> None:
    if device_type != "cpu":
        raise ArgumentError(f"device_type: all memory is the CPU's; 'cpu' expected, got {given.shown(device_type)}")


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple(given.number("shape: a size", n, 0) for n in given.items("shape", shape))


class OrtValue:
    """An array, in the shape of onnxruntime.OrtValue. Made by its class methods."""

    __slots__ = ("_array",)

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = given.array("array", array)

    def __reduce__(self) -> tuple[object, ...]:
        return OrtValue, (self._array,)

    @classmethod
    def ortvalue_from_numpy(cls, numpy_obj: NDArray[Any], device_type: str = "cpu", device_id: int = 0) -> OrtValue:
        """A value over the memory of an array, as in the original: what is written into the array is what a run reads.

        An array that is not C-contiguous, or read-only, is copied.
        """
        _on_cpu(device_type)
        return cls(np.require(given.array("numpy_obj", numpy_obj), requirements=["C", "W"]))

    @classmethod
    def ortvalue_from_shape_and_type(
        cls, shape: Sequence[int], element_type: object, device_type: str = "cpu", device_id: int = 0
    ) -> OrtValue:
        """A value to be filled; zeros."""
        _on_cpu(device_type)
        return cls(np.zeros(_sizes(shape), _dtype(element_type)))

    def numpy(self) -> NDArray[Any]:
        """The array itself, which a later run with the same binding fills anew, as the original's is."""
        return self._array

    def shape(self) -> list[int]:
        """Its sizes."""
        return list(self._array.shape)

    def data_type(self) -> str:
        """Its type: "tensor(float)"."""
        return type_name(self._array.dtype)

    def element_type(self) -> int:
        """Its type as a number of onnx.TensorProto."""
        return _ELEMENTS[self._array.dtype.name]

    def device_name(self) -> str:
        """Where it lies."""
        return "cpu"

    def data_ptr(self) -> int:
        """Its address."""
        return int(self._array.ctypes.data)

    def tensor_size_in_bytes(self) -> int:
        """Its bytes."""
        return int(self._array.nbytes)

    def has_value(self) -> bool:
        """It always has one."""
        return True

    def is_tensor(self) -> bool:
        """It always is one."""
        return True

    def is_tensor_sequence(self) -> bool:
        """It never is one."""
        return False

    def is_sparse_tensor(self) -> bool:
        """It never is one."""
        return False

    def update_inplace(self, np_arr: NDArray[Any]) -> None:
        """Copy an array into it.

        Raises
        ------
        ShapeError, DtypeError
            It has another shape or type.
        """
        array = given.array("np_arr", np_arr)
        if array.shape != self._array.shape or array.dtype != self._array.dtype:
            raise ShapeError(
                f"np_arr: {self._array.dtype}{list(self._array.shape)} expected, got {array.dtype}{list(array.shape)}"
            )
        self._array[...] = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy:
            return np.array(self._array, dtype)
        return self._array if dtype is None else np.asarray(self._array, dtype)

    def __dlpack__(self, **options: Any) -> object:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


class IOBinding:
    """Inputs and outputs bound to memory, in the shape of onnxruntime.IOBinding. Made by `InferenceSession.io_binding`."""

    def __init__(
        self,
        run: Callable[[Sequence[str], Mapping[str, NDArray[Any]]], list[NDArray[Any]]],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        self._run, self._names = run, {"input": inputs, "output": outputs}
        self._inputs: dict[str, NDArray[Any]] = {}
        self._outputs: dict[str, NDArray[Any] | None] = {}
        self._made: dict[str, NDArray[Any]] = {}

    def bind_cpu_input(self, name: str, arr_on_cpu: NDArray[Any]) -> None:
        """An array whose numbers are read at each run."""
        self._bind_input(name, given.array(f"input {name!r}", arr_on_cpu))

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """A value, likewise."""
        self._bind_input(name, _value("ortvalue", ortvalue)._array)

    def bind_input(
        self, name: str, device_type: str, device_id: int, element_type: object, shape: Sequence[int], buffer_ptr: int
    ) -> None:
        """Memory at an address."""
        _on_cpu(device_type)
        self._bind_input(name, _at(buffer_ptr, shape, element_type))

    def bind_output(
        self,
        name: str,
        device_type: str = "cpu",
        device_id: int = 0,
        element_type: object = None,
        shape: Sequence[int] | None = None,
        buffer_ptr: int | None = None,
    ) -> None:
        """An output that is wanted; with an address, where it is written."""
        _on_cpu(device_type)
        self._check("output", name)
        self._outputs[name] = None if buffer_ptr is None else _at(buffer_ptr, shape, element_type)

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """An output that is written into a value."""
        self._check("output", name)
        self._outputs[name] = _value("ortvalue", ortvalue)._array

    def clear_binding_inputs(self) -> None:
        """Forget the inputs."""
        self._inputs.clear()

    def clear_binding_outputs(self) -> None:
        """Forget the outputs."""
        self._outputs.clear()
        self._made.clear()

    def synchronize_inputs(self) -> None:
        """There is nothing to wait for."""

    def synchronize_outputs(self) -> None:
        """There is nothing to wait for."""

    def get_outputs(self) -> list[OrtValue]:
        """What the last run gave, in the order in which outputs were bound."""
        return [OrtValue(self._made[name]) for name in self._outputs if name in self._made]

    def copy_outputs_to_cpu(self) -> list[NDArray[Any]]:
        """The same as arrays."""
        return [self._made[name].copy() for name in self._outputs if name in self._made]

    def run(self) -> None:
        """What run_with_iobinding does."""
        if not self._outputs:
            raise FeedError(f"no output is bound; bind_output(name) says which, of {list(self._names['output'])}")
        results = self._run(list(self._outputs), self._inputs)
        for (name, bound), value in zip(self._outputs.items(), results, strict=True):
            target = self._made.get(name) if bound is None else bound
            fits = target is not None and target.shape == value.shape and target.dtype == value.dtype
            if bound is not None and not fits:
                raise ShapeError(
                    f"output {name!r} is {value.dtype}{list(value.shape)}, bound to {bound.dtype}{list(bound.shape)}"
                )
            if target is not None and fits:
                target[...] = value
            self._made[name] = target if target is not None and fits else value

    def _bind_input(self, name: str, array: NDArray[Any]) -> None:
        self._check("input", name)
        self._inputs[name] = array

    def _check(self, what: str, name: Any) -> None:
        if name not in self._names[what]:
            raise FeedError(f"there is no {what} {name!r}; the model has {list(self._names[what])}")


def _value(what: str, value: Any) -> OrtValue:
    if not isinstance(value, OrtValue):
        raise ArgumentError(f"{what}: an OrtValue expected, got {given.shown(value)}")
    return value


def _at(address: Any, shape: Any, element_type: Any) -> NDArray[Any]:
    """The memory at an address, which is the caller's word for it."""
    dtype, sizes = _dtype(element_type), _sizes(shape)
    n_bytes = prod(sizes) * dtype.itemsize
    place = given.number("buffer_ptr", address, 1)
    memory: Any = (ctypes.c_uint8 * n_bytes).from_address(place)
    return np.frombuffer(memory, dtype).reshape(sizes)
