"""Constants of a file to arrays: initializers and Constant nodes, each decoded once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from lstm_infer.errors import OnnxImportError
from lstm_infer.graph.ir import Array
from lstm_infer.importer.attrs import plain_value
from lstm_infer.importer.tensors import Tensors

__all__ = ["Decoder"]


class Decoder:
    """Decodes a constant when it is first read."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._decoded: dict[int, tuple[object, Array]] = {}

    def once(self, proto: onnx.TensorProto | onnx.SparseTensorProto, where: str) -> Array:
        """The array of a tensor, however many names it has."""
        # The proto is kept beside the array, so that its id stays its own.
        if id(proto) not in self._decoded:
            sparse = isinstance(proto, onnx.SparseTensorProto)
            array = self._tensors.sparse(proto, where) if sparse else self._tensors.dense(proto, where)
            self._decoded[id(proto)] = proto, array
        return self._decoded[id(proto)][1]

    def node(self, given: Sequence[tuple[str, onnx.AttributeProto]], where: str, output: str) -> Array:
        """The array of a Constant node, from its attributes."""
        if len(given) != 1:
            raise OnnxImportError(f"{where} ({output!r}) needs exactly one value, it has {len(given)}")
        name, proto = given[0]
        if name == "value" and proto.type in (proto.TENSOR, proto.UNDEFINED):
            return self.once(proto.t, f"{where} ({output!r})")
        if name == "sparse_value" and proto.type == proto.SPARSE_TENSOR:
            return self.once(proto.sparse_tensor, f"{where} ({output!r})")
        if name in ("value_float", "value_floats", "value_int", "value_ints"):
            value = plain_value(proto, self._tensors, where)
            dtype = np.float32 if "float" in name else np.int64
            if isinstance(value, list) == name.endswith("s") and isinstance(value, (list, int, float)):
                array: Array = np.array(value, dtype)
                array.flags.writeable = False
                return array
        raise OnnxImportError(
            f"{where} ({output!r}): a constant given as {name!r} of this kind cannot be run; numbers can"
        )
