"""verify answers 1 when the engine is wrong: it is broken on purpose, one way at a time, on models of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import models_build

pytest.importorskip("onnxruntime")
from lstm_infer.cli.verify import verify
from lstm_infer.drive import compare

pytestmark = pytest.mark.filterwarnings("ignore:the file has .* of its example frozen in")

F, H = 3, 4
GATES = {"LSTM": 4, "GRU": 3}
QUANTISED = Path(__file__).parent / "zoo" / "files"


def finished(nodes, inputs, outputs, consts):
    ports = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in group.items()]
        for group in (inputs, outputs)
    ]
    inits = [numpy_helper.from_array(np.asarray(value), name) for name, value in consts.items()]
    graph = helper.make_graph(nodes, "g", *ports, inits)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def drawn(seed, *shape):
    return np.random.default_rng(seed).uniform(-0.9, 0.9, shape).astype(np.float32)


def recurrent(op, states):
    """x [T, B, F] (and states) to y [T, B, H] (and states): states are ports, constants or zero."""
    names = ["h", "c"][: 1 + (op == "LSTM")]
    consts = {"W": drawn(1, 1, GATES[op] * H, F), "R": drawn(2, 1, GATES[op] * H, H), "one": np.array([1])}
    more, outs = [], []
    if states:
        more, outs = ["", "", *(f"{n}0" for n in names)], [f"{n}n" for n in names]
    if states == "constant":
        consts |= {f"{n}0": drawn(n_, 1, 1, H) for n_, n in enumerate(names, 5)}
    nodes = [
        helper.make_node(
            op, ["x", "W", "R", *more], ["Y", *(outs if states == "ports" else [])], name="rec", hidden_size=H
        ),
        helper.make_node("Squeeze", ["Y", "one"], ["y"]),
    ]
    batch = 1 if states == "constant" else "B"
    kept = {f"{n}0": [1, "B", H] for n in names} if states == "ports" else {}
    gives = {name: [1, "B", H] for name in outs} if states == "ports" else {}
    return finished(nodes, {"x": ["T", batch, F], **kept}, {"y": ["T", batch, H], **gives}, consts)


def cell():
    """x [B, F], h, c -> y, hn, cn: an LSTM cell in plain nodes, and no time axis."""
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["zx"]),
        helper.make_node("MatMul", ["h", "R"], ["zh"]),
        helper.make_node("Add", ["zx", "zh"], ["z"]),
        helper.make_node("Split", ["z"], ["i", "f", "g", "o"], axis=1),
        *(helper.make_node("Sigmoid", [n], [f"s{n}"]) for n in "ifo"),
        helper.make_node("Tanh", ["g"], ["tg"]),
        helper.make_node("Mul", ["sf", "c"], ["kept"]),
        helper.make_node("Mul", ["si", "tg"], ["new"]),
        helper.make_node("Add", ["kept", "new"], ["cn"]),
        helper.make_node("Tanh", ["cn"], ["tc"]),
        helper.make_node("Mul", ["so", "tc"], ["hn"]),
        helper.make_node("MatMul", ["hn", "D"], ["y"]),
    ]
    state = ["B", H]
    return finished(
        nodes, {"x": ["B", F], "h": state, "c": state}, {"y": ["B", F], "hn": state, "cn": state},
        {"W": drawn(1, F, 4 * H), "R": drawn(2, H, 4 * H), "D": drawn(3, H, F)},
    )  # fmt: skip


def conv_cache():
    """x [B, F, 1], cache [B, F, 2] -> y, the cache moved on by one: a causal Conv of a frame model."""
    nodes = [
        helper.make_node("Concat", ["cache", "x"], ["joined"], axis=2),
        helper.make_node("Conv", ["joined", "W"], ["conv"], name="conv"),
        helper.make_node("Tanh", ["conv"], ["y"], name="act"),
        helper.make_node("Slice", ["joined", "one", "end", "two"], ["cache_n"]),
    ]
    return finished(
        nodes, {"x": ["B", F, 1], "cache": ["B", F, 2]}, {"y": ["B", F, 1], "cache_n": ["B", F, 2]},
        {"W": drawn(1, F, F, 3), "one": np.array([1]), "end": np.array([3]), "two": np.array([2])},
    )  # fmt: skip


def causal():
    """x [B, F, T] through a Conv that looks back two steps: what it keeps is hidden."""
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["p"]),
        helper.make_node("Conv", ["p", "W"], ["conv"], name="conv"),
        helper.make_node("Transpose", ["conv"], ["t"], perm=[2, 0, 1]),
        helper.make_node("GRU", ["t", "Wg", "R"], ["Y"], name="rec", hidden_size=H),
        helper.make_node("Squeeze", ["Y", "one"], ["y"]),
    ]
    consts = {"W": drawn(1, F, F, 3), "Wg": drawn(2, 1, 3 * H, F), "R": drawn(3, 1, 3 * H, H)}
    consts |= {"pads": np.array([0, 0, 2, 0, 0, 0]), "one": np.array([1])}
    return finished(nodes, {"x": ["B", F, "T"]}, {"y": ["T", "B", H]}, consts)


def delay():
    """x [B, F], prev, h -> y, x itself as the next prev, h': a token shift."""
    nodes = [
        helper.make_node("Mul", ["prev", "mix"], ["m"]),
        helper.make_node("Add", ["x", "m"], ["s"]),
        helper.make_node("MatMul", ["s", "W"], ["a"]),
        helper.make_node("MatMul", ["h", "R"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["z"]),
        helper.make_node("Tanh", ["z"], ["hn"]),
        helper.make_node("MatMul", ["hn", "D"], ["y"]),
        helper.make_node("Identity", ["x"], ["prev_n"]),
    ]
    return finished(
        nodes, {"x": ["B", F], "prev": ["B", F], "h": ["B", H]}, {"y": ["B", 2], "prev_n": ["B", F], "hn": ["B", H]},
        {"W": drawn(1, F, H), "R": drawn(2, H, H), "D": drawn(3, H, 2), "mix": np.float32([0.6])},
    )  # fmt: skip


MODELS = {
    "lstm": lambda: recurrent("LSTM", "ports"),
    "gru": lambda: recurrent("GRU", "ports"),
    "lstm_hidden": lambda: recurrent("LSTM", ""),
    "gru_hidden": lambda: recurrent("GRU", ""),
    "lstm_learned": lambda: recurrent("LSTM", "constant"),
    "cell": cell,
    "conv_cache": conv_cache,
    "causal": causal,
    "delay": delay,
    "quantised_ports": lambda: onnx.load(QUANTISED / "q_char_lm.onnx"),
    "quantised_hidden": lambda: onnx.load(QUANTISED / "q_gru_tagger.onnx"),
}
PORTS = ("lstm", "gru", "cell", "conv_cache", "delay", "quantised_ports")


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_wrong_before(name):
    found = verify(MODELS[name]().SerializeToString(), n_seeds=1)
    assert found.status == 0 and found.streams and not found.missing, (found.rows, found.missing)


def weights(model, change):
    """The model with every floating-point weight of two axes or more changed."""
    for init in model.graph.initializer:
        value = numpy_helper.to_array(init)
        if value.ndim > (1 if value.dtype.kind == "f" else 2):
            init.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(init.name, value.copy())), init.name))
    return model


def gates_swapped(name, value):
    """Two of the gates of W, on whichever axis they lie."""
    if not (name == "W" or name == "Wg" or "quantized" in name):
        return value
    axis = int(np.argmax(value.shape))
    parts = np.split(value, 4 if value.shape[axis] % 4 == 0 else 3, axis)
    return np.concatenate([parts[1], parts[0], *parts[2:]], axis)


def rows_turned(name, value):
    """The units of a weight in another order."""
    return value[..., ::-1] if name in ("D", "R") or "quantized" in name else value


def learned_state(name, value):
    return value * np.float32(0.9) if name in ("h0", "c0") else value


def attribute(key, value):
    def change(model):
        (node,) = (node for node in model.graph.node if node.op_type in ("LSTM", "GRU"))
        node.attribute.append(helper.make_attribute(key, value(node.op_type)))
        return model

    return change


def crossed(first, second):
    """Two outputs under each other's names."""

    def change(model):
        names = {first: second, second: first}
        for node in model.graph.node:
            for values in (node.input, node.output):
                values[:] = [names.get(name, name) for name in values]
        return model

    return change


ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Sigmoid"], "GRU": ["Sigmoid", "Sigmoid"]}
FILES = {
    "gates": (lambda m: weights(m, gates_swapped), ("lstm", "gru", "lstm_hidden", "gru_hidden", "cell", "causal",
                                                    "quantised_ports")),
    "rows": (lambda m: weights(m, rows_turned), ("lstm", "gru", "cell", "delay", "quantised_ports")),
    "learned state": (lambda m: weights(m, learned_state), ("lstm_learned",)),
    "clip": (attribute("clip", lambda op: 0.3), ("lstm", "gru", "lstm_hidden", "gru_hidden", "causal")),
    "activation": (attribute("activations", ACTIVATIONS.get), ("lstm", "gru", "lstm_hidden", "gru_hidden", "causal")),
    "outputs": (crossed("y", "hn"), ("cell", "delay")),
    "states": (crossed("hn", "cn"), ("lstm", "cell")),
}  # fmt: skip


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, (_, names) in FILES.items() for name in names])
def test_an_engine_that_computes_another_file_is_found(what, name):
    model = MODELS[name]()
    source = model.SerializeToString()
    lying = FILES[what][0](model).SerializeToString()
    assert lying != source
    found = verify(source, model=lstm_infer.load(lying), n_seeds=1)
    assert found.status == 1 and any(row.case == "whole" and not row.ok for row in found.rows)


def test_states_that_feed_each_other_are_found():
    """Nothing but the stream is wrong, and the model itself believes in it."""
    source = MODELS["lstm"]().SerializeToString()
    model = lstm_infer.load(source, states={"h0": "cn", "c0": "hn"})
    found = verify(source, model=model, n_seeds=1)
    assert found.status == 1 and all(row.ok for row in found.rows if row.case == "whole")


class Broken:
    """Streams that go wrong around every call."""

    def __init__(self, monkeypatch, before=lambda stream, x: None, after=lambda stream, results: results):
        for name in ("run", "step"):
            honest = getattr(lstm_infer.Stream, name)

            def call(stream, x, honest=honest):
                before(stream, x)
                return after(stream, honest(stream, x))

            monkeypatch.setattr(lstm_infer.Stream, name, call)


def lost_state(monkeypatch):
    Broken(monkeypatch, before=lambda stream, x: stream.reset())


def swapped_states(monkeypatch):
    def swap(stream, results):
        names = list(stream.state)[:2]
        one, two = (stream.state[n] for n in names)
        stream.state = {names[0]: two, names[1]: one}
        return results

    Broken(monkeypatch, after=swap)


def one_state_stays(monkeypatch):
    """The last state is never renewed: a stale cache."""
    kept = {}

    def keep(stream, x):
        name = list(stream.state)[-1]
        kept.setdefault(id(stream), stream.state[name])
        stream.state = {name: kept[id(stream)]}

    Broken(monkeypatch, before=keep)


def no_initial(monkeypatch):
    honest = lstm_infer.Model.stream

    def zero(self, batch=1, *, initial=None, **more):
        return honest(self, batch, **more)

    monkeypatch.setattr(lstm_infer.Model, "stream", zero)


def dropped_delay(monkeypatch):
    """The delayed input is that of this step."""

    def early(stream, x):
        stream.state = {"prev": x if x.ndim == 2 else x[0]}

    Broken(monkeypatch, before=early)


def turned(monkeypatch):
    """The signals of a batch in another order."""

    def flip(value):
        axis = next((a for a, n in enumerate(value.shape) if n == 3), None)
        return value if axis is None else np.flip(value, axis).copy()

    Broken(monkeypatch, after=lambda stream, results: named(results, flip))


def named(results, change):
    if isinstance(results, dict):
        return {name: None if value is None else change(value) for name, value in results.items()}
    return None if results is None else change(results)


def shifted(monkeypatch):
    """What was returned last time."""
    last = {}

    def late(stream, results):
        before, last[id(stream)] = last.get(id(stream)), results
        return results if before is None or same_shapes(before, results) is False else before

    Broken(monkeypatch, after=late)


def same_shapes(one, other):
    pair = [r if isinstance(r, dict) else {"": r} for r in (one, other)]
    return all(getattr(pair[0].get(k), "shape", None) == getattr(v, "shape", None) for k, v in pair[1].items())


HIDDEN = ("lstm_hidden", "gru_hidden", "lstm_learned", "causal", "quantised_hidden")
STREAMS = {
    "lost state": (lost_state, (*PORTS, *HIDDEN)),
    "swapped states": (swapped_states, ("lstm", "lstm_hidden", "lstm_learned", "cell", "quantised_ports", "quantised_hidden")),
    "stale state": (one_state_stays, (*PORTS, *HIDDEN)),
    "initial state": (no_initial, PORTS),
    "dropped delay": (dropped_delay, ("delay",)),
    "turned signals": (turned, ("lstm", "gru", "lstm_hidden", "cell", "conv_cache", "causal", "delay", "quantised_ports")),
    "stale results": (shifted, (*PORTS, *HIDDEN)),
}  # fmt: skip


@pytest.mark.parametrize(("what", "name"), [(what, name) for what, (_, names) in STREAMS.items() for name in names])
def test_a_stream_that_goes_wrong_is_found(what, name, monkeypatch):
    source = MODELS[name]().SerializeToString()
    STREAMS[what][0](monkeypatch)
    assert verify(source, n_seeds=1).status == 1


ROUNDED = ("lstm", "gru", "lstm_hidden", "cell", "causal")


@pytest.mark.parametrize("allowed", [compare.F16_ALLOWED, compare.FEWER_BITS_ALLOWED], ids=["f16", "fewer bits"])
@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_weights_hide_no_mistake(name, allowed, monkeypatch):
    """Errors of rounded weights are told, not judged; what no rounding explains is found all the same."""
    monkeypatch.setattr(compare, "F16_ALLOWED", allowed)
    model = MODELS[name]()
    source = model.SerializeToString()
    fine = verify(source, n_seeds=1, precision="f16")
    assert fine.status == 0 and fine.allowed
    for what in ("gates", "rows", "activation"):
        change, names = FILES[what]
        if name in names:
            lying = change(onnx.load_from_string(source)).SerializeToString()
            assert verify(source, model=lstm_infer.load(lying, precision="f16"), n_seeds=1).status == 1
    for what in ("lost state", "swapped states", "stale state"):
        breaks, names = STREAMS[what]
        if name in names:
            with monkeypatch.context() as patch:
                breaks(patch)
                assert verify(source, n_seeds=1, precision="f16").status == 1


@pytest.mark.parametrize("name", ["lstm", "gru_hidden", "cell", "conv_cache", "causal", "quantised_hidden"])
def test_a_stale_run_is_found(name, monkeypatch):
    """The results of the last run of this size."""
    honest, last = lstm_infer.Model.run, {}

    def stale(self, feeds, outputs=None):
        made = honest(self, feeds, outputs)
        size = tuple((key, value.shape) for key, value in made.items())
        before, last[size] = last.get(size, made), made
        return before

    source = MODELS[name]().SerializeToString()
    monkeypatch.setattr(lstm_infer.Model, "run", stale)
    assert verify(source).status == 1


def test_too_few_bits_are_told_from_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "FEWER_BITS_ALLOWED", (1e-9, 1e-9, 0.0))
    case = models_build.random_case("LSTM", inputs=40, hidden=48, bias=True).replace(outputs=("Y",))
    data, _ = models_build.build(case)
    found = verify(data, precision="int8", inputs={"X": (None, None, 40)})
    assert found.ok and found.coarse and "Y (whole)" in found.coarse[0]
    assert verify(data, inputs={"X": (None, None, 40)}).coarse == []
