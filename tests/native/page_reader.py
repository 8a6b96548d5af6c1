"""A native file as docs/format.md describes it, read by JSON, struct and the formulas of that page: nothing of the engine takes
part. What the graph means is said by making it an ONNX file."""

from __future__ import annotations

import json
import struct
from typing import Any
from zlib import crc32

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper

HEADER = struct.Struct("<8s I HH QQQ I 3I I I")
OPSET = 21
"""Of the file: the page says that nodes have the form of 18; these are operators that came later, or changed in form alone."""
KINDS = {"ints": AttributeProto.INTS, "floats": AttributeProto.FLOATS, "texts": AttributeProto.STRINGS}


class NoOperatorError(Exception):
    """The graph has an operator that is none of ONNX's."""


class Reader:
    """A file as that page describes it."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        start, length = HEADER.unpack_from(data)[5:7]
        head = json.loads(data[start : start + length])
        self.documents = {name: self.document(span) for name, span in head["documents"].items()}
        self.model, self.graph = self.documents["model"], self.documents["graph"]

    def document(self, span: list[int]) -> Any:
        begin, length, checksum = span
        assert begin % 64 == 0 and crc32(self.data[begin : begin + length]) == checksum
        return json.loads(self.data[begin : begin + length])

    # ---- constants --------------------------------------------------------------------------------------

    def block(self, number: int) -> np.ndarray:
        dtype, shape, begin, length, checksum = self.model["blocks"][number]
        part = self.data[begin : begin + length]
        assert begin % 64 == 0 and crc32(part) == checksum
        return np.frombuffer(part, np.dtype(dtype).newbyteorder("<")).reshape(shape)

    def constant(self, number: int) -> np.ndarray:
        said = self.model["constants"][number]
        return self.block(said["block"]) if "block" in said else self.packed(said)

    def packed(self, said: dict[str, Any]) -> np.ndarray:
        kind = said["packed"]["kind"]
        rows = [self.piece(kind, *piece) for piece in said["packed"]["pieces"]]
        whole = np.concatenate(rows)
        if not said["packed"]["turned"]:
            whole = whole.T
        return np.ascontiguousarray(whole).reshape(said["shape"]).astype(said["dtype"])

    def piece(self, kind: str, panels: int, gates: int, units: int, k: int, panel: int, start: int, first: int) -> Any:
        """Rows [gates * units, k], all elements at once."""
        words = self.block(self.model["panels"][panels]["block"])
        gate, unit, i = np.ogrid[:gates, :units, :k]

        def word(position: Any) -> Any:
            return words[(first + unit // 16) * panel + start + (position * gates + gate) * 16 + unit % 16]

        if kind != "int8":
            return word(i).astype(np.float32).reshape(gates * units, k)
        scale, zero = np.ascontiguousarray(word(0 * i)).view(np.float32), word(0 * i + 2)
        byte = word(3 + i // 4) >> 8 * (i % 4) & 255
        signed = np.where(byte > 127, byte - 256, byte)
        return ((signed - zero).astype(np.float32) * scale).reshape(gates * units, k)

    # ---- the graph --------------------------------------------------------------------------------------

    def to_onnx(self) -> bytes:
        """The same as a file of ONNX."""
        graph = self._graph(self.graph)
        graph.input.extend(
            helper.make_tensor_value_info(one.name, one.data_type, one.dims)
            for one in graph.initializer
            if one.name in self.graph["defaults"]
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()

    def _tensor(self, number: int, name: str = "") -> onnx.TensorProto:
        return numpy_helper.from_array(np.array(self.constant(number)), name)

    def _graph(self, graph: dict[str, Any]) -> onnx.GraphProto:
        nodes = [node for said in graph["nodes"] for node in self._nodes(*said)]
        ports = [[self._port(*port) for port in graph[side]] for side in ("inputs", "outputs")]
        for i, port in enumerate(ports[1]):
            if port.name in {other.name for other in ports[1][:i]}:
                nodes.append(helper.make_node("Identity", [port.name], [f"{port.name}/again{i}"]))
                port.name = f"{port.name}/again{i}"
        return helper.make_graph(
            nodes, "graph", *ports, [self._tensor(number, name) for name, number in graph["consts"].items()]
        )

    def _port(self, name: str, dtype: str, shape: list[Any] | None) -> onnx.ValueInfoProto:
        if dtype in ("unknown", "none"):
            return onnx.ValueInfoProto(name=name)
        rank = (
            None if shape is None else [None] * len(shape)
        )  # what is declared may have been opened since ("repaired")
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), rank)

    def _nodes(
        self, op: str, domain: str, opset: int, name: str, ins: list[str], outs: list[str], attrs: dict[str, Any]
    ) -> list[onnx.NodeProto]:
        """One node; what the page says of those that are said otherwise than in ONNX."""
        attrs = dict(attrs)
        if op == "Steps":
            return [helper.make_node("Identity", ins[:1], outs)]
        if op == "ConcatFromStack":
            parts = f"{outs[0]}/parts"
            plain = {key: content for key, (_, content) in attrs.items()}
            split = helper.make_node("SplitToSequence", ins, [parts], axis=0, keepdims=0)
            return [split, helper.make_node("ConcatFromSequence", [parts], outs, **plain)]
        if domain == "lstm_infer" or attrs.get("nearest_mode") == ["text", ""]:
            raise NoOperatorError(f"{op} of {domain or 'an old opset'}")
        if op == "MatMul" and len(ins) == 3:
            made = f"{outs[0]}/product"
            return [helper.make_node(op, ins[:2], [made]), helper.make_node("Add", [made, ins[2]], outs)]
        if attrs.pop("coerce_2d", None):
            flat, made, shape = (f"{outs[0]}/{part}" for part in ("flat", "made", "shape"))
            return [
                helper.make_node("Flatten", ins, [flat], axis=attrs["axis"][1]), helper.make_node(op, [flat], [made], axis=1),
                helper.make_node("Shape", ins, [shape]), helper.make_node("Reshape", [made, shape], outs),
            ]  # fmt: skip
        if op in ("Loop", "Scan"):  # onnxruntime does not take the names of absent outputs
            outs = [out or f"{name}/unread{i}" for i, out in enumerate(outs)]
        node = helper.make_node(op, ins, outs, name=name, domain=domain)
        node.attribute.extend(self._attribute(key, *said) for key, said in attrs.items() if said[1] != [])
        return [node]

    def _attribute(self, key: str, kind: str, content: Any) -> AttributeProto:
        if kind in KINDS:
            values = [float(one) for one in content] if kind == "floats" else content
            return helper.make_attribute(key, values, attr_type=KINDS[kind])
        made = {"array": self._tensor, "graph": self._graph, "float": float}.get(kind, lambda plain: plain)
        return helper.make_attribute(key, made(content))
