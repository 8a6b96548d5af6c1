"""Sliding windows over time, padding in front of them, steps cut off the ends; and the pace of what comes out."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from ..graph.ir import Node
from ..graph.links import Link, Window
from ..ops import carries, registry
from ..ops.control import Choice, Repeat
from .axes import links
from .ground import Ground
from .refusal import mixed, refusal

__all__ = ["Pace", "Windows", "moves"]

LARGEST_CROP = 4096
"""Steps at the ends that a stream holds back, or passes over, one block after the other."""


def moves(ground: Ground, node: Node) -> bool:
    """Does a node leave every value of a sequence as it is, and every step in its place; a cast between floats does."""
    kind = registry.moves(node)
    if kind == "cast":
        return all(ground.walked.facts[value].dtype.kind == "f" for value in (node.inputs[0], node.outputs[0]))
    return kind == "axes" or (kind == "part" and node.op != "Gather" and ground.along_time(node) == {"same"})


class Pace:
    """How fast each value comes, and how far it lies behind the input."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._rate: dict[str, int] = {}
        self._lag: dict[str, int] = {}

    def rate(self, value: str) -> int:
        """Input steps for each step of a value."""
        return self._rate.get(value, 1)

    def lag(self, value: str) -> int:
        """Input steps that a value lies behind."""
        return self._lag.get(value, 0)

    def set(self, value: str, rate: int, lag: int) -> None:
        """What a window makes of its input's pace."""
        self._rate[value], self._lag[value] = rate, lag

    def ends(self, values: Collection[str], ended: Collection[str]) -> None:
        """Values at the end of the sequence wait for the last of what they are made from."""
        self._lag |= dict.fromkeys(values, max(map(self.lag, ended)))

    def node(self, node: Node, timed: Sequence[int]) -> None:
        """Rate and lag of what a node makes: those of its slowest input; rates must agree."""
        rates = {self.rate(node.inputs[i]) for i in timed}
        if len(rates) > 1:
            raise refusal(node, "joins signals of different rates")
        lag = max(self.lag(node.inputs[i]) for i in timed)
        over = {i for i, _ in carries.runs_over(node)} if isinstance(node, Repeat) else set[int]()
        uneven = any(self.lag(node.inputs[i]) != lag for i in timed)
        if uneven and isinstance(node, (Repeat, Choice)) and not over.issuperset(timed):
            raise refusal(node, "joins signals of different delays")
        if uneven and not all(map(self._ground.leads, (node.inputs[i] for i in timed))):
            raise mixed(node, "joins signals of different delays along")
        for value in node.outputs:
            if value and value not in self._lag:
                self.set(value, next(iter(rates)), lag)


class Windows:
    """The windows of one analysis: node by node, from the input on."""

    def __init__(self, ground: Ground, pace: Pace) -> None:
        self._ground, self._pace = ground, pace
        self.windows: dict[str, tuple[int, Window]] = {}
        self.cropped: dict[str, int] = {}
        self._pads: dict[str, Window] = {}

    def moved(self, node: Node) -> None:
        """Padding goes on through what moves axes about, and through what makes other padding of it."""
        pad = self._pads.get(node.inputs[0])
        behind = pad and self._through(node, pad)
        if behind:
            self._pads |= dict.fromkeys(node.outputs, behind)

    def _through(self, node: Node, pad: Window) -> Window | None:
        """The padding behind a node, of that in front of it; None where it does not go on."""
        if moves(self._ground, node):
            return pad
        x, *more = (self._ground.walked.facts[name] if name else None for name in node.inputs)
        op = registry.find(node)
        if not op.exact or x is None or self._ground.along_time(node) != {"same"}:
            return None
        if any(fact is not None and (fact.const is None or fact.const.size != 1) for fact in more):
            return None
        one = np.full([1] * len(x.shape), pad.pad_value, x.dtype)
        made = op.evaluate(node, [one, *(None if fact is None else fact.const for fact in more)])[0]
        return replace(pad, pad_value=float(made.item()))

    def pad_nodes(self) -> frozenset[str]:
        """Pads that are done by the windows behind them."""
        pads = {n.name for n in self._ground.walked.nodes if n.op == "Pad" and n.name in self.windows}
        return frozenset(pads - set(self.cropped))

    def behind_the_end(self) -> set[str]:
        """Values that see padding behind the end of the sequence: they are final only when the stream is flushed."""
        found: set[str] = set()
        for node in self._ground.walked.nodes:
            window = self.windows.get(node.name)
            joined = node.op == "Pad" and node.name not in self.cropped
            padded = window is not None and window[1].pad_end > 0 and not joined
            if padded or found.intersection(node.inputs):
                found.update(v for v in node.outputs if v)
        return found

    def window(self, node: Node, index: int, value: str, link: Link) -> None:
        """A node that slides over time."""
        window: Window = link.info
        source = node.inputs[index]
        if self._ground.traced.alone(source, link.axis) == 0:
            raise mixed(node, "slides over")
        if node.op == "Pad":
            self._pad(node, value, link.axis, window)
            return
        before = self._pads.get(source, Window(1))
        mine = window.pad_begin or window.pad_end
        if (before.pad_begin or before.pad_end) and mine and before.pad_value != window.pad_value:
            raise refusal(node, "pads time twice with different values")
        self._check_ends(node, source, bool(mine))
        begin, end = window.pad_begin + before.pad_begin, window.pad_end + before.pad_end
        fill = (window.kernel - 1) * window.dilation
        pad = window.pad_value if mine else before.pad_value
        self.windows[node.name] = (link.axis, Window(window.kernel, window.stride, window.dilation, begin, end, pad))
        rate = self._pace.rate(source)
        self._pace.set(value, rate * window.stride, self._pace.lag(source) + rate * max(fill - begin, 0))

    def _check_ends(self, node: Node, source: str, padded: bool) -> None:
        """What a window does at the ends of a sequence that a stream cannot do."""
        if node.op == "AveragePool" and padded and not node.attrs.get("count_include_pad", 0):
            raise refusal(node, "averages over fewer steps at the ends of the sequence")
        if node.attrs.get("ceil_mode", 0):
            raise refusal(node, "rounds the number of steps up at the end of the sequence")
        auto = str(node.attrs.get("auto_pad", "NOTSET")) not in ("NOTSET", "VALID", "")
        if auto and len(self._ground.walked.facts[source].shape) > 3:
            raise refusal(node, "pads by auto_pad over time and another axis")

    def _pad(self, node: Node, value: str, axis: int, window: Window) -> None:
        """Padding joins the windows behind it; at the end alone it may be steps of its own."""
        source, readers = node.inputs[0], self._behind(value, window)
        before = self._pads.get(source, Window(1, pad_value=window.pad_value))
        begin, end = before.pad_begin + window.pad_begin, before.pad_end + window.pad_end
        rate, lag = self._pace.rate(source), self._pace.lag(source)
        self._pace.set(value, rate, lag)
        both = replace(window, pad_begin=begin, pad_end=end)
        alike = before.pad_value == window.pad_value
        if alike and begin >= 0 and readers and all(self._slides(n) for n in readers):
            self._pads[value] = both
            self.windows[node.name] = axis, window
            return
        if not alike or begin > 0 or [x.axis for x in links(node, self._ground.walked) if x.kind == "window"] != [axis]:
            raise refusal(node, "pads time in front of a node that is no sliding window")
        self.windows[node.name] = axis, both
        self.cropped[node.name] = 0
        self._pace.set(value, rate, lag - rate * begin)

    def crop(self, node: Node, value: str, axis: int, begin: int, end: int, stride: int = 1) -> None:
        """Steps taken off the ends: of a window's own padding, or else a window that picks one of its positions."""
        source = node.inputs[0]
        if self._ground.traced.alone(source, axis) == 0:
            raise mixed(node, "cuts")
        maker = self._window_before(source)
        if maker is not None and self._behind(maker.outputs[0]) == [node]:
            at, window = self.windows[maker.name]
            less = min(end, window.pad_end // window.stride)  # what it saw of the padding was cut off: a causal Conv
            self.windows[maker.name] = at, replace(window, pad_end=window.pad_end - less * window.stride)
            end -= less
        if begin + end > LARGEST_CROP:
            raise refusal(node, f"cuts {begin + end} steps off the ends of the sequence: more than a stream holds")
        pad = self._pads.get(source, Window(1))
        kernel = begin + end + 1
        self.windows[node.name] = axis, Window(kernel, stride, 1, pad.pad_begin, pad.pad_end, pad.pad_value)
        self.cropped[node.name] = begin
        rate = self._pace.rate(source)
        self._pace.set(value, rate * stride, self._pace.lag(source) + rate * max(begin + end - pad.pad_begin, 0))

    def _window_before(self, value: str) -> Node | None:
        """The window that makes a value, also behind moves of its axes."""
        maker = self._ground.makers.get(value)
        while maker is not None and registry.moves(maker) in ("axes", "cast"):
            maker = self._ground.makers.get(maker.inputs[0])
        return maker if maker is not None and maker.name in self.windows and maker.op != "Pad" else None

    def _behind(self, value: str, pad: Window | None = None) -> list[Node]:
        """The nodes that read a value, also behind moves of its axes and what `pad` goes through; none where it is an output."""
        found: list[Node] = []
        for node in self._ground.walked.nodes:
            if value in node.inputs:
                after = self._through(node, pad or Window(1)) if pad or moves(self._ground, node) else None
                through = after is not None and node.inputs[0] == value
                past = [self._behind(v, pad and after) for v in node.outputs if v] if through else [[node]]
                if not all(past):
                    return []
                found += [n for part in past for n in part]
        return [] if value in self._ground.given_out else found

    def _slides(self, node: Node) -> bool:
        """Does a node read a few neighbouring steps for each of its own."""
        along = self._ground.along_time(node)
        return along == {"window"} or (node.op == "Slice" and along == {"slice"})
