"""Unrolled copies that compare the length of the sequence with the number of their step.

A file that was unrolled over 7 steps is run at 1, 3, 7 and 12, against what onnxruntime makes of the same loop unrolled over
as many: a condition that holds in every copy at the sizes of the example need not hold at others.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnxruntime
import pytest
from test_copies import H, Unroller

import lstm_infer
import tolerances

STEPS = 7
LENGTHS = (1, 3, STEPS, 12)


def length(b: Unroller) -> str:
    """T as frameworks ask for it: of the whole input, or of what the steps are cut from."""
    seen = b.do("Cast", "x", to=1) if b.how["reads"] == "Split" else b.do("Transpose", "x", perm=[1, 0, 2])
    at = b.const(1 if b.how["reads"] == "Split" else 0)
    return b.do("Cast", b.do("Gather", b.do("Shape", seen), at, axis=0), to=7)


def new_state(b: Unroller, x: str, h: str) -> str:
    return b.do("Tanh", b.do("Add", b.do("Mul", b.k, h), b.do("MatMul", x, b.W)))


def kept(b, t, x, states):
    """What Keras writes: the new state and what is shown where there are so many steps, else the old ones."""
    b.T = length(b) if t == 0 else b.T
    b.shown = b.do("ConstantOfShape", b.do("Shape", states[0])) if t == 0 else b.shown
    go = b.do("Greater", b.T, b.const(t))
    new = new_state(b, x, states[0])
    b.shown = b.do("Where", go, new, b.shown)
    return b.shown, [b.do("Where", go, new, states[0])]


def kept_less(b, t, x, states):
    """The same said the other way round, in every copy of its own, and through an And."""
    go = b.do("And", b.do("Less", b.const(t), length(b)), b.do("LessOrEqual", b.const(t + 1), length(b)))
    return (h := b.do("Where", go, new_state(b, x, states[0]), states[0])), [h]


def kept_not(b, t, x, states):
    """Is it over."""
    over = b.do("GreaterOrEqual", b.const(t), length(b))
    return (h := b.do("Where", over, states[0], new_state(b, x, states[0]))), [h]


def capped(b, t, x, states):
    """A number that grows with the step, as far as the sequence is long."""
    most = b.do("Cast", b.do("Min", length(b), b.const(t + 3)), to=1)
    return (h := b.do("Div", new_state(b, x, states[0]), most)), [h]


def first_half(b, t, x, states):
    """A condition that holds in half of the steps."""
    go = b.do("Greater", length(b), b.const(2 * t))
    return (h := b.do("Where", go, new_state(b, x, states[0]), states[0])), [h]


def left(b, t, x, states):
    """How many steps are left."""
    more = b.do("Cast", b.do("Sub", length(b), b.const(t)), to=1)
    return (h := b.do("Div", new_state(b, x, states[0]), more)), [h]


BODIES = {body.__name__: body for body in (kept, kept_less, kept_not, capped, first_half, left)}
STREAMED = {"kept", "kept_less", "kept_not"}


def made(name: str, reads: str, n: int) -> bytes:
    return Unroller(BODIES[name], n, {"reads": reads}).model()


@pytest.mark.parametrize("reads", ["Split", "Gather", "Slice"])
@pytest.mark.parametrize("name", BODIES)
def test_every_length_is_that_of_the_loop(name: str, reads: str) -> None:
    model = lstm_infer.load(made(name, reads, STEPS))
    assert any("rolled into a" in text for text in model.rewritten), model.summary()
    for n in LENGTHS:
        x = np.random.default_rng(n).normal(size=(2, n, 3)).astype(np.float32)
        want = onnxruntime.InferenceSession(made(name, reads, n)).run(None, {"x": x})[0]
        got = model.run({"x": x})["y"]
        tolerances.like_onnxruntime(got, want)
        if name in STREAMED:
            stream = model.stream(batch=2)
            tolerances.exact(np.concatenate([stream.run(x[:, :1]), stream.run(x[:, 1:])], 1), got)
    assert got.shape == (2, LENGTHS[-1], H)


def longer(b, t, x, states):
    """A condition on the length that is one for all copies: the file was made at 7, the walks are at more."""
    b.go = b.do("Greater", length(b), b.const(9)) if t == 0 else b.go
    return (h := b.do("Where", b.go, new_state(b, x, states[0]), b.do("Mul", b.q, states[0]))), [h]


@pytest.mark.parametrize("reads", ["Split", "Gather"])
def test_a_condition_beyond_the_example(reads: str) -> None:
    """Equal in all copies, another at other lengths."""
    model = lstm_infer.load(Unroller(longer, STEPS, {"reads": reads}).model())
    for n in LENGTHS:
        x = np.random.default_rng(n).normal(size=(2, n, 3)).astype(np.float32)
        want = onnxruntime.InferenceSession(Unroller(longer, n, {"reads": reads}).model()).run(None, {"x": x})[0]
        tolerances.like_onnxruntime(model.run({"x": x})["y"], want)


def shown_before(b, t, x, states):
    """A loop that shows the state it came with; the last update is gone, and so is the last step of x."""
    new = states[0] if t == b.n - 1 else new_state(b, x, states[0])
    return states[0], [new]


def shown_before_kept(b, t, x, states):
    """The same as Keras writes it."""
    b.T, b.zeros = (length(b), b.do("ConstantOfShape", b.do("Shape", states[0]))) if t == 0 else (b.T, b.shown)
    go = b.do("Greater", b.T, b.const(t))
    b.shown = b.do("Where", go, states[0], b.zeros)
    return b.shown, [b.do("Where", go, new_state(b, x, states[0]), states[0])]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("body", [shown_before, shown_before_kept])
@pytest.mark.parametrize("behind", [False, True])
def test_the_state_before_is_shown(body, reverse: bool, behind: bool) -> None:
    how = {"reads": "Split", "reverse": reverse}

    def made(n: int) -> bytes:
        b = Unroller(body, n, how)
        if behind:  # something reads what was stacked
            b.nodes[-1].output[0] = "stacked"
            b.do("Transpose", b.do("MatMul", "stacked", b.W), perm=[0, 1, 2], out="y")
        return b.model()

    model = lstm_infer.load(made(STEPS))
    assert any("rolled into a" in text for text in model.rewritten), model.summary()
    for n in LENGTHS:
        x = np.random.default_rng(n).normal(size=(2, n, 3)).astype(np.float32)
        want = onnxruntime.InferenceSession(made(n)).run(None, {"x": x})[0]
        got = model.run({"x": x})["y"]
        tolerances.like_onnxruntime(got, want)
        if not reverse:
            stream = model.stream(batch=2)
            tolerances.exact(np.concatenate([stream.run(x[:, :1]), stream.run(x[:, 1:])], 1), got)


def bias_of_the_length(b, t, x, states, limit: int, scaled: bool):
    """A cell whose bias is chosen, or scaled, by the length."""
    if t == 0:
        b.R, one, two = (b.const(b.rng.normal(0, 0.5, s).astype(np.float32)) for s in ((H, H), H, H))
        grown = b.do("Mul", one, b.do("Cast", b.do("Min", length(b), b.const(limit)), to=1))
        b.bias = grown if scaled else b.do("Where", b.do("Greater", length(b), b.const(limit)), one, two)
    given = b.do("Add", b.do("MatMul", x, b.W), b.bias)
    return (h := b.do("Tanh", b.do("Add", given, b.do("MatMul", states[0], b.R)))), [h]


@pytest.mark.parametrize("reads", ["Split", "Gather"])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("limit", [5, 9])
def test_no_weight_is_folded_from_a_length(limit: int, scaled: bool, reads: str) -> None:
    def made(n: int) -> bytes:
        return Unroller(partial(bias_of_the_length, limit=limit, scaled=scaled), n, {"reads": reads}).model()

    model = lstm_infer.load(made(STEPS))
    for n in LENGTHS:
        x = np.random.default_rng(n).normal(size=(2, n, 3)).astype(np.float32)
        want = onnxruntime.InferenceSession(made(n)).run(None, {"x": x})[0]
        tolerances.like_onnxruntime(model.run({"x": x})["y"], want)
