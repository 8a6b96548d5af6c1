"""docs/format.md is enough to read a file: weights and graph come out by what that page says alone (page_reader)."""

from __future__ import annotations

import json
from pathlib import Path
from zlib import crc32

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import lstm_infer
import stream_models
import sums_of_bytes
from lstm_infer import FormatError
from lstm_infer.conversion.native import write_native
from lstm_infer.drive.inputs import Inputs
from native.page_reader import HEADER, Reader
from tolerances import like_onnxruntime

ZOO = Path(__file__).parents[1] / "zoo" / "files"


def written(kind: str, path: Path) -> Reader:
    write_native(lstm_infer.load(stream_models.wide(), precision=kind), path)
    return Reader(path.read_bytes())


@pytest.mark.parametrize("kind", ["f32", "f16", "int8"])
def test_the_weights_are_where_the_page_says(kind: str, tmp_path: Path) -> None:
    source = stream_models.wide()
    graph = (onnx.load_from_string(source) if isinstance(source, bytes) else source).graph
    weights = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    file = written(kind, tmp_path / "model.lsi")
    packed = 0
    for name, number in file.graph["consts"].items():
        if name not in ("W", "R", "D"):
            continue
        packed += "packed" in file.model["constants"][number]
        read, true = file.constant(number), weights[name]
        assert read.shape == true.shape
        if kind == "f32":
            np.testing.assert_array_equal(read, true)
        elif kind == "f16":
            np.testing.assert_array_equal(read, true.astype(np.float16).astype(np.float32))
        else:  # half a step of a row's own scale
            rows = true.T if name == "D" else true[0]
            steps = np.abs(rows).max(1, keepdims=True) / 127
            off = np.abs((read.T if name == "D" else read[0]) - rows)
            assert (off <= 0.5001 * steps).all() and off.max() > 0
    assert packed == 3


FILES = (
    "dyn_amp_model", "dyn_char_lm", "dyn_layernorm_loop", "ts_gru_tagger", "ts_scripted_peephole", "ts_mamba", "ts_keyword_last",
    "tf_same_conv_gru", "tf_stacked_states", "ke_bilstm_tagger", "ts_unrolled_decoder", "q_char_lm",
    "ts_scripted_indrnn", "tf_simple_rnn",
)  # fmt: skip
"""Old opsets, loops with bodies, unrolled layers, attributes that later became inputs, sizes that were frozen, com.microsoft."""


@pytest.mark.filterwarnings("ignore:the file has")
@pytest.mark.parametrize("name", FILES)
def test_the_graph_means_what_the_page_says(name: str, tmp_path: Path) -> None:
    """As onnxruntime runs it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    model = lstm_infer.load(ZOO / f"{name}.onnx")
    write_native(model, tmp_path / "model.lsi")
    data = Reader((tmp_path / "model.lsi").read_bytes()).to_onnx()
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = sums_of_bytes.exact(data, options)
    inputs = Inputs(model)
    feeds = inputs.draw(np.random.default_rng(0), *inputs.sizes(7, 1 if name.startswith("q_") else 2))
    names = [port.name for port in session.get_outputs()]
    got = dict(zip(names, session.run(names, feeds), strict=True))
    for key, value in model.run(feeds).items():
        like_onnxruntime(value, got[key], key)


def test_panels_of_another_width_are_refused_by_name(tmp_path: Path) -> None:
    file = written("f32", tmp_path / "model.lsi")
    assert file.model["units"] == 16
    for units, refused in ((8, True), (32, True), (16, False)):
        begin, length, _ = json.loads(head_of(file.data))["documents"]["model"]
        text = json.dumps({**file.model, "units": units}).encode()
        data = resealed(file.data, (begin, length), text)
        if refused:
            with pytest.raises(FormatError, match=f"panels hold {units} units, this release reads 16"):
                lstm_infer.load(data).run({"x": np.zeros((1, 1, 24), np.float32)})
        else:
            assert lstm_infer.load(data).run({"x": np.zeros((1, 1, 24), np.float32)})["y"].shape == (1, 1, 144)


def head_of(data: bytes) -> bytes:
    start, length = HEADER.unpack_from(data)[5:7]
    return data[start : start + length]


def resealed(data: bytes, old: tuple[int, int], document: bytes) -> bytes:
    """With another document "model" behind all else, and all checksums right."""
    head = json.loads(head_of(data))
    assert tuple(head["documents"]["model"][:2]) == old
    out = bytearray(data)
    places = []
    for part in (document, None):
        if part is None:
            head["documents"]["model"] = places[0]
            part = json.dumps(head).encode()
        out += bytes(-len(out) % 64)
        places.append([len(out), len(part), crc32(part)])
        out += part
    fields = list(HEADER.unpack_from(data))
    fields[4:8] = [len(out), *places[1]]
    out[: HEADER.size] = HEADER.pack(*fields[:-1], crc32(HEADER.pack(*fields)[: HEADER.size - 4]))
    return bytes(out)
