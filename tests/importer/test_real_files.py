"""All real files import, and mean the same afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from importer_models import real_files, to_onnx

from lstm_infer import importer
from lstm_infer.graph.ir import Graph

FILES = real_files()
pytestmark = pytest.mark.skipif(not FILES, reason="shared/exports and shared/models are absent; set LSTM_INFER_EXPORTS")


def check(graph: Graph, known: set[str], names: set[str]) -> None:
    """What `ir` promises: unique names, makers before readers."""
    here = set(known)
    for made in [*(item.name for item in graph.inputs), *graph.consts]:
        assert made not in names, made
        names.add(made)
        here.add(made)
    for node in graph.nodes:
        assert node.opset > 0
        assert all(not name or name in here for name in node.inputs), str(node)
        assert any(node.outputs)
        for value in node.attrs.values():
            for sub in value if isinstance(value, list) else [value]:
                if isinstance(sub, Graph):
                    check(sub, here, names)
        for name in filter(None, node.outputs):
            assert name not in names, name
            names.add(name)
            here.add(name)
    assert all(item.name in here for item in graph.outputs)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_keeps_the_promises_of_ir(path: Path) -> None:
    graph = importer.read(path)
    check(graph, set(), set())
    node_names = [node.name for node in graph.walk()]
    assert len(set(node_names)) == len(node_names)
    assert not [node for node in graph.walk() if node.op in ("Constant", "Dropout", "Upsample")]


def feeds_of(path: Path, session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    """The inputs stored beside an export, random ones for a model."""
    stored = path.with_suffix(".npz")
    if stored.exists():
        with np.load(stored) as arrays:
            return {key.split("/", 2)[2]: arrays[key] for key in arrays.files if key.startswith("0/in/")}
    rng = np.random.default_rng(0)
    feeds = {}
    for item in session.get_inputs():
        if item.type == "tensor(int64)":
            feeds[item.name] = np.array(16000, np.int64)
            continue
        shape = [size if isinstance(size, int) else 1 for size in item.shape]
        if path.stem == "silero_vad" and item.name == "input":
            shape = [1, 576]
        elif path.stem == "silero_vad" and item.name == "state":
            shape = [2, 1, 128]
        elif path.stem == "silero_vad_v6_seq" and item.name == "input":
            shape = [3, 576]
        feeds[item.name] = rng.standard_normal(shape).astype(np.float32)
    return feeds


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_means_what_the_file_means(path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(path, options)
        feeds = feeds_of(path, session)
        expected = session.run(None, feeds)
    except Exception as error:
        pytest.skip(f"onnxruntime cannot run the file itself: {error}")
    again = to_onnx(importer.read(path)).SerializeToString()
    got = onnxruntime.InferenceSession(again, options).run(None, feeds)
    for want, have in zip(expected, got, strict=True):
        np.testing.assert_array_equal(have, want)
