"""What a model says of itself: plain records, in the graph's order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

__all__ = [
    "InputInfo",
    "LayerInfo",
    "OutputInfo",
    "PoolStats",
    "StateInfo",
    "StreamInfo",
    "printable",
    "printable_lines",
    "shown_shape",
]


_ORDERS = (*range(0x2028, 0x202F), *range(0x2066, 0x206A))
"""Ends of lines and directions of text."""
_CONTROL = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160))} | {
    n: f"\\u{n:04x}" for n in (*_ORDERS, *range(0xD800, 0xE000))
}


def printable(text: str) -> str:
    """One line, whatever a file calls its parts or is called itself: characters that a terminal would obey are written out, and
    bytes of a file's name that are no text, which no encoding takes."""
    return text.translate(_CONTROL)


def printable_lines(text: str) -> str:
    """The same of each line of a text."""
    return "\n".join(map(printable, text.split("\n")))


@dataclass(frozen=True)
class InputInfo:
    """A graph input. `shape` has None where a size is open; axes are None where there is none."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    batch_axis: int | None
    time_axis: int | None


@dataclass(frozen=True)
class OutputInfo(InputInfo):
    """A graph output: `name`, `shape`, `dtype`, `batch_axis`, `time_axis`, as InputInfo has them."""


@dataclass(frozen=True)
class StateInfo:
    """What a stream carries from call to call.

    Attributes
    ----------
    name : str
        The graph input that seeds it, else made from its node's name.
    output : str or None
        The graph output that holds its next value.
    shape : tuple of int or None
        At the batch size the model declares (1 where it is open). None: an axis that the file leaves open otherwise; a
        stream has it at the size of what it was given (`Stream.state`).
    dtype : numpy.dtype
    batch_axis : int or None
    kind : str
        "zero", "constant", "input", "computed" or "drawn" (key and count of random draws): where its first value comes from.
    evidence : str
        What shows that a graph input is a state, in a few words; empty for a state inside.
    """

    name: str
    output: str | None
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    batch_axis: int | None
    kind: str
    evidence: str = ""


@dataclass(frozen=True)
class LayerInfo:
    """How the weights of one node are held.

    Attributes
    ----------
    name, op : str
        Of the node.
    n_weights : int
    precision : str
        "f32", "f16" or "int8".
    why : str
        Where it is not what was asked for; else empty.
    """

    name: str
    op: str
    n_weights: int
    precision: str
    why: str = ""


@dataclass(frozen=True)
class StreamInfo:
    """How a model streams.

    Attributes
    ----------
    mode : str
        "time": chunks of any length; "loop": along the time axis, one step at a time; "frame": no time axis, every
        call is one step.
    inputs : tuple of str
        What is fed from call to call.
    side : tuple of str
        Inputs without time: bound by `stream(inputs=)`, or given with every call.
    pairs : dict of input to output
        State inputs, and the outputs that hold their next values.
    outputs : dict of output to what it gives
        "time": one entry per step; "frame": whole per step, of which `Stream.run` in mode "loop" gives the last one;
        "last": the value as if the sequence ended here; "side": it does not depend on the stream.
    lag : int
        Input steps that the outputs lie behind.
    rate : int
        Input steps for each step of the outputs.
    steady : bool
        Every step gives one step of each output, so that `Stream.step` serves.
    stepwise : bool
        Quantised by the range of each step: pieces do not equal the whole.
    """

    mode: str
    inputs: tuple[str, ...]
    side: tuple[str, ...]
    pairs: Mapping[str, str]
    outputs: Mapping[str, str]
    lag: int
    rate: int
    steady: bool
    stepwise: bool


@dataclass(frozen=True)
class PoolStats:
    """How `StreamPool.submit` and `StreamPool.astep` fare. Times are in seconds, of the last 4,096 frames; 0 before the first.

    Attributes
    ----------
    pending : int
        Frames that wait now.
    calls, frames : int
        Batches that were stepped, and frames in them.
    failed, cancelled : int
        Frames of these that ended in an error; frames that were taken out before they were stepped.
    wait_p50, wait_p99 : float
        From when a frame was submitted until its batch began.
    latency_p50, latency_p99 : float
        From when it was submitted until its answer was there.
    """

    pending: int
    calls: int
    frames: int
    failed: int
    cancelled: int
    wait_p50: float
    wait_p99: float
    latency_p50: float
    latency_p99: float

    @property
    def mean_batch(self) -> float:
        """Frames of a batch on the average."""
        return self.frames / self.calls if self.calls else 0.0


def shown_shape(info: StateInfo, batch: int, size: int) -> tuple[int, ...]:
    """The shape in which a state of so many numbers is shown: at most one axis is open, which has what the others leave."""
    extents = [batch if a == info.batch_axis else n for a, n in enumerate(info.shape)]
    rest = size // max(prod(n for n in extents if n is not None), 1)
    return tuple(rest if n is None else n for n in extents)
