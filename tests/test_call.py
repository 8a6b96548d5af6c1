"""A call of a stream in C: what it takes, what it leaves to the general path, its lock, its ports."""

from __future__ import annotations

import functools
import threading
from typing import Any

import numpy as np
import pytest

from in_threads import together
from lstm_infer import _check, _core, _stream
from lstm_infer.errors import StateError

ISAS = [name for name, runnable in _core.list_isas() if runnable]
F = 6  # features of a frame
X = ("x", np.float32, (1, 1, F), 1, True)
Y = ("y", np.float32, (1, 1, F), 0, True)


def copy_words(n: int, src: tuple[int, int], dst: tuple[int, int], src_stride: int = 1) -> np.ndarray:
    """Words of copy: n elements of 4 bytes."""
    return np.array([4, 1, *dst, *src, n, 1, src_stride], np.int64)


def delay_plan(isa: str, n: int, features: int = F) -> _core.Plan:
    """y[t] = x[t - 1], the state being the last frame: a recurrence made of copies."""
    steps = [("copy", copy_words(features, (1, 0), (4, 0)))]
    if n > 1:
        steps.append(("copy", copy_words((n - 1) * features, (3, 0), (4, 4 * features))))
    steps.append(("copy", copy_words(features, (3, 4 * (n - 1) * features), (1, 0))))
    return _core.Plan(isa, steps)


class Stream(_stream.StreamCore):
    """Records what the fast road did not take."""

    def __init__(self) -> None:
        self.slow: list[str] = []

    def _step_slow(self, x: Any, out: Any) -> Any:
        self.slow.append("step")
        return lambda now: (None, now)

    def _run_slow(self, x: Any, out: Any) -> Any:
        self.slow.append("run")
        return lambda now: (None, now)


def call_of(
    isa: str = "scalar", sizes: tuple[int, ...] = (4, 2, 1), release: bool = False, **change: Any
) -> _stream.Call:
    arguments: dict[str, Any] = {
        "consts": None,
        "state_bytes": 4 * F,
        "arena_bytes": 256,
        "blocks": [(n, delay_plan(isa, n)) for n in sizes],
        "inputs": [X],
        "outputs": [Y],
        "work": [int(release)] * len(sizes),
        "release_from": 1,
        "nodes": [()] * len(sizes),
    }
    return _stream.Call(**{**arguments, **change})


def make_stream(*args: Any, state: np.ndarray | None = None, **change: Any) -> Stream:
    stream = Stream()
    stream._bind(call_of(*args, **change), _core.aligned_empty(4 * F) if state is None else state, None)
    return stream


def frames(n: int) -> np.ndarray:
    return np.random.default_rng(5).standard_normal((1, n, F)).astype(np.float32)


def delayed(x: np.ndarray) -> np.ndarray:
    """[1, T, F] -> [T, 1, F], one step later."""
    return np.concatenate([np.zeros((1, F), np.float32), x[0, :-1]])[: x.shape[1], None]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("release", [False, True])
def test_step(isa: str, release: bool) -> None:
    stream = make_stream(isa, release=release)
    x = frames(9)
    kept = [stream.step(x[:, t : t + 1].copy()) for t in range(5)]
    dropped = [stream.step(x[:, t].copy()) for t in range(5, 9)]
    assert {y.shape for y in kept} == {(1, 1, F)}
    assert {y.shape for y in dropped} == {(1, F)}
    np.testing.assert_array_equal(np.concatenate([*kept, *[y[None] for y in dropped]]), delayed(x))
    out = np.empty((1, 1, F), np.float32)
    assert stream.step(frames(1), out) is out
    assert stream.step(frames(1), out=out) is out
    np.testing.assert_array_equal(out[0], frames(1)[0])
    assert stream.slow == []


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("release", [False, True])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 23])
def test_run(isa: str, release: bool, n: int) -> None:
    stream = make_stream(isa, release=release)
    x = frames(n)
    y = stream.run(x)
    assert y.shape == (n, 1, F)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, delayed(x))
    if n:
        out = np.empty((n, 1, F), np.float32)
        assert stream.run(x, out=out) is out
        np.testing.assert_array_equal(out[0], x[:, -1])
    assert stream.slow == []


def test_frame_model() -> None:
    stream = make_stream(inputs=[("x", "f4", (2, 3), -1, True)], outputs=[("y", "f4", (3, 2), -1, True)])
    x = frames(5).reshape(5, 2, 3)
    assert stream.step(x[0]).shape == (3, 2)
    y = stream.run(x[1:])
    assert y.shape == (4, 3, 2)
    np.testing.assert_array_equal(y.reshape(4, F), x[:-1].reshape(4, F))
    assert stream.run(x[:0]).shape == (0, 3, 2)
    assert stream.slow == []


def test_output_without_time() -> None:
    """y is the last frame of each block: of the whole call in the end."""
    plans = [(n, _core.Plan("scalar", [("copy", copy_words(F, (3, 4 * F * (n - 1)), (4, 0)))])) for n in (4, 1)]
    stream = make_stream(sizes=(4, 1), blocks=plans, outputs=[("y", "f4", (1, F), -1, False)])
    x = frames(7)
    np.testing.assert_array_equal(stream.run(x), x[:, -1])
    np.testing.assert_array_equal(stream.step(x[:, 0].copy()), x[:, 0])
    assert stream.slow == []
    stream.run(x[:, :0])
    assert stream.slow == ["run"]


def read_only(a: np.ndarray) -> np.ndarray:
    a.flags.writeable = False
    return a


def misaligned(shape: tuple[int, ...]) -> np.ndarray:
    n = 4 * int(np.prod(shape))
    return _check.unaligned(n, 2).view(np.float32).reshape(shape)


@pytest.mark.parametrize(
    "x",
    [
        None,
        {"x": frames(1), "y": frames(1)},
        {"y": frames(1)},
        {"x": frames(1).tolist()},
        frames(1).tolist(),
        frames(1).astype(np.float64),
        frames(1).astype(">f4"),
        frames(1).view(np.int32),
        np.zeros((1, 1, F + 1), np.float32),
        np.zeros((1, 2, F), np.float32),
        np.zeros((2, 1, F), np.float32),
        np.zeros((2, F), np.float32),
        np.zeros(F, np.float32),
        np.float32(0),
        np.zeros((1, 1, 2 * F), np.float32)[..., ::2],
        misaligned((1, 1, F)),
        frames(1).view(np.recarray),
    ],
)
def test_step_leaves_to_the_hook(x: Any) -> None:
    stream = make_stream()
    stream.step(x)
    assert stream.slow == ["step"]


@pytest.mark.parametrize(
    "out",
    [
        [],
        np.zeros((1, F), np.float32),
        np.zeros((1, 1, F)),
        np.zeros((1, 1, F), ">f4"),
        read_only(np.zeros((1, 1, F), np.float32)),
        np.zeros((1, 1, 2 * F), np.float32)[..., ::2],
        misaligned((1, 1, F)),
    ],
)
def test_out_leaves_to_the_hook(out: Any) -> None:
    stream = make_stream()
    stream.step(frames(1), out)
    stream.run(frames(1), out)
    assert stream.slow == ["step", "run"]


def test_overlap_leaves_to_the_hook() -> None:
    stream = make_stream()
    memory = np.zeros(3 * F, np.float32)
    for shift in range(-F, F + 1):
        x = memory[F : 2 * F].reshape(1, 1, F)
        stream.step(x, memory[F + shift : 2 * F + shift].reshape(1, 1, F))
        stream.run(x, memory[F + shift : 2 * F + shift].reshape(1, 1, F))
    assert stream.slow == ["step", "run"] * (2 * F - 1)


@pytest.mark.parametrize(
    "x", [None, frames(3)[0], frames(3).astype(np.float64), frames(6)[:, ::2], np.zeros((2, 3, F), np.float32)]
)
def test_run_leaves_to_the_hook(x: Any) -> None:
    stream = make_stream()
    stream.run(x)
    stream.run(frames(3), np.zeros((2, 1, F), np.float32))
    assert stream.slow == ["run", "run"]


@pytest.mark.parametrize("n", [0, 1, 4, 5, 9])
def test_time_behind_a_batch(n: int) -> None:
    """Rows that are not one stretch: each block is gathered from them and put back."""
    rows, wide = 3, 2
    x = np.random.default_rng(1).standard_normal((rows, n, wide)).astype(np.float32)
    plans = [(k, _core.Plan("scalar", [("copy", copy_words(rows * k * wide, (3, 0), (4, 0)))])) for k in (4, 2, 1)]
    port = ("f4", (rows, 1, wide), 1, True)
    stream = make_stream(blocks=plans, inputs=[("x", *port)], outputs=[("y", *port)])
    np.testing.assert_array_equal(stream.run(x), x)
    if n:
        np.testing.assert_array_equal(stream.step(x[:, :1].copy()), x[:, :1])
        np.testing.assert_array_equal(stream.step(x[:, 0].copy()), x[:, 0])
    assert stream.slow == []


def test_unbound() -> None:
    stream = Stream()
    stream.step(frames(1))
    stream.run(frames(1))
    assert stream.slow == ["step", "run"]
    with pytest.raises(AttributeError, match="_step_slow"):  # the hooks are the subclass's
        _stream.StreamCore().step(frames(1))


@pytest.mark.parametrize(
    "change",
    [
        {"blocks": [], "work": []},
        {"blocks": [(2, delay_plan("scalar", 2))], "work": [0]},
        {"blocks": [(1, delay_plan("scalar", 1)), (2, delay_plan("scalar", 2))], "work": [0] * 2},
        {"work": [0]},
        {"inputs": []},
        {"outputs": []},
        {"inputs": [X] * 61},
        {"inputs": [("x", "f4", (1, 1, F), -1, False)]},
        {"inputs": [("x", "f4", (1, 1, F), 1, False)]},
        {"inputs": [("x", "f4", (1, 1, F), 3, True)]},
        {"inputs": [("x", "f4", (1, 2, F), 1, True)]},
        {"inputs": [("x", "f4", (1,) * 17, 1, True)]},
        {"outputs": [("y", "f4", (1, 0), 1, True)]},
        {"rate": 0},
        {"rate": -1},
        {"rate": 2},
        {"lengths": [16, 4, 1]},
        {"lengths": []},
        {"rate": 2, "lengths": [4, 2, 1]},
    ],
)
def test_call_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|time axis"):
        call_of(**change)


def every_other(isa: str, n: int) -> _core.Plan:
    """y[t] = x[2 t], of n steps."""
    steps = [("copy", copy_words(F, (3, 8 * F * t), (4, 4 * F * t))) for t in range(n // 2)]
    return _core.Plan(isa, steps)


@pytest.mark.parametrize("rows", [1, 2])
def test_chunks_that_some_blocks_make_up(rows: int) -> None:
    """Of the lengths 16, 8, 2 there are 8 and 2: a chunk that 16 would be for is left, and what they leave a rest of, and steps.
    An output has a step for two that are fed."""
    n = {8: 4, 2: 1}
    plans = [(8, every_other("scalar", 8)), (2, every_other("scalar", 2))]
    if rows == 2:
        plans = [
            (k, _core.Plan("scalar", [("copy", copy_words(F, (3, 4 * F * (k * r + 2 * t)), (4, 4 * F * (n[k] * r + t))))
                                      for r in range(2) for t in range(n[k])]))
            for k, _ in plans
        ]  # fmt: skip
    stream = make_stream(
        blocks=plans, work=[0, 0], nodes=[(), ()], rate=2, lengths=[16, 8, 2],
        inputs=[("x", np.float32, (rows, 1, F), 1, True)], outputs=[("y", np.float32, (rows, 1, F), 1, True)],
    )  # fmt: skip
    x = np.random.default_rng(5).standard_normal((rows, 40, F)).astype(np.float32)
    for steps in (0, 2, 4, 6, 8, 10, 14):
        fed = np.ascontiguousarray(x[:, :steps])
        np.testing.assert_array_equal(stream.run(fed), fed[:, ::2])
        out = np.full((rows, steps // 2, F), 7, np.float32)
        assert stream.run(fed, out=out) is out
        np.testing.assert_array_equal(out, fed[:, ::2])
    assert stream.slow == []
    for steps in (1, 3, 7, 9, 15, 16, 17, 18, 24):
        stream.run(np.ascontiguousarray(x[:, :steps]))
        assert stream.slow.pop() == "run" and not stream.slow
    stream.step(np.ascontiguousarray(x[:, :1]))
    stream.run(np.ascontiguousarray(x[:, :2]), out=np.empty((rows, 2, F), np.float32))
    assert stream.slow == ["step", "run"]


def test_bind_again() -> None:
    stream = make_stream()
    with pytest.raises(ValueError, match="at least 24 bytes"):
        stream._bind(call_of(), np.zeros(23, np.uint8), None)
    stream.step(frames(1))
    assert stream.slow == []
    stream._bind(None, np.zeros(0, np.uint8), None)
    stream.step(frames(1))
    assert stream.slow == ["step"]


def test_alone() -> None:
    """Inside, nobody else comes in; behind it, everybody does; what raises changes nothing."""
    state = np.arange(F, dtype=np.float32)
    stream = make_stream(state=state)
    x = frames(1)

    def inside(now: Any) -> tuple[str, Any]:
        for enter in (lambda: stream._alone(inside), lambda: stream.step(x), lambda: stream.run(frames(2))):
            with pytest.raises(StateError, match="another thread"):
                enter()
        state[0] = 9
        return "done", "moved"

    assert stream._alone(inside) == "done"
    assert (stream._standing, state[0]) == ("moved", 9)
    for error in (KeyboardInterrupt, MemoryError, ValueError):

        def fails(now: Any, error: type[BaseException] = error) -> Any:
            state[:] = -1
            raise error

        with pytest.raises(error):
            stream._alone(fails)
        np.testing.assert_array_equal(state, [9, 1, 2, 3, 4, 5])
        assert stream._standing == "moved"

    def leaves_for_another_plan(now: Any) -> Any:
        stream._bind(None, state, "elsewhere")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream._alone(leaves_for_another_plan)
    assert stream._standing == "moved"
    stream.step(x)
    assert stream.slow == []


def test_second_thread_is_refused() -> None:
    """While one thread is inside a long run with the GIL released."""
    stream = make_stream(release=True)
    x = np.zeros((1, 2_000_000, F), np.float32)
    out = np.empty((x.shape[1], 1, F), np.float32)
    started = threading.Event()

    def long_run() -> None:
        started.set()
        for _ in range(20):
            stream.run(x, out)

    thread = threading.Thread(target=long_run)
    thread.start()
    started.wait()
    refused = 0
    while thread.is_alive() and not refused:
        try:
            stream._alone(lambda now: (None, now))
        except StateError:
            refused += 1
    thread.join()
    assert refused
    stream.step(frames(1))


def test_kept_alive() -> None:
    """The stream holds its memory: nothing else does."""
    stream = make_stream(state=np.full(F, 7, np.float32))
    junk = [np.full(F, 3, np.float32) for _ in range(100)]
    assert (stream.step(frames(1)) == 7).all()
    del junk


def both_plan(n: int) -> _core.Plan:
    """y[t] = x[t], z = side, k[t] = u[t]: bases 3, 4, 5 (x, side, u) and 6, 7, 8 (y, z, k)."""
    copies = [(n * F, (3, 0), (6, 0)), (2, (4, 0), (7, 0)), (n * F, (5, 0), (8, 0))]
    return _core.Plan("scalar", [("copy", copy_words(*words)) for words in copies])


def several() -> Stream:
    return make_stream(
        blocks=[(n, both_plan(n)) for n in (4, 2, 1)],
        inputs=[X, ("side", "f4", (2,), -1, False), ("u", *X[1:])],
        outputs=[Y, ("z", "f4", (2,), -1, False), ("k", *X[1:])],
    )


def feeds(n: int) -> dict[str, np.ndarray]:
    return {"u": -frames(n), "side": np.array([3, 4], np.float32), "x": frames(n)}


def test_any_ports() -> None:
    stream, given = several(), feeds(1)
    got = stream.step(given)
    assert list(got) == ["y", "z", "k"]
    for name, source in (("y", "x"), ("z", "side"), ("k", "u")):
        np.testing.assert_array_equal(got[name].ravel(), given[source].ravel())
    dropped = stream.step({**given, "x": given["x"][:, 0], "u": given["u"][:, 0]})
    assert [dropped[name].shape for name in "yzk"] == [(1, F), (2,), (1, F)]
    given = feeds(7)
    out = {"k": np.empty((1, 7, F), np.float32), "y": np.empty((7, 1, F), np.float32), "z": np.empty(2, np.float32)}
    assert stream.run(given, out) is out
    for name, source in (("y", "x"), ("z", "side"), ("k", "u")):
        np.testing.assert_array_equal(out[name].ravel(), given[source].ravel())
        np.testing.assert_array_equal(stream.run(given)[name], out[name])
    assert stream.slow == []


@pytest.mark.parametrize(
    "change",
    [
        {"x": frames(2)},  # another number of steps than u
        {"x": frames(3)[:, 0]},
        {"side": np.zeros(3, np.float32)},
        {"side": np.zeros((1, 2), np.float32)},
        {"u": frames(3).astype(np.float64)},
        {"u": None},
        {"v": frames(3)},
    ],
)
def test_ports_that_do_not_fit(change: dict[str, Any]) -> None:
    stream = several()
    stream.run({**feeds(3), **change})
    assert stream.slow == ["run"]


def test_outputs_that_share_memory() -> None:
    stream, memory = several(), np.zeros(64, np.float32)
    y = memory[:F].reshape(1, 1, F)
    for k in (memory[F - 1 : 2 * F - 1], memory[1 : F + 1], memory[:F]):
        stream.step(feeds(1), {"y": y, "z": np.zeros(2, np.float32), "k": k.reshape(1, 1, F)})
    assert stream.slow == ["step"] * 3
    stream.step(feeds(1), {"y": y, "z": np.zeros(2, np.float32), "k": memory[F : 2 * F].reshape(1, 1, F)})
    assert stream.slow == ["step"] * 3


def test_a_name_that_runs_code() -> None:
    """What a dict does to compare its keys happens before anything is looked at."""
    x = feeds(1)

    class Nasty(str):
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            for array in x.values():
                array.shape = (array.size,)
            return str.__eq__(self, other)

    stream = several()
    stream.step({(Nasty(name) if name == "u" else name): array for name, array in x.items()})
    assert stream.slow == ["step"]


@pytest.mark.parametrize("isa", ISAS)
def test_failed_call(isa: str) -> None:
    """The second step of the second block fails: the state is put back, the stream is left, the node is named."""
    words = np.array([2, 0, 3, 0, 3, 0, _core.dtypes["int32"], 1, 1, 1, 4], np.int64)
    bad = _core.Plan(isa, [("copy", copy_words(F, (3, 0), (1, 0))), ("gather", words)])
    state, outer = np.arange(F, dtype=np.float32), ("x", "i4", (1, F), 0, True)
    stream = make_stream(
        isa,
        (1,),
        state=state,
        blocks=[(1, bad)],
        inputs=[outer],
        outputs=[("y", *outer[1:])],
        nodes=[("a", "b")],
        can_fail=True,
    )
    x = np.zeros((3, F), np.int32)
    x[2] = 9
    for call, given in ((stream.step, x[2:]), (stream.run, x)):
        with pytest.raises(_core.StepError, match="step 1 failed: INDEX"):
            call(given)
        np.testing.assert_array_equal(state, np.arange(F))
        stream._alone(lambda now: (None, now))  # the failed call has left the stream


def test_memory_of_calls_side_by_side() -> None:
    """Threads that are inside at once work in memory of their own."""
    plan = [("copy", copy_words(4096, (3, 0), (2, 0))), ("copy", copy_words(4096, (2, 0), (4, 0)))]
    port = ("f4", (1, 4096), 0, True)
    call = call_of(
        blocks=[(1, _core.Plan("scalar", plan))], work=[1], release_from=1, nodes=[()], arena_bytes=4 * 4096,
        inputs=[("x", *port)], outputs=[("y", *port)],
    )  # fmt: skip
    wrong: list[int] = []

    def work(value: int) -> None:
        stream, x = Stream(), np.full((50, 4096), value, np.float32)
        stream._bind(call, np.zeros(4 * F, np.uint8), None)
        wrong.extend(value for _ in range(50) if (stream.run(x) != value).any())

    together(*(functools.partial(work, value) for value in range(4)))
    assert not wrong
