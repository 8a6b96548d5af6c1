"""A native file gives what its source gives, bit for bit: whole, streamed, at other sizes, by snapshots that go both ways."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import lstm_infer
import snapshot_cases
import stream_models
from lstm_infer import ArgumentError, FormatError
from lstm_infer.analysis.spec import StreamSpec
from lstm_infer.conversion.native import write_native
from lstm_infer.drive.driver import one_or_all
from lstm_infer.drive.inputs import Inputs, stream_spec
from lstm_infer.onnxruntime import InferenceSession

ZOO = Path(__file__).parents[1] / "zoo" / "files"
FILES = ("ts_mamba", "ts_scripted_lstm", "ts_scripted_peephole", "tf_token_gru", "tf_same_conv_gru", "ts_nowcast", "tf_rnn_states",
         "ts_lagging_loop", "dyn_gtcrn_stream", "dyn_char_lm", "dyn_learned_state", "dyn_causal_conv_lstm")  # fmt: skip
"""Loops with bodies, sizes that an exporter froze, states as ports, learned and hidden."""


def written_out(n: int = 3, K: int = 16, H: int = 32) -> bytes:
    """A loop that collects what a GRU inside gives by Concat, which a plan writes out pass by pass."""
    rng = np.random.default_rng(0)
    made = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[{n}, 1, {K}] x) => (float[{n}, 1, {H}] all, float[1, 1, {H}] last)
        <int64 n = {{{n}}}, int64[1] zero = {{0}}>
        {{
            h0 = ConstantOfShape <value: tensor = float[1] {{0}}> (size)
            last, all = Loop (n, , h0, none) <body: graph = pass (int64 i, bool go, float[1, 1, {H}] h, float[N, 1, {H}] ys)
                => (bool again, float[1, 1, {H}] h_next, float[M, 1, {H}] ys_next)
            {{
                row = Gather <axis: int = 0> (x, i)
                one = Unsqueeze (row, zero)
                each, h_next = GRU <hidden_size: int = {H}> (one, W, R, , , h)
                ys_next = Concat <axis: int = 0> (ys, h_next)
                again = Identity (go)
            }}>
        }}""")
    for name, value in {
        "W": rng.normal(0, 0.3, (1, 3 * H, K)).astype(np.float32), "R": rng.normal(0, 0.3, (1, 3 * H, H)).astype(np.float32),
        "size": np.array([1, 1, H]), "none": np.zeros((0, 1, H), np.float32),
    }.items():  # fmt: skip
        made.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return bytes(made.SerializeToString())


SOURCES = {
    **{name: ZOO / f"{name}.onnx" for name in FILES}, "hidden": stream_models.hidden_state(), "ports": stream_models.state_io(),
    "wide": stream_models.wide(), "queued": snapshot_cases.queued(), "counted": snapshot_cases.counted(),
    "lengths": snapshot_cases.with_lengths(), "switched": stream_models.switched(), "whole": stream_models.both_ways(),
    "written out": written_out(),
}  # fmt: skip


def written(model: lstm_infer.Model, folder: Path) -> Path:
    path = folder / "model.lsi"
    write_native(model, path)
    return path


@pytest.mark.filterwarnings("ignore:the file has")
@pytest.mark.parametrize("kind", ["f32", "f16", "int8"])
@pytest.mark.parametrize("name", SOURCES)
def test_every_model_gives_the_same_bits(name: str, kind: str, tmp_path: Path) -> None:
    report = lstm_infer.convert(SOURCES[name], tmp_path / "model.lsi", precision=kind)
    assert report.ok and report.checks and all(check.excess == 0 for check in report.checks)
    source, made = lstm_infer.load(SOURCES[name], precision=kind), lstm_infer.load(tmp_path / "model.lsi")
    assert made.inputs == source.inputs and made.outputs == source.outputs and made.states == source.states
    assert made.repaired == source.repaired and made.rewritten == source.rewritten
    for T, B in ((2, 1), (19, 2)):  # sizes at which nothing was packed before
        inputs = Inputs(source)
        T, B = inputs.sizes(T, B)
        feeds = inputs.draw(np.random.default_rng(3), T, B)
        want, got = source.run(feeds), made.run(feeds)
        assert all(got[out].tobytes() == value.tobytes() for out, value in want.items())
    assert [(x.name, x.precision) for x in made.layers] == [(x.name, x.precision) for x in source.layers]
    spec = stream_spec(source)
    if isinstance(spec, StreamSpec) and not spec.side:
        snapshots_go_both_ways(source, made, spec)


def snapshots_go_both_ways(source: lstm_infer.Model, made: lstm_infer.Model, spec: StreamSpec) -> None:
    inputs = Inputs(source)
    T, B = inputs.sizes(6, 1)
    frames = spec.mode == "frame"
    rng = np.random.default_rng(4)
    pieces = []
    for _ in range(4):
        drawn = inputs.draw(rng, T, B)
        pieces.append(one_or_all({n: drawn[n][None] if frames else drawn[n] for n in spec.streamed}))
    for one, other in ((source, made), (made, source)):
        here, there = one.stream(), other.stream()
        here.run(pieces[0])
        there.run(pieces[1])
        there.restore(here.snapshot())
        for piece in pieces[2:]:
            want, got = here.run(piece), there.run(piece)
            pairs = [(want[n], got[n]) for n in want] if isinstance(want, dict) else [(want, got)]
            assert all(a is b is None or a.tobytes() == b.tobytes() for a, b in pairs)
        assert here.snapshot() == there.snapshot()


def test_what_was_converted_may_be_a_loaded_model_or_bytes_again(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((4, 1, 24)).astype(np.float32)
    first = lstm_infer.load(stream_models.wide(), precision="int8")
    want = first.run({"x": x})["y"]
    path = written(first, tmp_path)
    second = lstm_infer.load(str(path))
    (tmp_path / "again").mkdir()
    again = written(second, tmp_path / "again")
    for source in (path.read_bytes(), bytearray(path.read_bytes()), again):
        np.testing.assert_array_equal(lstm_infer.load(source).run({"x": x})["y"], want)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name, value", [
    ("precision", "f16"), ("inputs", {"x": (None, 1, 24)}), ("constants", {"x": 1}), ("states", {"x": "y"}),
    ("time_axis", {"x": 0}), ("seed", 1),
])  # fmt: skip
def test_what_is_fixed_cannot_be_said_again(name: str, value: object, tmp_path: Path) -> None:
    path = written(lstm_infer.load(stream_models.wide()), tmp_path)
    with pytest.raises(ArgumentError, match=f"{name}: was fixed when the model was converted"):
        lstm_infer.load(path, **{name: value})
    assert lstm_infer.load(path, isa="scalar").isa == "scalar"


def test_options_of_the_conversion_hold(tmp_path: Path) -> None:
    asked = {
        "inputs": {"x": (None, 1, None)},
        "seed": 5,
        "time_axis": {"x": 0},
        "precision": {"rec": "f16", "*": "int8"},
    }
    source = lstm_infer.load(stream_models.wide(), **asked)
    made = lstm_infer.load(written(source, tmp_path))
    assert made.inputs == source.inputs and made._options == source._options
    chosen = lstm_infer.load(stream_models.switched(), constants={"which": 1})
    again = lstm_infer.load(written(chosen, tmp_path))
    assert [x.name for x in again.inputs] == [x.name for x in chosen.inputs] and len(again.inputs) == 3


def test_what_the_source_says_of_itself_is_kept(tmp_path: Path) -> None:
    proto = onnx.load_from_string(stream_models.wide())
    onnx.helper.set_model_props(proto, {"sample_rate": "16000", "": "\n"})
    proto.producer_name, proto.domain, proto.model_version, proto.doc_string = "made", "org.example", 7, "é"
    path = written(lstm_infer.load(proto), tmp_path)
    here, there = (InferenceSession(source).get_modelmeta() for source in (proto.SerializeToString(), str(path)))
    assert vars(here) == vars(there) and there.custom_metadata_map["sample_rate"] == "16000" and there.version == 7


def test_names_may_be_as_long_as_they_are(tmp_path: Path) -> None:
    proto = onnx.load_from_string(stream_models.wide())
    long = "n" * 70_000
    proto.graph.name = long
    for node in proto.graph.node:
        for names in (node.input, node.output):
            names[:] = [long if name == "x" else name for name in names]
    proto.graph.input[0].name = long
    assert lstm_infer.convert(proto, tmp_path / "model.lsi").ok
    stream = lstm_infer.load(tmp_path / "model.lsi").stream()
    assert stream.step({long: np.ones((1, 24), np.float32)}).keys() == {"y"}
    assert stream.snapshot()  # it names states, not inputs
    proto.graph.node[0].name = long  # which is what a state is called
    with pytest.raises(FormatError, match="room for names of 65535 bytes"):
        lstm_infer.load(proto).stream().snapshot()


def test_weights_stand_in_the_file_once(tmp_path: Path) -> None:
    sizes = {}
    for kind, bits in (("f32", 4), ("f16", 2), ("int8", 1)):
        path = written(lstm_infer.load(stream_models.wide(), precision=kind), tmp_path)
        sizes[kind] = path.stat().st_size - bits * (128 * 56 + 32 * 144)
    assert all(0 < rest < 16000 for rest in sizes.values()), sizes


APART = """
import sys
class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("onnx", "google", "onnxruntime"):
            raise ImportError(name)
sys.meta_path.insert(0, Refused())
import numpy as np, lstm_infer
model = lstm_infer.load(sys.argv[1])
y = model.stream().step(np.ones((1, 24), np.float32))
sys.stdout.write(y.tobytes().hex())
"""


def test_nothing_of_onnx_is_needed(tmp_path: Path) -> None:
    source = lstm_infer.load(stream_models.wide(), precision="f16")
    path = written(source, tmp_path)
    ran = subprocess.run([sys.executable, "-c", APART, path], capture_output=True, text=True, check=True)
    assert ran.stdout == source.stream().step(np.ones((1, 24), np.float32)).tobytes().hex()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/smaps")
def test_the_pages_of_a_file_are_shared(tmp_path: Path) -> None:
    path = written(lstm_infer.load(stream_models.wide()), tmp_path)
    stream = lstm_infer.load(path).stream()
    stream.run(np.ones((40, 1, 24), np.float32))
    lines = Path("/proc/self/smaps").read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.endswith(str(path)))
    held = {line.split(":")[0]: int(line.split()[1]) for line in lines[at + 1 : at + 20] if line.endswith("kB")}
    assert held["Anonymous"] == 0 < held["Rss"]  # no page is this process's own
