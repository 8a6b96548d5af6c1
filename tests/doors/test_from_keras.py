"""from_keras: what a Keras model gives, at sizes that no example had, whole and streamed."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

os.environ.setdefault(
    "KERAS_BACKEND", "torch" if not os.environ.get("LSTM_INFER_KERAS") else os.environ["LSTM_INFER_KERAS"]
)
keras = pytest.importorskip("keras", reason="from_keras needs Keras")
if keras.backend.backend() == "torch":
    pytest.importorskip("onnxscript", reason="the exporters of PyTorch need onnxscript")
else:
    pytest.importorskip("tf2onnx", reason="Model.export needs tf2onnx")

from keras import layers  # noqa: E402

import lstm_infer  # noqa: E402
import shared_files  # noqa: E402
import tolerances  # noqa: E402
from lstm_infer import ArgumentError, from_keras  # noqa: E402


def lstm_stack(x):
    x = layers.LSTM(7, return_sequences=True)(x)
    return layers.Dense(3, activation="tanh")(layers.LSTM(6, return_sequences=True)(layers.Dropout(0.3)(x)))


def gru(x):
    return layers.Dense(2)(layers.GRU(8, return_sequences=True)(x))


def conv_lstm(x):
    x = layers.Conv1D(8, 3, padding="same", activation="elu")(x)
    return layers.Dense(2)(layers.LSTM(8, return_sequences=True)(x))


def last(x):
    return layers.Dense(2)(layers.LSTM(6)(layers.LSTM(5, return_sequences=True)(x)))


def residual(x):
    y = layers.LayerNormalization()(layers.LSTM(4, return_sequences=True)(x))
    return layers.Dense(2)(layers.Add()([x, y]))


def two(x):
    y = layers.LSTM(8, return_sequences=True)(x)
    return [layers.Dense(3, activation="softmax")(y), layers.Dense(1, activation="sigmoid")(y)]


def normed(x):
    x = layers.Conv1D(5, 3, padding="causal", dilation_rate=2)(layers.LayerNormalization()(x))
    y = layers.LayerNormalization(center=False, epsilon=0.1)(layers.LSTM(5, return_sequences=True)(x))
    return layers.TimeDistributed(layers.Dense(2))(y)


PLAIN = {build.__name__: build for build in (lstm_stack, gru, conv_lstm, last, residual, two, normed)}


def named(results):
    return list(results.values()) if isinstance(results, dict) else [results]


@pytest.mark.parametrize("name", PLAIN)
def test_it_gives_what_the_model_gives(name):
    keras.utils.set_random_seed(1)
    x = keras.Input(shape=(None, 4), name="x")
    net = keras.Model(x, PLAIN[name](x))
    model = from_keras(net)
    rng = np.random.default_rng(2)
    for T, B in ((1, 1), (4, 2), (23, 3)):
        value = rng.uniform(-1, 1, (B, T, 4)).astype(np.float32)
        want = keras.tree.flatten(net(keras.ops.convert_to_tensor(value), training=False))
        got = list(model.run({"x": value}).values())
        assert len(got) == len(want)
        for mine, theirs in zip(got, want, strict=True):
            tolerances.like_onnxruntime(mine, keras.ops.convert_to_numpy(theirs), name)
    assert model.streaming.mode == "time"
    stream = model.stream(3)
    pieces = [named(stream.run(np.ascontiguousarray(value[:, a:b]))) for a, b in ((0, 1), (1, 9), (9, 23))]
    pieces.append(named(stream.flush()))
    for k, (output, whole) in enumerate(zip(model.outputs, got, strict=True)):
        parts = [piece[k] for piece in pieces if k < len(piece) and piece[k] is not None]
        joined = parts[-1] if output.time_axis is None else np.concatenate(parts, output.time_axis)
        tolerances.exact(joined, whole, output.name)


def test_words_and_states():
    keras.utils.set_random_seed(1)
    tokens = keras.Input(shape=(None,), dtype="int32", name="tokens")
    h, c = keras.Input(shape=(8,), name="h"), keras.Input(shape=(8,), name="c")
    y, h1, c1 = layers.LSTM(8, return_sequences=True, return_state=True)(
        layers.Embedding(20, 6)(tokens), initial_state=[h, c]
    )
    net = keras.Model([tokens, h, c], [layers.Dense(20)(y), h1, c1])
    model = from_keras(net)
    assert set(model.streaming.pairs) == {"h", "c"}
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 20, (2, 9)).astype(np.int32)
    first = {name: rng.uniform(-1, 1, (2, 8)).astype(np.float32) for name in ("h", "c")}
    want = net([keras.ops.convert_to_tensor(v) for v in (ids, first["h"], first["c"])], training=False)
    stream = model.stream(2, initial=first)
    got = np.concatenate([named(stream.run(ids[:, a:b]))[0] for a, b in ((0, 4), (4, 9))], 1)
    tolerances.like_onnxruntime(got, keras.ops.convert_to_numpy(want[0]))


def test_a_step_with_states():
    x, h = keras.Input(shape=(1, 5), name="x"), keras.Input(shape=(7,), name="h")
    y, h1 = layers.GRU(7, return_sequences=True, return_state=True)(x, initial_state=h)
    model = from_keras(keras.Model([x, h], [layers.Dense(2)(y), h1]))
    assert set(model.streaming.pairs) == {"h"}


def test_what_it_says_instead():
    with pytest.raises(ArgumentError, match=r"a keras\.Model expected"):
        from_keras("model.keras")
    with pytest.raises(ArgumentError, match="is not built"):
        from_keras(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(lstm_infer.OnnxImportError, match=r"call lstm_infer.from_keras\(model\)"):
        lstm_infer.load(keras.Sequential([keras.Input((None, 3)), layers.LSTM(2)]))


def test_a_file_of_keras_is_told(tmp_path):
    path = tmp_path / "net.keras"
    keras.Sequential([keras.Input((None, 3)), layers.LSTM(2)]).save(path)
    with pytest.raises(lstm_infer.OnnxImportError, match=r"a \.keras file"):
        lstm_infer.load(path)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="layers that torch's exporters get wrong")
@pytest.mark.parametrize("inner", ["dense", "convolution"])
def test_a_layer_at_each_step(inner):
    port = keras.Input((None, 6) if inner == "dense" else (None, 7, 2))
    each = layers.Dense(5, activation="relu") if inner == "dense" else layers.Conv1D(3, 3)
    x = layers.TimeDistributed(each)(port)
    x = x if inner == "dense" else layers.TimeDistributed(layers.Flatten())(x)
    net = keras.Model(port, layers.TimeDistributed(layers.Dense(2))(layers.GRU(4, return_sequences=True)(x)))
    model = from_keras(net)
    assert all("call" not in vars(layer) for layer in net.layers)
    x = np.random.default_rng(0).normal(size=(1, 12, *port.shape[2:])).astype(np.float32)
    want = keras.ops.convert_to_numpy(net(x, training=False))
    tolerances.like_onnxruntime(model.stream().run(x), want)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="it is built anew for torch's exporters")
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("sequential", [False, True])
def test_a_stateful_model_keeps_its_state_in_the_stream(steps, sequential):
    cells = [
        layers.LSTM(5, return_sequences=True, stateful=True),
        layers.Dense(3),
        layers.GRU(4, return_sequences=True, stateful=True),
    ]
    port = keras.Input((steps, 6), batch_size=1)
    if sequential:
        net = keras.Sequential([port, *cells])
    else:
        x = port
        for cell in cells:
            x = cell(x)
        net = keras.Model(port, x)
    net(np.ones((1, steps, 6), np.float32))  # its states are not zero now, and stay as they are
    before = [keras.ops.convert_to_numpy(state) for state in keras.tree.flatten(cells[0].states)]
    model = from_keras(net)
    after = [keras.ops.convert_to_numpy(state) for state in keras.tree.flatten(cells[0].states)]
    assert all(np.array_equal(a, b) and b.any() for a, b in zip(after, before, strict=True)) and cells[0].stateful
    for cell in (cells[0], cells[2]):
        cell.reset_state()
    x = np.random.default_rng(0).normal(size=(1, 3 * steps, 6)).astype(np.float32)
    pieces = [
        keras.ops.convert_to_numpy(net(x[:, at : at + steps], training=False)) for at in range(0, 3 * steps, steps)
    ]
    tolerances.like_onnxruntime(model.stream().run(x), np.concatenate(pieces, axis=1))
    assert model.stream(batch=3).step(np.zeros((3, 6), np.float32)).shape == (3, 4)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="TensorFlow's exporter writes loops of another form")
@pytest.mark.parametrize("layer", [layers.LSTM, layers.GRU])
def test_steps_that_a_mask_leaves_out(layer):
    port = keras.Input((None, 3))
    net = keras.Model(port, layer(4, return_sequences=True)(layers.Masking()(port)))
    model = from_keras(net)
    (name,) = (port.name for port in model.inputs)
    for B, T in (1, 11), (3, 6):
        x = np.random.default_rng(T).standard_normal((B, T, 3)).astype(np.float32)
        x[0, 0] = x[:, 2] = x[-1, -2:] = 0
        got = model.run({name: x})[model.outputs[0].name]
        tolerances.like_onnxruntime(got, keras.ops.convert_to_numpy(net(x)))
        stream = model.stream(batch=B)
        pieces = [stream.run(x[:, a:b]) for a, b in ((0, 1), (1, 4), (4, T))]
        tolerances.exact(np.concatenate(pieces, 1), got)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="masks are what torch's exporters get wrong")
def test_a_mask_is_named():
    port = keras.Input((None, 3))
    padded = layers.Masking(name="padding")(port)
    net = keras.Model(port, layers.LSTM(4, return_sequences=True, zero_output_for_mask=True)(padded))
    with pytest.raises(lstm_infer.ConvertError, match=r"layers \['padding'\] mask padding.*mask_zero=False") as found:
        from_keras(net)
    assert "\x1b" not in str(found.value)


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the example is for the torch backend")
@pytest.mark.parametrize("own", [False, True])
def test_the_example_runs(monkeypatch, capsys, tmp_path, own):
    import runpy

    if own:
        keras.Sequential([keras.Input((None, 3)), layers.LSTM(5, return_sequences=True)]).save(tmp_path / "own.keras")
    monkeypatch.setattr(sys, "argv", ["keras_to_live.py", *([str(tmp_path / "own.keras")] if own else [])])
    runpy.run_path(str(shared_files.ROOT / "examples" / "keras_to_live.py"))
    assert "100 hours live" in capsys.readouterr().out


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="other backends name outputs themselves")
def test_outputs_have_the_names_of_their_layers():
    x = keras.Input(shape=(None, 4), name="x")
    y, h, c = layers.LSTM(5, return_sequences=True, return_state=True, name="core")(x)
    net = keras.Model(x, [layers.Dense(2, name="head")(y), h, c])
    assert [output.name for output in from_keras(net).outputs] == ["head", "core_0", "core_1"]


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("net.keras", "keras.saving.load_model(path)"),
        ("net.weights.h5", "model.load_weights(path)"),
        (layers.LSTM(3), "keras.Sequential([keras.Input((None, features)), layer])"),
    ],
)
def test_what_is_no_model_says_how_to_make_one(given, remedy):
    with pytest.raises(ArgumentError) as caught:
        from_keras(given)
    assert remedy in str(caught.value)
