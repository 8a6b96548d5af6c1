"""Operators of the graph (which has the form of opset 18 and later) as the opset that is written has them.

A node that has its operator there, with all its attributes, is said as it is. Those whose form changed have a function here;
what the opset has not, and what is no ONNX operator at all, is composed (`composed`, `quantised`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import numpy as np

from ...errors import ConvertError
from ...graph.fact import Fact
from ...graph.ir import AttrValue, Node
from ...ops.registry import attr
from .draft import CODES, Draft

__all__ = ["NEWEST", "OLDEST", "Said", "rule", "say"]

OLDEST, NEWEST = 13, 25
"""Opsets that can be written."""


@dataclass
class Said:
    """One node on its way into a draft: its inputs and outputs have the names of the draft."""

    d: Draft
    node: Node
    outs: Sequence[Fact]

    def x(self, index: int) -> str:
        """An input, "" where it is absent."""
        return self.node.inputs[index] if index < len(self.node.inputs) else ""

    def fact(self, index: int) -> Fact:
        """What is known of an input."""
        return self.d.facts[self.x(index)]

    def known(self, index: int) -> Any:
        """The content of an input, None where it is absent.

        Raises
        ------
        ConvertError
            It is computed.
        """
        if not self.x(index):
            return None
        found = self.fact(index).const
        if found is None:
            raise ConvertError(f"{self.node}: input {index} is computed at run time, which is not written")
        return found

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return attr(self.node, name, default)

    @property
    def out(self) -> str:
        """The only output."""
        return self.node.outputs[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the first output."""
        return self.outs[0].shape

    def plain(self, op: str, inputs: Sequence[str], drop: Sequence[str] = (), **attrs: AttrValue) -> None:
        """A node of this operator in place of this one, with its attributes but for those dropped and added."""
        kept = {key: value for key, value in self.node.attrs.items() if key not in drop}
        name = self.d.names.fresh(self.node.name or op)
        inputs = list(inputs)
        while inputs and not inputs[-1]:
            inputs.pop()
        outputs = [out or self.d.names.fresh(f"{name}/unread") for out in self.node.outputs]
        made = Node(op, name, inputs, outputs, {**kept, **attrs}, "", self.d.opset)
        self.d.put(_checked(made), self.outs)

    def refuse(self, why: str) -> ConvertError:
        """An error that names the node."""
        return ConvertError(f"{self.node}: {why}")


Rule = Callable[[Said], None]
_RULES: dict[tuple[str, str], Rule] = {}


def rule(*names: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Register how operators of these names are said."""

    def register(function: Rule) -> Rule:
        for name in names:
            _RULES[domain, name] = function
        return function

    return register


def say(d: Draft, node: Node, outs: Sequence[Fact]) -> None:
    """Put a node of the graph into the draft.

    Raises
    ------
    ConvertError
        The opset cannot say it.
    """
    said = Said(d, node, outs)
    found = _RULES.get((node.domain, node.op))
    if found is not None:
        found(said)
    elif node.domain:
        raise said.refuse("is no operator of ONNX, and is not composed of such")
    else:
        said.plain(node.op, node.inputs)


@cache
def _schema(op: str, opset: int) -> Any:
    """The schema of an operator; None where the opset has none."""
    import onnx

    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated else schema


@cache
def _newest(op: str) -> Any:
    """The schema of an operator in the newest opset of the onnx that is here."""
    import onnx

    return _schema(op, onnx.defs.onnx_opset_version())


def has(d: Draft, op: str) -> bool:
    """Has the opset that is written this operator."""
    return _schema(op, d.opset) is not None


def _checked(node: Node) -> Node:
    """A node that its opset has, without attributes that only say what is so in any case."""
    schema = _schema(node.op, node.opset)
    if schema is None:
        since = _first(node.op)
        raise ConvertError(
            f"{node}: opset {node.opset} has no {node.op}" + (f"; it is there from opset {since} on" if since else "")
        )
    newest = _newest(node.op)
    for key in list(node.attrs):
        if key in schema.attributes:
            continue
        default = newest.attributes[key].default_value if newest and key in newest.attributes else None
        value = node.attrs[key]
        if default is None or value not in (default.i, default.f, default.s.decode(), list(default.ints)):
            raise ConvertError(f"{node}: opset {node.opset} has no attribute {key}={value!r}")
        del node.attrs[key]
    if len(node.inputs) > schema.max_input:
        raise ConvertError(
            f"{node}: {node.op} of opset {node.opset} takes {schema.max_input} inputs, not {len(node.inputs)}"
        )
    return node


def _first(op: str) -> int:
    """The first opset that has an operator, 0 where none does."""
    return next((opset for opset in range(OLDEST, NEWEST + 1) if _schema(op, opset) is not None), 0)


# ---- operators whose form changed ----------------------------------------------------------------------------------------


@rule("Clip")
def _clip(said: Said) -> None:
    dtype = said.fact(0).dtype
    limits = [said.d.cast(said.x(i), dtype) if said.x(i) else "" for i in (1, 2)]
    said.plain("Clip", [said.x(0), *limits])


@rule("Cast", "CastLike")
def _cast(said: Said) -> None:
    dtype = said.outs[0].dtype
    if said.fact(0).dtype == dtype:
        said.d.alias(said.x(0), said.out)
    else:
        said.d.cast(said.x(0), dtype, said.out)


@rule("Pad")
def _pad(said: Said) -> None:
    rank, pads = len(said.fact(0).shape), said.known(1).reshape(-1)
    axes = said.known(3)
    if axes is not None:
        whole = np.zeros(2 * rank, np.int64)
        for i, axis in enumerate(axes.reshape(-1) % rank):
            whole[axis], whole[axis + rank] = pads[i], pads[i + axes.size]
        pads = whole
    value = said.d.reshaped(said.d.cast(said.x(2), said.fact(0).dtype), ()) if said.x(2) else ""
    said.plain("Pad", [said.x(0), said.d.const(pads, np.int64, "pads"), value])


@rule(
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare",
)  # fmt: skip
def _reduce(said: Said) -> None:
    d, op, axes = said.d, said.node.op, said.known(1)
    if (axes is None or not axes.size) and said.attr("noop_with_empty_axes", 0):
        d.alias(said.x(0), said.out)
        return
    axes = np.arange(len(said.fact(0).shape)) if axes is None or not axes.size else axes.reshape(-1)
    dropped = ("noop_with_empty_axes", "axes")
    if op == "ReduceSum" or d.opset >= 18:
        said.plain(op, [said.x(0), d.const(axes, np.int64, "axes")], dropped)
    else:
        said.plain(op, [said.x(0)], dropped, axes=[int(a) for a in axes])


@rule("Split")
def _split(said: Said) -> None:
    axis = int(said.attr("axis", 0))
    total, n = said.fact(0).shape[axis], len(said.outs)
    given = said.known(1)
    sizes = (
        [min(-(-total // n), total - i * -(-total // n)) for i in range(n)]
        if given is None
        else given.reshape(-1).tolist()
    )
    if n == 1:
        said.d.alias(said.x(0), said.out)
        return
    said.plain("Split", [said.x(0), said.d.const(sizes, np.int64, "split")], ("num_outputs",))


@rule("Squeeze", "Unsqueeze", "Reshape", "Flatten")
def _reshape(said: Said) -> None:
    node = said.node
    if (node.op in ("Squeeze", "Unsqueeze") and said.x(1)) or node.op == "Flatten":
        said.plain(node.op, node.inputs)
    else:
        said.d.reshaped(said.x(0), said.shape, said.out)


@rule("Expand")
def _expand(said: Said) -> None:
    said.plain("Expand", [said.x(0), said.d.const(said.shape, np.int64, "shape")])


@rule("Softmax", "LogSoftmax", "Hardmax")
def _softmax(said: Said) -> None:
    d, x, op = said.d, said.x(0), said.node.op
    axis = int(said.attr("axis", -1))
    if not said.attr("coerce_2d", 0):
        said.plain(op, [x], ("coerce_2d",), axis=axis)
        return
    shape = said.fact(0).shape
    axis += len(shape) * (axis < 0)
    flat = d.reshaped(x, (prod(shape[:axis]), prod(shape[axis:])))
    made = d.op(op, [flat], d.facts[flat].shape, attrs={"axis": 1})
    d.reshaped(made, shape, said.out)


@rule("Resize")
def _resize(said: Said) -> None:
    changes: dict[str, AttrValue] = {}
    if said.attr("nearest_mode", "round_prefer_floor") == "":  # as before opset 11
        scales = said.known(2)
        up, down = bool((scales >= 1).all()), bool((scales <= 1).all())
        if not (up or down):
            raise said.refuse("goes up along one axis and down along another, rounding as before opset 11")
        changes["nearest_mode"] = "floor" if up else "ceil"
    said.plain("Resize", said.node.inputs, (), **changes)


@rule("GridSample")
def _grid_sample(said: Said) -> None:
    mode = str(said.attr("mode", "linear"))
    if said.d.opset < 20:
        mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    said.plain("GridSample", said.node.inputs, mode=mode)


@rule("STFT")
def _stft(said: Said) -> None:
    said.plain("STFT", said.node.inputs, onesided=int(said.attr("onesided", 1)))  # onnx's shapes know no default


@rule("Dropout", "Identity", "OptionalGetElement")
def _identity(said: Said) -> None:
    said.d.alias(said.x(0), said.out)


@rule("ConstantOfShape")
def _constant(said: Said) -> None:
    value = said.attr("value", np.zeros(1, np.float32))
    value = said.d.const(np.asarray(value).reshape(()).astype(said.outs[0].dtype))
    said.plain("Expand", [value, said.d.const(said.shape, np.int64, "shape")], ("value",))


@rule("QuantizeLinear", "DequantizeLinear")
def _quantize(said: Said) -> None:
    inputs = list(said.node.inputs)
    if said.node.op == "QuantizeLinear" and not said.x(2):
        inputs = [*inputs[:2], said.d.const(np.zeros(said.fact(1).shape), said.outs[0].dtype)]
    if said.fact(1).dtype != np.float32:
        inputs[1] = said.d.cast(inputs[1], np.float32)
    said.plain(said.node.op, inputs, ("output_dtype", "precision", "saturate"))


@rule("EyeLike")
def _typed(said: Said) -> None:
    said.plain(said.node.op, said.node.inputs, dtype=CODES[said.outs[0].dtype.name])
