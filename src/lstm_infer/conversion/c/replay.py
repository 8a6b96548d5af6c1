"""Recorded frames: what the package made of seeded signals, for a program of C that compares bit for bit.

The file of frames, little endian, all counts int64: the number of calls, that of records (one more where the end of the signal
is flushed), the bytes of the state that the signal begins from (0: from the first one), that state, then the records. A record
holds the arrays that go in, and for each output how many steps were made, its bytes, and the array of those.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...drive.driver import named, one_or_all
from ...drive.inputs import settings
from ...model import Model
from ...stream import Stream
from .source import Source

__all__ = ["recorded"]


def recorded(
    model: Model, source: Source, calls: int, seed: int, most_bytes: int | None = None, before: int = 0
) -> bytes:
    """The frames of so many calls, and what a stream of the model gives for them.

    Parameters
    ----------
    most_bytes : int, optional
        Fewer calls where they would take more than that, but two at least.
    before : int
        Calls that come first and are not recorded: the signal begins from the state behind them.
    """
    size = sum(port.elements * port.dtype.itemsize * source.schedule.repeats for port in source.all_ports)
    if most_bytes is not None:
        calls = max(2, min(calls, most_bytes // max(size, 1)))
    stream = model.stream(batch=source.options.batch)
    stream._state[:] = source.schedule.first  # keys of random nodes too
    rng = np.random.default_rng(seed)
    for _ in _calls(model, source, stream, before, rng):
        pass
    begin = stream._state[: source.block_bytes].tobytes() if before else b""
    records = [*_calls(model, source, stream, calls, rng)]
    n_calls = len(records)
    if source.schedule.flushes:
        records.append(_outputs(source, named(stream.flush(), source.schedule.plan.spec), 1))
    return np.array([n_calls, len(records), len(begin)], "<i8").tobytes() + begin + b"".join(records)


def _calls(model: Model, source: Source, stream: Stream, calls: int, rng: np.random.Generator) -> Iterator[bytes]:
    """A record of each call."""
    inputs = next(settings(model))
    chunk, spec = source.options.chunk, source.schedule.plan.spec
    for _ in range(calls):
        if spec.mode == "frame":
            drawn = [inputs.draw(rng, 1, source.options.batch) for _ in range(chunk)]
        else:
            drawn = [inputs.draw(rng, chunk, source.options.batch)]
        feeds: dict[str, NDArray[Any]] = {}
        for port in source.inputs:
            arrays = [one[port.name] for one in drawn]
            feeds[port.name] = np.stack(arrays) if spec.mode == "frame" and port.moves else arrays[0]
        made = named(stream.run(one_or_all(feeds)), spec)
        data = b"".join(np.ascontiguousarray(feeds[port.name]).tobytes() for port in source.inputs)
        yield data + _outputs(source, made, source.schedule.repeats)


def _outputs(source: Source, made: dict[str, NDArray[Any] | None], repeats: int) -> bytes:
    """How much there is of each output, in entries along time, and the arrays."""
    parts = []
    for port in source.outputs:
        array = made.get(port.name)
        if array is None:
            parts.append(np.array([0, 0], "<i8").tobytes())
            continue
        steps = array.shape[port.time] if port.time >= 0 and repeats == 1 else 1
        parts.append(np.array([steps, array.nbytes], "<i8").tobytes() + np.ascontiguousarray(array).tobytes())
    return b"".join(parts)
