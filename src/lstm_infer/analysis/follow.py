"""One pass over the nodes: what each does with the time axis, and which values hold the end of the sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import NotStreamableError
from ..graph.ir import Graph, Node
from ..graph.links import Link
from ..ops import carries, registry
from ..ops.control import Repeat
from ..records import StateInfo
from ..walk.walk import Walk
from . import lengths
from .axes import links
from .carried import CarriedStates
from .ground import Ground
from .refusal import EachCallError, MixedError, mixed, reason, refusal
from .roles import Roles
from .spec import OutputSpec, StreamSpec
from .states import Pairs
from .windows import Pace, Windows

__all__ = ["follow", "input_states", "visible"]


def follow(ground: Ground) -> StreamSpec:
    """How a model streams along its time axis.

    Raises
    ------
    NotStreamableError
        A node needs the whole input.
    """
    lengths.check_branches(ground)
    flow = _Flow(ground)
    for node in ground.walked.nodes:
        flow.node(node)
    for out in ground.pairs.values():
        flow.states.check_handed_back(out, flow.has_time)
    return flow.spec()


def visible(graph: Graph, pairs: Pairs) -> list[str]:
    """Outputs that a stream returns: all but those that hold nothing but states that come back as inputs; all where none
    would be left."""
    left: dict[str, int] = {}
    for place in (state.place for state in pairs.next.values()):
        if place.part is not None:
            left[place.output] = left.get(place.output, place.part.extent) - (place.part.stop - place.part.start)
    fed_back = {name for name in pairs.values() if left.get(name, 0) <= 0}
    return [p.name for p in graph.outputs if p.name not in fed_back] or [p.name for p in graph.outputs]


def input_states(roles: Roles, walked: Walk, pairs: Pairs) -> list[StateInfo]:
    """The states that the graph passes in and out."""
    found, unknown = [], roles.unknown()
    for port in roles.inputs:
        if port.name in pairs:
            axis = roles.batch.get(port.name)
            walked_at = enumerate(walked.facts[port.name].shape)
            shape = [None if (port.name, a) in unknown else n for a, n in walked_at]
            if axis is not None:
                shape[axis] = roles.batch_size or 1
            why = pairs.next[port.name].evidence
            found.append(StateInfo(port.name, pairs[port.name], tuple(shape), port.dtype, axis, "input", why))
    return found


def _for_whom(ground: Ground, node: Node) -> str:
    """The recurrence that runs backwards over what a node reversed."""
    found = {v for v in node.outputs if v}
    for later in ground.walked.nodes:
        if found.intersection(later.inputs):
            if carries.carries(later) and any(later.inputs[i] in found for i, _ in carries.runs_over(later)):
                return f" for {later}, which runs backwards over it as one direction of a bidirectional layer does"
            found |= {v for v in later.outputs if v}
    return ""


def _stays(ground: Ground, state: str, out: str) -> bool:
    """Is a state handed out as it came in: all steps see the same."""
    while out in ground.makers and registry.moves(ground.makers[out]) == "axes":
        out = ground.makers[out].inputs[0]
    return out == state


class _Flow:
    """The pass: nodes are given in graph order."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.pace = Pace(ground)
        self.windows = Windows(ground, self.pace)
        self.states = CarriedStates(ground)
        self.ended: set[str] = set()
        self.begun = {name for name, out in ground.pairs.items() if not _stays(ground, name, out)}
        """Values that hold what the call began with: states, and what is made of them alone."""

    def has_time(self, value: str) -> bool:
        """Does a value hold steps of the sequence."""
        return value not in self.ended and self.ground.axis(value) is not None

    def node(self, node: Node) -> None:
        """What a node does with time; refused where it needs the whole sequence."""
        timed = [i for i, v in enumerate(node.inputs) if v and self.has_time(v)]
        ended = [v for v in node.inputs if v in self.ended]
        begun = [i for i, v in enumerate(node.inputs) if v in self.begun and v not in self.ended]
        made = [v for v in node.outputs if v]
        over = carries.carries(node) and any(i in timed for i, _ in carries.runs_over(node))
        if isinstance(node, Repeat) and not any(i in timed for i, _ in carries.runs_over(node)):
            lengths.check_trips(self.ground, node)
        steady = all((self.pace.lag(node.inputs[i]), self.pace.rate(node.inputs[i])) == (0, 1) for i in timed)
        lengths.check_constants(self.ground, node, timed, steady=bool(timed) and steady)
        if timed:
            self._timed(node, timed)
            self.windows.moved(node)
            self.pace.node(node, timed)
            self._check_begun(node, begun, over)
            if ended and any(map(self.has_time, made)):
                raise refusal(node, f"uses the value at the end of the sequence ({ended[0]!r}) at every step")
        elif ended:
            self.ended |= set(made)
            self.pace.ends(made, ended)
            if begun and not registry.moves(node):
                read = (
                    f"reads the state that the call began with ({node.inputs[begun[0]]!r}) at the end of the sequence"
                )
                raise refusal(node, read, EachCallError)
        elif begun:
            self.begun |= set(made)
        if not timed and (ended or carries.carries(node)):
            lengths.check_grows(self.ground, node)
        if over:
            self.states.recurrence(node)

    def _check_begun(self, node: Node, begun: Sequence[int], over: bool) -> None:
        """A state is read by the recurrence that starts from it; another step cannot know what the call began with."""
        starts = {index for _, index, _ in carries.states(node)} if over else set[int]()
        if late := [node.inputs[i] for i in begun if i not in starts]:
            raise refusal(node, f"reads the state that the call began with ({late[0]!r}) at every step")

    def _timed(self, node: Node, timed: Sequence[int]) -> None:
        """A node that reads steps: each of its outputs has time at a known axis, or holds the end."""
        op = registry.find(node)
        found = links(node, self.ground.walked) if not op.reshapes else []
        for o, value in enumerate(node.outputs):
            out_axis = self.ground.axis(value) if value else None
            if op.reshapes and value and out_axis is None:
                raise refusal(node, reason(node), MixedError)
            for i in timed if value and not op.reshapes else ():
                axis = self.ground.axis(node.inputs[i])
                mine = [x for x in found if x.input == i and x.axis == axis and x.output == o]
                if op.stepwise and not mine and out_axis is None:
                    continue  # a scale: that of the step
                if not any(self._link(node, value, out_axis, link) for link in self._whole(node, out_axis, mine)):
                    raise self._stops(node, mine, out_axis)

    def _stops(self, node: Node, mine: Sequence[Link], out_axis: int | None) -> NotStreamableError:
        """Why time does not pass, where it does not."""
        if any(x.kind == "slice" and x.info[2] < 0 for x in mine) or node.op == "ReverseSequence":
            return refusal(node, "reverses time" + _for_whom(self.ground, node))
        if out_axis is None and any(x.kind == "same" for x in mine):
            return mixed(node, "meets, in another order,")
        place = self.ground.place(node.inputs[mine[0].input]) if mine and mine[0].kind in ("window", "slice") else None
        if place is not None and place.outer == 1 and place.inner > 1:
            return refusal(node, "slides over, or cuts, an axis that has several positions for each step", MixedError)
        told = (lengths.told_part(self.ground, node, link) for link in mine if link.kind in ("slice", "pick"))
        return refusal(node, next(filter(None, told), "") or reason(node))

    def _whole(self, node: Node, out_axis: int | None, mine: Sequence[Link]) -> list[Link]:
        """The links up to one that seems to pass time on, but does so at some lengths only."""
        for i, link in enumerate(mine):
            if link.kind == "same" and link.out_axis == out_axis and not lengths.passes(self.ground, node, link):
                return list(mine[:i])
        return list(mine)

    def _link(self, node: Node, value: str, out_axis: int | None, link: Link) -> bool:
        """Does time reach an output along this link, in a way that can be streamed."""
        along = link.out_axis == out_axis
        if along and (link.kind == "same" or (link.kind == "scan" and carries.carries(node))):
            return True
        if along and link.kind == "scan" and carries.sums(node):
            self.states.summed(node, link.input, link.axis)
            return True
        last = link.kind == "pick" and link.info in (-1, self.ground.extent - 1)
        if link.kind == "last" or (last and lengths.at_end(self.ground, node, link)):
            self.ended.add(value)
            return True
        if link.kind == "spread" and along and lengths.alike(self.ground, node, link):
            source = node.inputs[link.input]
            if lengths.sized(self.ground, node) and (self.pace.lag(source), self.pace.rate(source)) != (0, 1):
                raise refusal(
                    node, "takes its size from the length of the sequence, of which not every step is there yet"
                )
            return True
        if link.kind == "slice" and self._slice(node, value, along, link):
            return True
        if link.kind == "window" and along:
            if not lengths.alike(self.ground, node, link):
                raise refusal(node, "pads or slides by the length of the sequence")
            self.windows.window(node, link.input, value, link)
            return True
        return False

    def _slice(self, node: Node, value: str, along: bool, link: Link) -> bool:
        """A part of the sequence: all of it, all but a few steps at its ends, every other step, or the last step."""
        start, stop, step = link.info
        extent = self.ground.walked.facts[node.inputs[link.input]].shape[link.axis]
        if (start, stop, step) == (0, extent, 1) and lengths.passes(self.ground, node, link):
            return True
        if along and lengths.cropped(self.ground, node, link):
            self.windows.crop(node, value, link.axis, start, extent - stop)
            return True
        if along and step > 1 and lengths.strided(self.ground, node, link):
            self.windows.crop(node, value, link.axis, start, 0, step)
            return True
        n = self.ground.extent
        if step == 1 and start == n - 1 and stop == n and lengths.at_end(self.ground, node, link):
            self.ended.add(value)
            return True
        return False

    def spec(self) -> StreamSpec:
        """The result, once all nodes are seen."""
        ground, roles = self.ground, self.ground.roles
        made = [v for node in ground.walked.nodes for v in node.outputs if v]
        axes = {v: a for v in (*roles.time, *made) if self.has_time(v) and (a := ground.axis(v)) is not None}
        shown = visible(ground.graph, ground.pairs)
        waiting = self.windows.behind_the_end()
        late = [v for v in shown if v not in self.ended or v in waiting]
        kept = {value for node in ground.walked.nodes for value in self._kept(node, axes)}
        return StreamSpec(
            "time",
            roles,
            tuple(p.name for p in roles.inputs if p.name in roles.time),
            tuple(p.name for p in roles.inputs if p.name not in roles.time and p.name not in ground.pairs),
            ground.pairs,
            tuple(map(self._output, shown)),
            states=(*input_states(roles, ground.walked, ground.pairs), *self.states.infos),
            carried=tuple(self.states.carried),
            windows=self.windows.windows,
            lens=self.states.lens,
            time_axes=axes,
            steps={v: ground.traced.steps(v, ground.label) for v in axes},
            rows={value: place for value in sorted(kept) if (place := self._batch_in(value))},
            ended=frozenset(self.ended),
            lag=max(map(self.pace.lag, late), default=0),
            rate=max(map(self.pace.rate, shown), default=1),
            stepwise=any(
                registry.find(n).stepwise and any(self.has_time(v) for v in n.inputs if v) for n in ground.walked.nodes
            ),
            cropped=self.windows.cropped,
            pad_nodes=self.windows.pad_nodes(),
        )

    def _output(self, name: str) -> OutputSpec:
        axis = self.ground.axis(name)
        if axis is not None and self.has_time(name):
            if not self.ground.leads(name) and name in self.ground.makers:
                raise mixed(self._mixer(name), f"lays output {name!r} along")
            return OutputSpec(name, "time", axis)
        if name in self.begun and name in self.ground.makers:
            raise refusal(
                self.ground.makers[name], f"gives out the state that the call began with ({name!r})", EachCallError
            )
        return OutputSpec(name, "last" if name in self.ended else "side")

    def _mixer(self, value: str) -> Node:
        """The node behind which something is run through outside of time: the first on the way to a value."""
        while True:
            node = self.ground.makers[value]
            before = (
                v for v in node.inputs if v in self.ground.makers and self.has_time(v) and not self.ground.leads(v)
            )
            value = next(before, "")
            if not value:
                return node

    def _kept(self, node: Node, axes: Mapping[str, int]) -> set[str]:
        """What a node may have to keep steps of: a window that of its input, a node with several inputs those ahead."""
        timed = {value for value in node.inputs if value in axes}
        return timed if len(timed) > 1 else set(node.inputs[:1] if node.name in self.windows.windows else ())

    def _batch_in(self, value: str) -> tuple[int, int] | None:
        """The axis that has the batch, and the product of what stands before the batch in that axis."""
        traced = self.ground.traced
        name, at = next(iter(self.ground.roles.batch.items()), ("", 0))
        label = traced.axes[name][at][0].label if name in traced.axes else 0
        place = traced.place(value, label) if label else None
        return None if place is None else (place.axis, place.outer)
