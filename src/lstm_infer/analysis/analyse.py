"""Can a model stream, and how: what every node does with the time axis, and which states are carried.

Analysis only, at two time extents: nothing is lowered here. `analyse` returns a StreamSpec or raises
NotStreamableError with the node that needs the whole input.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from ..errors import LstmInferError, NotStreamableError, StateError
from ..graph.ir import Array, Graph, Node
from ..graph.links import Link, Window
from ..ops import carries, recurrent, registry
from ..ops.common import pass_broadcast
from ..ops.control import Choice, Repeat
from ..ops.registry import attr
from ..records import StateInfo
from ..walk.walk import Walk
from .axes import Trace, links, trace
from .roles import Roles
from .states import pair_states

__all__ = ["Carried", "OutputSpec", "StreamSpec", "analyse", "meeting_point"]


@dataclass(frozen=True)
class Carried:
    """A state hidden in a recurrence: kept by the stream, seeded from the node's initial-state expression."""

    node: str
    what: str
    init: str
    """Value that seeds it, "" for zero."""
    label: str
    """Public name."""
    output: str | None


@dataclass(frozen=True)
class OutputSpec:
    """An output of a stream. kind "time": one entry per step along `axis`; "last": the value as if the sequence ended
    here; "frame": whole per step; "side": does not depend on the stream."""

    name: str
    kind: str
    axis: int = -1


@dataclass
class StreamSpec:
    """How a model streams. mode "time": chunks of any length; "loop": one step at a time; "frame": no time axis."""

    mode: str
    roles: Roles
    streamed: list[str]
    side: list[str]
    pairs: dict[str, str]
    outputs: list[OutputSpec]
    carried: list[Carried] = field(default_factory=list)
    windows: dict[str, tuple[int, Window]] = field(default_factory=dict)
    lens: dict[str, str] = field(default_factory=dict)
    """Recurrence over time -> value of its sequence_lens."""
    states: tuple[StateInfo, ...] = ()
    time_axes: dict[str, int] = field(default_factory=dict)
    """Time axis of every value that has one."""
    steps: dict[str, int] = field(default_factory=dict)
    """Steps of those at the length that was analysed."""
    rows: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Window over time -> axis of its input that has the batch, and how much stands before the batch in that axis."""
    ended: set[str] = field(default_factory=set)
    """Values that hold the end of the sequence."""
    lag: int = 0
    """Input steps that the outputs lie behind."""
    rate: int = 1
    """Input steps for each step of the outputs."""
    stepwise: bool = False
    """A node takes one scale for all it is given: every step is run alone, whatever the chunk."""

    @property
    def steady(self) -> bool:
        """Every step gives exactly one step of every value: no look-ahead, no stride over time."""
        return all(
            w.stride == 1 and w.pad_end == 0 and w.pad_begin == (w.kernel - 1) * w.dilation
            for name, (_, w) in self.windows.items()
            if name not in self.pad_nodes
        )

    cropped: dict[str, int] = field(default_factory=dict)
    """Slices and Pads that take steps off the ends of time or add some at its end, by how many they take off at the
    beginning: windows of which one position counts."""
    pad_nodes: set[str] = field(default_factory=set)
    """Pad nodes over time: done by the windows behind them."""


def analyse(graph: Graph, roles: Roles, states: Mapping[str, str] | None) -> StreamSpec:
    """Decide how the model streams.

    Raises
    ------
    NotStreamableError
        A node needs the whole input, there is no time axis and no state, or there are several time axes.
    StateError
        States cannot be paired with outputs.
    """
    if roles.walkable:
        raise NotStreamableError(f"the sizes of the inputs are open and could not be found: {roles.walkable}; "
                                 'fix them with load(..., inputs={"name": (1, 512)})', reason=roles.walkable)  # fmt: skip
    if len(roles.candidates) > 1:
        inside = [n for n in roles.walk(*roles.analysis_sizes()).nodes if carries.carries(n)]
        shown = " or ".join(f"load(..., time_axis={c})" for c in roles.candidates)
        raise NotStreamableError(
            f"the model has {len(roles.candidates)} independent time axes (as far as {inside[-1]}); choose one with {shown}: "
            "the inputs of the others are then bound by stream(inputs=)",
            node=inside[-1].name,
            op=inside[-1].op,
            reason="several time axes",
        )
    T, B = roles.analysis_sizes()
    walked = roles.walk(T, B)
    if roles.switches:
        return _switched(graph, roles, walked, states)
    traced = trace(roles.inputs, walked)
    # where only one step walks, axes of extent 1 cannot be told apart: a state may look as if it had the time axis
    streamed = {} if roles.time_size == 1 else roles.time
    sequences = roles.sequences if T != 1 else frozenset[str]()
    pairs = _all_states(graph, roles, walked, states, sequences) or pair_states(
        roles.inputs, graph.outputs, walked, streamed=streamed, given=states, sequences=sequences
    )
    for name in pairs:
        roles.time.pop(name, None)
    if not roles.time:
        return _frame(graph, roles, walked, traced, pairs)
    try:
        return _Flow(graph, roles, walked, traced, pairs).spec()
    except NotStreamableError as refusal:
        each_call = isinstance(refusal, _EachCallError)
        if pairs and (roles.time_size == 1 or (each_call and _walks_one(roles, B))):
            return _frame(graph, roles, walked, traced, pairs, mode="loop")
        if pairs and roles.one_step():  # only right at the one step that the file declares
            roles.time_size = 1
            return analyse(graph, roles, states)
        raise NotStreamableError(str(refusal), node=refusal.node, op=refusal.op, reason=refusal.reason) from None


class _EachCallError(NotStreamableError):
    """The graph does something once a call, whatever its length: one step is then a call."""


def _walks_one(roles: Roles, B: int) -> bool:
    try:
        roles.walk(1, B)
    except LstmInferError:
        return False
    return True


def _all_states(
    graph: Graph, roles: Roles, walked: Walk, states: Mapping[str, str] | None, sequences: Collection[str]
) -> dict[str, str] | None:
    """The pairs of a model in which only states have what looked like a time axis, such as the frequencies of a cache:
    a recurrence runs over it, but the file takes it at one size only, and what is fed from step to step does not have
    it."""
    fed = {port.name for port in roles.inputs if port.dtype.kind == "f" and port.shape}
    if not roles.time or roles.time_size in (None, 1) or fed <= set(roles.time):
        return None
    try:
        pairs = pair_states(roles.inputs, graph.outputs, walked, streamed={}, given=states, sequences=sequences)
    except StateError:
        return None
    return pairs if set(roles.time) <= set(pairs) and fed - set(pairs) else None


def _frame(
    graph: Graph, roles: Roles, walked: Walk, traced: Trace, pairs: dict[str, str], mode: str = "frame"
) -> StreamSpec:
    if not pairs:
        inside = [n for n in walked.nodes if carries.carries(n)]
        node = inside[0] if inside else None
        if node is not None and _reason(node) != _WHOLE:
            raise _refusal(node, _reason(node))
        raise NotStreamableError(
            "the model has no time axis and no state: no recurrence runs over an axis of an input, and no output is the "
            "next value of an input; use run()" + (_inside_frame(node, walked, traced) if node else ""),
            node=node.name if node else "",
            op=node.op if node else "",
            reason="no time axis and no state",
        )
    spec = StreamSpec(mode, roles, [], [], pairs, [])
    for port in roles.inputs:
        if port.name in pairs:
            continue
        scalar = not walked.facts[port.name].shape
        streams = port.name in roles.time if mode == "loop" else not scalar
        (spec.streamed if streams else spec.side).append(port.name)
    label = _time_label(roles, traced) if mode == "loop" else 0
    for name in _visible(graph, pairs):
        axis = _one_step_axis(name, roles, walked, traced, label) if label else None
        spec.outputs.append(OutputSpec(name, "frame") if axis is None else OutputSpec(name, "time", axis))
    spec.states = tuple(_input_states(roles, walked, pairs))
    return spec


def _inside_frame(node: Node, walked: Walk, traced: Trace) -> str:
    """What a recurrence that runs over no input axis runs over."""
    lost = next((n for i, a in carries.runs_over(node) if (n := _where_lost(node.inputs[i], a, walked, traced))), None)
    if lost is None:
        return f" ({node} runs inside one frame)"
    return f" ({node} runs over an axis that begins at {lost}, which {_reason(lost)})"


def _where_lost(value: str, axis: int, walked: Walk, traced: Trace) -> Node | None:
    """The node at which an axis without a label stops being one of an input's; None: it never was."""
    makers = {name: node for node in walked.nodes for name in node.outputs if name}
    while value in makers:
        node = makers[value]
        source = node.inputs[0]
        if any(f.label for f in traced.axes.get(value, [()] * (axis + 1))[axis]):
            return None
        if registry.find(node).reshapes:
            before, after = (
                {traced.root(f.label) for factors in traced.axes.get(name, ()) for f in factors if f.label}
                for name in (source, value)
            )
            return node if before - after else None
        output = node.outputs.index(value)
        found = [x for x in links(node, walked) if x.output == output and x.out_axis == axis]
        if not found:
            named = axis < len(traced.axes.get(source, ())) and any(f.label for f in traced.axes[source][axis])
            return node if named else None
        value, axis = node.inputs[found[0].input], found[0].axis
    return None


def _one_step_axis(name: str, roles: Roles, walked: Walk, traced: Trace, label: int) -> int | None:
    """The time axis of an output that holds one step: among axes of extent 1 the one that the input has it at, where the
    two are laid out alike."""
    found = traced.find(name, label)
    source, axis = next(iter(roles.time.items()))
    before, after = walked.facts[source].shape, walked.facts[name].shape
    alike = len(before) == len(after) and after[axis] == before[axis] == 1
    return axis if found is not None and alike else found


def _switched(graph: Graph, roles: Roles, walked: Walk, states: Mapping[str, str] | None) -> StreamSpec:
    """Scalar inputs choose between networks: looped where each of them streams, and keeps no state to itself."""
    found = []
    for values in roles.switches:
        mine = replace(roles, constants={**roles.constants, **values}, switches=[], time=dict(roles.time))
        mine.inputs = [port for port in roles.inputs if port.name not in values]
        found.append(analyse(graph, mine, states))
    one = found[0]
    named = ", ".join(f"{name!r}: {value}" for name, value in roles.switches[0].items())
    for spec in found:
        if (
            (spec.outputs, spec.pairs) != (one.outputs, one.pairs)
            or spec.carried
            or spec.windows
            or spec.mode != "time"
        ):
            choice = next(node for node in walked.nodes if isinstance(node, Choice))
            raise _refusal(
                choice,
                f"chooses between networks that stream in different ways; choose with load(..., constants={{{named}}})",
            )
    for name in one.pairs:
        roles.time.pop(name, None)
    side = [p.name for p in roles.inputs if p.name not in roles.time and p.name not in one.pairs]
    return replace(one, mode="loop", roles=roles, side=side, states=tuple(_input_states(roles, walked, one.pairs)))


def _visible(graph: Graph, pairs: Mapping[str, str]) -> list[str]:
    """Outputs that a stream returns: all but the states that come back as inputs; all where none would be left."""
    fed_back = set(pairs.values())
    return [p.name for p in graph.outputs if p.name not in fed_back] or [p.name for p in graph.outputs]


def _input_states(roles: Roles, walked: Walk, pairs: Mapping[str, str]) -> list[StateInfo]:
    found = []
    for port in roles.inputs:
        if port.name in pairs:
            axis = roles.batch.get(port.name)
            shape = list(walked.facts[port.name].shape)
            if axis is not None:
                shape[axis] = roles.batch_size or 1
            found.append(StateInfo(port.name, pairs[port.name], tuple(shape), port.dtype, axis, "input"))
    return found


def _time_label(roles: Roles, traced: Trace) -> int:
    name, axis = next(iter(roles.time.items()))
    return traced.root(traced.axes[name][axis][0].label)


LONG = 4096
"""A length that shows what a constant in the file cuts off, far beyond the usual."""

LARGEST_CUT = (1 << 31) - 2
"""Constants beyond mean the end of an axis, whatever its length."""

MOST_BOUNDS = 64
"""Elements of a constant that holds bounds of a Slice, pads or sizes."""

LARGEST_CROP = 4096
"""Steps at the ends that a stream holds back, or passes over, one block after the other."""

_WHOLE = "needs the whole time axis at once"


def _reason(node: Node) -> str:
    if recurrent.is_recurrent(node):
        direction = str(node.attrs.get("direction", "forward")).lower()
        if direction != "forward":
            return f"direction is {direction}: it needs the end of the sequence first"
    return registry.find(node).why or _WHOLE


def _refusal(node: Node, reason: str, kind: type[NotStreamableError] = NotStreamableError) -> NotStreamableError:
    return kind(
        f"{node} {reason}; the model cannot be streamed, run() takes the whole sequence",
        node=node.name,
        op=node.op,
        reason=reason,
    )


def meeting_point(roles: Roles) -> Node | None:
    """The node at which the signals of a batch meet: a mean over it, say. None: they stay apart."""
    if not roles.batch:
        return None
    walked = roles.walk(*roles.analysis_sizes())
    traced = trace(roles.inputs, walked)
    name, axis = next(iter(roles.batch.items()))
    label = traced.axes[name][axis][0].label
    for node in walked.nodes:
        if registry.find(node).stepwise:
            continue  # a scale over all that is fed at once is how such a model is defined
        if any(v and traced.find(v, label) is not None for v in node.inputs) and any(
            v and traced.find(v, label) is None for v in node.outputs
        ):
            return node
    return None


class _Flow:
    """One pass over the nodes: follows the time axis, and values that hold the end of the sequence."""

    def __init__(self, graph: Graph, roles: Roles, walked: Walk, traced: Trace, pairs: dict[str, str]) -> None:
        self.graph, self.roles, self.walked, self.traced, self.pairs = graph, roles, walked, traced, pairs
        self.label = _time_label(roles, traced)
        self.T = walked.facts[next(iter(roles.time))].shape[next(iter(roles.time.values()))]
        self.others = self._other_walks()
        self.other = self.others[0] if self.others else None
        self.ended: set[str] = set()
        self.windows: dict[str, tuple[int, Window]] = {}
        self.pads: dict[str, Window] = {}
        self.cropped: dict[str, int] = {}
        self.rate: dict[str, int] = {}
        """Input steps per step of a value, where it is not 1."""
        self.lag: dict[str, int] = {}
        self.carried: list[Carried] = []
        self.lens: dict[str, str] = {}
        self.state_infos: list[StateInfo] = []
        self.state_labels = {f.label for name in pairs for axis in traced.axes.get(name, ()) for f in axis if f.label}

    def _other_walks(self) -> list[Walk]:
        """The graph at other lengths, to tell what follows the length from what does not. The first is always there;
        one step and very many steps show what only a short or a long sequence meets, where the graph walks at them."""
        if self.roles.time_size is not None:
            return []
        T, B = self.roles.analysis_sizes()
        probes = self.roles.probes
        walks = [self.roles.walk(probes[1] if probes[1] != T else probes[0], B)]
        for n in (1, max(LONG, 4 * probes[1])):
            with suppress(LstmInferError):
                walks.append(self.roles.walk(n, B))
        for size in self._large_numbers():  # a sequence that is longer than any of them, as far as one can be walked
            try:
                walks += [self.roles.walk(n, B) for n in (size + 1, 2 * size + 5)]
                break
            except LstmInferError:
                continue
        return walks

    def _large_numbers(self) -> list[int]:
        """Integers of the file that may be a length above the usual, the largest first."""
        found: set[int] = set()
        for fact in self.walked.facts.values():
            if fact.const is not None and fact.dtype.kind in "iu" and fact.const.size <= MOST_BOUNDS:
                found |= {abs(int(n)) for n in fact.const.reshape(-1)}
        return sorted((n for n in found if LONG <= n <= LARGEST_CUT), reverse=True)

    def branches(self) -> None:
        """An If must not take another branch at another length."""
        for node in self.graph.walk():
            if node.op != "If" or node.domain or not node.inputs:
                continue
            found = [walked.facts.get(node.inputs[0]) for walked in (self.walked, *self.others)]
            known = [
                bool(f.const.reshape(-1)[0]) for f in found if f is not None and f.const is not None and f.const.size
            ]
            if len(set(known)) > 1:
                raise self.refuse(node, "takes another branch for another length of the sequence")

    def at_all_lengths(self, node: Node, link: Link) -> bool:
        """Does the axis also pass whole where the sequence is shorter or longer."""
        if registry.find(node).flow is pass_broadcast:
            return True
        place = (link.input, link.axis, link.output, link.out_axis)
        for walked in self.others:
            if any(name and name not in walked.facts for name in (*node.inputs, *node.outputs)):
                continue
            extent = walked.facts[node.inputs[link.input]].shape[link.axis]
            found = links(node, walked)
            if extent == 1 and any(x.kind == "pick" and (x.input, x.axis) == place[:2] for x in found):
                continue  # the one step that there is
            if not any(
                (x.input, x.axis, x.output, x.out_axis) == place
                and (x.kind == "same" or (x.kind == "slice" and x.info == (0, extent, 1)))
                for x in found
            ):
                return False
        return True

    def refuse(self, node: Node, reason: str) -> NotStreamableError:
        return _refusal(node, reason)

    def has_time(self, value: str) -> bool:
        return value not in self.ended and self.traced.find(value, self.label) is not None

    def spec(self) -> StreamSpec:
        self.branches()
        for node in self.walked.nodes:
            self.node(node)
        for out in self.pairs.values():
            self.handed_back(out)
        roles = self.roles
        spec = StreamSpec(
            "time",
            roles,
            [p.name for p in roles.inputs if p.name in roles.time],
            [p.name for p in roles.inputs if p.name not in roles.time and p.name not in self.pairs],
            self.pairs,
            [],
            self.carried,
            self.windows,
            self.lens,
        )
        spec.cropped = self.cropped
        pads = {n.name for n in self.walked.nodes if n.op == "Pad" and n.name in self.windows}
        spec.pad_nodes = pads - set(self.cropped)
        made = [v for node in self.walked.nodes for v in node.outputs if v]
        spec.time_axes = {
            v: a
            for v in (*roles.time, *made)
            if self.has_time(v) and (a := self.traced.find(v, self.label)) is not None
        }
        spec.steps = {v: self.traced.steps(v, self.label) for v in spec.time_axes}
        inputs = {node.name: node.inputs[0] for node in self.walked.nodes if node.name in self.windows}
        spec.rows = {name: place for name, value in inputs.items() if (place := self.batch_in(value))}
        spec.ended = self.ended
        spec.stepwise = any(
            registry.find(n).stepwise and any(self.has_time(v) for v in n.inputs if v) for n in self.walked.nodes
        )
        waiting = self.behind_the_end()
        late = [v for v in _visible(self.graph, self.pairs) if v not in self.ended or v in waiting]
        spec.lag = max((self.lag.get(name, 0) for name in late), default=0)
        spec.rate = max((self.rate.get(name, 1) for name in _visible(self.graph, self.pairs)), default=1)
        for name in _visible(self.graph, self.pairs):
            if self.has_time(name):
                axis = self.traced.find(name, self.label)
                assert axis is not None
                spec.outputs.append(OutputSpec(name, "time", axis))
            else:
                spec.outputs.append(OutputSpec(name, "last" if name in self.ended else "side"))
        spec.states = (*_input_states(roles, self.walked, self.pairs), *self.state_infos)
        return spec

    def node(self, node: Node) -> None:
        timed = [i for i, v in enumerate(node.inputs) if v and self.has_time(v)]
        if isinstance(node, Repeat) and not any(i in timed for i, _ in carries.runs_over(node)):
            again = next((n for n in self.other.nodes if n.name == node.name), None) if self.other else None
            if isinstance(again, Repeat) and again.trips != node.trips:
                raise self.refuse(node, "runs as often as the sequence is long, but not along it")
        self.constants(node, timed)
        ended = [v for v in node.inputs if v in self.ended]
        if timed:
            self.timed(node, timed)
            if node.inputs[0] in self.pads and self.moves(node):
                self.pads |= dict.fromkeys(node.outputs, self.pads[node.inputs[0]])
            self.pace(node, timed)
            if ended and any(self.has_time(v) for v in node.outputs if v):
                raise self.refuse(node, f"uses the value at the end of the sequence ({ended[0]!r}) at every step")
        elif ended:
            self.ended |= {v for v in node.outputs if v}
            self.lag |= dict.fromkeys((v for v in node.outputs if v), max(self.lag.get(v, 0) for v in ended))
            self.repeats(node)
        elif carries.carries(node):
            self.repeats(node)
        if carries.carries(node) and any(i in timed for i, _ in carries.runs_over(node)):
            self.recurrence(node)

    def pace(self, node: Node, timed: list[int]) -> None:
        """Rate and lag of what a node makes: those of its slowest input; rates must agree."""
        rates = {self.rate.get(node.inputs[i], 1) for i in timed}
        if len(rates) > 1:
            raise self.refuse(node, "joins signals of different rates")
        lag = max(self.lag.get(node.inputs[i], 0) for i in timed)
        over = {i for i, _ in carries.runs_over(node)} if isinstance(node, Repeat) else set[int]()
        uneven = any(self.lag.get(node.inputs[i], 0) != lag for i in timed)
        if uneven and isinstance(node, (Repeat, Choice)) and not over.issuperset(timed):
            raise self.refuse(node, "joins signals of different delays")
        for value in node.outputs:
            if value and value not in self.lag:
                self.rate[value], self.lag[value] = rates.copy().pop(), lag

    def batch_in(self, value: str) -> tuple[int, int] | None:
        """The axis that has the batch, and the product of what stands before the batch in that axis."""
        name, at = next(iter(self.roles.batch.items()), ("", 0))
        label = self.traced.axes[name][at][0].label if name in self.traced.axes else 0
        axis = self.traced.find(value, label) if label else None
        if axis is None:
            return None
        factors = self.traced.axes[value][axis]
        inside = next(i for i, f in enumerate(factors) if self.traced.root(f.label) == self.traced.root(label))
        return axis, prod(f.extent for f in factors[:inside])

    def behind_the_end(self) -> set[str]:
        """Values that see padding behind the end of the sequence: they are final only when the stream is flushed."""
        found: set[str] = set()
        for node in self.walked.nodes:
            window = self.windows.get(node.name)
            joined = node.op == "Pad" and node.name not in self.cropped
            padded = window is not None and window[1].pad_end > 0 and not joined
            if padded or found.intersection(node.inputs):
                found.update(v for v in node.outputs if v)
        return found

    def repeats(self, node: Node) -> None:
        """A value that holds no time axis must not grow with the sequence."""
        if self.other is None:
            return
        for value in node.outputs:
            if value and value in self.other.facts and self.other.facts[value].shape != self.walked.facts[value].shape:
                raise self.refuse(node, "repeats a value from the end of the sequence over the whole sequence")

    def timed(self, node: Node, timed: list[int]) -> None:
        op = registry.find(node)
        found = links(node, self.walked) if not op.reshapes else []
        for o, value in enumerate(node.outputs):
            if not value:
                continue
            out_axis = self.traced.find(value, self.label)
            for i in timed:
                if op.reshapes:
                    if out_axis is None:
                        raise self.refuse(node, _reason(node))
                    continue
                axis = self.traced.find(node.inputs[i], self.label)
                mine = [x for x in found if x.input == i and x.axis == axis and x.output == o]
                if op.stepwise and not mine and out_axis is None:
                    continue  # a scale: that of the step
                self.link(node, i, value, out_axis, mine)

    def link(self, node: Node, index: int, value: str, out_axis: int | None, mine: list[Link]) -> None:
        for link in mine:
            if link.kind == "same" and link.out_axis == out_axis and not self.at_all_lengths(node, link):
                break
            if link.out_axis == out_axis and (link.kind == "same" or (link.kind == "scan" and carries.carries(node))):
                return
            if link.out_axis == out_axis and link.kind == "scan" and carries.sums(node):
                self.summed(node, index, link.axis)
                return
            if link.kind == "last" or (
                link.kind == "pick" and link.info in (-1, self.T - 1) and self.at_end(node, link)
            ):
                self.ended.add(value)
                return
            if link.kind == "slice":
                start, stop, step = link.info
                extent = self.walked.facts[node.inputs[index]].shape[link.axis]
                if (start, stop, step) == (0, extent, 1) and self.at_all_lengths(node, link):
                    return
                if link.out_axis == out_axis and self.crops(node, link):
                    self.crop(node, value, link.axis, start, extent - stop)
                    return
                if step == 1 and start == self.T - 1 and stop == self.T and self.at_end(node, link):
                    self.ended.add(value)
                    return
            if link.kind == "window" and link.out_axis == out_axis:
                if not self.slides_alike(node, link):
                    raise self.refuse(node, "pads or slides by the length of the sequence")
                self.window(node, index, value, link)
                return
        raise self.refuse(node, _reason(node))

    def slides_alike(self, node: Node, at: Link) -> bool:
        """Is the window the same, however long the sequence is."""
        place = (at.input, at.axis, at.output, at.out_axis)
        for walked in self.others:
            if any(name and name not in walked.facts for name in (*node.inputs, *node.outputs)):
                continue
            found = [x for x in links(node, walked) if (x.input, x.axis, x.output, x.out_axis) == place]
            if not any(x.kind == "window" and x.info == at.info for x in found):
                return False
        return True

    def at_end(self, node: Node, at: Link) -> bool:
        """Does the pick follow the end, however long the sequence is."""
        for walked in self.others:
            if any(name and name not in walked.facts for name in (*node.inputs, *node.outputs)):
                continue
            n = walked.facts[node.inputs[at.input]].shape[at.axis]
            found = [x for x in links(node, walked) if (x.input, x.axis, x.output) == (at.input, at.axis, at.output)]
            if not any(
                (x.kind == "pick" and x.info in (-1, n - 1))
                or (x.kind == "slice" and x.info == (n - 1, n, 1))
                or (x.kind == "same" and n == 1)
                for x in found
            ):
                return False
        return True

    def crops(self, node: Node, link: Link) -> bool:
        """Does a Slice take the same few steps off the ends, whatever the length."""
        source, value = node.inputs[0], node.outputs[0]
        taken: set[tuple[int, int]] = set()
        for walked in (self.walked, *self.others) if node.op == "Slice" and self.others else ():
            if source not in walked.facts or value not in walked.facts:
                continue
            before, after = (list(walked.facts[name].shape) for name in (source, value))
            parts = [x.info for x in links(node, walked) if x.kind == "slice" and x.axis == link.axis]
            start, stop, step = parts[0] if parts else (0, before[link.axis], 1)
            others = [n for a, n in enumerate(before) if a != link.axis] == [
                n for a, n in enumerate(after) if a != link.axis
            ]
            if step != 1 or not others:
                return False
            if after[link.axis] > 0:  # where all is cut off, how much of it is not seen
                taken.add((start, before[link.axis] - stop))
        return len(taken) == 1 and taken != {(0, 0)}

    def crop(self, node: Node, value: str, axis: int, begin: int, end: int) -> None:
        """Steps taken off the ends: of a window's own padding, or else a window that picks one of its positions."""
        source = node.inputs[0]
        if self.traced.alone(source, axis) == 0:
            raise self.refuse(node, "cuts an axis in which time is mixed with another")
        maker = self.window_before(source)
        if maker is not None and self.behind(maker.outputs[0]) == [node]:
            at, window = self.windows[maker.name]
            less = min(end, window.pad_end // window.stride)  # what it saw of the padding was cut off: a causal Conv
            self.windows[maker.name] = at, replace(window, pad_end=window.pad_end - less * window.stride)
            end -= less
        if begin + end > LARGEST_CROP:
            raise self.refuse(node, f"cuts {begin + end} steps off the ends of the sequence: more than a stream holds")
        pad = self.pads.get(source, Window(1))
        kernel = begin + end + 1
        self.windows[node.name] = axis, Window(kernel, 1, 1, pad.pad_begin, pad.pad_end, pad.pad_value)
        self.cropped[node.name] = begin
        self.rate[value] = rate = self.rate.get(source, 1)
        self.lag[value] = self.lag.get(source, 0) + rate * max(begin + end - pad.pad_begin, 0)

    def window_before(self, value: str) -> Node | None:
        """The window that makes a value, also behind moves of its axes."""
        maker = next((n for n in self.walked.nodes if value in n.outputs), None)
        while maker is not None and registry.moves(maker) == "axes":
            source = maker.inputs[0]
            maker = next((n for n in self.walked.nodes if source in n.outputs), None)
        return maker if maker is not None and maker.name in self.windows and maker.op != "Pad" else None

    def window(self, node: Node, index: int, value: str, link: Link) -> None:
        window: Window = link.info
        source = node.inputs[index]
        if self.traced.alone(source, link.axis) == 0:
            raise self.refuse(node, "slides over an axis in which time is mixed with another")
        if node.op == "Pad":
            self.pad(node, value, link.axis, window)
            return
        before = self.pads.get(source, Window(1))
        mine = window.pad_begin or window.pad_end
        if (before.pad_begin or before.pad_end) and mine and before.pad_value != window.pad_value:
            raise self.refuse(node, "pads time twice with different values")
        if node.op == "AveragePool" and mine and not node.attrs.get("count_include_pad", 0):
            raise self.refuse(node, "averages over fewer steps at the ends of the sequence")
        if node.attrs.get("ceil_mode", 0):
            raise self.refuse(node, "rounds the number of steps up at the end of the sequence")
        if (
            str(node.attrs.get("auto_pad", "NOTSET")) not in ("NOTSET", "VALID", "")
            and len(self.walked.facts[source].shape) > 3
        ):
            raise self.refuse(node, "pads by auto_pad over time and another axis")
        begin, end = window.pad_begin + before.pad_begin, window.pad_end + before.pad_end
        fill = (window.kernel - 1) * window.dilation
        pad = window.pad_value if mine else before.pad_value
        self.windows[node.name] = (link.axis, Window(window.kernel, window.stride, window.dilation, begin, end, pad))
        rate = self.rate.get(source, 1)
        self.rate[value] = rate * window.stride
        self.lag[value] = self.lag.get(source, 0) + rate * max(fill - begin, 0)

    def pad(self, node: Node, value: str, axis: int, window: Window) -> None:
        """Padding joins the windows behind it; at the end alone it may be steps of its own."""
        source, readers = node.inputs[0], self.behind(value)
        before = self.pads.get(source, Window(1, pad_value=window.pad_value))
        begin, end = before.pad_begin + window.pad_begin, before.pad_end + window.pad_end
        rate, lag = self.rate.get(source, 1), self.lag.get(source, 0)
        self.rate[value], self.lag[value] = rate, lag
        both = replace(window, pad_begin=begin, pad_end=end)
        alike = before.pad_value == window.pad_value
        if alike and begin >= 0 and readers and all(self.slides(n) for n in readers):
            self.pads[value] = both
            self.windows[node.name] = axis, window
            return
        if not alike or begin > 0 or [x.axis for x in links(node, self.walked) if x.kind == "window"] != [axis]:
            raise self.refuse(node, "pads time in front of a node that is no sliding window")
        self.windows[node.name] = axis, both
        self.cropped[node.name] = 0
        self.lag[value] = lag - rate * begin

    def behind(self, value: str) -> list[Node]:
        """The nodes that read a padded value, also behind moves of its axes; none where it is an output itself."""
        found: list[Node] = []
        for node in self.walked.nodes:
            if value in node.inputs:
                moves = self.moves(node) and node.inputs[0] == value
                past = [self.behind(v) for v in node.outputs if v] if moves else [[node]]
                if not all(past):
                    return []
                found += [n for part in past for n in part]
        return [] if value in {p.name for p in self.graph.outputs} else found

    def moves(self, node: Node) -> bool:
        """Does a node leave every value of a sequence as it is, and every step in its place."""
        return registry.moves(node) == "axes" or (node.op in ("Slice", "Split") and self.along_time(node) == {"same"})

    def slides(self, node: Node) -> bool:
        """Does a node read a few neighbouring steps for each of its own."""
        return self.along_time(node) == {"window"} or (node.op == "Slice" and self.along_time(node) == {"slice"})

    def along_time(self, node: Node) -> set[str]:
        """How the time axis of the first input goes on."""
        axis = self.traced.find(node.inputs[0], self.label)
        return {x.kind for x in links(node, self.walked) if x.input == 0 and x.axis == axis}

    def constants(self, node: Node, timed: list[int]) -> None:
        """A constant must not know the position in the sequence or its length."""
        sizes = registry.find(node).sizes
        for i, value in enumerate(node.inputs):
            if not value or i in sizes or i in timed or self.positions(node, i):
                continue
            const = self.walked.facts[value].const
            if const is None:
                continue
            for walked in self.others:
                if value not in walked.facts:
                    continue
                again = walked.facts[value].const
                if again is None or (again.shape == const.shape and not _equal(again, const)):
                    raise self.refuse(node, f"depends on the length of the sequence ({value!r})")
                if again.shape != const.shape and not self.uniform(const, again):
                    raise self.refuse(node, f"depends on the position in the sequence ({value!r})")

    def positions(self, node: Node, index: int) -> bool:
        """Is this input the positions along time that a Gather takes; `link` sees whether these are all."""
        axis = int(attr(node, "axis", 0)) if node.op == "Gather" and index == 1 else None
        rank = len(self.walked.facts[node.inputs[0]].shape)
        return axis is not None and axis % rank == self.traced.find(node.inputs[0], self.label)

    @staticmethod
    def uniform(const: Array, again: Array) -> bool:
        """Repeats one value along every axis that follows the length."""
        if const.ndim != again.ndim or const.size == 0 or again.size == 0:
            return False
        axes = [a for a in range(const.ndim) if const.shape[a] != again.shape[a]]
        for array in (const, again):
            for a in axes:
                if not _equal(array, np.repeat(np.take(array, [0], a), array.shape[a], a)):
                    return False
        first: Any = tuple(slice(0, 1) if a in axes else slice(None) for a in range(const.ndim))
        return _equal(const[first], again[first])

    def recurrence(self, node: Node) -> None:
        root = self.traced.root(self.label)
        over = carries.runs_over(node)
        if all(self.traced.alone(node.inputs[i], axis) != root for i, axis in over) and not self.of_one_step(node):
            return  # time is its batch, or part of it: nothing is carried
        lens = node.inputs[4] if recurrent.is_recurrent(node) and len(node.inputs) > 4 else ""
        if lens:
            self.lens[node.name] = lens
        for what, index, output in carries.states(node):
            init = node.inputs[index] if index < len(node.inputs) else ""
            deps = self.traced.deps.get(init, frozenset()) if init else frozenset()
            if any(label in self.state_labels for label in deps):
                self.passed_on(node, init)
                continue  # the graph itself passes the state through
            if init and self.traced.depends(init, self.label):
                raise self.refuse(node, f"starts from a state computed from the sequence itself ({init!r})")
            out = node.outputs[output] if output < len(node.outputs) else ""
            public = next((p.name for p in self.graph.outputs if out and p.name == out), None)
            label = f"{node.name}.{what}"
            self.carried.append(Carried(node.name, what, init, label, public))
            const = self.walked.facts[init].const if init else None
            kind = (
                "zero"
                if not init or (const is not None and not const.any())
                else "computed"
                if const is None
                else "constant"
            )
            shape, dtype, axis = carries.state_memory(node, self.walked.facts, what)
            place = carries.batch_axis(node)
            if axis is not None and place is not None:
                shape, axis = self.signals(shape, axis, node.inputs[place[0]], place[1])
            if axis is not None:
                shape = (*shape[:axis], self.roles.batch_size or 1, *shape[axis + 1 :])
            self.state_infos.append(StateInfo(label, public, shape, dtype, axis, kind))

    def of_one_step(self, node: Node) -> bool:
        """In a file of one step and one signal their axes cannot be told apart: does the node run over one of them."""
        labels = [self.traced.alone(node.inputs[i], axis) for i, axis in carries.runs_over(node)]
        places = [place for label in labels if label for place in self.traced.inputs_of(label)]
        return self.roles.time_size == 1 and any(
            name in self.roles.time and self.walked.facts[name].shape[axis] == 1 for name, axis in places
        )

    def passed_on(self, node: Node, value: str) -> None:
        """A state has to reach its recurrence as it came: what a mask does to it is done once a call."""
        made = {name: n for n in self.walked.nodes for name in n.outputs if name}
        todo, seen = [value], set[str]()
        while todo:
            maker = made.get(todo.pop())
            if maker is None or maker.name in seen or carries.carries(maker):
                continue
            if not registry.moves(maker):
                raise _refusal(maker, f"changes a state once a call, before {node} starts from it", _EachCallError)
            seen.add(maker.name)
            todo += [name for name in maker.inputs if name in made]

    def handed_back(self, value: str) -> None:
        """And what is left of it has to be handed out as it is."""
        made = {name: n for n in self.walked.nodes for name in n.outputs if name}
        todo, seen = [value], set[str]()
        while todo:
            value = todo.pop()
            maker = made.get(value)
            if maker is None or maker.name in seen or carries.carries(maker) or self.has_time(value):
                continue
            if not registry.moves(maker):
                raise _refusal(maker, "changes a state once a call, behind the sequence", _EachCallError)
            seen.add(maker.name)
            todo += [name for name in maker.inputs if name in made]

    def summed(self, node: Node, index: int, axis: int) -> None:
        """The sum over all steps so far is a state."""
        source = node.inputs[index]
        if self.traced.alone(source, axis) != self.traced.root(self.label):
            raise self.refuse(node, "sums over an axis in which time is mixed with another")
        label = f"{node.name}.sum"
        self.carried.append(Carried(node.name, "sum", "", label, None))
        shape, dtype, _ = carries.state_memory(node, self.walked.facts, "sum")
        place = self.batch_place(source)
        batch = None
        if place is not None:
            shape, batch = self.signals(shape, place - (place > axis), source, place)
        if batch is not None:
            shape = (*shape[:batch], self.roles.batch_size or 1, *shape[batch + 1 :])
        self.state_infos.append(StateInfo(label, None, shape, dtype, batch, "zero"))

    def batch_place(self, value: str) -> int | None:
        """The axis of a value in which the signals of a batch lie."""
        if not self.roles.batch:
            return None
        name, at = next(iter(self.roles.batch.items()))
        return self.traced.find(value, self.traced.root(self.traced.axes[name][at][0].label))

    def signals(self, shape: tuple[int, ...], axis: int, source: str, place: int) -> tuple[tuple[int, ...], int | None]:
        """A state's shape and batch axis where the batch of its recurrence is that of the stream, or a product with it
        (the bands of a signal): such a product is shown as the axes it consists of."""
        if not self.roles.batch:
            return shape, None
        name, at = next(iter(self.roles.batch.items()))
        batch = self.traced.root(self.traced.axes[name][at][0].label)
        factors = [f for f in self.traced.axes[source][place] if f.label or f.extent != 1]
        if self.traced.find(source, batch) != place or prod(f.extent for f in factors) != shape[axis]:
            return shape, None
        inside = next(i for i, f in enumerate(factors) if f.label and self.traced.root(f.label) == batch)
        if factors[inside].extent != self.roles.analysis_sizes()[1]:
            return shape, None
        return (*shape[:axis], *(f.extent for f in factors), *shape[axis + 1 :]), axis + inside


def _equal(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
