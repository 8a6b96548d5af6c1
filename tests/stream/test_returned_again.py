"""A step may return an array or a dict again that nothing refers to any more; what anything refers to stays as it is."""

from __future__ import annotations

import functools
import gc
import itertools
import sys
import weakref

import numpy as np
import onnx
import pytest
from onnx import helper

import lstm_infer
import stream_models
from in_threads import together
from lstm_infer.errors import ShapeError

N = 12
needs_counts = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="only where references are counted under a lock"
)


@pytest.fixture(scope="module")
def model():
    return lstm_infer.load(stream_models.hidden_state())


@pytest.fixture(scope="module")
def two():
    """A model of two outputs."""
    made = onnx.load_from_string(stream_models.hidden_state())
    made.graph.node.append(helper.make_node("Neg", ["y"], ["z"]))
    made.graph.output.append(made.graph.output[0])
    made.graph.output[1].name = "z"
    return lstm_infer.load(made)


@pytest.fixture
def x():
    return np.random.default_rng(4).uniform(-1, 1, (N, 1, stream_models.INPUTS)).astype(np.float32)


@pytest.fixture
def ref(model, x):
    return model.run({"x": x})["y"]


KEPT = {
    "the array": lambda y: y,
    "a view": lambda y: y[0],
    "a view of a view": lambda y: y.reshape(-1)[1:],
    "a memoryview": memoryview,
    "an iterator": lambda y: y.flat,
    "a list": lambda y: [y],
    "its owner": lambda y: np.asarray(memoryview(y)).base,
}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("form", ["array", "dict"])
def test_what_is_kept_stays_as_it_is(model, x, ref, kept, form):
    s, held, then = model.stream(), [], []
    for one in x:
        y = s.step(one) if form == "array" else s.step({"x": one})["y"]
        held.append(KEPT[kept](y))
        then.append(y.tobytes())
        del y
    values = [np.asarray(a[0] if kept == "a list" else list(a) if kept == "an iterator" else a) for a in held]
    for n, (value, bits) in enumerate(zip(values, then, strict=True)):
        whole = np.frombuffer(bits, np.float32)
        np.testing.assert_array_equal(np.float32(value).ravel(), whole[-value.size :], err_msg=f"step {n}")
        assert whole.tobytes() == ref[n].tobytes()


@needs_counts
@pytest.mark.parametrize("form", ["array", "dict"])
def test_two_go_round_where_each_is_dropped_for_the_next(model, x, form):
    s, seen = model.stream(), set()
    for one in itertools.chain(*[x] * 5):
        y = s.step(one) if form == "array" else s.step({"x": one})
        seen.add(id(y))
    assert len(seen) == 2, "no array was returned again"


def test_streams_of_one_model_do_not_take_from_each_other(model, x, ref):
    streams = [model.stream() for _ in range(3)]
    last = [None] * 3
    for n, one in enumerate(x):
        for k, s in enumerate(streams):
            last[k] = s.step(one * (k == 0))
        assert last[0].tobytes() == ref[n].tobytes()
        assert last[1] is not last[2]


CHANGES = {
    "shape": lambda y: setattr(y, "shape", (y.size,)),
    "flags": lambda y: y.setflags(write=False),
    "size": lambda y: y.resize((7,), refcheck=False),
    "rank": lambda y: setattr(y, "shape", (*y.shape, 1)),
    "order": lambda y: setattr(y, "shape", y.shape[::-1]),
}


@pytest.mark.parametrize("form", ["array", "dict"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
def test_an_array_changed_in_place_is_not_returned_again(model, x, ref, change, form):
    s = model.stream()
    for n, one in enumerate(x):
        y = s.step(one) if form == "array" else s.step({"x": one})["y"]
        assert y.shape == ref[n].shape and y.flags.writeable and y.flags.c_contiguous and y.dtype == np.float32
        assert y.tobytes() == ref[n].tobytes()
        CHANGES[change](y)


def drop_first(d):
    d.pop(next(iter(d)))


def turn(d):
    first = next(iter(d))
    d[first] = d.pop(first)


class Array(np.ndarray):
    """Another class of arrays."""


def put(value):
    def change(d):
        for name in d:
            d[name] = value

    return change


DICTS = {
    "popped": drop_first,
    "another order": turn,
    "one more": lambda d: d.update(more=1),
    "another key": lambda d: (drop_first(d), d.update(other=1)),
    "emptied": lambda d: d.clear(),
    "None": put(None),
    "lists": lambda d: d.update({name: [float(n)] for n, name in enumerate(d)}),
    "arrays of another class": lambda d: d.update({name: Array((1, 3), np.float32) for name in d}),
    "one array twice": put(np.zeros((1, 3), np.float32)),
    "float64": lambda d: d.update({k: v.astype(np.float64) for k, v in d.items()}),
    "Fortran order": lambda d: d.update({k: np.asfortranarray(v) for k, v in d.items()}),
    "read-only": lambda d: [v.setflags(write=False) for v in d.values()],
}


@pytest.mark.parametrize("change", DICTS)
def test_a_dict_that_was_changed_comes_back_as_new(two, x, change):
    plain, s = two.stream(), two.stream()
    names = [port.name for port in two.outputs]
    for one in x:
        expected = {name: value.copy() for name, value in plain.step(one).items()}
        found = s.step(one)
        assert list(found) == list(expected) and set(found) <= set(names)
        for name, value in found.items():
            assert type(value) is np.ndarray and value.flags.writeable and value.dtype == np.float32
            np.testing.assert_array_equal(value, expected[name])
        DICTS[change](found)
        del found, value


def test_an_array_that_was_put_into_it_is_not_written_to(two, x):
    s, own = two.stream(), np.full((1, 3), 7, np.float32)
    for one in x:
        d = s.step(one)
        for name in d:
            d[name] = own
        del d
    assert np.all(own == 7)


def test_what_goes_with_a_dict_cannot_change_what_is_fed(model, x):
    """Something in a dict that comes back may do as it likes when it goes: an input that it changes is refused or read as it is."""

    class Evil:
        def __del__(self):
            fed.resize((1, 2), refcheck=False)

    s, fed = model.stream(), x[0].copy()
    d = s.step({"x": fed})
    d["y"] = Evil()
    del d
    with pytest.raises(ShapeError):
        s.step({"x": fed})


def test_values_taken_from_a_dict_stay(two, x):
    s, plain = two.stream(), two.stream()
    held = [list(s.step(one).values()) for one in x]
    for one, values in zip(x, held, strict=True):
        for value, expected in zip(values, plain.step(one).values(), strict=True):
            np.testing.assert_array_equal(value, expected)


def test_a_weak_reference_sees_no_other_values(model, x):
    s = model.stream()
    y = s.step(x[0])
    bits, watched = y.tobytes(), weakref.ref(y)
    del y
    for one in x:
        s.step(one)
        again = watched()
        assert again is None or again.tobytes() == bits
        del again


def test_a_large_result_is_not_held(x):
    model = lstm_infer.load(stream_models.frame())
    s = model.stream(batch=1000)
    y = s.step(np.ones((1000, stream_models.INPUTS), np.float32))
    gone = weakref.ref(y)
    del y
    assert gone() is None


@needs_counts
def test_what_is_held_goes_with_the_model(x):
    model = lstm_infer.load(stream_models.hidden_state())
    y = model.stream().step(x[0])
    gone = weakref.ref(y)
    del y, model
    gc.collect()
    assert gone() is None


def test_a_step_that_raises_gives_nothing_away(model, x, ref):
    s = model.stream()
    for n, one in enumerate(x):
        y = s.step(one)
        with pytest.raises(ShapeError):
            s.step(one[:, :2])
        assert y.tobytes() == ref[n].tobytes()


def test_threads_that_drop_and_keep(model, x, ref):
    """Streams of one model in several threads, half of the results kept."""
    wrong = []

    def work(k):
        for _ in range(200):
            s, kept = model.stream(), []
            for n, one in enumerate(x):
                y = s.step(one) if k % 2 else s.step({"x": one})["y"]
                if n % 2:
                    kept.append((n, y))
            if any(y.tobytes() != ref[n].tobytes() for n, y in kept):
                wrong.append(k)

    together(*(functools.partial(work, k) for k in range(4)), turns=1e-5)
    assert not wrong
