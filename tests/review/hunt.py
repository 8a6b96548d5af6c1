"""Draw many random graphs and print what became of them: how many stream, how many are refused, every one that is wrong.

    python tests/review/hunt.py time 0:30000               run against onnxruntime; streams cut in three ways against run
    python tests/review/hunt.py time 0:5000 --prefixes     and a stream over every beginning of the signal
    python tests/review/hunt.py frame 0:30000              states of frame models against the truth that was drawn

A number that is printed draws the same graph again. Exit status 1: something was wrong.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import frame_graphs  # noqa: E402
import test_time_graphs  # noqa: E402
import time_graphs  # noqa: E402

import lstm_infer  # noqa: E402

REFUSED = (lstm_infer.NotStreamableError, lstm_infer.StateError)


def try_time(seed, prefixes):
    case, pick = time_graphs.draw(seed), random.Random(seed)
    try:
        model = test_time_graphs.load(case)
    except lstm_infer.LstmInferError:
        return "not loaded"
    wholes = test_time_graphs.compare(case, model, seed, pick)
    if not test_time_graphs.streamed(case, model):
        return "refused"
    test_time_graphs.check_stream(case, model, seed, pick, wholes)
    if prefixes:
        check_prefixes(case, model, seed, wholes)
    return "streams"


def check_prefixes(case, model, seed, wholes):
    """What a stream gave for the first n steps and a flush is what the whole run gives for them, for every n."""
    axes = {port.name: port.time_axis for port in model.inputs}
    for batch, steps, feeds, _ in wholes:
        if batch > 1:
            continue
        stream = model.stream(batch, inputs={"side": feeds["side"]} if "side" in feeds else None)
        for n in range(1, min(steps, 24)):
            part = {k: x if axes[k] is None else np.take(x, range(n), axes[k]) for k, x in feeds.items()}
            try:
                whole = model.run(part)
            except lstm_infer.LstmInferError:
                continue  # shorter than the whole run takes
            stream.reset()
            got = test_time_graphs.pieces(case, model, stream, part, [0, n], batch, whole)
            for name, value in got.items():
                if value is not None:
                    np.testing.assert_array_equal(value, whole[name], f"seed {seed}, {case.moves}, first {n}, {name}")


def try_frame(seed, _):
    case = frame_graphs.draw(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names that broke a tie are told
        model = lstm_infer.load(case.data)
        try:
            info = model.streaming
        except REFUSED:
            return f"refused ({case.names})"
    for port in model.inputs:  # one step may stand anywhere, but no signal of several values is a sequence
        at = port.time_axis
        assert at is None or case.inputs[port.name][0][at] == 1, f"{case.cells}: time is axis {at} of {port.name}"
    assert info.pairs == case.pairs, f"{case.cells}: paired {info.pairs}, drawn were {case.pairs}"
    check_frames(case, model, seed)
    return f"streams ({case.names})"


def check_frames(case, model, seed):
    """Frames through a stream are calls of run whose states are carried by hand."""
    frames = case.feeds(seed, 4)
    states = {name: frames[0][name] for name in case.pairs}
    info = model.streaming
    stream = model.stream(initial=states, inputs={k: frames[0][k] for k in info.side} or None)
    for frame in frames:
        feeds = {**frame, **states, **{k: frames[0][k] for k in info.side}}
        whole = model.run(feeds)
        states = {name: whole[out].reshape(feeds[name].shape) for name, out in case.pairs.items()}
        given = {k: feeds[k] for k in info.inputs}
        got = stream.step(given if len(given) > 1 else next(iter(given.values())))
        for name, value in (got if isinstance(got, dict) else {next(iter(info.outputs)): got}).items():
            np.testing.assert_array_equal(value, whole[name], f"seed {seed}, {case.cells}, {name}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["time", "frame"])
    parser.add_argument("seeds", help="first:last")
    parser.add_argument("--prefixes", action="store_true")
    args = parser.parse_args()
    first, last = (int(n) for n in args.seeds.split(":"))
    attempt = {"time": try_time, "frame": try_frame}[args.kind]
    counts, wrong, begin = Counter(), [], time.monotonic()
    for seed in range(first, last):
        try:
            counts[attempt(seed, args.prefixes)] += 1
        except Exception as error:  # everything is reported, also what no caller should ever see
            wrong.append(f"{seed}: {type(error).__name__}: {' '.join(str(error).split())[:400]}")
    print(*wrong, sep="\n")
    shown = ", ".join(f"{n} {what} ({100 * n / (last - first):.1f} %)" for what, n in sorted(counts.items()))
    print(f"{args.kind} graphs {args.seeds}: {shown}; {len(wrong)} wrong; {time.monotonic() - begin:.0f} s")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
