"""What server, client and load generator share: the model, and audio as the model takes it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

import lstm_infer

__all__ = ["HOP_BYTES", "HOP_S", "RATE", "SILENCE", "SPEECH", "Windows", "alone", "chatter", "load", "run"]

try:
    from uvloop import run
except ImportError:  # there is none for Windows
    from asyncio import run

RATE, CONTEXT, HOP = 16000, 64, 512
"""Each window: the last 64 samples of the one before, and 512 new ones. They come as 16-bit integers, 32 ms at a time."""
HOP_BYTES, HOP_S = 2 * HOP, HOP / RATE
INT16, SCALE = np.dtype("<i2"), np.array(1 / 32768, np.float32)
SPEECH, SILENCE = 0.5, 0.35
"""Speech begins above the first and ends below the second, as in Silero's own script."""


def load(path: str | None) -> lstm_infer.Model:
    """Silero's detector from a file, or the loudness detector below."""
    if path is None:
        return lstm_infer.load(loudness())
    sizes = {
        "input": (None, CONTEXT + HOP)
    }  # the file leaves it open: so the pool has its plans before the first caller is there
    try:
        return lstm_infer.load(
            path, inputs=sizes, constants={"sr": np.int64(RATE)}
        )  # settles the `If` over the sample rate
    except lstm_infer.FeedError:
        return lstm_infer.load(path, inputs=sizes)  # exported for one rate: there is no `sr`


def loudness() -> bytes:
    """A model that needs no file: says how likely a window is louder than -40 dB, with a GRU of one unit that follows loud sounds
    at once and quiet ones slowly."""
    weights = {
        "floor": np.float32(1e-8),
        "axis": np.array([0], np.int64),
        # of the level l = log(mean square): z = sigmoid(-l / 2 - 5) keeps, n = tanh(l / 4 + 2.3) is new; nothing recurs in them
        "W": np.array([[[-0.5], [0.0], [0.25]]], np.float32),
        "R": np.zeros((1, 3, 1), np.float32),
        "B": np.array([[-5.0, 0.0, 2.3, 0, 0, 0]], np.float32),
        "steep": np.float32(6),
    }
    nodes = [
        helper.make_node("Mul", ["input", "input"], ["square"]),
        helper.make_node("ReduceMean", ["square"], ["power"], axes=[1], keepdims=1),
        helper.make_node("Add", ["power", "floor"], ["above"]),
        helper.make_node("Log", ["above"], ["level"]),
        helper.make_node("Unsqueeze", ["level", "axis"], ["step"]),
        helper.make_node("GRU", ["step", "W", "R", "B", "", "state"], ["", "stateN"], hidden_size=1),
        helper.make_node("Squeeze", ["stateN", "axis"], ["h"]),
        helper.make_node("Mul", ["h", "steep"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["output"]),
    ]
    port = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "loudness",
        [
            port("input", TensorProto.FLOAT, ["B", CONTEXT + HOP]),
            port("state", TensorProto.FLOAT, [1, "B", 1]),
        ],
        [port("output", TensorProto.FLOAT, ["B", 1]), port("stateN", TensorProto.FLOAT, [1, "B", 1])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = made.SerializeToString()
    return data


class Windows:
    """The windows of one caller: `feed` a hop, and `window` is what the model takes."""

    def __init__(self) -> None:
        self.window = np.zeros((1, CONTEXT + HOP), np.float32)
        self.context, self.new, self.last = self.window[0, :CONTEXT], self.window[0, CONTEXT:], self.window[0, HOP:]

    def feed(self, pcm: bytes | bytearray | memoryview) -> NDArray[np.float32]:
        """512 samples of 16 bits, little-endian."""
        self.context[:] = self.last
        np.multiply(np.frombuffer(pcm, INT16), SCALE, self.new)
        return self.window


def alone(model: lstm_infer.Model, pcm: bytes) -> list[bytes]:
    """What a caller with this audio has to be answered: a stream of its own."""
    stream, windows = model.stream(), Windows()
    return [stream.step(windows.feed(pcm[at : at + HOP_BYTES])).tobytes() for at in range(0, len(pcm), HOP_BYTES)]


def chatter(seed: int, seconds: float) -> bytes:
    """Audio without a file: bursts of a voice-like sound between pauses with a little noise."""
    rng = np.random.default_rng(seed)
    n = math.ceil(seconds / HOP_S) * HOP
    t = np.arange(n) / RATE
    pitch = rng.uniform(90, 240)
    voice = sum(np.sin(2 * np.pi * pitch * k * t + rng.uniform(0, 6)) / k for k in range(1, 12))
    speaks = np.repeat(rng.random(n // HOP // 8 + 1) < 0.5, 8 * HOP)[:n]
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * t)
    sound = 0.15 * voice * syllables * speaks + 0.002 * rng.standard_normal(n)
    return (np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes()
