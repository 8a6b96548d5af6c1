"""Every opset in one modern form (that of opset 18 and later), so that an op is written once.

Each function here takes the node of one op as its file has it and changes it in place. What cannot be said in the
modern form is refused by name. Sources: the ONNX operator pages, "Changelog" of each op; for Upsample and Resize-10
onnxruntime's kernels, as the page leaves their rounding open.

Constants made from float attributes (Clip, Pad) are float32: an op reads them in its first input's dtype.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lstm_infer.errors import OnnxImportError, UnsupportedOpError
from lstm_infer.graph.ir import Array, Node

from ..frozen import frozen

__all__ = ["LATEST_OPSET", "OLDEST_OPSET", "modernise"]

OLDEST_OPSET = 1
LATEST_OPSET = 28
"""The newest opset whose operators were compared with this file (onnx 1.23)."""


_MOVED = {("com.microsoft", "DequantizeLinear"): 21, ("com.microsoft", "QuantizeLinear"): 21}
"""Operators of other domains that ONNX has too, and since when: quantisers write them into files of older opsets."""


@frozen
class _Rewrite:
    """What a rule works with: the node, constants by name, and a way to add one."""

    node: Node
    known: Callable[[str], Array | None]
    add: Callable[[Array, str], str]
    label: str

    def refuse(self, why: str) -> UnsupportedOpError:
        return UnsupportedOpError(f"{self.label}: {self.node}: {why}")

    def ints(self, key: str) -> list[int] | None:
        """Take an integer-list attribute off the node."""
        value = self.node.attrs.pop(key, None)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise OnnxImportError(f"{self.label}: {self.node}: attribute {key!r} must be a list of integers")
        return [int(item) for item in value if isinstance(item, int)]

    def number(self, key: str, default: float) -> float:
        """Take a number attribute off the node."""
        value = self.node.attrs.pop(key, default)
        if not isinstance(value, (int, float)):
            raise OnnxImportError(f"{self.label}: {self.node}: attribute {key!r} must be a number")
        return value

    def no_longer(self, *keys: str) -> None:
        """Refuse attributes that this opset has turned into inputs: an op would not look at them."""
        for key in keys:
            if key in self.node.attrs:
                raise OnnxImportError(
                    f"{self.label}: {self.node}: attribute {key!r} does not exist in opset {self.node.opset}, where it is "
                    "an input; the file is invalid: export it again"
                )

    def put(self, index: int, array: Array, hint: str) -> None:
        """Make input `index` a new constant."""
        if len(self.node.inputs) > index and self.node.inputs[index]:
            raise OnnxImportError(
                f"{self.label}: {self.node}: {hint} is given as an input, which opset {self.node.opset} does not have"
            )
        self.node.inputs += [""] * (index + 1 - len(self.node.inputs))
        self.node.inputs[index] = self.add(array, hint)


def modernise(node: Node, known: Callable[[str], Array | None], add: Callable[[Array, str], str], label: str) -> None:
    """Bring a node of any opset into the modern form.

    Parameters
    ----------
    node : Node
        Changed in place; `opset` stays what the file says, but for one that ONNX took over from another domain.
    known
        The array of a constant by name, None for other values.
    add
        Makes a constant of an array and a hint; returns its name.
    label : str
        The file, for messages.
    """
    if (node.domain, node.op) in _MOVED:
        node.domain, node.opset = "", _MOVED[node.domain, node.op]
    if node.domain:
        return
    rule = _RULES.get(node.op)
    rewrite = _Rewrite(node, known, add, label)
    if node.opset < 7:
        _before_7(rewrite)
    if rule is not None:
        rule(rewrite)


def _ints(values: list[int]) -> Array:
    return np.array(values, np.int64)


_ELEMENTWISE = ("Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less")


def _before_7(rw: _Rewrite) -> None:
    node = rw.node
    if node.opset < 6:
        node.attrs.pop("consumed_inputs", None)  # a hint about memory, which opset 6 took away
    if node.op in _ELEMENTWISE and ("axis" in node.attrs or node.attrs.pop("broadcast", 0)):
        raise rw.refuse(
            "broadcasting by attribute (before opset 7) is not supported; convert the model to opset 7 or later"
        )
    if node.op == "Gemm":
        node.attrs.pop("broadcast", None)  # C is broadcast to the result now in any case
    if node.op == "PRelu":
        raise rw.refuse("its slope is laid out otherwise before opset 7; convert the model to opset 7 or later")
    if node.op in ("BatchNormalization", "Dropout") and not rw.number("is_test", 0):
        raise rw.refuse("is in training mode (is_test=0); export the model in evaluation mode")


def _recurrent(rw: _Rewrite) -> None:
    if rw.node.opset < 7:
        raise rw.refuse("recurrent operators before opset 7 are not supported; convert the model to opset 7 or later")


def _axes_to_input(since: int) -> Callable[[_Rewrite], None]:
    def rule(rw: _Rewrite) -> None:
        if rw.node.opset >= since:
            rw.no_longer("axes")
        axes = rw.ints("axes")
        if axes:
            rw.put(1, _ints(axes), "axes")

    return rule


def _unsqueeze(rw: _Rewrite) -> None:
    if rw.node.opset < 13:
        axes = rw.ints("axes")
        if axes is None:
            raise OnnxImportError(f"{rw.label}: {rw.node}: attribute 'axes' is missing; the file is invalid")
        rw.put(1, _ints(axes), "axes")
    else:
        rw.no_longer("axes")


def _slice(rw: _Rewrite) -> None:
    if rw.node.opset < 10:
        starts, ends, axes = rw.ints("starts"), rw.ints("ends"), rw.ints("axes")
        if starts is None or ends is None:
            raise OnnxImportError(
                f"{rw.label}: {rw.node}: attributes 'starts' and 'ends' are needed; the file is invalid"
            )
        rw.put(1, _ints(starts), "starts")
        rw.put(2, _ints(ends), "ends")
        if axes is not None:
            rw.put(3, _ints(axes), "axes")
    else:
        rw.no_longer("starts", "ends", "axes")


def _split(rw: _Rewrite) -> None:
    node = rw.node
    if node.opset >= 13:
        rw.no_longer("split")
    sizes = rw.ints("split")
    if sizes:
        rw.put(1, _ints(sizes), "split")
    if len(node.inputs) < 2 or not node.inputs[1]:
        count = node.attrs.setdefault("num_outputs", len(node.outputs))
        if count != len(node.outputs):
            raise OnnxImportError(f"{rw.label}: {node}: num_outputs is {count}, but it has {len(node.outputs)} outputs")


def _pad(rw: _Rewrite) -> None:
    if rw.node.opset < 11:
        pads = rw.ints("pads" if rw.node.opset >= 2 else "paddings")
        if pads is None:
            raise OnnxImportError(f"{rw.label}: {rw.node}: attribute 'pads' is missing; the file is invalid")
        value = rw.number("value", 0.0)
        rw.put(1, _ints(pads), "pads")
        if value:
            rw.put(2, np.array(value, np.float32), "constant_value")
    else:
        rw.no_longer("pads", "value")


def _clip(rw: _Rewrite) -> None:
    if rw.node.opset < 11:
        for index, key in ((1, "min"), (2, "max")):
            if key in rw.node.attrs:
                rw.put(index, np.array(rw.number(key, 0.0), np.float32), key)
    else:
        rw.no_longer("min", "max")


def _dropout(rw: _Rewrite) -> None:
    node = rw.node
    if node.opset >= 12 and len(node.inputs) > 2 and node.inputs[2]:
        training = rw.known(node.inputs[2])
        if training is None or training.size != 1 or bool(training.reshape(-1)[0]):
            raise rw.refuse("is (or may be) in training mode; export the model in evaluation mode")
    if any(node.outputs[1:]):
        raise rw.refuse("its mask output is used, which is not supported; export the model in evaluation mode")
    if not node.inputs:
        raise OnnxImportError(f"{rw.label}: {node}: has no input; the file is invalid")
    node.op, node.attrs, node.inputs, node.outputs = "Identity", {}, node.inputs[:1], node.outputs[:1]


def _same(rw: _Rewrite) -> None:
    """auto_pad SAME at stride 1 is a padding that no size changes: written out, each axis can be seen by itself."""
    attrs, inputs = rw.node.attrs, rw.node.inputs
    weights = rw.known(inputs[1]) if rw.node.op == "Conv" and len(inputs) > 1 else None
    kernel = attrs.get("kernel_shape") or (None if weights is None else list(weights.shape[2:]))
    auto, strides, dilations = (attrs.get(key) for key in ("auto_pad", "strides", "dilations"))
    if auto not in ("SAME_UPPER", "SAME_LOWER") or not isinstance(kernel, list):
        return
    if (strides or [1] * len(kernel)) != [1] * len(kernel):
        return
    spread = dilations if isinstance(dilations, list) and dilations else [1] * len(kernel)
    pairs = zip(kernel, spread, strict=False)
    total = [(k - 1) * d for k, d in pairs if isinstance(k, int) and isinstance(d, int)]
    less, more = [n // 2 for n in total], [n - n // 2 for n in total]
    attrs["pads"] = [*less, *more] if auto == "SAME_UPPER" else [*more, *less]
    attrs["auto_pad"] = "NOTSET"


def _batch_normalization(rw: _Rewrite) -> None:
    node = rw.node
    if not rw.number("spatial", 1):
        raise rw.refuse("spatial=0 (statistics per activation) is not supported")
    if rw.number("training_mode", 0) or any(node.outputs[1:]):
        raise rw.refuse("is in training mode; export the model in evaluation mode")
    node.attrs.pop("momentum", None)  # used in training only
    node.outputs = node.outputs[:1]


def _softmax(rw: _Rewrite) -> None:
    attrs = rw.node.attrs
    if rw.node.opset < 13:
        attrs.setdefault("axis", 1)
        attrs["coerce_2d"] = 1
    else:
        attrs.setdefault("axis", -1)


def _topk(rw: _Rewrite) -> None:
    if rw.node.opset < 10:
        if "k" not in rw.node.attrs:
            raise OnnxImportError(f"{rw.label}: {rw.node}: attribute 'k' is missing; the file is invalid")
        rw.put(1, _ints([int(rw.number("k", 0))]), "k")
    else:
        rw.no_longer("k")


_CAST_NAMES = {
    "FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "BOOL": 9, "FLOAT16": 10,
    "DOUBLE": 11, "UINT32": 12, "UINT64": 13,
}  # fmt: skip


def _cast(rw: _Rewrite) -> None:
    to = rw.node.attrs.get("to")
    if isinstance(to, str):
        if to.upper() not in _CAST_NAMES:
            raise rw.refuse(f"casts to {to!r}, which is not supported")
        rw.node.attrs["to"] = _CAST_NAMES[to.upper()]


def _reshape(rw: _Rewrite) -> None:
    if rw.node.opset < 5:
        shape = rw.ints("shape")
        if shape is None:
            raise OnnxImportError(f"{rw.label}: {rw.node}: attribute 'shape' is missing; the file is invalid")
        rw.put(1, _ints(shape), "shape")
    else:
        rw.no_longer("shape")


def _upsample(rw: _Rewrite) -> None:
    node = rw.node
    if node.opset < 7:
        raise rw.refuse("Upsample before opset 7 is not supported; convert the model to a later opset")
    if node.opset < 9:
        scales = node.attrs.pop("scales", None)
        if not isinstance(scales, list):
            raise OnnxImportError(f"{rw.label}: {node}: attribute 'scales' is missing; the file is invalid")
        rw.put(1, np.array(scales, np.float32), "scales")
    _to_resize(rw)


def _resize(rw: _Rewrite) -> None:
    if rw.node.opset < 11:
        _to_resize(rw)


def _to_resize(rw: _Rewrite) -> None:
    """Upsample and Resize-10, as onnxruntime runs them: asymmetric; nearest rounds down going up, up going down, which
    has no name in later opsets."""
    node = rw.node
    if len(node.inputs) != 2:
        raise OnnxImportError(f"{rw.label}: {node}: has {len(node.inputs)} inputs, expected X and scales")
    if node.attrs.get("mode") == "bilinear":
        node.attrs["mode"] = "linear"
    node.attrs["nearest_mode"] = ""
    node.attrs["coordinate_transformation_mode"] = "asymmetric"
    node.op, node.inputs = "Resize", [node.inputs[0], "", node.inputs[1]]


def _selu(rw: _Rewrite) -> None:
    if rw.node.opset < 6:
        rw.node.attrs.setdefault("alpha", 1.6732)
        rw.node.attrs.setdefault("gamma", 1.0507)


def _grid_sample(rw: _Rewrite) -> None:
    mode = rw.node.attrs.get("mode")
    if mode in ("bilinear", "bicubic"):
        rw.node.attrs["mode"] = str(mode)[2:]


def _dft(rw: _Rewrite) -> None:
    if rw.node.opset < 20:
        rw.put(2, np.array(int(rw.number("axis", 1)), np.int64), "axis")


def _group_normalization(rw: _Rewrite) -> None:
    if rw.node.opset < 21:
        raise rw.refuse("GroupNormalization before opset 21 (scale per group) is not supported; export with opset 21")


def _scan(rw: _Rewrite) -> None:
    if rw.node.opset < 9:
        raise rw.refuse(
            "Scan before opset 9 (with a batch axis) is not supported; convert the model to opset 9 or later"
        )


def _tile(rw: _Rewrite) -> None:
    if rw.node.opset < 6:
        raise rw.refuse("Tile before opset 6 is not supported; convert the model to opset 6 or later")


_REDUCTIONS_18 = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSumSquare",
)  # fmt: skip

_RULES: dict[str, Callable[[_Rewrite], None]] = {
    "AveragePool": _same,
    "BatchNormalization": _batch_normalization,
    "Cast": _cast,
    "Clip": _clip,
    "Conv": _same,
    "DFT": _dft,
    "Dropout": _dropout,
    "GRU": _recurrent,
    "GridSample": _grid_sample,
    "GroupNormalization": _group_normalization,
    "Hardmax": _softmax,
    "LSTM": _recurrent,
    "LogSoftmax": _softmax,
    "MaxPool": _same,
    "Pad": _pad,
    "RNN": _recurrent,
    "ReduceSum": _axes_to_input(13),
    "Reshape": _reshape,
    "Resize": _resize,
    "Scan": _scan,
    "Selu": _selu,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Squeeze": _axes_to_input(13),
    "Tile": _tile,
    "TopK": _topk,
    "Unsqueeze": _unsqueeze,
    "Upsample": _upsample,
    **dict.fromkeys(_REDUCTIONS_18, _axes_to_input(18)),
}
