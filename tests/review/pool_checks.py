"""Random graphs, each written as a native file, whose signals live in a pool of it, beside streams of the source."""

from __future__ import annotations

import random
import tempfile
import warnings
from pathlib import Path

import frame_graphs
import numpy as np
import time_graphs

import lstm_infer
from lstm_infer import LstmInferError
from lstm_infer.drive.inputs import settings

__all__ = ["try_pool"]

CALLS = 5


def try_pool(seed, *, kind):
    """What becomes of the graph of a number. Raises where a signal of the pool differs in a bit from the same one alone."""
    case, pick = (time_graphs if kind == "time" else frame_graphs).draw(seed), random.Random(seed)
    precision = pick.choice(["f32", "f32", "f16", "int8"])
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        try:
            model = lstm_infer.load(case.data, precision=precision)
            spec, inputs = model.streaming, next(settings(model))
            bound = {name: inputs.draw(np.random.default_rng(seed), 6, 1)[name] for name in spec.side}
            model.stream(inputs=bound)
        except LstmInferError:
            return "not streamed"
        path = Path(folder) / "model.lsi"
        lstm_infer.convert(model, path, seed=seed)
        return compare(model, lstm_infer.load(path), inputs, bound, pick, seed)


def compare(model, made, inputs, bound, pick, seed):
    """Chunks to signals by chance, then the longest ones whole."""
    rng, n = np.random.default_rng(seed), pick.choice([2, 3, 9])
    with made.pool(inputs=bound, threads=pick.choice([1, 2])) as pool:
        ids, alone = [pool.open() for _ in range(n)], [model.stream(inputs=bound) for _ in range(n)]
        for call in range(CALLS):
            which, steps = pick.sample(range(n), pick.randint(1, n)), pick.choice([1, 2, 5, 70])
            chunks = [chunk(model, inputs, rng, steps) for _ in which]
            wants, got = [asked(alone[w].run, c) for w, c in zip(which, chunks, strict=True)], None
            got = asked(pool.run, {ids[w]: c for w, c in zip(which, chunks, strict=True)})
            if isinstance(got, LstmInferError) or any(isinstance(want, LstmInferError) for want in wants):
                assert isinstance(got, LstmInferError), f"call {call}: a stream refuses, the pool does not: {wants}"
                assert any(isinstance(want, LstmInferError) for want in wants), (
                    f"call {call}: only the pool refuses: {got}"
                )
                return "both refuse"
            for w, want in zip(which, wants, strict=True):
                alike(got[ids[w]], want, f"call {call}, signal {w}")
        for id, stream in zip(ids, alone, strict=True):
            assert pool.snapshot(id) == stream.snapshot(), "what is kept of a signal differs"
    sequences = [chunk(model, inputs, rng, steps) for steps in (3, 40, 1, 40)]
    for sequence, found in zip(sequences, made.run_many(sequences, inputs=bound), strict=True):
        stream = model.stream(inputs=bound)
        whole, tail = stream.run(sequence), stream.flush()
        tail = tail if isinstance(tail, dict) else {next(iter(whole)): tail}
        alike(found, joined(model, whole, tail), "run_many")
    return "pooled"


def chunk(model, inputs, rng, steps):
    """A chunk of every streamed input, by name."""
    spec = model.streaming
    if spec.mode == "frame":
        drawn = [inputs.draw(rng, 1, 1) for _ in range(steps)]
        return {name: np.stack([one[name] for one in drawn]) for name in spec.inputs}
    drawn = inputs.draw(rng, steps, 1)
    return {name: drawn[name] for name in spec.inputs}


def asked(call, x):
    """What a call returns, or the error of ours."""
    try:
        return call(x)
    except LstmInferError as error:
        return error


def joined(model, whole, tail):
    """What a run and its flush give together."""
    axes = {output.name: output.time_axis for output in model.outputs}
    found = {}
    for name, value in whole.items():
        more, axis = tail.get(name), axes.get(name)
        timed = model.streaming.mode != "frame" and model.streaming.outputs.get(name) == "time"
        if timed and more is not None and value is not None and more.shape[axis]:
            value = np.concatenate([value, more], axis)
        elif not timed and model.streaming.mode != "frame" and more is not None:
            value = more
        found[name] = value
    return found


def alike(got, want, where):
    assert got.keys() == want.keys(), f"{where}: {list(got)} for {list(want)}"
    for name, value in want.items():
        if value is None or got[name] is None:
            assert value is got[name] is None, f"{where}, {name}: one of them is not there"
            continue
        assert got[name].shape == value.shape, f"{where}, {name}: {got[name].shape} for {value.shape}"
        assert got[name].tobytes() == value.tobytes(), f"{where}, {name}: other bits"
