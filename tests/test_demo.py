"""What ships for `lstm-infer demo`: the strings, the WAV files, the model, the show."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lstm_infer
import lstm_infer.cli.demo
from lstm_infer.cli.demo.pluck import pluck, riff
from lstm_infer.cli.wav import read_wav, write_wav
from lstm_infer.errors import FormatError, LstmInferError, ShapeError

ROOT = Path(__file__).resolve().parent.parent
AMP = Path(lstm_infer.cli.demo.__file__).with_name("amp.onnx")
MODELS = Path(os.environ.get("LSTM_INFER_MODELS", ROOT.parent / "shared" / "models"))
needs_engine = pytest.mark.skipif(not hasattr(lstm_infer, "load"), reason="lstm_infer.load is not built")


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("frequency", [41.2, 82.41, 220.0, 987.8, 3000.0])
def test_pluck_is_in_tune_and_decays(frequency):
    sound = pluck(frequency, 2.0, sustain=3.0)
    n = 1 << 20
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound)), n))
    low, high = (int(frequency * k * n / 48000) for k in (0.94, 1.06))
    found = (low + spectrum[low:high].argmax()) * 48000 / n
    assert abs(1200 * np.log2(found / frequency)) < 2.0  # cents; 5 is what a trained ear hears
    assert np.abs(sound).max() == 1.0
    assert np.abs(sound[-9600:]).max() < 0.3 * np.abs(sound[:9600]).max()
    assert abs(sound.mean()) < 1e-3


def test_pluck_and_riff_are_deterministic():
    assert np.array_equal(pluck(110.0, 0.3, seed=4), pluck(110.0, 0.3, seed=4))
    assert not np.array_equal(pluck(110.0, 0.3, seed=4), pluck(110.0, 0.3, seed=5))
    first, again = riff(5.0), riff(5.0)
    assert first.dtype == np.float32 and first.shape == (5 * 48000,) and np.isfinite(first).all()
    assert np.array_equal(first, again)
    assert np.array_equal(first[: 48000 * 4], riff(4.0)) and np.array_equal(first[48000 * 4 :], first[:48000])
    assert abs(np.abs(first).max() - 0.6) < 1e-6


@pytest.mark.parametrize("bad", [{"frequency": 5.0}, {"seconds": 0.0}, {"brightness": 2.0}, {"sustain": -1.0}])
def test_pluck_refuses(bad):
    with pytest.raises(ValueError, match="pluck: "):
        pluck(**{"frequency": 110.0, "seconds": 0.1} | bad)


def riff_file(fmt: bytes, data: bytes, *, before: bytes = b"") -> bytes:
    chunks = before + b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def fmt_chunk(code: int, channels: int, bits: int, rate: int = 48000) -> bytes:
    n = channels * bits // 8
    return struct.pack("<HHIIHH", code, channels, rate, rate * n, n, bits)


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_wav_round_trip(tmp_path, bits, channels):
    full = 1 << (bits - 1)
    whole = np.random.default_rng(bits).integers(-full, full, (301, channels))
    whole[:2] = [[-full], [full - 1]]
    x = (whole / full).astype(np.float32)
    write_wav(tmp_path / "a.wav", x, 44100, bits=bits)
    y, rate = read_wav(tmp_path / "a.wav")
    assert rate == 44100 and y.dtype == np.float32 and np.array_equal(x, y)
    write_wav(tmp_path / "b.wav", y, 44100, bits=bits)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_wav_clips_and_takes_one_axis(tmp_path):
    write_wav(tmp_path / "a.wav", np.array([2.0, -2.0, 0.5, 1.0]), 8000)
    y, rate = read_wav(tmp_path / "a.wav")
    assert rate == 8000 and y.shape == (4, 1)
    assert y[:, 0].tolist() == [32767 / 32768, -1.0, 0.5, 32767 / 32768]
    write_wav(tmp_path / "empty.wav", np.zeros((0, 2)), 8000)
    assert read_wav(tmp_path / "empty.wav")[0].shape == (0, 2)


def test_wav_reads_other_codings(tmp_path):
    path = tmp_path / "a.wav"
    x = np.array([[0.0, -1.0], [0.5, 0.25], [0.75, -0.125]], np.float32)
    extensible = (
        fmt_chunk(0xFFFE, 2, 24) + struct.pack("<HHI", 22, 24, 3) + bytes.fromhex("0100000000001000800000aa00389b71")
    )
    packed24 = b"".join(struct.pack("<i", int(v * 2**23))[:3] for v in x.ravel())
    cases = {
        "float32": riff_file(fmt_chunk(3, 2, 32), x.tobytes()),
        "float64": riff_file(fmt_chunk(3, 2, 64), x.astype("<f8").tobytes()),
        "int32": riff_file(fmt_chunk(1, 2, 32), (x * 2.0**31).astype("<i4").tobytes()),
        "uint8": riff_file(fmt_chunk(1, 2, 8), (x * 128 + 128).astype(np.uint8).tobytes()),
        "extensible 24": riff_file(extensible, packed24),
        "odd chunk before": riff_file(fmt_chunk(3, 2, 32), x.tobytes(), before=b"LIST\x03\x00\x00\x00abc\x00"),
    }
    streamed = bytearray(riff_file(fmt_chunk(3, 2, 32), x.tobytes()))
    streamed[40:44] = b"\xff" * 4
    cases["length unknown"] = bytes(streamed)
    for name, data in cases.items():
        path.write_bytes(data)
        y, rate = read_wav(path)
        assert rate == 48000 and np.array_equal(x, y), name


def test_wav_truncated_or_flipped_never_crashes(tmp_path):
    path = tmp_path / "a.wav"
    write_wav(path, riff(0.01)[:, None].repeat(2, 1), 48000)
    data = path.read_bytes()
    for n in [*range(60), len(data) - 1]:
        path.write_bytes(data[:n])
        with pytest.raises(FormatError):
            read_wav(path)
    for at, bit in itertools.product(range(44), range(8)):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
        try:
            y, _ = read_wav(path)
        except LstmInferError:
            continue
        assert y.ndim == 2 and y.nbytes <= 4 * len(data)


@pytest.mark.parametrize(
    ("fmt", "data", "words"),
    [
        (fmt_chunk(2, 1, 16), b"\0\0", "format code 2"),
        (fmt_chunk(1, 1, 12), b"\0\0", "12 bits"),
        (fmt_chunk(1, 0, 16), b"\0\0", "0 channels"),
        (fmt_chunk(1, 2, 16), b"\0\0\0", "no whole number of frames"),
        (fmt_chunk(1, 1, 16)[:15], b"\0\0", "15 bytes"),
        (fmt_chunk(1, 1, 16, rate=0), b"\0\0", "0 samples/s"),
    ],
)
def test_wav_says_what_is_wrong(tmp_path, fmt, data, words):
    (tmp_path / "a.wav").write_bytes(riff_file(fmt, data))
    with pytest.raises(FormatError, match=words):
        read_wav(tmp_path / "a.wav")


def test_wav_refuses_to_write(tmp_path):
    path = tmp_path / "a.wav"
    for samples, rate, bits, error in [
        (np.zeros((2, 2, 2)), 8000, 16, ShapeError),
        (np.zeros(2), 8000, 12, FormatError),
        (np.zeros(2), 0, 16, FormatError),
        (np.array([0.0, np.nan]), 8000, 16, FormatError),
    ]:
        with pytest.raises(error):
            write_wav(path, samples, rate, bits=bits)
        assert not path.exists()


def test_amp_is_small_and_open_in_time_and_batch():
    ort = pytest.importorskip("onnxruntime")
    assert AMP.stat().st_size < 100_000
    session = ort.InferenceSession(AMP, providers=["CPUExecutionProvider"])
    x = riff(0.01).reshape(-1, 1, 1)
    whole = session.run(None, {"x": x})[0]
    for n in (1, 2, 17, 480):
        assert np.allclose(session.run(None, {"x": x[:n]})[0], whole[:n], atol=1e-6)
    three = session.run(None, {"x": np.concatenate([x, -x, x], axis=1)})[0]
    assert three.shape == (480, 3, 1) and np.allclose(three[:, ::2], whole, atol=1e-6)


def test_amp_sounds_like_the_circuit():
    ort = pytest.importorskip("onnxruntime")
    train = example("train_amp")
    x, y = train.held_out(10, 0.6)
    got = ort.InferenceSession(AMP).run(None, {"x": x.astype(np.float32)[..., None]})[0][..., 0]
    assert train.esr(y, got) < train.ESR_BOUND
    assert train.esr(y[:, -1:], got[:, -1:]) < train.ESR_BOUND  # the riff alone
    assert train.esr(y, x * (x * y).sum() / (x * x).sum()) > 0.3  # no mere volume knob does it


def test_circuit_has_memory_and_no_rest_offset():
    train = example("train_amp")
    n = 24000
    quiet = 0.02 * np.sin(2 * np.pi * 220 * np.arange(n) / train.RATE)
    loud = np.where(np.arange(n) < n // 2, 0.6 * np.sin(2 * np.pi * 110 * np.arange(n) / train.RATE), quiet)
    y = train.amplify(np.stack([np.zeros(n), quiet, loud], axis=1))
    assert np.abs(y[:, 0]).max() < 1e-3
    after = slice(n // 2 + 1200, n // 2 + 2400)  # 25 to 50 ms after the loud half; the filters have forgotten by then
    assert np.abs(y[after, 2] - y[after, 1]).max() > 0.05 * np.abs(y[after, 1]).max()
    assert np.allclose(train.amplify(loud[:9000, None]), y[:9000, 2:], atol=2e-3)  # causal but for the resampling


def test_peer_carries_the_state():
    ort = pytest.importorskip("onnxruntime")
    from lstm_infer.cli.demo.beside import Peer

    x = riff(0.02).reshape(-1, 1, 1)
    whole = ort.InferenceSession(AMP).run(None, {"x": x})[0]
    peer = Peer(AMP)
    pieces = np.concatenate([peer.run(part) for part in np.split(x, [1, 2, 70, 500])])
    assert np.allclose(pieces, whole, rtol=1e-4, atol=1e-5)


class StandIn:
    """Model and stream at once, on onnxruntime: the show can be tested before, and apart from, the engine."""

    def __init__(self, path, *, wrong: float = 0.0) -> None:
        from lstm_infer.cli.demo.beside import Peer

        self.path, self.peer, self.wrong = path, Peer(path), wrong

    def stream(self):
        return StandIn(self.path, wrong=self.wrong)

    def step(self, x, *, out):
        out[...] = self.peer.run(x[None])[0]
        return out

    def run(self, x, *, out):
        for t in range(len(x)):  # a sample at a time, so that every split gives the same bits
            out[t : t + 1] = self.peer.run(x[t : t + 1])
        out[-1] += self.wrong
        return out


@pytest.mark.parametrize("wrong", [0.0, 1e-3])
def test_show_on_a_stand_in(tmp_path, monkeypatch, wrong):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(lstm_infer, "load", lambda path: StandIn(path, wrong=wrong), raising=False)
    from lstm_infer.cli.demo.show import run_demo

    lines: list[str] = []
    result = run_demo(tmp_path / "new", seconds=0.05, say=lines.append)
    assert result["ok"] is (wrong == 0.0) and result["same_bits"] is (wrong == 0.0)
    assert any("WRONG" in line for line in lines) is (wrong != 0.0)
    json.dumps(result)


@needs_engine
def test_show(tmp_path):
    from lstm_infer.cli.demo.show import run_demo

    lines: list[str] = []
    result = run_demo(tmp_path, seconds=0.5, say=lines.append)
    assert result["ok"] and result["same_bits"]
    assert [row["chunk"] for row in result["rows"]] == [1, 64, 128, 256]
    assert json.loads(json.dumps(result)) == result
    for file in result["files"]:
        assert Path(file).stat().st_size > 1000
    wet, rate = read_wav(tmp_path / "lstm_infer_demo.wav")
    assert rate == 48000 and wet.shape == (24000, 1) and 0.1 < np.abs(wet).max() < 1.0
    assert len(lines) >= 8


@needs_engine
def test_show_writes_nothing_and_says_nothing(tmp_path, monkeypatch, capsys):
    from lstm_infer.cli.demo.show import run_demo

    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    result = run_demo(seconds=0.1, wav=None, json=True, say=said.append)
    assert result["ok"] and result["files"] == [] and said == [] and not list(tmp_path.iterdir())
    assert capsys.readouterr().out == ""


def run_example(name: str, *args: object) -> str:
    path = os.pathsep.join(p for p in sys.path if p)  # the package as this very process sees it
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / f"{name}.py", *map(str, args)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def real_model(name: str) -> Path:
    if not (MODELS / name).is_file():
        pytest.skip(f"{name} is not in {MODELS}; set LSTM_INFER_MODELS")
    return MODELS / name


@needs_engine
def test_example_stateful_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    said = run_example("stateful_onnx")
    assert float(said.rpartition("lstm_infer: ")[2]) < 1e-5


@needs_engine
def test_example_stream():
    said = run_example("stream")
    assert "same bits either way: True" in said and "same bits after restore: True" in said


@needs_engine
@pytest.mark.parametrize("name", ["silero_vad.onnx", "silero_vad_v6_seq.onnx"])
def test_example_vad(tmp_path, name):
    write_wav(tmp_path / "silence.wav", np.zeros(16000), 16000)
    said = run_example("vad_silero", real_model(name), tmp_path / "silence.wav")
    assert re.fullmatch(r"no speech in 1\.00 s; the chance of it was \d% at most\n", said)


@needs_engine
def test_example_denoise(tmp_path):
    noise = 0.05 * np.random.default_rng(0).standard_normal(32000)
    write_wav(tmp_path / "noisy.wav", noise, 16000)
    models = [real_model(f"dtln_model_{k}.onnx") for k in (1, 2)]
    run_example("denoise_dtln", *models, tmp_path / "noisy.wav", tmp_path / "clean.wav")
    clean, rate = read_wav(tmp_path / "clean.wav")
    assert rate == 16000 and clean.shape == (32000, 1)
    assert np.std(clean[16000:]) < 0.5 * np.std(noise)  # there is nothing but noise
