"""What the analysis does not see of signals that meet in a batch, the bits of two signals tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import every_road
from lstm_infer.pools import batches

F, I, H = every_road.FLOAT, every_road.I, every_road.H
LONG = 9
"""Steps until what is kept is seen: more than the trial feeds."""


@pytest.fixture(autouse=True)
def the_analysis_is_blind(monkeypatch: pytest.MonkeyPatch) -> None:
    oldest = np.zeros((I, I, LONG), np.float32)
    oldest[:, :, 0] = np.eye(I)
    consts = every_road.consts() | {"back": np.array([-1]), "far": np.array([-(2**31)]), "oldest": oldest}
    monkeypatch.setattr(every_road, "consts", lambda: consts)
    monkeypatch.setattr(batches, "why_apart", lambda spec, per_step: "")


def n(op: str, ins: list[str], out: str, **attrs: Any) -> Any:
    return every_road.n(op, ins, [out], name=f"to_{out}", **attrs)


FLIP, SUM, SHARE = (
    n("Slice", ["x", "back", "far", "one", "back"], "m"), n("CumSum", ["x", "last"], "m"), n("Softmax", ["x"], "m", axis=1),
)  # fmt: skip


@pytest.mark.parametrize("node", [FLIP, SUM, SHARE], ids=lambda node: node.op_type)
@pytest.mark.parametrize("kept", [False, True], ids=["at once", "long after"])
def test_signals_that_meet_are_kept_apart(node: Any, kept: bool) -> None:
    """`long after`: what was mixed is in the state at once, and in the output after more steps than are tried."""
    outs = [("seq", F, ["T", "B", H])]
    if kept:
        tail = [
            *every_road.lstm("x"),
            n("Transpose", ["m"], "bit", perm=[1, 2, 0]),
            n("Conv", ["bit", "oldest"], "c", pads=[LONG - 1, 0]),
            n("Transpose", ["c"], "late", perm=[2, 0, 1]),
        ]
        outs.append(("late", F, ["T", "B", I]))
    else:
        tail = every_road.lstm("m")
    model = every_road.Road([node, *tail], [("x", F, ["T", "B", I])], outs, every_road.ONE).load()
    x = np.random.default_rng(0).uniform(-1, 1, (5, 2 * LONG, 1, I)).astype(np.float32)
    with model.pool() as pool:
        ids = np.array([pool.open() for _ in range(5)])
        got = pool.run(ids, {"x": x})
        assert "of a signal is another than alone" in pool._batches.apart or node is SHARE
    for k, chunk in enumerate(x):
        for name, want in model.stream().run({"x": chunk}).items():
            np.testing.assert_array_equal(got[name][k], want)


@pytest.mark.parametrize("name", [name for name, road in every_road.ROADS.items() if road().batch == 1])
def test_signals_that_stay_apart_are_seen_to(name: str) -> None:
    """The trial refuses none that the analysis lets be."""
    road = every_road.ROADS[name]()
    with road.load().pool(inputs=road.bound, reserve=8) as pool:
        apart = pool._batches.apart
    assert not apart or name in ("open size", "two for each step")
