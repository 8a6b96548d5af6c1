"""The walk of one step of n frames: what each value of a stream is in it, once every memory is as full as it gets.

Every value with a time axis has the same number of positions in each step, n over its rate; the first positions of a
stream, as many as the value lags behind, hold nothing. `Pace` counts them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...errors import ConvertError
from ...graph.fact import Fact
from ...graph.ir import Node
from ...graph.links import Window
from ...streams.fed import Fed, extent, resized
from ...streams.reference import Reference, unpadded, without_pads
from ...walk.bodies import is_control
from ...walk.walk import Instead, Walk, node_facts, walk

__all__ = ["NoMultipleError", "Pace", "Placed", "Step"]


class NoMultipleError(ConvertError):
    """A step has to be of a multiple of `rate` frames."""

    def __init__(self, n: int, rate: int) -> None:
        super().__init__(
            f"chunk: {n} is no multiple of {rate}, the number of frames for which the model takes one step inside"
        )
        self.n, self.rate = n, rate


@dataclass(frozen=True)
class Pace:
    """How a value follows the input. After T frames it has (T + more) // rate positions in a whole run; position i stands
    at place i + lag of the stream."""

    rate: int = 1
    lag: int = 0
    more: int = 0

    def length(self, T: int) -> int:
        """Positions that a whole run of T frames has."""
        return max((T + self.more) // self.rate, 0)


@dataclass(frozen=True)
class Placed:
    """How a window lies over what a step has of its input."""

    axis: int
    window: Window
    held: int
    """Positions from before that it needs."""
    skip: int
    """Of what it has, so many at the beginning are passed over."""
    out: int
    """Positions of the output."""


@dataclass
class Step:
    """A walk, and the pace of every value with time."""

    fed: Fed
    reference: Reference
    n: int
    walked: Walk = field(default_factory=lambda: Walk({}))
    paces: dict[str, Pace] = field(default_factory=dict)
    placed: dict[str, Placed] = field(default_factory=dict)
    held_back: bool = False
    """Is there more padding in front of a window than it needs: a stream gives what that makes at once, a step later."""

    @classmethod
    def of(cls, fed: Fed, reference: Reference, n: int) -> Step:
        """The walk of n frames."""
        step = cls(fed, reference, n)
        step.paces = {name: Pace() for name in fed.spec.streamed}
        step.walked = walk(fed.graph, fed.facts(n), on_node=step._on_node)
        return step

    def pace(self, name: str) -> Pace:
        """The pace of a value; of one without time that of the input."""
        return self.paces.get(name, Pace())

    @property
    def looks_ahead(self) -> bool:
        """Is there padding behind the end of a signal: steps that come when it has ended."""
        spec = self.fed.spec
        return any(w.pad_end > 0 for name, (_, w) in spec.windows.items() if name not in spec.pad_nodes)

    def _on_node(self, node: Node, ins: list[Fact | None]) -> list[Fact] | Instead | None:
        spec, reference = self.fed.spec, self.reference
        if node.op in ("Shape", "Size"):
            return None
        self._set_pace(node)
        if node.name in spec.windows:
            return self._window(node, ins)
        if any(v in reference.repeated for v in node.outputs):
            return [reference.one.facts[v] for v in node.outputs]
        axes = [(i, a) for i, v in enumerate(node.inputs) if v and (a := spec.time_axes.get(v)) is not None]
        if not axes or spec.steady:
            return None
        ins = list(ins)
        for i, (j, a) in reference.along(node).items():
            fact = ins[i]
            assert fact is not None
            ins[i] = resized(fact, reference.repeated[node.inputs[i]], extent(ins[j], a))
        if is_control(node):
            return Instead(ins)
        return reference.regrouped(node, ins) or node_facts(node, ins)

    def each(self, pace: Pace, n: int) -> int:
        """Positions of an axis that belong to one step, where time has something inside: all of a step are n."""
        return n * pace.rate // self.n

    def pace_of(self, node: Node) -> Pace:
        """The pace at which a node works: that of its slowest input."""
        found = [self.paces[v] for v in node.inputs if v in self.paces] or [Pace()]
        slowest = max(found, key=lambda pace: pace.lag * pace.rate)
        return Pace(slowest.rate, slowest.lag, min(pace.more for pace in found))

    def _set_pace(self, node: Node) -> None:
        if any(v in self.paces for v in node.inputs):
            pace = self.pace_of(node)
            self.paces |= {v: pace for v in node.outputs if v}

    def _window(self, node: Node, ins: list[Fact | None]) -> list[Fact]:
        spec = self.fed.spec
        axis, window = spec.windows[node.name]
        x = ins[0]
        assert x is not None
        plain = without_pads(node, axis, len(x.shape), window)
        if node.name in spec.pad_nodes:
            return node_facts(plain, unpadded(node, axis, ins))
        before, s = self.pace(node.inputs[0]), window.stride
        if x.shape[axis] % s:
            raise NoMultipleError(self.n, before.rate * s)
        reach = (window.kernel - 1) * window.dilation + 1
        lag = -(-(before.lag + reach - window.pad_begin - s) // s)
        self.held_back |= lag < 0
        lag = max(lag, 0)
        held = lag * s + window.pad_begin - before.lag
        out = x.shape[axis] // s
        more = before.more + before.rate * (window.pad_begin + window.pad_end - reach + s)
        self.paces |= {v: Pace(before.rate * s, lag, more) for v in node.outputs if v}
        self.placed[node.name] = Placed(axis, window, max(held, 0), max(-held, 0), out)
        if node.name in spec.cropped:
            return [resized(x, axis, out)]
        return node_facts(plain, [resized(x, axis, (out - 1) * s + reach), *ins[1:]])
