"""Writes a model of the zoo: the .onnx without the exporter's stack traces, and its runs beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

FILES = Path(__file__).parent / "files"
LARGEST = 60_000
"""Bytes of a file: the zoo shows forms, not weights."""


def strip(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without documentation and metadata: today's exporters write paths and stack traces of their machine there."""
    functions = list(model.functions)
    for function in functions:
        function.ClearField("doc_string")
        del function.metadata_props[:]
        _strip_nodes(function.node)
    del model.metadata_props[:]
    _strip_graph(model.graph)
    return model


def _strip_graph(graph):
    graph.ClearField("doc_string")
    del graph.metadata_props[:]
    for item in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.ClearField("doc_string")
        del item.metadata_props[:]
    _strip_nodes(graph.node)


def _strip_nodes(nodes):
    for node in nodes:
        node.ClearField("doc_string")
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip_graph(attribute.g)


def write(name: str, model: onnx.ModelProto, runs: list[tuple[dict, dict]], truth: str = "eager") -> None:
    """NAME.onnx and NAME.npz with `r/in/<input>` and `r/<truth>/<output>` for run r."""
    FILES.mkdir(exist_ok=True)
    data = strip(model).SerializeToString(deterministic=True)
    if len(data) >= LARGEST:
        raise ValueError(f"{name}: {len(data)} bytes")
    (FILES / f"{name}.onnx").write_bytes(data)
    entries = {}
    for r, (feeds, outputs) in enumerate(runs):
        entries |= {f"{r}/in/{key}": np.asarray(value) for key, value in feeds.items()}
        entries |= {f"{r}/{truth}/{key}": np.asarray(value) for key, value in outputs.items()}
    np.savez_compressed(FILES / f"{name}.npz", **entries)
