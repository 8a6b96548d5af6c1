"""Real models: whole runs and a thousand streamed frames against onnxruntime, driven by hand as their authors do."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest

import shared_files
import tolerances

lstm_infer = pytest.importorskip("lstm_infer")
onnxruntime = pytest.importorskip("onnxruntime")
if not hasattr(lstm_infer, "load"):
    pytest.skip("the engine has no load() yet", allow_module_level=True)

pytestmark = pytest.mark.files
FRAMES = 1000


@cache
def load(name, sr=None):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing in these files is guessed or repaired
        return lstm_infer.load(shared_files.model(name), constants=None if sr is None else {"sr": sr})


@cache
def session(name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(shared_files.model(name), options, providers=["CPUExecutionProvider"])


def run_onnxruntime(name, feeds):
    return dict(zip([o.name for o in session(name).get_outputs()], session(name).run(None, feeds), strict=True))


def zero_states(name, pairs, batch=1):
    shapes = {i.name: [n if isinstance(n, int) else batch for n in i.shape] for i in session(name).get_inputs()}
    return {key: np.zeros(shapes[key], np.float32) for key in pairs}


def signal(rng, *shape, positive=False):
    x = rng.standard_normal(shape).astype(np.float32)
    return np.abs(x) if positive else x


# name, shape of a frame, frames are spectra, sr as a constant, sr fed
STREAMS = {
    "dtln_model_1": ("dtln_model_1", (1, 1, 257), True, None, None),
    "dtln_model_2": ("dtln_model_2", (1, 1, 512), False, None, None),
    "silero 16 kHz": ("silero_vad", (1, 576), False, 16000, None),
    "silero 8 kHz": ("silero_vad", (1, 288), False, 8000, None),
    "silero 16 kHz, sr fed": ("silero_vad", (1, 576), False, None, 16000),
    "silero 8 kHz, sr fed": ("silero_vad", (1, 288), False, None, 8000),
    "silero_vad_v6_seq": ("silero_vad_v6_seq", (1, 576), False, None, None),
    "gtcrn": ("gtcrn_stream_simple", (1, 257, 1, 2), False, None, None),
}


@pytest.mark.parametrize("case", STREAMS)
def test_a_thousand_frames_are_those_of_onnxruntime(case, rng):
    name, shape, positive, constant, fed = STREAMS[case]
    model = load(name, constant)
    pairs = {state.name: state.output for state in model.states}
    (x_name,) = model.streaming.inputs
    (y_name,) = model.streaming.outputs
    rate = constant or fed
    sr = {} if rate is None else {"sr": np.array(rate, np.int64)}
    stream = model.stream(inputs={"sr": rate} if fed else None)
    states = zero_states(name, pairs)
    for t in range(FRAMES):
        frame = signal(rng, *shape, positive=positive)
        got = stream.step(frame)
        want = run_onnxruntime(name, {x_name: frame, **states, **sr})
        states = {key: want[out] for key, out in pairs.items()}
        tolerances.like_onnxruntime(got, want[y_name], f"{case}, frame {t}")
    for key, value in states.items():
        tolerances.like_onnxruntime(stream.state[key], value, f"{case}, state {key} after {FRAMES} frames")


@pytest.mark.parametrize("rate", [16000, 8000])
def test_a_rate_given_with_every_frame(rate, rng):
    """`sr` unbound: in the dict of every step, and another from step to step, as the graph takes it."""
    stream, constant = load("silero_vad").stream(), load("silero_vad", rate).stream()
    for _ in range(3):
        frame = signal(rng, 1, 576 if rate == 16000 else 288)
        got = stream.step({"input": frame, "sr": np.array(rate, np.int64)})
        tolerances.exact(got["output"], constant.step(frame))


def test_windows_in_one_call_are_windows_one_by_one(rng):
    model, x = load("silero_vad_v6_seq"), signal(rng, 40, 576)
    whole = model.run({"input": x, "h": np.zeros((1, 1, 128), np.float32), "c": np.zeros((1, 1, 128), np.float32)})
    stream = model.stream()
    parts = [stream.run(x[:1]), stream.run(x[1:8]), stream.run(x[8:])]
    tolerances.exact(np.concatenate(parts), whole["speech_probs"])
    want = run_onnxruntime("silero_vad_v6_seq", {"input": x, **zero_states("silero_vad_v6_seq", ("h", "c"))})
    tolerances.like_onnxruntime(whole["speech_probs"], want["speech_probs"])


def whole_feeds(name, rng):
    shapes = {
        "dtln_model_1": [{"input_2": (1, 1, 257), "input_3": (1, 2, 128, 2)}],
        "dtln_model_2": [{"input_4": (1, 1, 512), "input_5": (1, 2, 128, 2)}],
        "fairtalk_lstm2": [{"input": (1, 25, 19)}],
        "gtcrn_stream_simple": [
            {
                "mix": (1, 257, 1, 2),
                "conv_cache": (2, 1, 16, 16, 33),
                "tra_cache": (2, 3, 1, 1, 16),
                "inter_cache": (2, 1, 33, 16),
            }
        ],
        "pose_gru": [{"input": (1, 30, 34)}, {"input": (3, 7, 34)}, {"input": (1, 1, 34)}],
        "sat_captcha_bilstm": [{"input": (1, 60, 160, 3)}, {"input": (2, 60, 160, 3)}],
        "silero_vad": [{"input": (1, 576), "state": (2, 1, 128)}, {"input": (3, 576), "state": (2, 3, 128)}],
        "silero_vad_v6_seq": [{"input": (n, 576), "h": (1, 1, 128), "c": (1, 1, 128)} for n in (1, 16)],
    }
    for ports in shapes[name]:
        feeds = {key: signal(rng, *shape, positive=name == "dtln_model_1") for key, shape in ports.items()}
        if name == "sat_captcha_bilstm":
            feeds = {key: 255 * np.clip(np.abs(value) / 2, 0, 1) for key, value in feeds.items()}
        if name == "silero_vad":
            feeds["sr"] = np.array(16000, np.int64)
        yield feeds


@pytest.mark.parametrize(
    "name",
    ["dtln_model_1", "dtln_model_2", "fairtalk_lstm2", "gtcrn_stream_simple", "pose_gru", "sat_captcha_bilstm",
     "silero_vad", "silero_vad_v6_seq"],
)  # fmt: skip
def test_a_whole_run_is_that_of_onnxruntime(name, rng):
    for feeds in whole_feeds(name, rng):
        got, want = load(name).run(feeds), run_onnxruntime(name, feeds)
        for key, value in want.items():
            tolerances.like_onnxruntime(got[key], value, f"{name}, {key}")


def test_the_pose_at_every_step_is_that_of_the_sequence_so_far(rng):
    """Hidden state, last step picked: the stream's value after t frames is onnxruntime's for the first t frames."""
    x, stream = signal(rng, 1, 40, 34), load("pose_gru").stream()
    for t in range(1, 41):
        got = stream.step(x[:, t - 1])
        if t in (1, 2, 3, 10, 30, 40):
            tolerances.like_onnxruntime(got, run_onnxruntime("pose_gru", {"input": x[:, :t]})["output"], f"{t} frames")


def test_strided_convolutions_in_front_of_a_last_value(rng):
    """fairtalk: 25 frames, four steps of the LSTMs; nothing before 13 frames, then a value every four. None of them
    waits for padding behind the end: no lag."""
    x, stream = signal(rng, 1, 25, 19), load("fairtalk_lstm2").stream()
    assert stream.lag == 0
    assert stream.run(x[:, :12])["output"] is None
    seen = {t: stream.run(x[:, t - 1 : t])["output"] for t in range(13, 26)}
    for t in (13, 17, 21, 25):
        mine = load("fairtalk_lstm2").run({"input": np.ascontiguousarray(x[:, :t])})["output"]
        tolerances.exact(seen[t], mine, f"{t} frames")
    tolerances.like_onnxruntime(seen[25], run_onnxruntime("fairtalk_lstm2", {"input": x})["output"])


def test_the_captcha_is_refused_by_name():
    with pytest.raises(lstm_infer.NotStreamableError, match=r"LSTM__87.*bidirectional") as caught:
        load("sat_captcha_bilstm").stream()
    assert (caught.value.node, caught.value.op) == ("LSTM__87", "LSTM")
