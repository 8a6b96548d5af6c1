"""Builds small Keras models, exports them with tf2onnx and `Model.export`, and stores what Keras itself gives.

    python tests/zoo/make_keras.py [word ...]     only files whose name holds one of the words

Needs tensorflow-cpu, keras and tf2onnx. A file is `tf_NAME` (tf2onnx.convert) or `ke_NAME` (Model.export); `_static`
where the sizes were fixed. What a file should do is in index.json, written by hand.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import onnx
import tensorflow as tf
import tf2onnx
from keep import write
from keras import layers

RUNS = ((6, 2), (13, 3), (1, 1), (23, 2))


@dataclass
class Case:
    """A model; `inputs`: name to shape without batch, "T" for time; integers below a bound in `tokens`."""

    name: str
    make: Callable[[dict], keras.Model]
    inputs: dict[str, tuple]
    outputs: tuple[str, ...]
    tokens: dict[str, int] = field(default_factory=dict)
    opset: int = 17
    kinds: Sequence[str] = ("tf", "ke")
    runs: Sequence[tuple[int, int]] = RUNS
    fixed: tuple[int, int] | None = None
    """T and B written into the file."""

    def ports(self):
        T, B = self.fixed or (None, None)
        return {
            name: keras.Input(
                shape=tuple(T if n == "T" else n for n in shape), batch_size=B, name=name,
                dtype="int32" if name in self.tokens else "float32",
            )
            for name, shape in self.inputs.items()
        }  # fmt: skip

    def feeds(self, T, B):
        rng = np.random.default_rng(zlib.crc32(f"{self.name} {T} {B}".encode()))
        made = {}
        for name, shape in self.inputs.items():
            extent = (B, *(T if n == "T" else n for n in shape))
            if name in self.tokens:
                made[name] = rng.integers(0, self.tokens[name], extent).astype(np.int32)
            else:
                made[name] = rng.uniform(-1, 1, extent).astype(np.float32)
        return made


def token_gru(p):
    x = layers.Embedding(20, 6)(p["tokens"])
    x = layers.GRU(8, return_sequences=True)(x)
    return layers.Dense(5, activation="softmax")(x)


def gru_reset_before(p):
    return layers.Dense(2)(layers.GRU(8, return_sequences=True, reset_after=False)(p["x"]))


def simple_rnn(p):
    return layers.Dense(2)(layers.SimpleRNN(8, return_sequences=True, activation="relu")(p["x"]))


def lstm_stack(p):
    x = layers.LSTM(7, return_sequences=True)(p["x"])
    x = layers.LSTM(6, return_sequences=True)(layers.Dropout(0.3)(x))
    return layers.Dense(3, activation="tanh")(x)


def causal_cnn_lstm(p):
    x = layers.Conv1D(8, 3, padding="causal", activation="relu")(p["x"])
    x = layers.BatchNormalization()(x)
    x = layers.Conv1D(8, 2, padding="causal", dilation_rate=2, activation="relu")(x)
    return layers.Dense(2, activation="sigmoid")(layers.LSTM(8, return_sequences=True)(x))


def same_conv_lstm(p):
    x = layers.Conv1D(8, 3, padding="same", activation="elu")(p["x"])
    return layers.Dense(2)(layers.LSTM(8, return_sequences=True)(x))


def same_conv_gru(p):
    x = layers.Conv1D(6, 5, padding="same", activation="tanh")(p["x"])
    return layers.Dense(2)(layers.GRU(8, return_sequences=True)(x))


def bilstm_tagger(p):
    x = layers.Embedding(20, 6)(p["tokens"])
    return layers.Dense(4, activation="softmax")(layers.Bidirectional(layers.LSTM(6, return_sequences=True))(x))


def seq2seq(p):
    _, h, c = layers.LSTM(8, return_state=True)(p["source"])
    x = layers.LSTM(8, return_sequences=True)(p["target"], initial_state=[h, c])
    return layers.Dense(4)(x)


def lm_states(p):
    x = layers.Embedding(20, 6)(p["tokens"])
    y, h, c = layers.LSTM(8, return_sequences=True, return_state=True)(x, initial_state=[p["h"], p["c"]])
    return [layers.Dense(20)(y), h, c]


def autoencoder(p):
    code = layers.LSTM(6, activation="tanh")(p["x"])
    x = layers.LSTM(6, return_sequences=True)(layers.RepeatVector(6)(code))
    return layers.Dense(3)(x)


def frames_cnn(p):
    x = layers.Conv2D(4, (1, 3), activation="relu")(p["frames"])
    x = layers.MaxPooling2D((1, 2))(x)
    x = layers.Reshape((-1, 16))(x)
    return layers.Dense(2)(layers.LSTM(8, return_sequences=True)(x))


def film_amp(p):
    gain = layers.Reshape((1, 8))(layers.Dense(8)(p["knob"]))
    x = layers.LSTM(8, return_sequences=True)(p["audio"])
    return layers.Add()([layers.Dense(1)(layers.Multiply()([x, gain])), p["audio"]])


def keyword_mean(p):
    x = layers.LSTM(8, return_sequences=True)(p["x"])
    return layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(x))


def forecast_last(p):
    x = layers.LSTM(8, return_sequences=True)(p["x"])
    return layers.Dense(1)(layers.LSTM(8)(x))


def residual_norm(p):
    x = layers.Dense(8)(p["x"])
    y = layers.LSTM(8, return_sequences=True)(layers.LayerNormalization()(x))
    return layers.Dense(2)(layers.Add()([x, y]))


def step_states(p):
    y, h, c = layers.LSTM(7, return_state=True)(p["x"], initial_state=[p["h"], p["c"]])
    return [layers.Dense(3)(y), h, c]


def rnn_states(p):
    y, h = layers.SimpleRNN(7, return_sequences=True, return_state=True)(p["x"], initial_state=p["h"])
    return [layers.Dense(2)(y), h]


def stacked_states(p):
    cells = layers.StackedRNNCells([layers.LSTMCell(6), layers.LSTMCell(7)])
    first = [[p["h1"], p["c1"]], [p["h2"], p["c2"]]]
    y, a, b = layers.RNN(cells, return_sequences=True, return_state=True)(p["x"], initial_state=first)
    return [layers.Dense(2)(y), *a, *b]


class Blended(layers.Layer):
    """A GRU cell whose state is mixed with the old one; what it gives is the new state, the old one, or their mean so far."""

    def __init__(self, units, gives="new"):
        super().__init__()
        self.cell, self.gives = layers.GRUCell(units), gives
        self.state_size, self.output_size = [units, 1], units

    def build(self, shape):
        self.cell.build(shape)

    def call(self, x, states, training=False):
        h, n = states
        new = 0.3 * h + 0.7 * self.cell(x, [h])[1][0]
        return {"new": new, "old": h, "counted": new / (n + 1)}[self.gives], [new, n + 1]


def blended_loop(p):
    return layers.RNN(Blended(6), return_sequences=True)(p["x"])


def old_state_loop(p):
    return layers.Dense(3)(layers.RNN(Blended(6, "old"), return_sequences=True)(p["x"]))


def counted_loop(p):
    return layers.RNN(Blended(6, "counted"), return_sequences=True)(p["x"])


def frame_before(p):
    before = layers.Cropping1D((0, 1))(layers.ZeroPadding1D((1, 0))(p["x"]))
    x = layers.LSTM(6, return_sequences=True)(layers.Subtract()([p["x"], before]))
    return layers.Dense(2)(layers.Cropping1D((0, 1))(layers.ZeroPadding1D((1, 0))(x)))


def framed_samples(p):
    x = layers.GlobalAveragePooling1D()(layers.Conv1D(5, 3, activation="relu")(p["samples"]))
    y, states = layers.LSTMCell(6)(x, [p["h"], p["c"]])
    return [layers.Dense(1)(y), *states]


CASES = [
    Case("token_gru", token_gru, {"tokens": ("T",)}, ("y",), {"tokens": 20}),
    Case("gru_reset_before", gru_reset_before, {"x": ("T", 4)}, ("y",), opset=15),
    Case("simple_rnn", simple_rnn, {"x": ("T", 4)}, ("y",), opset=13),
    Case("lstm_stack", lstm_stack, {"x": ("T", 5)}, ("y",), opset=12),
    Case("lstm_stack_static", lstm_stack, {"x": ("T", 5)}, ("y",), fixed=(6, 1), runs=((6, 1),)),
    Case("causal_cnn_lstm", causal_cnn_lstm, {"x": ("T", 5)}, ("y",), opset=14),
    Case("same_conv_lstm", same_conv_lstm, {"x": ("T", 5)}, ("y",), opset=17),
    Case("same_conv_gru", same_conv_gru, {"x": ("T", 4)}, ("y",)),
    Case("bilstm_tagger", bilstm_tagger, {"tokens": ("T",)}, ("y",), {"tokens": 20}, opset=11),
    Case("seq2seq", seq2seq, {"source": ("T", 4), "target": ("T", 3)}, ("y",), opset=16),
    Case("lm_states", lm_states, {"tokens": ("T",), "h": (8,), "c": (8,)}, ("logits", "hn", "cn"), {"tokens": 20}),
    Case("autoencoder", autoencoder, {"x": ("T", 3)}, ("y",)),
    Case("frames_cnn", frames_cnn, {"frames": ("T", 10, 2)}, ("y",)),
    Case("film_amp", film_amp, {"audio": ("T", 1), "knob": (2,)}, ("y",), opset=18),
    Case("keyword_mean", keyword_mean, {"x": ("T", 4)}, ("y",)),
    Case("forecast_last", forecast_last, {"x": ("T", 2)}, ("y",), opset=13),
    Case("residual_norm", residual_norm, {"x": ("T", 4)}, ("y",)),
    Case(
        "step_states",
        step_states,
        {"x": (1, 5), "h": (7,), "c": (7,)},
        ("y", "hn", "cn"),
        runs=((1, 2), (1, 1), (1, 4)),
    ),
    Case("rnn_states", rnn_states, {"x": ("T", 5), "h": (7,)}, ("y", "hn"), opset=16),
    Case(
        "stacked_states",
        stacked_states,
        {"x": ("T", 5), "h1": (6,), "c1": (6,), "h2": (7,), "c2": (7,)},
        ("y", "h1n", "c1n", "h2n", "c2n"),
        kinds=("tf",),
    ),
    Case("blended_loop", blended_loop, {"x": ("T", 5)}, ("y",)),
    Case("old_state_loop", old_state_loop, {"x": ("T", 5)}, ("y",), opset=15),
    Case("counted_loop", counted_loop, {"x": ("T", 5)}, ("y",), kinds=("tf",)),
    Case("frame_before", frame_before, {"x": ("T", 5)}, ("y",)),
    Case(
        "framed_samples",
        framed_samples,
        {"samples": (40, 1), "h": (6,), "c": (6,)},
        ("y", "hn", "cn"),
        runs=((1, 1), (1, 2)),
        kinds=("tf",),
    ),
]


def build(case: Case) -> keras.Model:
    keras.utils.clear_session()
    keras.utils.set_random_seed(zlib.crc32(case.name.encode()) % 2**31)
    ports = case.ports()
    model = keras.Model(list(ports.values()), case.make(ports))
    # export wants a model that was called
    model([tf.constant(v) for v in case.feeds(*(case.fixed or (6, 2))).values()])
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, var = (w.shape for w in layer.get_weights())
            layer.set_weights([rng.uniform(0.5, 1.5, gamma), rng.uniform(-1, 1, beta), rng.uniform(-0.5, 0.5, mean), rng.uniform(0.5, 1.5, var)])  # fmt: skip
    return model


def signature(case: Case, model: keras.Model) -> list[tf.TensorSpec]:
    return [tf.TensorSpec(t.shape, t.dtype, name=name) for name, t in zip(case.inputs, model.inputs, strict=True)]


def convert(case: Case, model: keras.Model) -> onnx.ModelProto:
    @tf.function(input_signature=signature(case, model))
    def call(*tensors):
        made = model(list(tensors), training=False)
        return dict(zip(case.outputs, made if isinstance(made, (list, tuple)) else [made], strict=True))

    proto, _ = tf2onnx.convert.from_function(call, signature(case, model), opset=case.opset)
    return proto


def keras_export(case: Case, model: keras.Model) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        model.export(path, format="onnx", verbose=False)
        return onnx.load(path)


def main(words: Sequence[str]) -> None:
    for case in CASES:
        for kind, export in (("tf", convert), ("ke", keras_export)):
            name = f"{kind}_{case.name}"
            if kind not in case.kinds or (words and not any(word in name for word in words)):
                continue
            model = build(case)
            try:
                proto = export(case, model)
            except Exception as error:
                print(f"{name}: does not export: {type(error).__name__}: {str(error)[:300]}", flush=True)
                continue
            ins = [port.name for port in proto.graph.input]
            outs = [port.name for port in proto.graph.output]
            runs = []
            for at in case.runs:
                feeds = case.feeds(*at)
                made = model([tf.constant(v) for v in feeds.values()], training=False)
                made = made if isinstance(made, (list, tuple)) else [made]
                order = {port: feeds.get(port, value) for port, value in zip(ins, feeds.values(), strict=True)}
                runs.append(
                    (order, dict(zip(outs if kind == "ke" else case.outputs, (m.numpy() for m in made), strict=True)))
                )
            write(name, proto, runs)
            print(name, ins, outs, len(proto.graph.node), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
