"""Memory over a long life: constants of sizes no longer run, copies of weights, what a step or a load leaves."""

from __future__ import annotations

import functools
import gc
import sys
import tracemalloc

import numpy as np
import pytest
from onnx import helper
from test_states import FLOAT, H, I, X, build, node, noise, weights

import lstm_infer
import stream_models
import tolerances
from in_threads import together
from lstm_infer import programs as programs_module


def folded_weights(rng):
    """Weights behind a Transpose, and positions that follow the length: both are computed when a plan is made."""
    consts = weights(rng, 4)
    consts = {f"{name}t": np.ascontiguousarray(value.transpose(0, 2, 1)) for name, value in consts.items()}
    nodes = [
        *(helper.make_node("Transpose", [f"{w}t"], [w], perm=[0, 2, 1]) for w in "WR"),
        helper.make_node("Shape", ["x"], ["sizes"]),
        helper.make_node("Expand", ["ones", "sizes"], ["all"]),
        helper.make_node("Mul", ["x", "all"], ["x1"]),
        node("LSTM", ["x1", "W", "R"], ["Y"]),
    ]
    return build(nodes, [X], [("Y", FLOAT, ["T", 1, "B", H])], consts | {"ones": np.float32([1.5])})


def test_constants_go_with_the_sizes_they_belong_to(rng, monkeypatch):
    monkeypatch.setattr(programs_module, "KEPT_BYTES", 1 << 14)
    model = lstm_infer.load(folded_weights(rng))
    packed = 4 * 16 * (I + H) * 4  # one panel of 16 units, 4 gates
    held = []
    for T in range(1, 90):
        model.run({"x": noise(rng, T, 1, I)})
        held.append(model._programs.store.n_bytes)
    most = packed + 64 * 1024  # the sizes of the programs that are kept, and small change
    assert held[-1] <= most, f"{held[-1]} bytes of constants after 89 lengths, at most {most} expected"


def test_streams_share_one_copy_of_computed_weights(rng):
    model = lstm_infer.load(folded_weights(rng))
    before = model._programs.store.n_bytes
    streams = [model.stream(batch=b) for b in (1, 2, 3)]
    grown = model._programs.store.n_bytes - before
    assert grown < 16 * 1024, f"three streams of four blocks each hold {grown} more bytes of constants"
    del streams


def test_results_survive_models_plans_and_streams_that_go(rng):
    x = noise(rng, 6, 1, I)
    model = lstm_infer.load(folded_weights(rng))
    want = model.run({"x": x})["Y"]
    stream = model.stream()
    for batch in range(2, 40):  # pushes the plan out of the model's cache
        model.stream(batch=batch)
    for T in range(1, 60):
        model.run({"x": noise(rng, T, 1, I)})
    tolerances.exact(model.run({"x": x})["Y"], want, "a program made again")
    del model
    gc.collect()
    junk = [np.full(n, np.nan, np.float32) for n in range(100, 6000, 13)]
    tolerances.exact(stream.run(x), want, "a stream whose model is gone")
    tolerances.exact(stream.fork().run(x[:0]), want[:0])
    del junk


def test_eight_threads_one_model(rng):
    data = folded_weights(rng)
    feeds = [noise(rng, T, B, I) for T in range(1, 21) for B in (1, 2, 3)]
    want = [lstm_infer.load(data).run({"x": x})["Y"] for x in feeds[::20]]
    single = lstm_infer.load(data)
    want = [single.run({"x": x})["Y"] for x in feeds]
    model, wrong = lstm_infer.load(data), []

    def work(seed):
        order = np.random.default_rng(seed)
        for _ in range(150):
            i = int(order.integers(len(feeds)))
            if not np.array_equal(model.run({"x": feeds[i]})["Y"], want[i]):
                wrong.append(i)

    together(*(functools.partial(work, seed) for seed in range(8)))
    assert not wrong


@pytest.mark.parametrize("make", [stream_models.hidden_state, stream_models.last_step])
def test_a_step_leaves_nothing_behind(rng, make):
    stream = lstm_infer.load(make()).stream()
    x = noise(rng, 1, 1, stream_models.INPUTS)
    out = np.empty_like(stream.step(x))
    for _ in range(10):
        stream.step(x, out=out)
    references = sys.getrefcount(x), sys.getrefcount(out)
    blocks = sys.getallocatedblocks()
    for _ in range(100_000):
        stream.step(x, out=out)
    grown = sys.getallocatedblocks() - blocks
    assert grown < 20, f"{grown} blocks more after 100,000 steps"
    assert (sys.getrefcount(x), sys.getrefcount(out)) == references
    tracemalloc.start()
    try:
        for _ in range(3):
            stream.step(x, out=out)
        start = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        for _ in range(1000):
            stream.step(x, out=out)
        peak = tracemalloc.get_traced_memory()[1] - start
    finally:
        tracemalloc.stop()
    assert peak < 256, f"1,000 steps allocated {peak} bytes at their peak"


def test_models_come_and_go(rng):
    """A leak shows in every hundred loads; pages that the allocator happens to take, in one of them."""
    data = folded_weights(rng)
    x = noise(rng, 3, 1, I)

    def resident():
        gc.collect()
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    sizes = []
    for _ in range(5):
        for _ in range(100):
            lstm_infer.load(data).stream().run(x)
        sizes.append(resident())
    grown = np.diff(sizes)
    assert grown.min() < 1 << 20, f"{grown.tolist()} bytes more after a hundred loads each"
