"""Every subcommand, in this process: what it prints, what it writes, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import lstm_infer
import stream_models
from lstm_infer.cli import command as cli
from lstm_infer.cli import values
from lstm_infer.cli.demo.show import MODEL
from lstm_infer.cli.wav import read_wav, write_wav
from lstm_infer.drive import timing
from lstm_infer.drive.tables import plain_table

COMMANDS = ("inspect", "verify", "bench", "precision", "run", "demo", "isa")
MODELS = ("centred_conv", "state_io", "hidden_state", "last_step", "both_ways", "stateless", "frame")


by_names = pytest.mark.filterwarnings("ignore:states were paired")  # frame: x and h are alike but for their names


@pytest.fixture
def path(tmp_path):
    """Writes a model of stream_models and returns its path."""

    def write(name):
        file = tmp_path / f"{name}.onnx"
        file.write_bytes(getattr(stream_models, name)())
        return str(file)

    return write


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(timing, "ROUND_S", 0.0005)


def call(*argv):
    return cli.main([str(arg) for arg in argv])


def test_help_teaches(capsys):
    assert call("--help") == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    for command in COMMANDS:
        assert call(command, "--help") == 0
        text = capsys.readouterr().out
        assert "example:" in text and f"lstm-infer {command}" in text and "--json" in text


def test_version_and_wrong_arguments(capsys):
    assert call("--version") == 0
    assert lstm_infer.__version__ in capsys.readouterr().out
    for argv in (
        ["nothing"],
        ["run", "model.onnx"],
        ["verify", "m", "--constants", "sr"],
        ["bench", "m", "--rounds", "0"],
    ):
        assert call(*argv) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "verify", "bench", "precision"])
def test_what_cannot_be_read_is_one_line(command, tmp_path, capsys):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(stream_models.state_io()[:-40])
    for file in (broken, tmp_path / "absent.onnx"):
        assert call(command, file) == 2
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("lstm-infer: ") and said.err.count("\n") == 1
    with pytest.raises(lstm_infer.LstmInferError):
        call(command, broken, "--traceback")


@by_names
@pytest.mark.parametrize("name", MODELS)
def test_the_snippet_runs(name, path, capsys):
    assert call("inspect", path(name), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    space = {}
    exec(found["snippet"], space)
    assert found["streams"] == ("stream" in space)
    made = space.get("ys", space.get("results"))
    assert made is not None
    assert found["kernels"] and found["inputs"] and found["outputs"]


def test_the_snippet_of_several_inputs(tmp_path, capsys):
    """Two streamed inputs, and one without a time axis."""
    model = onnx.load_from_string(stream_models.hidden_state())
    model.graph.node[0].input[0] = "sum"
    helper = onnx.helper
    for name, shape in (("other", ["T", "B", stream_models.INPUTS]), ("gain", [stream_models.INPUTS])):
        model.graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
    model.graph.node.insert(0, helper.make_node("Add", ["x", "other"], ["both"]))
    model.graph.node.insert(1, helper.make_node("Mul", ["both", "gain"], ["sum"]))
    file = tmp_path / "two.onnx"
    onnx.save(model, file)
    assert call("inspect", file, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert "inputs={'gain'" in found["snippet"] and "{'x': " in found["snippet"]
    exec(found["snippet"], {})
    assert {p["name"]: p["role"] for p in found["inputs"]} == {"x": "streamed", "other": "streamed", "gain": "side"}


def test_inspect_shows_shapes_and_states(path, capsys):
    assert call("inspect", path("state_io")) == 0
    text = capsys.readouterr().out
    for part in ("[T, B, 5]", "[B, 5]", "h0 -> hn", "lstm_f32", "model.stream()", "parameters"):
        assert part in text
    assert call("inspect", path("both_ways")) == 0
    assert "bidirectional" in capsys.readouterr().out


def test_inspect_names_what_a_switch_is_compared_with(path, capsys):
    assert call("inspect", path("switched")) == 0
    text = capsys.readouterr().out
    assert "which: no time axis, the graph compares it with 1;" in text
    assert "'which': np.array(1, 'int64')" in text


def test_inspect_says_what_has_to_be_bound(capsys):
    """Lengths count from the start of a stream: they are not fed with every call, and stream() asks for them."""
    file = Path(__file__).parent / "zoo" / "files" / "ts_packed.onnx"
    assert call("inspect", file) == 0
    assert "lengths: no time axis; bind it with stream(inputs=...): it counts from the start" in capsys.readouterr().out
    with pytest.raises(lstm_infer.NotStreamableError, match=r"bind it with stream\(inputs=\{'lengths': lengths\}\)"):
        lstm_infer.load(file).stream()


@pytest.mark.parametrize("name", ["state_io", "both_ways", "frame"])
def test_verify_and_bench(name, path, capsys):
    pytest.importorskip("onnxruntime")
    file = path(name)
    assert call("verify", file) == 0
    assert "fine" in capsys.readouterr().out
    assert call("verify", file, "--json", "--seed", 5) == 0
    assert json.loads(capsys.readouterr().out)["seed"] == 5
    assert call("bench", file, "--rounds", 1) == 0
    assert "CPU: " in capsys.readouterr().out
    assert call("bench", file, "--rounds", 1, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and all(row["ratio"] for row in found["rows"]) and found["conditions"]["threads"].startswith("1")


ZOO = Path(__file__).parent / "zoo" / "files"


def test_bench_compares_what_does_the_same_work(capsys):
    """A loop that was unrolled has the length of the example in onnxruntime, and a scale of a chunk is not one of each step."""
    pytest.importorskip("onnxruntime")
    for file, what, note in (
        ("ts_open_unrolled", "whole", "the length of its example"),
        ("q_char_lm", "chunk", "one scale"),
    ):
        assert call("bench", ZOO / f"{file}.onnx", "--rounds", 1, "--json") == 0, file
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert note in next(row["note"] for row in rows if row["what"].startswith(what))


def test_bench_of_a_file_whose_outputs_are_declared_otherwise(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    import onnx

    model = onnx.load_from_string(stream_models.hidden_state())
    for port in model.graph.output:
        port.type.tensor_type.shape.dim[0].dim_value = 6
    onnx.save(model, tmp_path / "declared.onnx")
    assert call("bench", tmp_path / "declared.onnx", "--rounds", 1, "--json") == 0
    whole = next(row for row in json.loads(capsys.readouterr().out)["rows"] if row["what"].startswith("whole"))
    assert whole["run"] is not None and whole["io_binding"] is None


@pytest.mark.parametrize("name", ["switched", "switched_sizes"])
def test_bench_takes_a_choice_of_networks(name, path, capsys):
    pytest.importorskip("onnxruntime")
    for command in (["bench", "--rounds", 1], ["bench", "--profile"], ["precision", "--steps", 10]):
        assert call(*command, path(name)) == 0, command
    said = capsys.readouterr().out
    assert "inputs: which=1" in said


def test_what_is_wrong_with_a_file_names_the_file(path, tmp_path, capsys):
    model, there = path("state_io"), tmp_path / "there"
    there.write_text("")
    for argv, want in {
        (
            "run",
            model,
            "--input",
            tmp_path / "no.npy",
            "--output",
            tmp_path / "o.npy",
        ): "no.npy: no such file or directory",
        ("inspect", model, "--html", tmp_path / "none" / "net.html"): f"the folder {tmp_path / 'none'} is not there",
        ("demo", "--out", there): "there: file exists",
    }.items():
        assert call(*argv) == 2
        said = capsys.readouterr()
        assert want in said.err and "Errno" not in said.err and said.out == ""


def test_a_file_that_is_read_is_not_written_over(path, tmp_path, capsys):
    signal, link = tmp_path / "x.npy", tmp_path / "link.npy"
    np.save(signal, np.zeros((4, 1, 5), np.float32))
    link.symlink_to(signal)
    before = signal.read_bytes()
    for out in (signal, link):
        assert call("run", path("state_io"), "--input", signal, "--output", out) == 2
        assert "would be overwritten" in capsys.readouterr().err
    assert signal.read_bytes() == before


@pytest.mark.parametrize(
    "command", ["", "inspect", "verify", "bench", "precision", "convert", "run", "demo", "isa", "doctor"]
)
def test_help_fits_the_terminal(command, monkeypatch, capsys):
    """Prose is filled to the width; what is indented (examples) stands as it was written."""
    monkeypatch.setenv("COLUMNS", "60")
    call(*filter(None, [command]), "--help")
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if len(line) > 60 and not line.startswith("  ")] == []
    assert any("lstm-infer" in line and line.startswith("  ") for line in lines)


def test_remedies_are_written_as_options(path, tmp_path, capsys):
    signal = tmp_path / "x.npz"
    np.save(signal.with_suffix(".npy"), np.zeros((4, 1, 5), np.float32))
    assert call("run", path("switched"), "--input", signal.with_suffix(".npy"), "--output", tmp_path / "o.npz") == 2
    assert "on the command line: --constants NAME=VALUE" in capsys.readouterr().err
    assert call("convert", path("state_io"), tmp_path / "m.lsi") == 0
    capsys.readouterr()
    assert call("precision", tmp_path / "m.lsi") == 2
    assert "fixed when it was converted" in capsys.readouterr().err


def test_a_terminal_without_greek(path):
    env = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "lstm_infer", "bench", "--profile", path("state_io")],
        capture_output=True,
        text=True,
        env=env,
    )
    assert done.returncode == 0 and "lstm_f32" in done.stdout


def test_a_table_wider_than_the_terminal_is_not_folded(monkeypatch, capsys):
    import io

    from lstm_infer.cli.tables import print_table

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for columns in (40, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        out = Terminal()
        print_table(
            ["case", "largest error"], [["whole", "1.0e-07"], ["a case with a rather long name", "2.0e-07"]], file=out
        )
        assert "a case with a rather long name" in out.getvalue()


def test_bench_of_a_hidden_state_says_why_there_is_no_ratio(path, capsys):
    pytest.importorskip("onnxruntime")
    assert call("bench", path("hidden_state"), "--rounds", 1) == 0
    assert "onnxruntime cannot step it" in capsys.readouterr().out


def test_bench_pins_and_lets_go():
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system cannot pin a thread to a core")
    before = os.sched_getaffinity(0)
    with timing.pinned() as core:
        assert os.sched_getaffinity(0) == {core}
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_without_onnxruntime(command, path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert call(command, path("stateless")) == 2
    assert "pip install 'lstm_infer[bench]'" in capsys.readouterr().err


def test_options_of_load_arrive(path, capsys):
    file = path("state_io")
    assert call("inspect", file, "--states", "h0=cn", "--states", "c0=hn", "--isa", "scalar", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert {s["name"]: s["output"] for s in found["states"]} == {"h0": "cn", "c0": "hn"} and found["isa"] == "scalar"
    assert call("inspect", file, "--shape", "x=?,4,5", "--time-axis", "x=0") == 0
    capsys.readouterr()
    assert call("inspect", file, "--isa", "abacus") == 2
    assert "abacus" in capsys.readouterr().err


def test_constants_are_numbers_lists_and_truths():
    assert values.constant("sr=16000") == ("sr", 16000)
    assert values.constant("a=b=0.5,1") == ("a=b", [0.5, 1])
    assert values.constant("on=true") == ("on", True)


# ---- run ------------------------------------------------------------------------------------------------


def signal(n=300, batch=1):
    return np.random.default_rng(3).uniform(-1, 1, (n, batch, stream_models.INPUTS)).astype(np.float32)


def test_run_npy_in_chunks_is_the_whole(path, tmp_path, capsys):
    x, file = signal(batch=2), path("hidden_state")
    np.save(tmp_path / "x.npy", x)
    whole = lstm_infer.load(file).run({"x": x})["y"]
    for chunk in (1, 7, 1000):
        assert call("run", file, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", "--chunk", chunk) == 0
        assert np.load(tmp_path / "y.npy").tobytes() == whole.tobytes()
    capsys.readouterr()
    assert call("run", file, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npz", "--whole", "--json") == 0
    assert json.loads(capsys.readouterr().out)["streamed"] is False
    assert np.load(tmp_path / "y.npz")["y"].tobytes() == whole.tobytes()


def test_run_goes_on_from_a_saved_state(path, tmp_path):
    x, file = signal(), path("state_io")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "a.npy", x[:100])
    np.savez(tmp_path / "b.npz", x=x[100:])
    for name in ("x", "a"):
        end = ["--final", tmp_path / "end.npz"] if name == "a" else []
        assert (
            call("run", file, "--input", tmp_path / f"{name}.npy", "--output", tmp_path / f"{name}_out.npy", *end) == 0
        )
    begin = ["--initial", tmp_path / "end.npz"]
    assert call("run", file, "--input", tmp_path / "b.npz", "--output", tmp_path / "b_out.npy", *begin) == 0
    joined = np.concatenate([np.load(tmp_path / "a_out.npy"), np.load(tmp_path / "b_out.npy")])
    assert joined.tobytes() == np.load(tmp_path / "x_out.npy").tobytes()


@by_names
@pytest.mark.parametrize("name", ["hidden_state", "frame"])
def test_run_csv(name, path, tmp_path):
    x, file = signal(40)[:, 0], path(name)
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", header="a,b,c,d,e", comments="", fmt="%.9g")
    assert call("run", file, "--input", tmp_path / "x.csv", "--output", tmp_path / "y.csv") == 0
    want = lstm_infer.load(file).stream().run(x[:, None])
    got = np.loadtxt(tmp_path / "y.csv", delimiter=",").astype(np.float32)
    np.testing.assert_array_equal(got, want.reshape(40, -1))


def test_run_wav_through_the_amplifier(tmp_path, capsys):
    import lstm_infer.cli.demo.show as show

    samples = np.random.default_rng(1).uniform(-0.5, 0.5, (500, 1))
    write_wav(tmp_path / "in.wav", samples, 48000)
    assert call("run", show.MODEL, "--input", tmp_path / "in.wav", "--output", tmp_path / "out.wav") == 0
    got, rate = read_wav(tmp_path / "out.wav")
    x, _ = read_wav(tmp_path / "in.wav")
    want = lstm_infer.load(show.MODEL).run({"x": x[:, None, :]})["y"]
    assert rate == 48000 and np.abs(got[:, 0] - np.clip(want[:, 0, 0], -1, 1)).max() <= 2**-15
    write_wav(tmp_path / "in.wav", np.concatenate([samples, samples[::-1]], 1), 44100)
    assert call("run", show.MODEL, "--input", tmp_path / "in.wav", "--output", tmp_path / "two.npy") == 0
    assert np.load(tmp_path / "two.npy").shape == (500, 2, 1)
    assert "batch of 2" in capsys.readouterr().err


def test_run_wav_in_frames(path, tmp_path, capsys):
    write_wav(tmp_path / "in.wav", np.linspace(-0.5, 0.5, 23), 8000)  # frames of 5: two zeros short
    assert call("run", path("frame"), "--input", tmp_path / "in.wav", "--output", tmp_path / "out.wav") == 0
    assert read_wav(tmp_path / "out.wav")[0].shape == (23, 1)
    assert "2 zeros" in capsys.readouterr().err


def test_run_of_a_model_that_cannot_stream(path, tmp_path, capsys):
    np.save(tmp_path / "x.npy", signal(20))
    assert call("run", path("both_ways"), "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npz") == 0
    assert "run whole" in capsys.readouterr().err
    assert np.load(tmp_path / "y.npz")["y"].shape == (20, 2, 1, stream_models.HIDDEN)


def test_run_says_what_does_not_fit(path, tmp_path, capsys):
    file = path("state_io")
    np.save(tmp_path / "x.npy", signal())
    np.save(tmp_path / "wide.npy", signal().astype(np.float64))
    np.save(tmp_path / "flat.npy", signal()[:, 0])
    (tmp_path / "bad.csv").write_text("1,2\n3,x\n")
    (tmp_path / "narrow.csv").write_text("1,2\n")
    np.savez(tmp_path / "odd.npz", z=signal())
    good = ["run", file, "--input", tmp_path / "x.npy"]
    cases = [
        ([*good, "--output", tmp_path / "y.txt"], "expected one of"),
        ([*good, "--output", tmp_path / "nowhere" / "y.npy"], "not there"),
        ([*good, "--output", tmp_path / "y.wav"], "sample rate"),
        ([*good, "--output", tmp_path / "y.npy", "--select", "z"], "no output 'z'"),
        ([*good, "--output", tmp_path / "y.npy", "--initial", tmp_path / "x.npy"], "expected an .npz"),
        (["run", file, "--input", tmp_path / "flat.npy", "--output", tmp_path / "y.npy"], "takes"),
        (["run", file, "--input", tmp_path / "bad.csv", "--output", tmp_path / "y.npy"], "expected numbers"),
        (["run", file, "--input", tmp_path / "narrow.csv", "--output", tmp_path / "y.npy"], "2 columns"),
        (["run", file, "--input", tmp_path / "odd.npz", "--output", tmp_path / "y.npy"], "not known: ['z']"),
        (["run", file, "--input", tmp_path / "none.npy", "--output", tmp_path / "y.npy"], "none.npy"),
    ]
    for argv, message in cases:
        assert call(*argv) == 2, argv
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1, (argv, said)
    assert call("run", file, "--input", tmp_path / "wide.npy", "--output", tmp_path / "y.npy") == 0
    assert "converted from float64" in capsys.readouterr().err


def test_files_in_which_nothing_stands(path, tmp_path, capsys):
    file = path("state_io")
    for name in ("x.npy", "x.npz", "x.csv", "x.wav", "blank.csv", "head.csv", "text.npy"):
        (tmp_path / name).write_text({"head.csv": "a,b\n", "blank.csv": "\n\n", "text.npy": "1,2,3\n"}.get(name, ""))
    np.save(tmp_path / "objects.npy", np.array([None, {}], object), allow_pickle=True)
    np.savez(tmp_path / "objects.npz", x=np.array([None, {}], object))
    cases = {
        "x.npy": "x.npy: the file is empty; write it again",
        "x.npz": "x.npz: the file is empty; write it again",
        "x.wav": "x.wav: the file is empty; write it again",
        "x.csv": "x.csv: no row of numbers is in it; a row of them is expected for each step",
        "blank.csv": "blank.csv: no row of numbers is in it",
        "head.csv": "head.csv: no row of numbers is in it",
        "text.npy": "text.npy: is not written by NumPy; np.save(path, array) writes such a file",
        "objects.npy": "save numbers: np.save(path, np.asarray(x, np.float32))",
        "objects.npz": "save numbers: np.save(path, np.asarray(x, np.float32))",
    }
    for name, message in cases.items():
        assert call("run", file, "--input", tmp_path / name, "--output", tmp_path / "y.npy") == 2
        said = capsys.readouterr().err
        assert message in said and said.count("\n") == 1, said
        if name != "x.wav":
            assert call("precision", file, "--input", tmp_path / name) == 2
            assert message in capsys.readouterr().err
    assert call("precision", file, "--input", f"x={tmp_path / 'x.npy'}") == 2
    assert "x.npy: the file is empty" in capsys.readouterr().err
    np.save(tmp_path / "some.npy", signal())
    assert call("run", file, "--input", tmp_path / "some.npy", "--output", tmp_path / "y.npy",
                "--initial", tmp_path / "x.npz") == 2  # fmt: skip
    assert "x.npz: the file is empty" in capsys.readouterr().err
    (tmp_path / "model.lsi").touch()
    assert call("inspect", tmp_path / "model.lsi") == 2
    assert "model.lsi: is empty; convert the model again" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "wav"])
def test_a_signal_without_a_step_gives_none(kind, path, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((0, 1, 1), np.float32))
    write_wav(tmp_path / "x.wav", np.zeros((0, 1), np.float32), 48000)
    for name in ("x.npy", "x.wav"):
        out = tmp_path / f"y.{kind}"
        assert call("run", MODEL, "--input", tmp_path / name, "--output", out, "--rate", 48000) == 0
        assert "input 'x' is empty, [0, 1, 1]: there is no step to stream" in capsys.readouterr().err
        if kind == "csv":
            assert out.read_text() == ""
        elif kind == "wav":
            assert read_wav(out)[0].shape == (0, 1)
        else:
            found = np.load(out)
            assert (found if kind == "npy" else found["y"]).shape == (0, 1, 1)


def test_frames_whose_size_the_file_leaves_open(tmp_path, capsys):
    (tmp_path / "wide.onnx").write_bytes(stream_models.switched_sizes())
    write_wav(tmp_path / "x.wav", np.zeros((60, 1)), 16000)
    argv = ["run", tmp_path / "wide.onnx", "--input", tmp_path / "x.wav", "--output", tmp_path / "y.npy"]
    assert call(*argv, "--constants", "which=0") == 0
    assert "the file leaves it open how many: --shape says it" in capsys.readouterr().err
    assert call(*argv, "--constants", "which=0", "--shape", f"x=?,?,{2 * stream_models.INPUTS}") == 0
    assert "--shape" not in capsys.readouterr().err


# ---- demo, isa, the edges -------------------------------------------------------------------------------


def test_demo(tmp_path, capsys, monkeypatch):
    assert call("demo", "--out", tmp_path, "--seconds", 0.05, "--no-plot", "--json") == 0
    assert json.loads(capsys.readouterr().out)["same_bits"] is True
    assert {p.suffix for p in tmp_path.iterdir()} == {".wav"}
    import lstm_infer.cli.demo.show as show

    monkeypatch.setattr(show, "run_demo", lambda *args, **options: {"ok": False})
    assert call("demo", "--out", tmp_path) == 1


def test_isa(capsys):
    assert call("isa") == 0
    assert "picked" in capsys.readouterr().out
    assert call("isa", "--json") == 0
    assert json.loads(capsys.readouterr().out)["can_run"]["scalar"] is True


def test_ctrl_c_and_a_closed_pipe(path, monkeypatch, capsys):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(lstm_infer, "load", stop)
    assert call("inspect", path("frame")) == 130
    assert capsys.readouterr().err == "lstm-infer: interrupted\n"
    monkeypatch.undo()
    code = f"{sys.executable} -m lstm_infer inspect {path('state_io')} | true"
    done = subprocess.run(code, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr and "Broken pipe" not in done.stderr


def test_plain_table():
    lines = plain_table(["name", "µs"], [["step", "1.25"], ["whole", "-"]]).splitlines()
    assert lines[2:] == ["step   1.25", "whole     -"]


def test_precision_says_and_advises(path, tmp_path, capsys):
    file = path("state_io")
    x = np.random.default_rng(1).uniform(-1, 1, (60, 1, stream_models.INPUTS)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    for given in (tmp_path / "x.npy", f"x={tmp_path / 'x.npy'}"):
        assert call("precision", file, "--input", given, "--within", "1e-2", "--steps", "500", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["data"] == "as given, 60 steps" and found["rows"][1]["growth"][-1]["steps"] == 500
        model = lstm_infer.load(file, precision=found["advice"])
        got, want = (m.stream().run({"x": x})["y"].astype(np.float64) for m in (model, lstm_infer.load(file)))
        outputs = {one["output"]: one for one in found["mix"]["outputs"]}
        assert np.abs(got - want).max() == outputs["y"]["largest"] <= 1e-2
    assert call("precision", file, "--within", "1e-2", "--steps", "100") == 0
    text = capsys.readouterr().out
    assert f"precision={found['advice']}" in text or "precision={" in text
    for part in ("no data was given", "which layer brings it", "over a long run", "largest error", "to paste:"):
        assert part in text


def test_precision_refuses_what_it_cannot_use(path, tmp_path, capsys, monkeypatch):
    file = path("state_io")
    (tmp_path / "x.npy").write_bytes(b"nothing")
    np.savez(tmp_path / "two.npz", x=np.zeros((3, 1, stream_models.INPUTS), np.float32))
    for argv, said in (
        (["--input", tmp_path / "x.npy"], "x.npy"),
        (["--input", f"x={tmp_path / 'x.npy'}"], "x.npy"),
        (["--input", f"x={tmp_path / 'two.npz'}"], "expected a .npy file"),
        (["--input", tmp_path / "absent.npy"], "absent.npy"),
        (["--within", "0"], "a number above 0"),
        (["--steps", "-1"], "long_run"),
        (["--precision", "f16"], "unrecognized"),
    ):
        assert call("precision", file, *argv) == 2
        assert said in capsys.readouterr().err
    from lstm_infer.cli import plots

    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    assert call("precision", file, "--plot", tmp_path / "p.png") == 2
    assert "lstm_infer[plot]" in capsys.readouterr().err


def test_precision_draws(path, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "errors.png"
    assert call("precision", path("state_io"), "--within", "1e-3", "--steps", "100", "--plot", picture) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert call("precision", path("state_io"), "--steps", "10", "--plot", tmp_path / "errors.nothing") == 2


def test_verify_and_bench_of_rounded_weights(path, capsys):
    pytest.importorskip("onnxruntime")
    file = path("state_io")
    assert call("verify", file, "--precision", "f16", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    rows = {(row["case"], row["output"]): row for row in found["rows"]}
    assert found["allowed"] and 1e-6 < rows["whole", "y"]["relative"] < 0.01
    assert rows["split", "y"]["worst_absolute"] == 0
    assert call("verify", file, "--precision", "f16") == 0
    assert "errors are told" in capsys.readouterr().out
    assert call("verify", file, "--json") == 0
    assert json.loads(capsys.readouterr().out)["allowed"] == ""
    assert call("bench", file, "--precision", "f16", "--rounds", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and found["conditions"]["precision"].startswith("f16; ")
    assert all(row["int8_run"] is None for row in found["rows"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_bench_beside_the_int8_of_onnxruntime(path, capsys, monkeypatch):
    pytest.importorskip("onnxruntime")
    from lstm_infer.cli import bench

    monkeypatch.setattr(
        bench, "INT8", "f16"
    )  # whatever the kinds are called: where ours is in it, theirs stands beside
    assert call("bench", path("state_io"), "--precision", "f16", "--rounds", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    step = next(row for row in found["rows"] if row["what"] == "step")
    assert step["int8_run"]["median"] > 0 and step["int8_binding"]["median"] > 0 and step["ratio_int8"] > 0
    assert found["conditions"]["onnxruntime's int8"].startswith("quantize_dynamic")
    assert call("bench", path("state_io"), "--precision", "f16", "--rounds", "2") == 0
    assert "ort int8 run" in capsys.readouterr().out
    assert call("bench", path("stateless"), "--precision", "f16", "--rounds", "2", "--json") == 0


def test_run_and_inspect_take_a_precision(path, tmp_path, capsys):
    file, name = path("state_io"), tmp_path / "x.npy"
    np.save(name, np.random.default_rng(1).uniform(-1, 1, (30, 1, stream_models.INPUTS)).astype(np.float32))
    made = {}
    for kind in ("f32", "f16"):
        out = tmp_path / f"{kind}.npy"
        assert call("run", file, "--input", name, "--output", out, "--select", "y", "--precision", kind) == 0
        made[kind] = np.load(out)
    x = np.load(name)
    assert np.array_equal(made["f16"], lstm_infer.load(file, precision="f16").stream().run({"x": x})["y"])
    assert not np.array_equal(made["f16"], made["f32"])
    capsys.readouterr()
    assert call("inspect", file, "--precision", "f16") == 0
    assert "as f16" in capsys.readouterr().out
    assert call("inspect", file, "--precision", "f17") == 2
    assert "'f17'" in capsys.readouterr().err
