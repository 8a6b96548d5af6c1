"""Streams cost their state: what is shared, copied, pickled, and how much memory each takes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import lstm_infer
import stream_models
import tolerances
from lstm_infer.errors import ArgumentError
from stream_models import HIDDEN, INPUTS


def frames(rng, n, batch=1):
    return rng.standard_normal((n, batch, INPUTS)).astype(np.float32)


def load(name="hidden_state"):
    return lstm_infer.load(getattr(stream_models, name)())


def test_a_stream_has_its_state_alone():
    model = load()
    streams = [model.stream() for _ in range(3)]
    state_bytes = sum(value.nbytes for value in streams[0].state.values())
    assert all(state_bytes <= stream.nbytes <= state_bytes + 256 for stream in streams)
    assert streams[0]._first is streams[1]._first
    assert not hasattr(streams[0], "__dict__")
    given = model.stream(initial={name: value + 1 for name, value in streams[0].state.items()})
    assert given.nbytes > streams[0].nbytes  # its first state is its own
    assert model.nbytes > 4 * (INPUTS + HIDDEN) * 4 * HIDDEN


@pytest.mark.parametrize("kept", [{}, {"max_chunk": 4}, {"batch": 3}])
def test_streams_opened_alike_do_not_meet(rng, kept):
    model, batch = load(), kept.get("batch", 1)
    x = frames(rng, 9, batch)
    whole = model.run({"x": x})["y"]
    one, other = model.stream(**kept), model.stream(**kept)
    for t in range(9):
        tolerances.exact(one.step(x[t]), whole[t])
        if t % 2:
            tolerances.exact(other.step(x[t // 2]), whole[t // 2])
    one.reset()
    tolerances.exact(one.run(x), whole)


@pytest.mark.parametrize("name", ["hidden_state", "state_io", "centred_conv", "switched"])
@pytest.mark.parametrize("how", ["pickle", "copy", "deepcopy", "fork"])
def test_a_copy_goes_on_from_here(rng, name, how):
    model = load(name)
    twice = np.full((1, 1, HIDDEN), 0.25, np.float32)
    first = {"initial": {"h0": twice}} if name == "state_io" else {}
    bound = {"inputs": {"which": np.array(7)}} if name == "switched" else {}
    stream, x = model.stream(**first, **bound), frames(rng, 12)
    cut = slice(0, 5), slice(5, 12)
    if name == "centred_conv":  # [batch, features, time]
        x = np.ascontiguousarray(x.transpose(1, 2, 0))
        cut = tuple((..., one) for one in cut)
    stream.run(x[cut[0]])
    made = {"pickle": lambda s: pickle.loads(pickle.dumps(s)), "copy": copy.copy, "deepcopy": copy.deepcopy,
            "fork": lambda s: s.fork()}[how](stream)  # fmt: skip
    wanted, got = stream.run(x[cut[1]]), made.run(x[cut[1]])
    tolerances.exact(got, wanted, "from here on")
    assert made.snapshot() == stream.snapshot()
    made.reset()
    stream.reset()
    tolerances.exact(made.run(x), stream.run(x), "from the beginning")


def test_copies_of_a_model_are_the_model():
    model = load()
    assert copy.copy(model) is model
    assert copy.deepcopy({"m": model})["m"] is model


def test_what_was_bound_is_not_what_it_becomes(rng):
    """An array that is bound may be used for something else afterwards."""
    model, which, x = load("switched"), np.array(7), frames(rng, 6)
    stream = model.stream(inputs={"which": which})
    snapshot, want = stream.snapshot(), model.stream(inputs={"which": np.array(7)}).run(x)
    which[...] = 1
    assert model.stream(inputs={"which": np.array(7)}).snapshot() == stream.snapshot() == snapshot
    tolerances.exact(stream.run(x), want)
    other = model.stream(inputs={"which": which}).run(x)
    assert not np.array_equal(other, want)


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"batch": 1.5}, {"batch": "2"}, {"batch": [1]}, {"max_chunk": 0}, {"max_chunk": None}]
)
def test_numbers_that_are_none(wrong):
    with pytest.raises(ArgumentError, match="from 1 on"):
        load().stream(**wrong)
