"""Which inputs are states, decided on evidence: each kind found with neutral names where the flow tells, with names that
say where it does not, and refused where neither does; whatever the order of the ports."""

from __future__ import annotations

import ast
import contextlib
import re
import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import tolerances
from lstm_infer.errors import NotStreamableError, StateError

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
N, H = 4, 6


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)

    def some(*shape: int) -> np.ndarray:
        return rng.uniform(-0.6, 0.6, shape).astype(np.float32)

    return {
        "W": some(1, 3 * H, N), "R": some(1, 3 * H, H), "W2": some(1, 3 * H, 2 * N), "LW": some(1, 4 * H, N),
        "LR": some(1, 4 * H, H), "LW2": some(1, 4 * H, H), "M": some(H, N), "K": some(N, H), "G": some(N, N),
        "decay": np.abs(some(H)), "slow": np.float32([0.9]), "ax0": np.array([0]), "ax1": np.array([1]),
        "ax2": np.array([2]), "from1": np.array([1]), "two": np.array([2]), "three": np.array([3]), "four": np.array([4]),
        "end": np.array([1 << 40]), "one": np.array([1]), "first": np.array(0), "second": np.array(1),
        "third": np.array(2), "fourth": np.array(3), "Q": some(H, H), "one_f": np.float32([1]), "zero": np.array([0]),
        "U": some(N + 2, N), "D": some(H, H),
        "quarter": np.float32([0.25]), "G2": some(N, N),
    }  # fmt: skip


def build(nodes, inputs, outputs, rename=None, order=None):
    """A model of nodes "Op in in -> out out attribute=1", its ports renamed and put in another order."""
    made = []
    for text in nodes:
        left, right = text.split("->")
        op, *ins = left.split()
        attrs = dict(part.split("=") for part in right.split() if "=" in part)
        outs = ["" if o == "_" else o for o in right.split() if "=" not in o]
        ins = ["" if i == "_" else i for i in ins]
        made.append(helper.make_node(op, ins, outs, **{k: int(v) for k, v in attrs.items()}))
    rename = rename or {}
    for node in made:
        node.input[:] = [rename.get(v, v) for v in node.input]
        node.output[:] = [rename.get(v, v) for v in node.output]
    used = {v for node in made for v in node.input}
    consts = [numpy_helper.from_array(np.asarray(a), k) for k, a in weights().items() if k in used]

    def ports(rows):
        found = [helper.make_tensor_value_info(rename.get(n, n), kind, shape) for n, kind, shape in rows]
        return found if order is None else found[::-1]

    graph = helper.make_graph(made, "g", ports(inputs), ports(outputs), consts)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def port(name, *shape, kind=FLOAT):
    return name, kind, list(shape)


X, Y = port("x", 1, N), port("y", 1, N)
GRU = [
    "Unsqueeze x ax0 -> xs",
    "Unsqueeze h ax0 -> hs",
    "GRU xs W R _ _ hs -> _ hn hidden_size=6",
    "Squeeze hn ax0 -> h2",
]
LSTM1 = ["Unsqueeze x ax0 -> xs", f"LSTM xs LW LR _ _ h1 c1 -> _ p1 q1 hidden_size={H}"]
LSTM2 = [*LSTM1, f"LSTM p1 LW2 LR _ _ h2 c2 -> _ p2 q2 hidden_size={H}", "Squeeze p2 ax0 -> t", "MatMul t M -> y"]
FOUR = [X, *(port(n, 1, 1, H) for n in ("h1", "c1", "h2", "c2"))]

KINDS = {
    "recurrence": (
        [*GRU, "MatMul h2 M -> y"], [X, port("h", 1, H)], [Y, port("h2", 1, H)], {"h": "h2"}, "recurrence",
    ),
    "two signals": (
        ["Concat real imag -> cat axis=1", "Unsqueeze cat ax0 -> xs", "Unsqueeze h ax0 -> hs",
         "GRU xs W2 R _ _ hs -> _ hn hidden_size=6", "Squeeze hn ax0 -> h2", "MatMul h2 M -> m", "Sigmoid m -> mask",
         "Mul real mask -> y", "Mul imag mask -> z"],
        [port("real", 1, N), port("imag", 1, N), port("h", 1, H)], [Y, port("z", 1, N), port("h2", 1, H)],
        {"h": "h2"}, "recurrence",
    ),
    "two signals, added to what a copy of the state makes": (
        ["Concat a b -> cat axis=1", "Unsqueeze cat ax0 -> xs", "Unsqueeze h ax0 -> hs",
         "GRU xs W2 R _ _ hs -> _ hn hidden_size=6", "Squeeze hn ax0 -> begun", "Cast begun -> h2 to=1",
         "MatMul begun M -> m", "Add a m -> y", "MatMul h2 M -> v", "Add b v -> z"],
        [port("a", 1, N), port("b", 1, N), port("h", 1, H)], [Y, port("z", 1, N), port("h2", 1, H)],
        {"h": "h2"}, "recurrence",
    ),
    "cache": (
        ["Unsqueeze x ax2 -> xs", "Concat cache xs -> joined axis=2", "Slice joined from1 end ax2 -> cut",
         "ReduceSum joined ax2 -> total keepdims=0", "MatMul total G -> y"],
        [X, port("cache", 1, N, 2)], [Y, port("cut", 1, N, 2)], {"cache": "cut"}, "cache",
    ),
    "leaky sum": (
        ["MatMul x K -> in", "Mul s decay -> old", "Add old in -> s2", "Tanh s2 -> t", "MatMul t M -> y"],
        [X, port("s", 1, H)], [Y, port("s2", 1, H)], {"s": "s2"}, "every output goes through it",
    ),
    "counter": (
        [*GRU, "Add n one -> n2", "Cast n2 -> nf to=1", "MatMul h2 M -> t", "Div t nf -> y"],
        [X, port("n", 1, kind=INT), port("h", 1, H)], [Y, port("n2", 1, kind=INT), port("h2", 1, H)],
        {"n": "n2", "h": "h2"}, "counter",
    ),
    "counter that wraps, taken apart": (
        [*GRU, "Add n one -> m", "Div m three -> q", "Mul q three -> r", "Sub m r -> n2", "Cast n2 -> nf to=1",
         "MatMul h2 M -> t", "Mul t nf -> y"],
        [X, port("n", 1, kind=INT), port("h", 1, H)], [Y, port("n2", 1, kind=INT), port("h2", 1, H)],
        {"n": "n2", "h": "h2"}, "counter",
    ),
    "axes of 1": (
        [*GRU, "Unsqueeze h2 ax1 -> h3", "MatMul h2 M -> y"], [X, port("h", 1, H)], [Y, port("h3", 1, 1, H)],
        {"h": "h3"}, "recurrence",
    ),
    "four in one, joined": (
        [*LSTM2, "Concat p1 q1 p2 q2 -> all axis=0"], FOUR, [Y, port("all", 4, 1, H)],
        dict.fromkeys(("h1", "c1", "h2", "c2"), "all"), "recurrence",
    ),
    "four in one, stacked behind": (
        [*LSTM2, *(f"Unsqueeze {n} ax2 -> {n}u" for n in ("q2", "p1", "q1", "p2")),
         "Concat q2u p1u q1u p2u -> all axis=2"],
        FOUR, [Y, port("all", 1, 1, 4, H)], dict.fromkeys(("h1", "c1", "h2", "c2"), "all"), "recurrence",
    ),
    "one tensor in and out": (
        ["Gather all first -> h1g axis=0", "Gather all second -> c1g axis=0", "Gather all third -> h2g axis=0",
         "Gather all fourth -> c2g axis=0",
         *(f"Unsqueeze {n}g ax0 -> {n}" for n in ("h1", "c1", "h2", "c2")), *LSTM2, "Concat p1 q1 p2 q2 -> all2 axis=0"],
        [X, port("all", 4, 1, H)], [Y, port("all2", 4, 1, H)], {"all": "all2"}, "recurrence",
    ),
    "gain beside": (
        [*GRU, "MatMul h2 M -> t", "Sigmoid t -> m", "Mul x m -> xm", "Mul xm gain -> y"],
        [X, port("gain", 1, 1), port("h", 1, H)], [Y, port("h2", 1, H)], {"h": "h2"}, "recurrence",
    ),
    "gain beside a cache": (
        ["Unsqueeze x ax2 -> xs", "Concat cache xs -> joined axis=2", "Slice joined from1 end ax2 -> cut",
         "ReduceSum joined ax2 -> total keepdims=0", "MatMul total G -> t", "Mul x gain -> xg", "Add xg t -> y"],
        [X, port("gain", 1, 1), port("cache", 1, N, 2)], [Y, port("cut", 1, N, 2)], {"cache": "cut"}, "cache",
    ),
    "behind a norm": (
        [*GRU[:3], "Squeeze hn ax0 -> raw", "LayerNormalization raw decay -> h2 axis=-1", "MatMul h2 M -> y"],
        [X, port("h", 1, H)], [Y, port("h2", 1, H)], {"h": "h2"}, "recurrence",
    ),
    "step of what it is": (
        ["MatMul x K -> in", "Mul s decay -> old", "Add in old -> t", "Tanh t -> step", "Add s step -> s2",
         "MatMul s2 M -> y"],
        [X, port("s", 1, H)], [Y, port("s2", 1, H)], {"s": "s2"}, "every output goes through it",
    ),
    "the last value that was good": (
        ["Greater x quarter -> good", "Where good x last -> last2", "Unsqueeze last2 ax0 -> xs", *GRU[1:],
         "MatMul h2 M -> t", "Add t x -> y"],
        [X, port("last", 1, N), port("h", 1, H)], [Y, port("last2", 1, N), port("h2", 1, H)],
        {"last": "last2", "h": "h2"}, "drives a state",
    ),
    "gain and speaker beside": (
        ["MatMul who G -> e", "Add x e -> xe", "Unsqueeze xe ax0 -> xs", *GRU[1:], "MatMul h2 M -> t", "Mul x gain -> xg",
         "Add xg t -> y"],
        [X, port("gain", 1, 1), port("who", 1, N), port("h", 1, H)], [Y, port("h2", 1, H)], {"h": "h2"}, "recurrence",
    ),
}  # fmt: skip


@pytest.mark.parametrize("named", ["as it is", "neutral"])
@pytest.mark.parametrize("order", [None, "other"])
@pytest.mark.parametrize("kind", KINDS)
def test_flow_tells_whatever_the_names_and_the_order(kind: str, order: str | None, named: str) -> None:
    nodes, inputs, outputs, want, evidence = KINDS[kind]
    ports = [row[0] for row in (*inputs, *outputs)]
    rename = {name: f"v{k}" for k, name in enumerate(ports)} if named == "neutral" else {}
    model = lstm_infer.load(build(nodes, inputs, outputs, rename, order))
    want = {rename.get(a, a): rename.get(b, b) for a, b in want.items()}
    assert dict(model.streaming.pairs) == want
    assert all(state.evidence in model.summary() for state in model.states)
    assert any(evidence in state.evidence for state in model.states)


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_carried_as_by_hand(kind: str) -> None:
    """Every call of a stream gives what `run` gives with the states fed back by hand."""
    nodes, inputs, outputs, want, _ = KINDS[kind]
    model = lstm_infer.load(build(nodes, inputs, outputs))
    stream, rng = model.stream(), np.random.default_rng(0)
    state = {n: np.zeros(s, np.int64 if k == INT else np.float32) for n, k, s in inputs if n in want}
    joined = {"four in one, joined": ("h1", "c1", "h2", "c2"), "four in one, stacked behind": ("c2", "h1", "c1", "h2")}
    for call in range(4):
        fed = {n: rng.uniform(-1, 1, s).astype(np.float32) for n, _, s in inputs if n not in want}
        whole = model.run({**fed, **state})
        got = stream.step(fed if len(fed) > 1 else fed["x"])
        got = got if isinstance(got, dict) else {"y": got}
        for name, array in got.items():
            tolerances.exact(array, whole[name], f"call {call}: {name}")
        for name, out in want.items():
            value = whole[out]
            if kind in joined:
                value = value.reshape(4, H)[joined[kind].index(name)]
            state[name] = value.reshape(state[name].shape)
            tolerances.exact(stream.state[name], state[name], f"call {call}: {name}")


SHIFT = ["Mul x slow -> a", "Add a prev -> m", "MatMul m G -> t", "Tanh t -> y", "Identity x -> last"]


@pytest.mark.parametrize("order", [None, "other"])
def test_a_delay_needs_a_name_that_says_so(order: str | None) -> None:
    nodes, inputs, outputs = (
        [*GRU, *SHIFT],
        [X, port("prev", 1, N), port("h", 1, H)],
        [Y, port("last", 1, N), port("h2", 1, H)],
    )
    found = lstm_infer.load(build(nodes, inputs, outputs, order=order))
    assert dict(found.streaming.pairs) == {"prev": "last", "h": "h2"}
    neutral = {name: f"v{k}" for k, name in enumerate(("x", "prev", "h", "y", "last", "h2"))}
    with pytest.raises(StateError, match=r'states={.*"v1": "v4"'):
        lstm_infer.load(build(nodes, inputs, outputs, neutral, order)).stream()


CAST = {
    "delay": ([*GRU, *SHIFT[:-1], "Cast x -> last to=1"], [X, port("prev", 1, N), port("h", 1, H)],
              [Y, port("last", 1, N), port("h2", 1, H)], {"prev": "last", "h": "h2"}),
    "cache": (["Unsqueeze x ax2 -> xs", "Concat p xs -> joined axis=2", "Cast joined -> same to=1",
               "Slice same from1 end ax2 -> cut", "ReduceSum same ax2 -> total keepdims=0", "MatMul total G -> y"],
              [X, port("p", 1, N, 2)], [Y, port("cut", 1, N, 2)], {"p": "cut"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", CAST)
def test_a_cast_to_the_same_type_hides_nothing(kind: str) -> None:
    nodes, inputs, outputs, want = CAST[kind]
    for order in (None, "other"):
        assert dict(lstm_infer.load(build(nodes, inputs, outputs, order=order)).streaming.pairs) == want


@pytest.mark.parametrize("names", [("x", "x_prev", "x_next"), ("frame", "prev_frame", "next_prev_frame")])
@pytest.mark.parametrize("way", ["into the layer", "into an output"])
def test_a_delay_that_is_called_as_its_signal_is(way: str, names: tuple[str, str, str]) -> None:
    """x_next is x: what x_prev is fed next. Not what x is fed, which it was fed in this call."""
    x, before, then = names
    layer = way == "into the layer"
    nodes = [f"Mul {before} slow -> a", f"Sub {x} a -> e", f"Identity {x} -> {then}", *GRU, "MatMul h2 M -> y"]
    nodes[3:-1] = [node.replace("Unsqueeze x ", f"Unsqueeze {'e' if layer else x} ") for node in nodes[3:-1]]
    inputs = [port(x, 1, N), port(before, 1, N), port("h", 1, H)]
    outputs = [Y, port(then, 1, N), port("h2", 1, H), *([] if layer else [port("e", 1, N)])]
    for order in (None, "reversed"):
        found = lstm_infer.load(build(nodes, inputs, outputs, order=order))
        assert dict(found.streaming.pairs) == {before: then, "h": "h2"}
        assert found.streaming.inputs == (x,)


def test_a_signal_that_is_handed_through_is_no_delay() -> None:
    nodes, inputs, outputs = (
        [*GRU, *SHIFT],
        [X, port("prev", 1, N), port("h", 1, H)],
        [Y, port("last", 1, N), port("h2", 1, H)],
    )
    model = lstm_infer.load(build(nodes, inputs, outputs, {"prev": "other", "last": "x_out"}))
    assert dict(model.streaming.pairs) == {"h": "h2"}
    assert set(model.streaming.inputs) == {"x", "other"}


@pytest.mark.parametrize("body", ["Mul p slow -> p2", "Add p slow -> p2", "Tanh p -> p2"])
def test_what_depends_on_itself_alone_is_asked_for(body: str) -> None:
    nodes = [*GRU, body, "MatMul h2 M -> t", "Mul t p2 -> y"]
    inputs, outputs = [X, port("p", 1, 1), port("h", 1, H)], [Y, port("p2", 1, 1), port("h2", 1, H)]
    with pytest.raises(StateError, match='"p": "p2"'):
        lstm_infer.load(build(nodes, inputs, outputs)).stream()
    named = lstm_infer.load(build(nodes, inputs, outputs, {"p": "clock_state", "p2": "clock_state_next"}))
    assert named.streaming.pairs["clock_state"] == "clock_state_next"


OPEN = {
    "running maximum": (
        [*GRU, "Max m x -> m2", "MatMul h2 M -> t", "Sub t m2 -> y"],
        [X, port("m", 1, N), port("h", 1, H)], [Y, port("m2", 1, N), port("h2", 1, H)], {"m": "m2", "h": "h2"},
    ),
    "overlap and add": (
        [*GRU, "MatMul h2 M -> t", "Add t tail -> y", "MatMul x G -> tail2"],
        [X, port("tail", 1, N), port("h", 1, H)], [Y, port("tail2", 1, N), port("h2", 1, H)],
        {"tail": "tail2", "h": "h2"},
    ),
    "overlap and add, halves of one": (
        [*GRU, "MatMul h2 M -> t", "MatMul x G -> u", "Concat t u -> both axis=1", "Slice both zero four ax1 -> head",
         "Slice both four end ax1 -> tail2", "Add head tail -> y"],
        [X, port("tail", 1, N), port("h", 1, H)], [Y, port("tail2", 1, N), port("h2", 1, H)],
        {"tail": "tail2", "h": "h2"},
    ),
    "norm inside": (
        ["MatMul x K -> in", "MatMul h Q -> old", "Add in old -> t", "LayerNormalization t decay -> n axis=-1",
         "Tanh n -> h2", "MatMul h2 M -> y"],
        [X, port("h", 1, H)], [Y, port("h2", 1, H)], {"h": "h2"},
    ),
    "mean so far": (
        [*GRU, "Add total x -> total2", "Add n one -> n2", "Cast n2 -> nf to=1", "Div total2 nf -> mean",
         "MatMul h2 M -> t", "Add t mean -> y"],
        [X, port("total", 1, N), port("n", 1, kind=INT), port("h", 1, H)],
        [Y, port("total2", 1, N), port("n2", 1, kind=INT), port("h2", 1, H)], {"total": "total2", "n": "n2", "h": "h2"},
    ),
    "last value seen": (
        ["Sub one_f mask -> no", "Mul mask x -> a", "Mul no last -> b", "Add a b -> last2", "Mul b slow -> old",
         "Add a old -> guess", "Unsqueeze guess ax0 -> xs", *GRU[1:], "MatMul h2 M -> y"],
        [X, port("mask", 1, N), port("last", 1, N), port("h", 1, H)], [Y, port("last2", 1, N), port("h2", 1, H)],
        {"last": "last2", "h": "h2"},
    ),
    "sum of outer products": (
        ["MatMul x K -> k", "Unsqueeze k ax2 -> column", "Unsqueeze k ax1 -> row", "MatMul column row -> kk",
         "Add s kk -> s2", "MatMul row s2 -> q", "Squeeze q ax1 -> r", "MatMul r M -> y"],
        [X, port("s", 1, H, H)], [Y, port("s2", 1, H, H)], {"s": "s2"},
    ),
    "a signal mixed with the one before": (
        ["Mul x slow -> xa", "Add xa prev -> m", "Unsqueeze m ax0 -> xs", *GRU[1:], "MatMul h2 M -> y", "Mul x one_f -> last"],
        [X, port("prev", 1, N), port("h", 1, H)], [Y, port("last", 1, N), port("h2", 1, H)],
        {"prev": "last", "h": "h2"},
    ),
    "signal and speaker added": (
        ["Add x who -> xe", "Unsqueeze xe ax0 -> xs", *GRU[1:], "MatMul h2 M -> t", "Add x t -> y"],
        [X, port("who", 1, N), port("h", 1, H)], [Y, port("h2", 1, H)], {"h": "h2"},
    ),
}  # fmt: skip
"""Kinds that neutral names leave open, with the pairs that are meant."""


@pytest.mark.parametrize("kind", OPEN)
def test_the_states_that_a_refusal_shows_are_those_that_are_meant(kind: str) -> None:
    nodes, inputs, outputs, want = OPEN[kind]
    rename = {row[0]: f"v{k}" for k, row in enumerate((*inputs, *outputs))}
    data = build(nodes, inputs, outputs, rename)
    with pytest.raises(StateError) as refused:
        lstm_infer.load(data).stream()
    shown = ast.literal_eval(re.search(r"states=({.*?})", str(refused.value))[1])
    assert shown == {rename[name]: rename[out] for name, out in want.items()}
    model = lstm_infer.load(data, states=shown)
    stream, rng = model.stream(), np.random.default_rng(0)
    state = {rename[n]: np.zeros(s, np.int64 if k == INT else np.float32) for n, k, s in inputs if n in want}
    for call in range(3):
        fed = {rename[n]: rng.uniform(-1, 1, s).astype(np.float32) for n, _, s in inputs if n not in want}
        whole = model.run({**fed, **state})
        got = stream.step(fed if len(fed) > 1 else fed[rename["x"]])
        state = {name: whole[out].reshape(state[name].shape) for name, out in shown.items()}
        tolerances.exact(got if not isinstance(got, dict) else got[rename["y"]], whole[rename["y"]], f"call {call}")


def test_a_refusal_shows_no_states_that_leave_nothing_to_feed() -> None:
    """`a` and `b` may both be states: then there would be no signal."""
    nodes = ["Mul b slow -> t", "Add a t -> a2", "Mul a slow -> u", "Sub b u -> b2"]
    data = build(nodes, [port("a", 1, N), port("b", 1, N)], [port("a2", 1, N), port("b2", 1, N)])
    with pytest.raises(lstm_infer.LstmInferError) as refused:
        lstm_infer.load(data).stream()
    found = re.search(r"states=({.*?})", str(refused.value))
    assert found is None or len(ast.literal_eval(found[1])) == 1


def test_one_value_given_twice_is_a_state_and_an_answer() -> None:
    nodes = [*GRU, "Identity h2 -> a", "Identity h2 -> b"]
    model = lstm_infer.load(build(nodes, [X, port("h", 1, H)], [port("a", 1, H), port("b", 1, H)]))
    assert list(model.streaming.pairs) == ["h"] and len(model.streaming.outputs) == 1


def test_many_states_are_paired_fast() -> None:
    """80 states of one shape, each a leaky sum; and 80 that flow cannot tell apart are refused."""
    count = 80
    nodes = [f"Mul s{k} decay -> m{k}" for k in range(count)] + ["MatMul x K -> in"]
    nodes += [f"Add m{k} in -> o{k}" for k in range(count)] + [
        "Sum " + " ".join(f"o{k}" for k in range(count)) + " -> y"
    ]
    inputs = [X, *(port(f"s{k}", 1, H) for k in range(count))]
    outputs = [port("y", 1, H), *(port(f"o{k}", 1, H) for k in reversed(range(count)))]
    assert dict(lstm_infer.load(build(nodes, inputs, outputs)).streaming.pairs) == {
        f"s{k}": f"o{k}" for k in range(count)
    }
    mixed = [f"Tanh s{k} -> m{k}" for k in range(count)] + [
        "Sum x " + " ".join(f"m{k}" for k in range(count)) + " -> y"
    ]
    mixed += [f"Add m{k * 7 % count} y -> o{k}" for k in range(count)]
    inputs[0] = port("x", 1, H)
    with pytest.raises(StateError) as refused:
        lstm_infer.load(build(mixed, inputs, outputs)).stream()
    assert "states={" in str(refused.value)


def test_states_that_are_given_stand_in_one_output_in_their_order() -> None:
    data = build(
        ["Concat b a -> both axis=0", "Add a x -> t", "Sub t b -> y"],
        [X, port("a", 1, N), port("b", 1, N)],
        [Y, port("both", 2, N)],
    )
    stream = lstm_infer.load(data, states={"a": "both", "b": "both"}).stream(initial={"a": np.ones((1, N), np.float32)})
    first = [float(stream.step(np.zeros((1, N), np.float32))[0, 0]) for _ in range(4)]
    assert first == [1.0, -1.0, 1.0, -1.0]


def test_the_batch_does_not_depend_on_the_order_of_the_inputs() -> None:
    nodes = [
        "ReduceSum table ax0 -> row keepdims=1", "Add x row -> t", "MatMul t K -> in", "Mul s decay -> old",
        "Add old in -> s2", "MatMul s2 M -> y",
    ]  # fmt: skip
    inputs, outputs = [X, port("table", 5, N), port("s", 1, H)], [Y, port("s2", 1, H)]
    for ports in (inputs, inputs[::-1], [inputs[1], inputs[0], inputs[2]]):
        model = lstm_infer.load(build(nodes, ports, outputs))
        assert {i.name: i.batch_axis for i in model.inputs} == {"x": 0, "table": None, "s": 0}
        assert dict(model.streaming.pairs) == {"s": "s2"}


@pytest.mark.parametrize(
    "own",
    [
        ["Relu x -> r", "Sub x r -> d"],
        ["Tanh x -> r", "Add r x -> d"],
        ["Relu x -> r", "Mul r x -> m", "Tanh m -> n", "Add x n -> d"],
    ],
)
def test_what_is_added_to_a_signal_of_its_own_makes_no_state_of_it(own) -> None:
    nodes = [
        *own, "Unsqueeze d ax0 -> ds", "Unsqueeze h ax0 -> hs", "GRU ds W R _ _ hs -> _ hn hidden_size=6",
        "Squeeze hn ax0 -> h2", "MatMul h2 M -> t", "Add t z -> y",
    ]  # fmt: skip
    inputs, outputs = [X, port("h", 1, H), port("z", 1, N)], [Y, port("d", 1, N), port("h2", 1, H)]
    for order in (None, "reversed"):
        model = lstm_infer.load(build(nodes, inputs, outputs, order=order))
        with pytest.raises(StateError, match="'x' -> 'd'"):
            model.stream()
        given = lstm_infer.load(build(nodes, inputs, outputs, order=order), states={"h": "h2"})
        assert set(given.streaming.inputs) == {"x", "z"}


@pytest.mark.parametrize("sum_", ["Add u p -> q", "Max u p -> q"])
def test_a_plain_sum_that_a_value_meets_again_is_no_evidence(sum_) -> None:
    """Either of the two may be what was fed back, or neither."""
    nodes, inputs = ["Add p a -> u", sum_, "Tanh q -> y"], [port("p", 1, N), port("a", 1, N)]
    for order in (None, "reversed"):
        model = lstm_infer.load(build(nodes, inputs, [port("q", 1, N), Y], order=order))
        with pytest.raises(StateError, match="'p' -> one of"):
            model.stream()


COUNT = ["Add n one -> n2", "Cast n2 -> f to=1", "Div x f -> u"]


@pytest.mark.parametrize("own", [["Tanh u -> r", "Add u r -> d"], ["Sigmoid u -> r", "Mul r x -> m", "Sub m u -> d"]])
def test_what_only_a_counter_changes_is_no_state(own) -> None:
    """The signal goes through one output that another is computed from: a state, it seems, if nothing were fed to it."""
    nodes = [*COUNT, *own, "MatMul d G -> t", "Mul t z -> y"]
    inputs = [X, port("n", 1, kind=INT), port("z", 1, N)]
    for order in (None, "reversed"):
        data = build(nodes, inputs, [Y, port("d", 1, N), port("n2", 1, kind=INT)], order=order)
        with pytest.raises(StateError, match="'x' -> 'd'"):
            lstm_infer.load(data).stream()


@pytest.mark.parametrize("behind", [["MatMul d G -> t", "Mul t p -> y"], ["MatMul p G -> t", "Add t d -> y"]])
@pytest.mark.parametrize("mixed", [["Add a g -> s", "Tanh s -> d"], ["Tanh g -> s", "Add a s -> d"]])
def test_a_signal_that_is_added_or_a_delay_of_the_sum(behind, mixed) -> None:
    """d may be the next value of g, which is added, or of p, which held it: names tell, nothing else."""
    nodes = ["MatMul x G -> a", *mixed, *behind]
    inputs, outputs = [X, port("g", 1, N), port("p", 1, N)], [Y, port("d", 1, N)]
    for order in (None, "reversed"):
        with pytest.raises(StateError, match=r"'g' -> (one of \[)?'d'"):
            lstm_infer.load(build(nodes, inputs, outputs, order=order)).stream()
        said = lstm_infer.load(build(nodes, inputs, outputs, {"g": "state", "d": "state_out"}, order))
        assert dict(said.streaming.pairs) == {"state": "state_out"}


@pytest.mark.parametrize(("start", "stop"), [("two", "end"), ("zero", "two"), ("one", "three")])
def test_a_delay_of_a_part_needs_a_name_that_says_so(start, stop) -> None:
    nodes = [f"Slice x {start} {stop} one -> kept", "Concat p x -> t axis=1", "MatMul t U -> y"]
    inputs, outputs = [X, port("p", 1, 2)], [Y, port("kept", 1, 2)]
    with pytest.raises(StateError, match=r'states={"p": "kept"}'):
        lstm_infer.load(build(nodes, inputs, outputs)).stream()
    said = lstm_infer.load(build(nodes, inputs, outputs, {"p": "context", "kept": "context_out"}))
    assert dict(said.streaming.pairs) == {"context": "context_out"}


@pytest.mark.parametrize(("start", "stop", "joined"), [("zero", "two", "p x"), ("four", "end", "x p")])
def test_what_is_joined_and_cut_out_again_is_no_cache(start, stop, joined) -> None:
    nodes = [*GRU, f"Concat {joined} -> t axis=1", f"Slice t {start} {stop} one -> same"]
    nodes += ["MatMul t U -> u", "MatMul h2 M -> m", "Mul u m -> y"]
    inputs, outputs = [X, port("p", 1, 2), port("h", 1, H)], [Y, port("same", 1, 2), port("h2", 1, H)]
    for order in (None, "reversed"):
        model = lstm_infer.load(build(nodes, inputs, outputs, order=order))
        assert dict(model.streaming.pairs) == {"h": "h2"}
        assert set(model.streaming.inputs) == {"x", "p"}


def test_states_that_leave_nothing_to_feed() -> None:
    inputs, outputs = [X, port("h", 1, H)], [Y, port("h2", 1, H)]
    data = build([*GRU, "MatMul h2 M -> y"], inputs, outputs)
    with pytest.raises(StateError, match=r"leaves no input to be fed.*'x'"):
        lstm_infer.load(data, states={"h": "h2", "x": "y"}).stream()
    count = build(
        ["Add n one -> n2", "Cast n2 -> nf to=1", "Mul nf slow -> y"], [port("n", 1, kind=INT)],
        [port("y", 1), port("n2", 1, kind=INT)],
    )  # fmt: skip
    for states in (None, {"n": "n2"}):
        assert lstm_infer.load(count, states=states).stream().step({})["y"] == np.float32(0.9)


def test_a_part_of_a_signal_is_no_state_of_what_it_never_meets() -> None:
    nodes = ["Slice x two end one -> kept", "MatMul x G -> y", "Tanh p -> q"]
    model = lstm_infer.load(build(nodes, [X, port("p", 1, 2)], [Y, port("kept", 1, 2), port("q", 1, 2)]))
    with pytest.raises(StateError, match="'p' -> 'q'"):
        model.stream()


def test_the_end_of_a_sequence_that_is_given_twice_is_no_state_of_what_it_began_with() -> None:
    nodes = [
        "MatMul side D -> s", "Unsqueeze s ax0 -> s0", "GRU x W R _ _ s0 -> Y hidden_size=6",
        "ReduceSum Y ax0 -> m keepdims=0", "Squeeze m ax0 -> m2",
    ]  # fmt: skip
    inputs, outputs = [port("x", "T", 1, N), port("side", 1, H)], [port("m", 1, 1, H), port("m2", 1, H)]
    with pytest.raises(lstm_infer.NotStreamableError):
        lstm_infer.load(build(nodes, inputs, outputs)).stream()
    said = lstm_infer.load(build(nodes, inputs, outputs), states={"side": "m2"})
    assert dict(said.streaming.pairs) == {"side": "m2"}


@pytest.mark.parametrize("change", ["Add", "Sub", "Mul"])
def test_a_signal_that_is_given_twice_is_no_state(change) -> None:
    nodes = ["MatMul z M -> w", f"{change} x w -> y", "Unsqueeze y ax0 -> y2"]
    inputs, outputs = [X, port("z", 1, H), port("u", 1, 2)], [Y, port("y2", 1, 1, N)]
    with pytest.raises(lstm_infer.LstmInferError):
        lstm_infer.load(build(nodes, inputs, outputs)).stream()
    given = lstm_infer.load(build(nodes, inputs, outputs), states={"x": "y2"})
    assert dict(given.streaming.pairs) == {"x": "y2"}


@pytest.mark.parametrize("n", [2, 3])
def test_one_of_several_signals_that_drive_an_output_alike_may_be_its_state(n) -> None:
    """Beside a sure state: all of them would leave nothing to feed, but one of them may hold what the cell made."""
    names = ["x", "a", "b"][:n]
    nodes = [f"MatMul {name} G -> {name}1" for name in names]
    nodes += ["Add x1 a1 -> s2", "Add s2 b1 -> s3"][: n - 1]
    nodes += [f"Tanh s{n} -> d", "Relu d -> r", "Concat p r -> p2 axis=0", "Slice p2 one end ax0 -> kept"]
    nodes += ["ReduceSum p2 ax0 -> t keepdims=1", "MatMul t G -> u", "Abs u -> y", "Neg u -> z"]
    inputs = [*(port(name, 1, N) for name in names), port("p", 2, N)]
    outputs = [Y, port("z", 1, N), port("d", 1, N), port("kept", 2, N)]
    for order in (None, "reversed"):
        with pytest.raises(StateError, match=r"'a' -> (one of \[)?'"):
            lstm_infer.load(build(nodes, inputs, outputs, order=order)).stream()


def test_a_delay_is_of_the_input_that_its_name_calls() -> None:
    nodes = [
        "Identity x -> was", "MatMul x G -> a", "Add a p -> b", "Tanh b -> c", "Identity c -> c2", "MatMul c G -> d",
        "Add d q -> e", "Tanh e -> f", "MatMul f G -> i", "Add i g -> j", "MatMul j G -> k", "Sigmoid k -> m", "Mul x m -> y",
    ]  # fmt: skip
    inputs = [X, port("p", 1, N), port("q", 1, N), port("g", 1, N)]
    outputs = [Y, port("was", 1, N), port("c2", 1, N)]
    rename = {"p": "prev1", "q": "prev2", "was": "prev1_new", "c2": "prev2_new"}
    for order in (None, "reversed"):
        model = lstm_infer.load(build(nodes, inputs, outputs, rename, order))
        assert dict(model.streaming.pairs) == {"prev1": "prev1_new", "prev2": "prev2_new"}


def test_of_two_outputs_of_one_value_the_state_is_the_one_of_its_shape() -> None:
    flat = [*GRU, "Squeeze h2 ax0 -> flat", "MatMul h2 M -> y"]
    for outs in (["h2", "flat"], ["flat", "h2"]):
        shapes = {"h2": (1, H), "flat": (H,)}
        outputs = [Y, *(port(name, *shapes[name]) for name in outs)]
        rename = {"h": "i1", "h2": "o1", "flat": "o2"}
        model = lstm_infer.load(build(flat, [X, port("h", 1, H)], outputs, rename))
        assert dict(model.streaming.pairs) == {"i1": "o1"}


JOINED = ["Unsqueeze x ax2 -> xc", "Concat cache xc -> whole axis=2", "ReduceSum whole ax2 -> total keepdims=0",
          "MatMul total G -> y"]  # fmt: skip


@pytest.mark.parametrize("names", [{}, {"cache": "v1", "whole": "v2"}, {"cache": "past_key", "whole": "present_key"}])
@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("n", [2, "P"])
def test_a_cache_that_leaves_longer_than_it_came_is_no_state(n, beside: bool, names: dict[str, str]) -> None:
    """Nothing in the file cuts it: its first part is the old one."""
    nodes = [*GRU, *JOINED] if beside else JOINED
    more = ([port("h", 1, H)], [port("h2", 1, H)]) if beside else ([], [])
    after = n + 1 if n == 2 else "P1"
    data = build(nodes, [X, port("cache", 1, N, n), *more[0]], [Y, port("whole", 1, N, after), *more[1]], names)
    cache, whole = names.get("cache", "cache"), names.get("whole", "whole")
    if not beside or whole == "present_key":
        with pytest.raises(StateError, match=f"sizes of input '{cache}' .* and output '{whole}' .* differ"):
            lstm_infer.load(data).stream()
    elif n == 2:
        assert cache not in lstm_infer.load(data).streaming.pairs
    with pytest.raises(StateError, match="cannot be the next value"):
        lstm_infer.load(data, states={cache: whole}).stream()


def test_the_only_input_beside_what_is_made_of_it_is_no_cache() -> None:
    """Features joined with those that a Conv over time makes of them, as in dense networks."""
    nodes = [
        helper.make_node("Conv", ["x", "K"], ["c"], pads=[2, 0]),
        helper.make_node("Concat", ["x", "c"], ["y"], axis=1),
    ]
    kernel = np.random.default_rng(0).normal(size=(3, 4, 3)).astype(np.float32)
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, "T"]) for name, n in (("x", 4), ("y", 7))]
    graph = helper.make_graph(nodes, "dense", ports[:1], ports[1:], [numpy_helper.from_array(kernel, "K")])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    with pytest.raises(NotStreamableError, match=re.escape("load(..., time_axis={'x': 2})")):
        lstm_infer.load(data).stream()
    model, x = (
        lstm_infer.load(data, time_axis={"x": 2}),
        np.random.default_rng(1).normal(size=(1, 4, 9)).astype(np.float32),
    )
    stream = model.stream()
    steps = [stream.step(x[..., t : t + 1]) for t in range(9)]
    np.testing.assert_array_equal(np.concatenate(steps, 2), model.run({"x": x})["y"])


@pytest.mark.parametrize("neutral", [False, True])
@pytest.mark.parametrize("beside", [False, True])
def test_a_cache_off_which_one_step_is_cut_is_one_at_one_step_a_call(beside: bool, neutral: bool) -> None:
    """x [1, N, T] of which the file leaves T open: behind more steps than one the cache would grow."""
    nodes = [
        "Concat cache x -> whole axis=2",
        "Slice whole from1 end ax2 -> cut",
        "ReduceSum whole ax2 -> total keepdims=0",
    ]
    nodes += ["MatMul total G -> t", "Mul t h -> y", "MatMul t G -> u", "Add h u -> w", "Tanh w -> h2"] if beside else [
        "MatMul total G -> y"]  # fmt: skip
    more = ([port("h", 1, N)], [port("h2", 1, N)]) if beside else ([], [])
    rename = {name: f"v{k}" for k, name in enumerate(("x", "cache", "cut"))} if neutral else {}
    x, cache, cut = (rename.get(name, name) for name in ("x", "cache", "cut"))
    data = build(
        nodes, [port("x", 1, N, "T"), port("cache", 1, N, 2), *more[0]], [Y, port("cut", 1, N, None), *more[1]], rename
    )
    with pytest.raises(StateError, match=re.escape(f"inputs={{'{x}': (1, 4, 1)}}")):
        lstm_infer.load(data).stream()
    found = lstm_infer.load(data, inputs={x: (1, N, 1)})
    assert found.streaming.pairs[cache] == cut and found.streaming.inputs == (x,)
    stream, held = found.stream(), np.zeros((1, N, 2), np.float32)
    for step in np.random.default_rng(0).normal(0, 1, (4, 1, N, 1)).astype(np.float32):
        stream.step(step)
        held = np.concatenate([held, step], 2)[:, :, 1:]
        np.testing.assert_array_equal(stream.state[cache], held)


def test_a_state_of_a_size_that_nothing_says_is_asked_for() -> None:
    nodes = [*JOINED[:2], "Slice whole from1 end ax2 -> cut", *JOINED[2:]]
    data = build(nodes, [X, port("cache", 1, N, "M")], [Y, port("cut", 1, N, "M")])
    with pytest.raises(StateError, match=r"inputs=\{'cache': \(1, 4, M\)\}"):
        lstm_infer.load(data).stream()
    assert lstm_infer.load(data, inputs={"cache": (1, N, 7)}).stream().state["cache"].shape == (1, N, 7)


@pytest.mark.parametrize("named", ["B", "N"])
def test_a_state_that_meets_no_signal_has_the_batch_that_its_name_says(named: str) -> None:
    """A counter beside a cell: nothing but its axis' name says that there is one for each signal."""
    nodes = [*GRU, "MatMul h2 M -> y", "Add n one -> n2"]
    inputs = [port("x", "B", N), port("n", named, kind=INT), port("h", "B", H)]
    data = build(nodes, inputs, [port("y", "B", N), port("n2", named, kind=INT), port("h2", "B", H)])
    model = lstm_infer.load(data)
    if named == "B":
        assert model.stream(batch=2).state["n"].shape == (2,)
    else:
        with pytest.raises(StateError, match="'n'"):
            model.stream()
        assert model.stream(initial={"n": np.zeros(3, np.int64)}).state["n"].shape == (3,)


def test_half_of_a_cell_is_no_state() -> None:
    """An LSTM of which h alone is given out: c would start anew at each call."""
    data = build([*LSTM1, "Squeeze p1 ax0 -> t", "MatMul t M -> y"], FOUR[:3], [Y, port("p1", 1, 1, H)])
    with pytest.raises(StateError, match="other half"):
        lstm_infer.load(data).stream()


PLAIN_CELL = [
    *(f"MatMul x Q -> {k}x" for k in "ifgo"), *(f"MatMul h Q -> {k}h" for k in "ifgo"),
    *(f"Add {k}x {k}h -> {k}s" for k in "ifgo"), *(f"Sigmoid {k}s -> {k}" for k in "ifo"), "Tanh gs -> g",
    "Mul f c -> fc", "Mul i g -> ig", "Add fc ig -> c2", "Tanh c2 -> t", "Mul o t -> h2", "MatMul h2 M -> y",
]  # fmt: skip


@pytest.mark.parametrize("order", [None, "other"])
def test_a_cell_whose_input_and_h_stand_alike_is_carried_whole_or_refused(order: str | None) -> None:
    square = [port(name, 1, H) for name in ("x", "h", "c")]
    outputs = [Y, port("h2", 1, H), port("c2", 1, H)]
    for rename in (
        {},
        {"x": "a", "h": "b", "c": "d", "y": "e", "h2": "f2", "c2": "g2"},
        {"h": "h0", "c": "c0", "h2": "nh", "c2": "nc"},
    ):
        data = build(PLAIN_CELL, square, outputs, rename, order)
        want = {rename.get("h", "h"): rename.get("h2", "h2"), rename.get("c", "c"): rename.get("c2", "c2")}
        with contextlib.suppress(StateError):
            assert dict(lstm_infer.load(data).streaming.pairs) == want
        assert dict(lstm_infer.load(data, states=want).streaming.pairs) == want


NORMED = [
    *(f"MatMul x K -> {k}x" for k in "ifgo"), *(f"MatMul h Q -> {k}h" for k in "ifgo"),
    *(f"Add {k}x {k}h -> {k}s" for k in "ifgo"), "Sigmoid fs -> f", "Exp is -> i", "Tanh gs -> g", "Sigmoid os -> o",
    "Mul f c -> fc", "Mul i g -> ig", "Add fc ig -> c2", "Mul f n -> fn", "Add fn i -> n2",
]  # fmt: skip


@pytest.mark.parametrize("last", [["Mul o c2 -> p", "Div p n2 -> h2"], ["Div c2 n2 -> p", "Mul o p -> h2"],
                                  ["Add n2 slow -> d", "Div c2 d -> p", "Mul o p -> h2"]])  # fmt: skip
@pytest.mark.parametrize("order", [None, "other"])
def test_the_h_of_a_cell_that_is_divided_is_asked_for_or_carried(order: str | None, last: list[str]) -> None:
    """The scalar cell of an xLSTM that gives out its states alone: h and c / n with a gate, whatever they are called."""
    nodes = [*NORMED, *last]
    inputs = [X, *(port(name, 1, H) for name in "hcn")]
    outputs = [port(name, 1, H) for name in ("h2", "c2", "n2")]
    want = {"h": "h2", "c": "c2", "n": "n2"}
    assert dict(lstm_infer.load(build(nodes, inputs, outputs, order=order)).streaming.pairs) == want
    neutral = {name: f"v{k}" for k, name in enumerate((*"xhcn", *want.values()))}
    with pytest.raises(StateError, match=f"'{neutral['h']}' -> '{neutral['h2']}'"):
        lstm_infer.load(build(nodes, inputs, outputs, neutral, order)).stream()


def test_what_is_shown_has_the_pairs_that_names_make() -> None:
    """Two delays of a filter: more than one reading is valid, and names that rhyme are no evidence; but they are shown."""
    nodes = ["Mul x slow -> a", "Add a z1 -> y", "Mul y quarter -> b", "Mul x quarter -> d", "Add b d -> e",
             "Add e z2 -> z1_out", "Sub d b -> z2_out"]  # fmt: skip
    inputs = [X, port("z1", 1, N), port("z2", 1, N)]
    outputs = [Y, port("z1_out", 1, N), port("z2_out", 1, N)]
    with pytest.raises(StateError, match=r'such as .*"z1": "z1_out", "z2": "z2_out"'):
        lstm_infer.load(build(nodes, inputs, outputs)).stream()


def test_how_far_a_state_moved_is_not_its_next_value() -> None:
    nodes = [*GRU, "MatMul h2 M -> y", "Sub h2 h -> delta"]
    model = lstm_infer.load(build(nodes, [X, port("h", 1, H)], [Y, port("delta", 1, H)]))
    with pytest.raises(lstm_infer.LstmInferError):
        model.stream()


def test_an_answer_is_no_state_of_what_only_enters_a_cell() -> None:
    """What was done last may be another thing than what was said: its name says only where it comes from."""
    nodes = ["Concat x prev_action -> both axis=1", "MatMul both W3 -> xe", "Unsqueeze xe ax0 -> xs", *GRU[1:],
             "MatMul h2 M -> m", "Tanh m -> action"]  # fmt: skip
    nodes[1:2] = ["MatMul prev_action G -> pe", "Add x pe -> xe"]
    nodes = nodes[1:]
    data = build(nodes, [X, port("prev_action", 1, N), port("h", 1, H)], [port("action", 1, N), port("h2", 1, H)])
    model = lstm_infer.load(data)
    assert dict(model.streaming.pairs) == {"h": "h2"} and set(model.streaming.inputs) == {"x", "prev_action"}


FILTERS = {
    "biquad": (["Mul x slow -> a", "Add a s1 -> y", "Mul y slow -> b", "Add b s2 -> s1_out", "Mul x quarter -> d",
                "Sub d b -> s2_out"], ("s1", "s2")),
    "state variable": (["Sub x lp -> a", "Mul bp quarter -> b", "Sub a b -> y", "Mul y slow -> d", "Add bp d -> bp_out",
                        "Mul bp_out slow -> e", "Add lp e -> lp_out"], ("lp", "bp")),
    "smoothing": (["Mul x slow -> a", "Add level trend -> b", "Mul b quarter -> d", "Add a d -> level_out",
                   "Sub level_out level -> e", "Mul e slow -> f", "Mul trend quarter -> g", "Add f g -> trend_out",
                   "Add level_out trend_out -> y"], ("level", "trend")),
    "integrator": (["Mul x slow -> a", "Add position a -> position_out", "MatMul position_out G -> y"], ("position",)),
    "coupled": (["MatMul x G -> a", "MatMul h1 G2 -> b", "MatMul h2 G2 -> d", "Add a d -> e", "Sub a b -> f",
                 "Tanh e -> h1_out", "Tanh f -> h2_out", "Add h1_out h2_out -> g", "MatMul g G -> y"], ("h1", "h2")),
}  # fmt: skip


@pytest.mark.parametrize("order", [None, "other"])
@pytest.mark.parametrize("signal", [("x", "y"), ("audio_in", "audio_out")])
@pytest.mark.parametrize("kind", FILTERS)
def test_names_that_go_together_are_never_crossed(kind: str, signal: tuple[str, str], order: str | None) -> None:
    """Sums of a few values may be read in several ways: as the names go together, with a warning, or not at all."""
    nodes, states = FILTERS[kind]
    ports = [X, *(port(name, 1, N) for name in states)], [Y, *(port(f"{name}_out", 1, N) for name in states)]
    data = build(nodes, *ports, dict(zip("xy", signal, strict=True)), order)
    want = {name: f"{name}_out" for name in states}
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            found = dict(lstm_infer.load(data).streaming.pairs)
        except StateError as error:
            shown = re.search(r"states=({.*?})", str(error))
            assert shown is None or ast.literal_eval(shown[1]) == want
        else:
            assert found == want
            assert any("by their names" in str(w.message) for w in told) or kind == "smoothing"
    assert dict(lstm_infer.load(data, states=want).streaming.pairs) == want


def test_a_choice_between_two_signals_makes_neither_a_state():
    nodes = ["Greater a quarter -> good", "Where good a b -> c", "Unsqueeze c ax0 -> xs", *GRU[1:], "MatMul h2 M -> y"]
    inputs = [port("a", 1, N), port("b", 1, N), port("h", 1, H)]
    model = lstm_infer.load(build(nodes, inputs, [Y, port("h2", 1, H)]))
    assert dict(model.streaming.pairs) == {"h": "h2"}


def test_what_would_leave_nothing_to_feed_is_fed_whatever_it_is_called():
    """A token that the model chooses may be fed back, or another one: the caller says."""
    nodes = [
        "Gather G token -> x axis=0",
        *GRU,
        "MatMul h2 M -> y",
        "ArgMax y -> next_token axis=1 keepdims=0",
    ]
    inputs, outputs = (
        [port("token", 1, kind=INT), port("h", 1, H)],
        [port("next_token", 1, kind=INT), Y, port("h2", 1, H)],
    )
    model = lstm_infer.load(build(nodes, inputs, outputs))
    assert dict(model.streaming.pairs) == {"h": "h2"}
    stream, h = model.stream(), np.zeros((1, H), np.float32)
    for token in np.array([[3], [0], [2]]):
        whole = model.run({"token": token, "h": h})
        got, h = stream.step(token), whole["h2"]
        tolerances.exact(got["y"], whole["y"], "logits")
    given = lstm_infer.load(build(nodes, inputs, outputs), states={"h": "h2", "token": "next_token"})
    assert given.streaming.pairs["token"] == "next_token"


PACKED = [
    "Slice pack zero one ax0 -> before", "Slice pack one two ax0 -> sum", "Slice pack two three ax0 -> count",
    "Sub x before -> d", "MatMul d G -> k", "Exp k -> e", "Mul e x -> ex", "Mul sum slow -> s9", "Add s9 ex -> sum2",
    "Mul count slow -> c9", "Add c9 e -> count2", "Mul s9 k -> a", "Add c9 one_f -> b", "Div a b -> y",
    "Concat x sum2 count2 -> pack2 axis=0",
]  # fmt: skip


@pytest.mark.parametrize("names", [{}, {"pack": "s", "pack2": "t"}])
def test_a_state_that_holds_the_signal_beside_what_is_summed(names):
    """The file is one of one signal: with several, what comes out is joined of theirs, and longer than the state."""
    model = lstm_infer.load(build(PACKED, [X, port("pack", 3, N)], [Y, port("pack2", 3, N)], names))
    name, out = names.get("pack", "pack"), names.get("pack2", "pack2")
    if name == "pack":  # nothing says that it is a state
        with pytest.raises(StateError, match="pack2"):
            model.stream()
        return
    assert dict(model.streaming.pairs) == {name: out}
    stream, state = model.stream(), np.zeros((3, N), np.float32)
    for x in np.random.default_rng(0).uniform(-1, 1, (5, 1, N)).astype(np.float32):
        whole = model.run({"x": x, name: state})
        state = whole[out]
        tolerances.exact(stream.step(x), whole["y"], "answer")
        tolerances.exact(stream.state[name], state, "state")
    with pytest.raises(StateError, match="one signal each"):
        model.stream(batch=2)


def test_a_frame_and_a_state_in_one_array_are_no_state():
    """Taken for a state, the array would leave nothing to feed."""
    nodes = [
        "Slice all zero four ax1 -> x",
        "Slice all four end ax1 -> h",
        *GRU,
        "MatMul h2 M -> y",
        "Concat y h2 -> all2 axis=1",
    ]
    model = lstm_infer.load(build(nodes, [port("all", 1, N + H)], [port("all2", 1, N + H)]))
    with pytest.raises(lstm_infer.NotStreamableError, match="no state"):
        model.stream()
