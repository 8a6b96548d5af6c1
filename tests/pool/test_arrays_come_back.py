"""A step of a pool may return a small array again that nothing refers to any more; what anything refers to stays as it is.

The rule is that of streams (tests/stream/test_returned_again.py).
"""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import every_road
from in_threads import together
from lstm_infer import ShapeError

N, STEPS = 3, 12
needs_counts = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="only where references are counted under a lock"
)
FORMS = ("array", "dict", "dict of ids")


class Case:
    """A pool of N signals, frames, and what a stream of each gives."""

    def __init__(self, road: str) -> None:
        made = every_road.ROADS[road]()
        self.model = made.load()
        self.pool = self.model.pool()
        self.ids = self.pool.open_many(N)
        signals = [made.signal(seed, STEPS) for seed in range(N)]
        self.fed = [
            {name: np.stack([s[name][t : t + 1] for s in signals]) for name in signals[0]} for t in range(STEPS)
        ]
        streams = [self.model.stream() for _ in range(N)]
        self.want = [
            [stream.step({name: a[k] for name, a in fed.items()}) for k, stream in enumerate(streams)]
            for fed in self.fed
        ]
        self.out = next(iter(self.want[0][0]))

    def step(self, t: int, form: str) -> np.ndarray[Any, Any]:
        """The first output."""
        fed = self.fed[t]
        if form == "array":
            found: Any = self.pool.step(self.ids, next(iter(fed.values())) if len(fed) == 1 else fed)
            return found[self.out] if isinstance(found, dict) else found
        if form == "dict":
            return self.pool.step(self.ids, fed)[self.out]
        x = next(iter(fed.values()))
        return self.pool.step({id: x[k] for k, id in enumerate(self.ids.tolist())})[int(self.ids[0])]

    def bits(self, t: int, form: str) -> bytes:
        rows = [row[self.out].tobytes() for row in self.want[t]]
        return rows[0] if form == "dict of ids" else b"".join(rows)


KEPT: dict[str, Callable[[Any], Any]] = {
    "the array": lambda y: y,
    "a row": lambda y: y[0],
    "a view of a view": lambda y: y.reshape(-1)[1:],
    "a memoryview": memoryview,
    "a list": lambda y: [y],
    "its owner": lambda y: np.asarray(memoryview(y)).base,
}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_kept_stays_as_it_is(kept: str, form: str) -> None:
    case, held, then = Case("lstm"), list[Any](), list[bytes]()
    for t in range(STEPS):
        y = case.step(t, form)
        assert y.tobytes() == case.bits(t, form)
        held.append(KEPT[kept](y))
        then.append(np.asarray(held[-1]).tobytes())
        del y
    assert [np.asarray(one).tobytes() for one in held] == then


@needs_counts
@pytest.mark.parametrize("road", ["lstm", "gru, two inputs, two outputs"])
def test_two_go_round_where_each_is_dropped_for_the_next(road: str) -> None:
    case, seen, y = Case(road), set[int](), None
    for t in range(STEPS):
        y = case.step(t, "dict")
        assert y.tobytes() == case.bits(t, "dict")
        seen.add(id(y))
    assert len(seen) == 2, "no array was returned again"


def test_calls_of_other_sizes_between() -> None:
    case = Case("lstm")
    for t in range(STEPS):
        n = 1 + t % N
        x = next(iter(case.fed[t].values()))
        parts = [case.pool.step(case.ids[a:b], x[a:b]) for a, b in ((0, n), (n, N)) if a < b]
        assert [part.shape[0] for part in parts] == ([n, N - n] if n < N else [N])
        assert b"".join(part.tobytes() for part in parts) == case.bits(t, "array")


CHANGES: dict[str, Callable[[Any], Any]] = {
    "shape": lambda y: setattr(y, "shape", (y.size,)),
    "flags": lambda y: y.setflags(write=False),
    "size": lambda y: y.resize((7,), refcheck=False),
    "rank": lambda y: setattr(y, "shape", (*y.shape, 1)),
    "order": lambda y: setattr(y, "shape", y.shape[::-1]),
    "dtype": lambda y: setattr(y, "dtype", np.int32),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.filterwarnings("ignore:Setting the:DeprecationWarning")
def test_an_array_changed_in_place_is_not_returned_again(change: str) -> None:
    case = Case("lstm")
    for t in range(STEPS):
        y = case.step(t, "array")
        assert y.shape == (N, 1, 1, 2) and y.flags.writeable and y.flags.c_contiguous and y.dtype == np.float32
        assert y.tobytes() == case.bits(t, "array")
        CHANGES[change](y)
        del y


def test_a_weak_reference_sees_no_other_values() -> None:
    case = Case("lstm")
    y = case.step(0, "array")
    bits, watched = y.tobytes(), weakref.ref(y)
    del y
    for t in range(1, STEPS):
        case.step(t, "array")
        again = watched()
        assert again is None or again.tobytes() == bits
        del again


@needs_counts
def test_what_goes_with_a_result_cannot_change_what_is_fed() -> None:
    """Somebody's code runs as an old result is dropped: an input that it changes is refused, or read as it is."""
    case = Case("lstm")
    fed = next(iter(case.fed[0].values())).copy()

    def change(_: Any) -> None:
        fed.resize((1, 2), refcheck=False)

    results = [case.pool.step(case.ids, fed) for _ in range(2)]
    watched = [weakref.ref(y, change) for y in results]
    del results
    with pytest.raises(ShapeError):  # watched arrays do not come back: a new one pushes the first of them out
        case.pool.step(case.ids, fed)
    assert fed.shape == (1, 2) and watched


@needs_counts
def test_what_is_held_goes_with_the_pool_and_large_ones_are_not_held() -> None:
    case = Case("lstm")
    gone = weakref.ref(case.step(0, "array"))
    assert gone() is not None
    del case
    gc.collect()
    assert gone() is None
    case = Case("lstm")
    ids, x = case.pool.open_many(1000), np.zeros((1000, 1, 1, every_road.I), np.float32)
    large, chunk = weakref.ref(case.pool.step(ids, x)), weakref.ref(case.pool.run(case.ids, x[:N]))
    assert large() is None and chunk() is None


def test_a_step_that_fails_gives_nothing_away() -> None:
    case = Case("tokens")
    for t in range(STEPS):
        y = case.step(t, "array")
        for wrong in (case.fed[t]["x"][:1], np.full((N, 1, 1), every_road.WORDS)):
            with pytest.raises(ShapeError):
                case.pool.step(case.ids, wrong)
        assert y.tobytes() == case.bits(t, "array")


def test_threads_that_drop_and_keep() -> None:
    """One pool, signals of their own, half of the results kept."""
    case, wrong = Case("lstm"), list[int]()
    x = [next(iter(fed.values())) for fed in case.fed]

    def work(k: int) -> None:
        for _ in range(60):
            ids, kept = case.pool.open_many(N), list[tuple[int, Any]]()
            for t in range(STEPS):
                y = case.pool.step(ids, x[t])
                if t % 2 == k % 2:
                    kept.append((t, y))
            if any(y.tobytes() != case.bits(t, "array") for t, y in kept):
                wrong.append(k)
            case.pool.close(ids)

    together(*(functools.partial(work, k) for k in range(4)), turns=1e-5)
    assert not wrong
