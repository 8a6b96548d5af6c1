"""Models that look ahead or stride over time: chunks that lead from a phase back to it are one crossing, with the bits of the
general path."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import lstm_infer
import shared_files
import stream_models
import tolerances
from lstm_infer import Model, StateError, Stream
from lstm_infer.streams import general

PERIODS = {
    "ts_rnnoise": 1,
    "ts_lookahead": 1,
    "ts_dfn_encoder": 1,
    "ts_multi_scale": 2,
    "ts_kws_crnn": 2,  # its one output is the last value: only the phase knows of the stride
    "ts_strided_conv_lstm": 4,
}
"""Of a file of the zoo: steps after which it stands in the same phase again."""


@pytest.fixture(scope="module", params=PERIODS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def model(name: str) -> Model:
    return lstm_infer.load(shared_files.ROOT / "tests" / "zoo" / "files" / f"{name}.onnx")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Calls that take the general path."""
    calls: list[int] = []
    whole = general.run_slow

    def run_slow(*args: Any) -> Any:
        calls.append(1)
        return whole(*args)

    monkeypatch.setattr(general, "run_slow", run_slow)
    return calls


def drawn(stream: Stream, n: int, seed: int = 3) -> dict[str, np.ndarray]:
    rng, time = np.random.default_rng(seed), stream._plan.spec.roles.time
    shapes = {k: [n if a == time[k] else m for a, m in enumerate(f.shape)] for k, f in stream._plan.step_facts.items()}
    return {k: rng.standard_normal(shape).astype(np.float32) for k, shape in shapes.items()}


def part(stream: Stream, x: dict[str, np.ndarray], at: int, n: int) -> dict[str, np.ndarray]:
    time = stream._plan.spec.roles.time
    return {k: np.ascontiguousarray(v.take(range(at, at + n), time[k])) for k, v in x.items()}


def generally(stream: Stream, x: Any) -> Any:
    """The same call on the general path."""
    stream._bind(None, stream._state, stream._now)
    return stream.run(x)


def same(got: dict[str, Any], want: dict[str, Any]) -> None:
    assert list(got) == list(want)
    for key, array in want.items():
        if array is None:
            assert got[key] is None
        else:
            tolerances.exact(got[key], array, key)


@pytest.mark.parametrize("batch", [1, 3])
def test_any_cuts(model: Model, name: str, batch: int, slow: list[int]) -> None:
    a, b, unit = model.stream(batch=batch), model.stream(batch=batch), PERIODS[name]
    rng = np.random.default_rng(1)
    cuts = [unit * int(n) for n in rng.choice([0, 1, 1, 2, 3, 4, 5, 16, 17, 21, 70, 130], 60)]
    if unit > 1:
        cuts += [int(n) for n in rng.integers(1, 3 * unit, 40)] + [unit, 2 * unit] * 8
    x, at = drawn(a, sum(cuts)), 0
    for n in cuts:
        fed = part(a, x, at, n)
        before = len(slow)
        got = a.run(fed)
        took = len(slow) - before
        same(got, generally(b, fed))
        at += n
    assert not took  # the last of them


def test_the_same_chunk_again_takes_the_road(model: Model, name: str, slow: list[int]) -> None:
    stream, unit = model.stream(), PERIODS[name]
    for n in (unit, 16 * unit, 3 * unit):
        for _ in range(16):
            stream.run(drawn(stream, n))
        slow.clear()
        for _ in range(5):
            stream.run(drawn(stream, n))
        assert not slow
    other = model.stream()  # what one stream found holds for all
    for _ in range(12):
        other.run(drawn(other, unit))
    slow.clear()
    other.run(drawn(other, 16 * unit))
    assert not slow


def test_a_lone_array_and_out(model: Model, name: str, slow: list[int]) -> None:
    a, b, unit = model.stream(), model.stream(), PERIODS[name]
    x = drawn(a, 4 * unit)
    for _ in range(8):
        want = a.run(x)
        b.run(x)
    out = {key: np.full_like(array, 7) for key, array in want.items()}
    want = a.run(x)
    slow.clear()
    assert b.run(x, out=out) is out
    assert not slow
    same(out, want)
    if len(x) == 1:
        got = a.run(next(iter(x.values())))
        want = generally(b, x)
        same(got if isinstance(got, dict) else {next(iter(want)): got}, want)


def test_snapshot_fork_reset_and_flush(model: Model, name: str, slow: list[int]) -> None:
    a, b, unit = model.stream(), model.stream(), PERIODS[name]
    x = drawn(a, 40 * unit)
    first = [a.run(part(a, x, at, 4 * unit)) for at in range(0, 40 * unit, 4 * unit)]
    for at in range(0, 20 * unit, 4 * unit):
        generally(b, part(b, x, at, 4 * unit))
    twin, again = b.fork(), model.stream()
    again.restore(b.snapshot())
    slow.clear()
    for stream in (twin, again):
        same(stream.run(part(a, x, 20 * unit, 4 * unit)), first[5])
    assert not slow
    a.reset()
    for at, want in enumerate(first):
        same(a.run(part(a, x, 4 * unit * at, 4 * unit)), want)
    for at in range(20 * unit, 40 * unit, 4 * unit):
        generally(b, part(b, x, at, 4 * unit))
    tails = [stream.flush() for stream in (a, b)]
    same(*[tail if isinstance(tail, dict) else {"": tail} for tail in tails])
    with pytest.raises(StateError, match="flushed"):
        a.run(part(a, x, 0, 4 * unit))
    a.reset()
    same(a.run(part(a, x, 0, 4 * unit)), first[0])


def test_a_step_is_still_refused(model: Model, name: str) -> None:
    stream = model.stream()
    if not stream.lag and stream._plan.spec.rate == 1:
        pytest.skip("a step is answered by a step")
    x = drawn(stream, PERIODS[name])
    for _ in range(8):
        stream.run(x)
    with pytest.raises(lstm_infer.ShapeError, match="use run"):
        stream.step(drawn(stream, 1))


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_dynamic_scales_are_those_of_a_step(stride: int) -> None:
    """A scale over a whole tensor is taken one step at a time, also where several steps lead from a phase back to it."""
    made = onnx.load_from_string(stream_models.centred_conv(stride=stride))
    made.graph.node[0].input[0] = "near"
    made.graph.node.insert(0, helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "scale", "zero"]))
    made.graph.node.insert(1, helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["near"]))
    model = lstm_infer.load(made)
    a, b = model.stream(), model.stream()
    x = drawn(a, 8 * 4 * stride)
    x["x"] *= np.linspace(0.1, 3, x["x"].shape[2], dtype=np.float32)
    by_chunks = [a.run(part(a, x, at, 4 * stride))["y"] for at in range(0, 32 * stride, 4 * stride)]
    by_steps = [b.run(part(b, x, at, 1))["y"] for at in range(32 * stride)]
    tolerances.exact(np.concatenate(by_chunks), np.concatenate(by_steps), "y")


@pytest.mark.parametrize("error", [lstm_infer.BudgetError("too much"), MemoryError("too much")])
def test_a_block_that_cannot_be_made_costs_no_answer(
    name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer block is made for the calls to come: where there is no room for it, they go on without."""
    model = lstm_infer.load(shared_files.ROOT / "tests" / "zoo" / "files" / f"{name}.onnx")
    a, b, unit = model.stream(), model.stream(), PERIODS[name]

    def fails(*args: Any) -> Any:
        raise error

    monkeypatch.setattr(a._plan, "_call_of", fails)
    for seed in range(12):
        x = drawn(a, 4 * unit, seed)
        same(a.run(x), generally(b, x))
