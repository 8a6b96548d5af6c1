"""Recurrent networks as onnxruntime's own quantiser writes them: LSTMs, BiLSTM taggers over embeddings, GRUs, CRNNs.

python tests/quantised_models.py FOLDER      writes them all
"""

from __future__ import annotations

import logging
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["CASES", "Case", "feeds", "written"]

WORDS = 50


@dataclass(frozen=True)
class Case:
    """One network and how it is quantised."""

    name: str
    net: str
    """lstm, gru, tagger, crnn."""
    hidden: int
    how: str
    """dynamic, QDQ, QOperator."""
    weights: str = "QInt8"
    per_channel: bool = False
    layers: int = 1


CASES = (
    Case("lstm32_dynamic_u8", "lstm", 32, "dynamic", "QUInt8"),
    Case("lstm64_dynamic", "lstm", 64, "dynamic"),
    Case("lstm256x2_dynamic", "lstm", 256, "dynamic", layers=2),
    Case("lstm512_dynamic_channels", "lstm", 512, "dynamic", per_channel=True),
    Case("tagger128_dynamic", "tagger", 128, "dynamic"),
    Case("tagger256_dynamic_channels_u8", "tagger", 256, "dynamic", "QUInt8", per_channel=True),
    Case("gru128_dynamic", "gru", 128, "dynamic"),
    Case("gru512_dynamic_channels", "gru", 512, "dynamic", per_channel=True),
    Case("crnn64_dynamic", "crnn", 64, "dynamic"),
    Case("crnn128_qdq_channels", "crnn", 128, "QDQ", per_channel=True),
    Case("crnn64_qoperator", "crnn", 64, "QOperator"),
    Case("gru256_qdq", "gru", 256, "QDQ"),
    Case("gru128_qoperator_channels", "gru", 128, "QOperator", per_channel=True),
    Case("lstm256_qdq_u8", "lstm", 256, "QDQ", "QUInt8"),
    Case("lstm128_qoperator_u8", "lstm", 128, "QOperator", "QUInt8"),
    Case("tagger64_qdq_channels", "tagger", 64, "QDQ", per_channel=True),
)


class _Net:
    """Nodes and weights as they are written down."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def put(self, array: Any) -> str:
        self.tensors.append(numpy_helper.from_array(np.asarray(array), f"c{len(self.tensors)}"))
        return self.tensors[-1].name

    def weight(self, *shape: int, fan: int) -> str:
        return self.put(self.rng.uniform(-1, 1, shape).astype(np.float32) * np.float32(fan**-0.5))

    def add(self, op: str, ins: list[str], **attrs: Any) -> str:
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, ins, [name], name=f"{name}_node", **attrs))
        return name

    def recurrent(self, op: str, x: str, inputs: int, hidden: int, both: bool = False) -> str:
        """[T, B, I] to [T, B, H], or [T, B, 2 H]."""
        gates, d = {"LSTM": 4, "GRU": 3}[op], 2 if both else 1
        more = {"direction": "bidirectional"} if both else {}
        more |= {"linear_before_reset": 1} if op == "GRU" else {}
        w, r = (self.weight(d, gates * hidden, n, fan=hidden) for n in (inputs, hidden))
        y = self.add(op, [x, w, r, self.weight(d, 2 * gates * hidden, fan=hidden)], hidden_size=hidden, **more)
        if not both:
            return self.add("Squeeze", [y, self.put(np.array([1]))])
        return self.add(
            "Reshape", [self.add("Transpose", [y], perm=[0, 2, 1, 3]), self.put(np.array([0, 0, 2 * hidden]))]
        )

    def dense(self, x: str, inputs: int, outputs: int) -> str:
        product = self.add("MatMul", [x, self.weight(inputs, outputs, fan=inputs)])
        return self.add("Add", [product, self.weight(outputs, fan=inputs)])


def _plain(case: Case) -> onnx.ModelProto:
    net, x, h = _Net(case.hidden), "x", case.hidden
    shape: list[Any] = ["T", "B", h // 2]
    dtype = TensorProto.FLOAT
    if case.net == "tagger":
        shape, dtype = ["T", "B"], TensorProto.INT64
        words = net.add("Gather", [net.weight(WORDS, h, fan=1), "x"])
        y = net.dense(net.recurrent("LSTM", words, h, h, both=True), 2 * h, 12)
    elif case.net == "crnn":
        shape = ["B", 1, 16, "T"]
        for channels, before in ((16, 1), (32, 16)):
            weights = [net.weight(channels, before, 3, 3, fan=before * 9), net.weight(channels, fan=9)]
            x = net.add("Conv", [x, *weights], pads=[1, 1, 1, 1])
            x = net.add("MaxPool", [net.add("Relu", [x])], kernel_shape=[2, 1], strides=[2, 1])
        flat = net.add("Reshape", [net.add("Transpose", [x], perm=[3, 0, 1, 2]), net.put(np.array([0, 0, 128]))])
        y = net.dense(net.recurrent("LSTM", flat, 128, h, both=True), 2 * h, 40)
    else:
        size = h // 2
        for _ in range(case.layers):
            x = net.recurrent(case.net.upper(), x, size, h)
            size = h
        y = net.dense(net.add("Relu", [net.dense(x, h, h)]), h, 24)
    ports = [
        helper.make_tensor_value_info(name, kind, s)
        for name, kind, s in (("x", dtype, shape), (y, TensorProto.FLOAT, None))
    ]
    graph = helper.make_graph(net.nodes, "g", ports[:1], ports[1:], net.tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    made.ir_version = 8
    return onnx.shape_inference.infer_shapes(made)


def feeds(case: Case, T: int, B: int = 1, seed: int = 0) -> dict[str, Any]:
    """An input of T steps."""
    rng = np.random.default_rng(seed)
    if case.net == "tagger":
        return {"x": rng.integers(0, WORDS, (T, B))}
    shape = (B, 1, 16, T) if case.net == "crnn" else (T, B, case.hidden // 2)
    return {"x": rng.standard_normal(shape).astype(np.float32)}


def written(case: Case, folder: Path) -> Path:
    """The quantised file of a case, made unless it is there."""
    from onnxruntime import quantization as q

    path = folder / f"{case.name}.onnx"
    if path.exists():
        return path
    logging.getLogger().setLevel(logging.ERROR)
    kind = getattr(q.QuantType, case.weights)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / "plain.onnx"
        onnx.save(_plain(case), plain)
        if case.how == "dynamic":
            q.quantize_dynamic(plain, path, per_channel=case.per_channel, weight_type=kind)
        else:

            class Reader(q.CalibrationDataReader):  # type: ignore[misc]
                rest = iter([feeds(case, 20, seed=seed) for seed in range(100, 104)])

                def get_next(self) -> Any:
                    return next(self.rest, None)

            q.quantize_static(
                plain, path, Reader(), quant_format=getattr(q.QuantFormat, case.how), per_channel=case.per_channel,
                activation_type=q.QuantType.QUInt8, weight_type=kind,
            )  # fmt: skip
    return path


if __name__ == "__main__":
    for each in CASES:
        print(written(each, Path(sys.argv[1])))
