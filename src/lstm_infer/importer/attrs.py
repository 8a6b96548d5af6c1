"""AttributeProto to Python values."""

from __future__ import annotations

import onnx

from lstm_infer.errors import OnnxImportError, UnsupportedOpError
from lstm_infer.graph.ir import Array
from lstm_infer.importer.tensors import Tensors

__all__ = ["plain_value"]

A = onnx.AttributeProto

_UNTYPED = {"f": A.FLOAT, "i": A.INT, "s": A.STRING, "t": A.TENSOR}
_UNTYPED_LISTS = {"floats": A.FLOATS, "ints": A.INTS, "strings": A.STRINGS}


def plain_value(
    proto: onnx.AttributeProto, tensors: Tensors, where: str
) -> int | float | str | list[int] | list[float] | list[str] | Array:
    """The value of an attribute that is no subgraph."""
    where = f"{where}: attribute {proto.name!r}"
    kind = proto.type or _guess(proto)
    if kind == A.FLOAT:
        return float(proto.f)
    if kind == A.INT:
        return int(proto.i)
    if kind == A.STRING:
        return _text(proto.s, where)
    if kind == A.TENSOR:
        return tensors.dense(proto.t, where)
    if kind == A.SPARSE_TENSOR:
        return tensors.sparse(proto.sparse_tensor, where)
    if kind == A.FLOATS:
        return [float(value) for value in proto.floats]
    if kind == A.INTS:
        return [int(value) for value in proto.ints]
    if kind == A.STRINGS:
        return [_text(value, where) for value in proto.strings]
    names = {value: key for key, value in A.AttributeType.items()}
    raise UnsupportedOpError(f"{where} is of kind {names.get(kind, kind)}, which is not supported")


def _guess(proto: onnx.AttributeProto) -> int:
    """Files of the first IR versions do not say the kind."""
    kinds = [kind for name, kind in _UNTYPED.items() if proto.HasField(name)]
    kinds += [kind for name, kind in _UNTYPED_LISTS.items() if len(getattr(proto, name))]
    return kinds[0] if len(kinds) == 1 else A.UNDEFINED


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise OnnxImportError(f"{where} is not UTF-8 text; the file is damaged") from error
