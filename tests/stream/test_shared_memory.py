"""Memory that a caller holds and memory of a stream do not meet: outputs that overlap an input are refused, states are copies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import every_road
import tolerances
from lstm_infer import FeedError


def arrays(made: Any) -> list[Any]:
    return list(made.values()) if isinstance(made, dict) else [made]


PLACES = ("first", "last", "inside", "before", "behind")


def over(x: np.ndarray[Any, Any], made: np.ndarray[Any, Any], where: str) -> tuple[Any, Any]:
    """The values of x, and an array for an output: in one piece of memory, over the first or the last number of x, or beside x."""
    size, item = made.nbytes, 8
    memory = np.zeros(x.nbytes + 2 * size + 4 * item, np.uint8)
    begin = size + item
    begin += -(memory.ctypes.data + begin) % item
    fed = memory[begin : begin + x.nbytes].view(x.dtype).reshape(x.shape)
    fed[...] = x
    end = begin + x.nbytes
    places = {
        "first": begin - size + made.itemsize,
        "last": end - made.itemsize,
        "inside": begin,
        "before": begin - size,
        "behind": end,
    }
    past = (memory.ctypes.data + places[where]) % made.itemsize
    at = places[where] + (-past % made.itemsize if where == "behind" else -past)
    return fed, memory[at : at + size].view(made.dtype).reshape(made.shape)


@pytest.mark.parametrize("name", every_road.ROADS)
def test_an_output_over_an_input_is_refused(name: str) -> None:
    road = every_road.ROADS[name]()
    stream, fed = road.load().stream(road.batch, inputs=road.bound), road.signal(1)
    stream.run(road.part(fed, 0, 6))
    calls: list[tuple[Any, Any]] = [(stream.run, road.part(fed, 6, 15))]
    if stream._plan.spec.steady:
        calls.append((stream.step, road.frame(fed, 6)))
    for call, x in calls:
        before = stream.snapshot()
        want = call(x)
        stream.restore(before)
        for port in x:
            for target in want:
                for where in PLACES:
                    into = {key: np.empty_like(made) for key, made in want.items()}
                    shared, into[target] = over(x[port], want[target], where)
                    given = {**x, port: shared}
                    if where not in ("before", "behind"):
                        kept = shared.copy()
                        with pytest.raises(FeedError, match="shares memory with an input"):
                            call(given, out=into)
                        assert stream.snapshot() == before
                        tolerances.exact(shared, kept)
                    else:
                        call(given, out=into)
                        stream.restore(before)
                        for key, made in want.items():
                            tolerances.exact(into[key], made, f"{where}: {key}")


@pytest.mark.parametrize("name", every_road.ROADS)
def test_no_array_that_goes_in_or_comes_out_is_the_state(name: str) -> None:
    """So that no output can be written over a state."""
    road = every_road.ROADS[name]()
    model, fed = road.load(), road.signal(1)
    first = {key: value.copy() for key, value in model.stream(road.batch, inputs=road.bound).state.items()}
    bound = {key: np.array(value) for key, value in road.bound.items()}
    stream = model.stream(road.batch, initial=first, inputs=bound)
    twin = model.stream(road.batch, initial=first, inputs=road.bound)
    chunk = road.part(fed, 0, 6)
    made = stream.run(chunk)
    seen = [*chunk.values(), *arrays(made), *first.values(), *bound.values(), *stream.state.values()]
    twin.run(chunk)
    frame = road.frame(fed, 6)
    if stream._plan.spec.steady:
        seen += [*arrays(stream.step(frame)), *frame.values()]
        twin.step(frame)
    stream.state = given = dict(stream.state)
    seen += given.values()
    for array in seen:
        assert not np.may_share_memory(array, stream._state)
        assert not np.may_share_memory(array, stream._first)
        array.setflags(write=True)
        array[...] = 1  # whatever becomes of it
    rest = road.signal(2)
    for got, want in zip(arrays(stream.run(rest)), arrays(twin.run(rest)), strict=True):
        tolerances.exact(got, want)
    twin.reset()
    stream.reset()
    assert bytes(stream._state) == bytes(twin._state)
