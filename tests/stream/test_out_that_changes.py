"""What a call was given is looked at once: whoever changes it meanwhile changes neither what is read nor what is written to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import every_road
from lstm_infer import DtypeError

TWO = "gru, two inputs, two outputs"


class EachTimeAnother(Mapping[str, Any]):
    """Arrays by name, made anew for each time that one is asked for: of the right shape once."""

    def __init__(self, right: Mapping[str, Any]) -> None:
        self.right, self.asked = right, dict.fromkeys(right, 0)

    def __getitem__(self, name: str) -> Any:
        self.asked[name] += 1
        return self.right[name] if self.asked[name] == 1 else np.empty(3, np.float32)

    def __iter__(self) -> Iterator[str]:
        return iter(self.right)

    def __len__(self) -> int:
        return len(self.right)


class Meddling:
    """Memory that is lent, and a dict that is changed when it is asked for."""

    def __init__(self, array: Any, victim: dict[str, Any]) -> None:
        self.array, self.victim = array, victim

    def __dlpack__(self, **more: Any) -> Any:
        self.victim.pop("seq", None)
        self.victim["more"] = None
        return self.array.__dlpack__(**more)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


class Own(np.ndarray):
    """An array that is asked before something is written to it."""

    def __setitem__(self, key: Any, value: Any) -> None:
        raise RuntimeError("nothing of the caller runs while the stream is in use")


def outs(steps: int) -> dict[str, Any]:
    return {"y": np.zeros((steps, 1, 2), np.float32), "seq": np.zeros((steps, 1, every_road.H), np.float32)}


def test_a_mapping_is_read_once() -> None:
    road = every_road.ROADS[TWO]()
    stream, fed = road.load().stream(), road.signal(0, 7)
    want = stream.fork().run(fed)
    right = outs(7)
    stream.run(EachTimeAnother(fed), out=EachTimeAnother(right))
    assert all(np.array_equal(right[name], want[name]) for name in want)


@pytest.mark.parametrize("call", ["step", "run"])
def test_a_dict_that_loses_what_it_held(call: str) -> None:
    road = every_road.ROADS[TWO]()
    stream, fed = road.load().stream(), road.signal(0, 1)
    want = getattr(stream.fork(), call)(fed)
    held = outs(1)
    given = dict(held)
    given["y"] = Meddling(held["y"], given)
    assert getattr(stream, call)(fed, out=given) is given
    assert all(np.array_equal(held[name], want[name]) for name in want)


@pytest.mark.parametrize("name", ["lag", "lstm"])
def test_an_array_of_a_class_of_its_own(name: str) -> None:
    road = every_road.ROADS[name]()
    stream, fed = road.load().stream(), road.signal(0, 9)
    want = stream.fork().run(fed)["y"]
    out = np.zeros(want.shape, np.float32).view(Own)
    assert stream.run(fed, out={"y": out})["y"] is out
    assert np.array_equal(out, want)


def test_a_mask_is_not_written_through() -> None:
    road = every_road.ROADS["lstm"]()
    stream, fed = road.load().stream(), road.signal(0, 2)
    with pytest.raises(DtypeError, match="masked"):
        stream.run(fed, out={"y": np.ma.masked_all((2, 1, 2), np.float32)})
