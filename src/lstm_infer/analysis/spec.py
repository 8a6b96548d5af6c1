"""How a model streams: what the analysis found, a frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from ..frozen import frozen
from ..graph.links import Window
from ..program.draws import Draws
from ..records import StateInfo
from .roles import Roles
from .states import Pairs

__all__ = ["Carried", "OutputSpec", "StreamSpec"]


@frozen
class Carried:
    """A state hidden in a recurrence: kept by the stream, seeded from the node's initial-state expression."""

    node: str
    what: str
    init: str
    """Value that seeds it, "" for zero."""
    label: str
    """Public name."""
    output: str | None


@frozen
class OutputSpec:
    """An output of a stream. kind "time": one entry per step along `axis`; "last": the value as if the sequence ended
    here; "frame": whole per step; "side": does not depend on the stream."""

    name: str
    kind: str
    axis: int = -1


@frozen
class StreamSpec:
    """How a model streams. mode "time": chunks of any length; "loop": one step at a time; "frame": no time axis."""

    mode: str
    roles: Roles
    """Time and batch of the inputs, as the stream has them: states have no time axis."""
    streamed: tuple[str, ...]
    side: tuple[str, ...]
    pairs: Pairs
    outputs: tuple[OutputSpec, ...]
    states: tuple[StateInfo, ...] = ()
    carried: tuple[Carried, ...] = ()
    windows: Mapping[str, tuple[int, Window]] = field(default_factory=dict)
    """Node that slides over time -> its time axis and window."""
    lens: Mapping[str, str] = field(default_factory=dict)
    """Recurrence over time -> value of its sequence_lens."""
    time_axes: Mapping[str, int] = field(default_factory=dict)
    """Time axis of every value that has one."""
    steps: Mapping[str, int] = field(default_factory=dict)
    """Steps of those at the length that was analysed."""
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Value that windows slide over, or that may wait for another -> its axis that has the batch, and how much stands before
    the batch in that axis."""
    ended: frozenset[str] = frozenset()
    """Values that hold the end of the sequence."""
    lag: int = 0
    """Input steps that the outputs lie behind."""
    rate: int = 1
    """Input steps for each step of the outputs."""
    alone: StreamSpec | None = None
    """How one signal streams, where several side by side stream in another way (an axis of 1 is squeezed away)."""
    one_signal: str = ""
    """Why a stream holds one signal only, though the file takes a batch; empty where it does not."""
    stepwise: bool = False
    """A node takes one scale for all it is given: every step is run alone, whatever the chunk."""
    cropped: Mapping[str, int] = field(default_factory=dict)
    """Slices and Pads that take steps off the ends of time or add some at its end, by how many they take off at the
    beginning: windows of which one position counts."""
    pad_nodes: frozenset[str] = frozenset()
    """Pad nodes over time: done by the windows behind them."""

    draws: Mapping[str, Draws] = field(default_factory=dict)
    """Random node -> where steps and signals stand in what it draws."""

    @property
    def steady(self) -> bool:
        """Every step gives exactly one step of every value: no look-ahead, no stride over time."""
        return all(
            w.stride == 1 and w.pad_end == 0 and w.pad_begin == (w.kernel - 1) * w.dilation
            for name, (_, w) in self.windows.items()
            if name not in self.pad_nodes
        )
