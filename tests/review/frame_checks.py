"""Random frame models, checked: states are those that were drawn, and a stream gives what calls of `run` give."""

from __future__ import annotations

import warnings

import frame_graphs
import numpy as np

import lstm_infer

__all__ = ["try_frame"]

REFUSED = (lstm_infer.NotStreamableError, lstm_infer.StateError)


def try_frame(seed):
    """What becomes of the model of a number: refused or streams, with the kind of its names. Raises where something is
    wrong."""
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
