"""A signal, or memory that there is not, at every place of a call on the general path: the stream is where it was before.

The places are all lines of the package that run in Python, and all returns: there a handler of a signal may raise.
"""

from __future__ import annotations

import dataclasses
import inspect
import linecache
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from test_open_sizes import banded

import every_road
import lstm_infer
import tolerances
from lstm_infer import LstmInferError, Stream, _core
from lstm_infer.errors import BudgetError

PACKAGE = str(Path(lstm_infer.__file__).parent)


class Stop(BaseException):
    """What Ctrl-C raises, say."""


def out_of_reach(frame: FrameType) -> bool:
    """Is this the line of a `with`, which is met once more on the way out, or a generator, which runs once more when it is
    thrown away: what a handler raises does not come out of there."""
    if frame.f_code.co_flags & inspect.CO_GENERATOR:
        return True
    return linecache.getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with ")


@contextmanager
def stopped_at(place: int) -> Iterator[list[int]]:
    """Raise Stop at this place (from 0 on); yields how many places went by."""
    seen = [0]

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event != "call" and not out_of_reach(frame):
            seen[0] += 1
            if seen[0] == place + 1:
                sys.settrace(None)
                raise Stop
        return trace

    old = sys.gettrace()
    sys.settrace(trace)
    try:
        yield seen
    finally:
        sys.settrace(old)


class Odd(np.ndarray[Any, Any]):
    """Not for the fast road."""


def scattered(fed: dict[str, Any]) -> dict[str, Any]:
    """The same values, for the general path."""
    return {name: np.repeat(a, 2, axis=-1)[..., ::2].view(Odd) for name, a in fed.items()}


def value(result: Any) -> list[Any]:
    return list(result.values()) if isinstance(result, dict) else [result]


def same(got: Any, want: Any) -> None:
    for one, other in zip(value(got), value(want), strict=True):
        tolerances.exact(one, other)


def opened(road: every_road.Road) -> tuple[Stream, dict[str, Any], dict[str, Any]]:
    """A stream that has gone some way, what comes next, and a frame."""
    stream, fed = road.load().stream(road.batch, inputs=road.bound, max_chunk=4), road.signal(1)
    stream.run(scattered(road.part(fed, 0, 8)))
    return stream, scattered(road.part(fed, 8, 15)), scattered(road.frame(fed, 15))


def standing(stream: Stream) -> tuple[Any, ...]:
    """All that a call may change."""
    now = stream._standing
    return bytes(stream._state), stream._first.tobytes(), now.plan, now.phase, now.flushed, stream.snapshot()


def changes(stream: Stream, chunk: Any, frame: Any, wider: Any) -> dict[str, Callable[[Stream], Any]]:
    """Everything that a stream can be asked for. `wider`: a chunk of other sizes, where the file leaves one open."""
    later = stream.fork()
    later.run(chunk)
    snapshot, states = later.snapshot(), dict(later.state)
    return {
        "run": lambda stream: stream.run(chunk),
        "run at other sizes": lambda stream: stream.run(wider),
        "step": lambda stream: stream.step(frame),
        "flush": lambda stream: stream.flush(),
        "reset": lambda stream: stream.reset(),
        "reset rows": lambda stream: stream.reset([0]),
        "restore": lambda stream: stream.restore(snapshot),
        "states": lambda stream: stream._set_states(states),
        "fork": lambda stream: stream.fork().snapshot(),
        "snapshot": lambda stream: stream.snapshot(),
    }


@pytest.mark.parametrize("name", every_road.ROADS)
def test_a_signal_anywhere(name: str) -> None:
    road = every_road.ROADS[name]()
    base, chunk, frame = opened(road)
    before = standing(base)
    sizes = {name: size + 3 for name, size in road.sizes.items()}
    wider = scattered(dataclasses.replace(road, sizes=sizes).signal(2))
    for what, call in changes(base, chunk, frame, wider).items():
        twin = base.fork()
        try:
            want = call(twin)
        except LstmInferError:
            continue  # not for this model
        after = standing(twin)
        for place in count():
            stream = base.fork()
            try:
                with stopped_at(place) as seen:
                    got = call(stream)
            except Stop:  # late: when everything was done, in what is left to return from
                late = what not in ("run", "run at other sizes", "step", "flush") and standing(stream) == after
                assert late or standing(stream) == before, f"{what}, place {place}"
                continue
            assert seen[0] <= place, f"{what}: what was raised at place {place} was lost"
            break
        assert place >= 10
        assert standing(stream) == after
        if isinstance(want, bytes):
            assert got == want
        elif want is not None:
            same(got, want)
        if not stream._standing.flushed:
            same(stream.run(chunk), twin.run(chunk))


def test_a_signal_in_a_call_that_shows_the_size_of_states() -> None:
    model = lstm_infer.load(banded())
    x = np.random.default_rng(4).uniform(-1, 1, (2, 5, 3, 40)).astype(np.float32)
    base, done = model.stream(2), model.stream(2)
    before, want = standing(base), done.run(x)
    for place in count():
        stream = base.fork()
        try:
            with stopped_at(place) as seen:
                got = stream.run(x)
        except Stop:
            assert standing(stream) == before, f"place {place}"
            continue
        assert seen[0] <= place, f"what was raised at place {place} was lost"
        break
    assert place >= 10
    same(got, want)
    assert standing(stream) == standing(done) != before


@pytest.mark.parametrize("name", ["lag", "scan", "tokens", "open size"])
@pytest.mark.parametrize("what", ["a stream", "a run"])
def test_a_signal_while_plans_are_made(name: str, what: str) -> None:
    """What a model keeps for its streams and runs is whole, wherever the first of them was stopped."""
    road = every_road.ROADS[name]()
    chunk = road.part(road.signal(1), 0, 15)
    if what == "a run" and "h" in (port[0] for port in road.inputs):
        whole = {"x": chunk["x"][0], "h": np.zeros((1, 1), np.float32)}
    else:
        whole = chunk

    def call(model: lstm_infer.Model) -> Any:
        return model.stream(max_chunk=4).run(chunk) if what == "a stream" else model.run(whole)

    want = call(road.load())
    model = road.load()
    with stopped_at(sys.maxsize) as seen:
        call(model)
    for place in np.random.default_rng(len(name)).integers(0, seen[0], 5):
        model = road.load()
        with pytest.raises(Stop), stopped_at(int(place)):
            call(model)
        same(call(model), want)


ALLOCATING = ("array", "asarray", "ascontiguousarray", "concatenate", "empty", "stack", "zeros")


@contextmanager
def no_memory_at(place: int) -> Iterator[list[int]]:
    """Let the allocation of this number (from 0 on) fail; yields how many there were."""
    seen = [0]

    def failing(real: Callable[..., Any]) -> Callable[..., Any]:
        def made(*args: Any, **more: Any) -> Any:
            seen[0] += 1
            if seen[0] == place + 1:
                raise MemoryError("none is left")
            return real(*args, **more)

        return made

    with pytest.MonkeyPatch.context() as patch:
        for name in ALLOCATING:
            patch.setattr(np, name, failing(getattr(np, name)))
        patch.setattr(_core, "aligned_empty", failing(_core.aligned_empty))
        yield seen


@pytest.mark.parametrize("name", every_road.ROADS)
def test_no_memory_anywhere(name: str) -> None:
    road = every_road.ROADS[name]()
    base, chunk, frame = opened(road)
    before, failed = standing(base), 0
    for what, call in changes(base, chunk, frame, chunk).items():
        twin = base.fork()
        try:
            call(twin)
        except LstmInferError:
            continue  # not for this model
        for place in count():
            stream = base.fork()
            try:
                with no_memory_at(place) as seen:
                    call(stream)
            except BudgetError:
                assert standing(stream) == before, f"{what}, allocation {place}"
                failed += 1
                continue
            assert seen[0] <= place
            break
        assert standing(stream) == standing(twin)
    assert failed >= 5


SHORT_OF_MEMORY = """
import resource, sys
import numpy as np, onnx
from onnx import helper, numpy_helper
import lstm_infer

N = 1 << 24  # 64 MB of state
nodes = [
    helper.make_node("Mul", ["h", "half"], ["h2"]),
    helper.make_node("Add", ["h2", "x"], ["hn"]),
    helper.make_node("ReduceMax", ["hn"], ["y"], keepdims=1),
]
port = {name: helper.make_tensor_value_info(name, 1, shape) for name, shape in
        {"x": [1, 1], "h": [1, N], "hn": [1, N], "y": [1, 1]}.items()}
graph = helper.make_graph(nodes, "g", [port["x"], port["h"]], [port["y"], port["hn"]],
                          [numpy_helper.from_array(np.float32(0.5), "half")])
model = lstm_infer.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
stream = model.stream()
assert stream._plan.call is not None
x, strided = np.ones((3, 1, 1), np.float32), np.ones((3, 1, 2), np.float32)[..., ::2][:, :, ::-1]
wide = np.ones((3, 2, 1), np.float32)[:, ::2].view(type("Odd", (np.ndarray,), {}))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), resource.RLIM_INFINITY))
refused = []
for call in (lambda: stream.run(x), lambda: stream.step(x[0]), lambda: stream.run(wide), lambda: stream.step(wide[0]),
             stream.snapshot, stream.fork, stream.reset, lambda: stream.state["h"]):
    try:
        call()
        refused.append("nothing")
    except Exception as error:
        refused.append(type(error).__name__)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert not stream._state.any()
print(*refused, stream.run(x).ravel(), stream.run(wide).ravel())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks how much memory there is")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="its allocator ends the process")
def test_no_memory_for_a_copy_of_the_state() -> None:
    """On the fast road and on the general path, with the limit that the system sets."""
    done = subprocess.run([sys.executable, "-c", SHORT_OF_MEMORY], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("[")[0].split() == ["BudgetError"] * 8
    assert done.stdout.split("[", 1)[1].split() == ["1.", "1.5", "1.75]", "[1.875", "1.9375", "1.96875]"]
