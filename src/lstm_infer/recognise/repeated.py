"""Steps that were unrolled over time: the copies of a loop's body become one Scan, whatever stands in them.

`positions` finds sequences of which every position is read, `copies` the copies and what they read. The copies that are
whole are equal node by node, so that the Scan does the same for them. The first ones may have been folded from known
first states: what the body makes of zeros (or of another value that the file has there) is tried against what the file
makes, at several sizes and magnitudes, and where they differ the copies stay. Behind the copies, values of all steps
may be stacked, and those of the last be read. The Scan has the form that loops.py describes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..frozen import frozen
from ..graph.edit import CircleError, Names, captured, live, ordered, transaction
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops.common import pass_broadcast
from ..ops.registry import attr, find
from .begin import first_states
from .copies import Before, Copies, Count, Here, Inside, Outside, Place, Source, of_node
from .known import Known, know
from .loops import rename
from .merged import merge_equal
from .positions import Read, is_worth_it, open_splits, read_sequences

__all__ = ["roll_all"]


MOST_LOOPS = 32
"""In one graph, one after the other."""


def roll_all(graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array]) -> list[str] | None:
    """Roll up unrolled loops in place, one after the other; returns a text each.

    None: there are none. Empty: there is one that cannot be; the graph is as it was.
    """
    if not is_worth_it(graph):
        return None
    texts: list[str] = []
    touched: set[str] = set()
    with transaction(graph) as change:
        open_splits(graph, Names.of(graph))
        inputs_then, begun = inputs, know(graph, inputs, constants)
        known = begun
        if begun is None or not read_sequences(graph, begun):
            return None
        while known is not None and len(texts) < MOST_LOOPS:
            done = _roll_one(graph, known, Names.of(graph), touched)
            if done is None:
                break
            texts.append(done.text)
            inputs_then = [_pinned(port, done) for port in inputs_then]
            known = know(graph, inputs_then, constants)
        if texts and known is not None:
            left = {read.data for reads in read_sequences(graph, known) for read in reads.values()}
            if not left & touched and know(graph, inputs, constants) is not None:
                graph.unrolled = 0
                change.keep()
                return texts
    graph.unrolled = _unrolled(graph, begun)
    return []


def _unrolled(graph: Graph, known: Known) -> int:
    """How many steps there are where each reads what the one before made."""
    for reads in read_sequences(graph, known):
        for reverse in (False, True):
            copies = Copies(graph, known, reads, reverse)
            if copies.chained():
                return copies.n
    return 0


_Early = dict[tuple[Place, int], str]
"""As `Copies.early`."""


@frozen
class _Done:
    """A loop that was rolled up."""

    text: str
    read: set[tuple[str, int]]
    """Sequences, and the axis that it runs over."""
    steps: int


def _pinned(port: Port, done: _Done) -> Port:
    """An input whose open axis has the length that the loop had: what is unrolled still is right there alone."""
    if port.shape is None:
        return port
    sizes = [
        done.steps if (port.name, axis) in done.read and not isinstance(size, int) else size
        for axis, size in enumerate(port.shape)
    ]
    return replace(port, shape=tuple(sizes))


def _roll_one(graph: Graph, known: Known, names: Names, touched: set[str]) -> _Done | None:
    """One loop, in place; None where there is none.

    touched: what loops that were rolled up before read and made: a body without a state is rolled up over those alone.
    """
    merge_equal(graph)
    for reads in _together(graph, read_sequences(graph, known)):
        for reverse in (False, True):
            copies = Copies(graph, known, reads, reverse)
            if not copies.agree() or not (copies.lags() or {read.data for read in reads.values()} <= touched):
                continue
            text = _Rolled(copies, names, touched).scan()
            if text:
                return _Done(text, {(read.data, read.axis) for read in reads.values()}, copies.n)
    return None


def _together(graph: Graph, found: Sequence[dict[str, Read]]) -> Iterator[dict[str, Read]]:
    """Sequences that one loop may run over: all of a length, or those of them that are made of no position of another, as
    where one loop over all steps stands behind another."""
    for reads in found:
        yield reads
        behind = set(reads)
        for node in graph.nodes:
            if behind.intersection(node.inputs) or behind.intersection(captured(node)):
                behind.update(node.outputs)
        first = {value: read for value, read in reads.items() if read.data not in behind}
        if 0 < len(first) < len(reads):
            yield first


@frozen
class _Stack:
    """A value of all copies along an axis, in the order of the copies or against it."""

    place: Place
    axis: int
    turned: bool
    joined: bool
    """The axis is one of the value itself, of extent 1."""
    lag: int = 0
    """1: each copy gives what the one before it made, the first one what the loop begins with."""


@dataclass
class _Rolled:
    """The Scan in the place of the copies."""

    copies: Copies
    names: Names
    touched: set[str]
    stacked: dict[_Stack, str] = field(default_factory=dict)
    """Scan outputs."""
    lasts: dict[Place, str] = field(default_factory=dict)
    """Last values of states."""

    def scan(self) -> str:
        copies, graph = self.copies, self.copies.graph
        hint = copies.steps[copies.model][0].name
        self.hint = self.names.fresh(f"{hint}/scan")
        self.after: list[Node] = []
        gone = {id(n) for step in copies.steps[copies.whole : copies.model + 1] for n in step}
        gone |= {id(copies.maker[v]) for late in copies.late.values() for p, v in late.items() if p.node >= 0}
        self.kept = [n for n in graph.nodes if id(n) not in gone]
        self._replace_stacks()
        self.lags = copies.lags()
        if not self._read_elsewhere():
            return ""
        shown = self._shown()
        first = None if shown is None else first_states(copies, shown, self._outer_const, self.names)
        if first is None:
            return ""
        before, starts = first
        node = self._node(starts)
        if node is None:
            return ""
        nodes = live([*before, *self.kept, node, *self.after], [port.name for port in graph.outputs])
        try:
            nodes = ordered(nodes)
        except CircleError:  # what stands between the copies reads some and feeds others
            return ""
        if self._is_one_left(nodes):
            return ""
        graph.nodes[:] = nodes
        self.touched.update(read.data for read in copies.reads.values())
        what = "reverse " if copies.reverse else ""
        return f"{hint}: unrolled over {copies.n} steps: rolled into a {what}loop over the sequence"

    def _is_one_left(self, nodes: Sequence[Node]) -> bool:
        """Is there a node still, in this order of all, that belongs to a copy before the last."""
        copies = self.copies
        level = {v: copies.time(read.position) for v, read in copies.reads.items()}
        for node in nodes:
            values = [v for v in node.outputs if v not in copies.reads]
            at = max((level.get(v, -1) for v in of_node(node)), default=-1)
            if values and 0 <= at < copies.n - 1:
                return True
            level.update(dict.fromkeys(values, at))
        return False

    # ---- what is read of the copies -----------------------------------------------------------------------

    def _replace_stacks(self) -> None:
        """Every Concat of one value of all copies is an output of the Scan."""
        stacks = {id(node): stack for node in self._needed() if (stack := self._stack(node)) is not None}
        for node in self.kept:
            if id(node) in stacks:
                name = self._scanned(stacks[id(node)])
                self.after.append(Node("Identity", node.name, [name], list(node.outputs), {}, "", 13))
        self.kept = [n for n in self.kept if id(n) not in stacks]

    def _needed(self) -> list[Node]:
        """The nodes outside that the outputs of the graph need, the copies aside."""
        behind = {id(n) for n in self.after}
        alive = live([*self.kept, *self.after], [port.name for port in self.copies.graph.outputs])
        return [n for n in alive if id(n) not in behind]

    def _scanned(self, stack: _Stack) -> str:
        if stack not in self.stacked:
            self.stacked[stack] = self.names.fresh(f"{self.hint}/stack")
            self.touched.add(self.stacked[stack])
        return self.stacked[stack]

    def _stack(self, node: Node) -> _Stack | None:
        """What a Concat stacks of all copies in order, and along which axis."""
        copies = self.copies
        if node.op != "Concat" or node.domain or len(node.inputs) != copies.n:
            return None
        axis = int(attr(node, "axis", 0)) % copies.known.rank(node.outputs[0])
        if any(copies.known.extent(v, axis) != 1 for v in node.inputs):
            return None
        for turned in (False, True):
            for lag in (0, 1):
                found = self._stacked_as(node, _Stack(Place(0), axis, turned, True, lag))
                if found is not None:
                    return found
        return None

    def _stacked_as(self, node: Node, stack: _Stack) -> _Stack | None:
        """The stack with its place, if the node is one that reads in this direction, so many copies back."""
        copies, lag = self.copies, stack.lag
        values = dict(enumerate(node.inputs[::-1] if stack.turned else node.inputs, -lag))
        places = {copies.places[t].get(values[t]) for t in range(copies.whole, copies.model + 1)}
        place = places.pop() if len(places) == 1 else None
        if place is None or place.node < 0:
            return None
        if any(late.get(place) != values[t] for t, late in copies.late.items() if t in values):
            return None
        early = {(place, t): values[t] for t in range(-lag, copies.whole)}
        if any(copies.early.get(key, value) != value for key, value in early.items()):
            return None
        stack, early = self._unwidened(replace(stack, place=place), early)
        if lag:
            copies.shown_late[stack.place] = lag
        copies.early.update(early)
        return stack

    def _unwidened(self, stack: _Stack, early: _Early) -> tuple[_Stack, _Early]:
        """A value that an Unsqueeze gives the axis of its stack is stacked without. early: the stack in the first copies."""
        copies = self.copies
        node, source = copies.steps[copies.model][stack.place.node], copies.sources[stack.place.node][0]
        axes = copies.known.const(node.inputs[1]) if node.op == "Unsqueeze" and not node.domain else None
        rank = copies.known.rank(node.outputs[0])
        if axes is None or axes.size != 1 or int(axes.reshape(-1)[0]) % rank != stack.axis:
            return stack, early
        if not isinstance(source, Inside):
            return stack, early
        inner: _Early = {}
        for (_, t), value in early.items():  # the first copies have their own Unsqueeze
            wide = copies.maker.get(value)
            key = source.place, t
            if wide is None or wide.op != "Unsqueeze" or copies.early.get(key, wide.inputs[0]) != wide.inputs[0]:
                return stack, early
            inner[key] = wide.inputs[0]
        return replace(stack, place=source.place, joined=False), {**early, **inner}

    def _read_elsewhere(self) -> bool:
        """Values of the copies that other nodes read: last ones, or one of each copy."""
        copies, rest = self.copies, self._needed()
        made = {v for n in rest for v in n.outputs}
        read = {port.name for port in copies.graph.outputs}
        for node in [*rest, *self.after]:
            read |= {*node.inputs, *captured(node)}
        where: dict[str, tuple[Place, int]] = {
            v: (p, t) for t, late in copies.late.items() for p, v in late.items() if p.node >= 0
        }
        for t in range(copies.whole, copies.model + 1):
            where.update({v: (p, t) for v, p in copies.places[t].items() if p.node >= 0})
        for (place, t), v in copies.early.items():
            if t >= 0 and place.node >= 0 and copies.level.get(v, -1) == t:
                where.setdefault(v, (place, t))
        picked: dict[Place, dict[int, str]] = {}
        for value, (place, t) in where.items():
            if value not in read or (t < copies.whole and value in made and not self._is_read_late(value, rest)):
                continue
            if t == copies.n - 1 and place in self.lags:
                last = self.lasts.setdefault(place, self.names.fresh(f"{self.hint}/last"))
                self.after.append(Node("Identity", value, [last], [value], {}, "", 13))
            else:
                picked.setdefault(place, {})[t] = value
        return all(self._pick(place, values) for place, values in picked.items())

    def _is_read_late(self, value: str, rest: Iterable[Node]) -> bool:
        """Is a value of a first copy read by a node that belongs to none of the first."""
        copies = self.copies
        users = [n for n in rest if value in n.inputs]
        return any(copies.level.get(v, -1) not in range(copies.whole) for n in users for v in n.outputs)

    def _pick(self, place: Place, values: Mapping[int, str]) -> bool:
        """Take positions out of a stack: that of the last copy, or of each."""
        copies = self.copies
        last = copies.n - 1
        if set(values) not in ({last}, set(range(copies.n))):
            return False
        name = self._scanned(_Stack(place, 0, copies.reverse, False))
        self.kept = [n for n in self.kept if not any(v in n.outputs for v in values.values())]
        for t, value in values.items():
            at = last - t if copies.reverse else t
            if set(values) == {last}:
                at = 0 if copies.reverse else -1
            index = self._outer_const(np.array(at, np.int64))
            self.after.append(Node("Gather", self.names.fresh(value), [name, index], [value], {"axis": 0}, "", 13))
        return True

    def _shown(self) -> dict[tuple[Place, int], str] | None:
        """What the first copies have to make: (what, copy) to the value in the file."""
        copies = self.copies
        found = {}
        for stack in self.stacked:
            for t in range(copies.whole):
                value = copies.early.get((stack.place, t))
                if value is None:
                    return None
                found[stack.place, t] = value
        return found

    def _outer_const(self, array: Array) -> str:
        name = self.names.fresh(f"{self.hint}/const")
        self.copies.graph.consts[name] = array
        return name

    # ---- the Scan -----------------------------------------------------------------------------------------

    def _node(self, starts: Mapping[tuple[Place, int], str]) -> Node | None:
        copies = self.copies
        body = _Body(copies, self.names, self.hint, self.lags)
        if not body.fill():
            return None
        states = [(place, lag) for place, most in self.lags.items() for lag in range(1, most + 1)]
        results = [body.result(stack) for stack in self.stacked]
        ends = [body.end(place, lag) for place, lag in states]
        inputs = [starts[state] for state in states]
        inner = [body.states[state] for state in states]
        outputs = [self.lasts.get(place, "") if lag == 1 else "" for place, lag in states]
        if body.counter is not None:
            inputs.append(self._outer_const(np.array(0, np.int64)))
            inner.append(body.counter[0])
            ends.append(body.counter[1])
            outputs.append("")
        ports = [Port(name, body.dtypes[name], None) for name in (*inner, *body.ports.values())]
        outs = [Port(name, body.dtypes[name], None) for name in (*ends, *results)]
        graph = Graph("step", ports, outs, live(body.nodes, [*ends, *results]), body.consts)
        attrs = {
            "body": graph, "num_scan_inputs": len(body.ports), "scan_input_axes": [axis for _, axis in body.ports],
            "scan_input_directions": [int(copies.reverse)] * len(body.ports),
            "scan_output_axes": [stack.axis for stack in self.stacked],
            "scan_output_directions": [int(stack.turned) for stack in self.stacked],
        }  # fmt: skip
        inputs += [data for data, _ in body.ports]
        return Node("Scan", self.hint, inputs, [*outputs, *self.stacked.values()], attrs, "", 16)  # type: ignore[arg-type]


class _Body:
    """The nodes of the model, reading states and positions."""

    def __init__(self, copies: Copies, names: Names, hint: str, lags: Mapping[Place, int]) -> None:
        self.copies, self.names, self.hint = copies, names, hint
        self.nodes: list[Node] = []
        self.consts: dict[str, Array] = {}
        self.dtypes: dict[str, np.dtype] = {}
        self.ports: dict[tuple[str, int], str] = {}
        self.counter: tuple[str, str] | None = None
        self.values: dict[Place, str] = {}
        self.states = {
            (place, lag): self._named("state", self._dtype(place))
            for place, most in lags.items()
            for lag in range(1, most + 1)
        }

    def _dtype(self, place: Place) -> np.dtype:
        return self.fact(place).dtype

    def fact(self, place: Place) -> Fact:
        copies = self.copies
        value = copies.value(place, copies.model)
        assert value is not None
        return copies.known.walks[0][value]

    def _named(self, what: str, dtype: np.dtype) -> str:
        name = self.names.fresh(f"{self.hint}/{what}")
        self.dtypes[name] = dtype
        return name

    def _add(self, op: str, inputs: list[str], dtype: np.dtype, **attrs: object) -> str:
        name = self._named(op.lower(), dtype)
        self.nodes.append(Node(op, name, inputs, [name], attrs, "", 18))  # type: ignore[arg-type]
        return name

    def _const(self, array: Array) -> str:
        name = self._named("const", array.dtype)
        self.consts[name] = array
        return name

    def fill(self) -> bool:
        """All nodes; False where a count is read as a position, say, which has an end."""
        copies = self.copies
        facts = copies.known.walks[0]
        for place, most in list(self._lags()):
            del most
            if place.node < 0:
                self.here(place)
        numbers = {id(node): k for k, node in enumerate(copies.steps[copies.model])}
        for node, sources in copies.inside():
            k = numbers[id(node)]
            inner: dict[str, str] = {}
            for i, (value, source) in enumerate(zip(of_node(node), sources, strict=True)):
                where = Count(k, i)
                if where in copies.counts:
                    if i >= len(node.inputs) or find(node).flow is not pass_broadcast:
                        return False
                    inner[value] = self._count(where)
                elif value:
                    inner[value] = self._read(source)
            attrs = {key: rename(v, inner) if isinstance(v, Graph) else v for key, v in node.attrs.items()}
            outputs = [self._named(v, facts[v].dtype) if v else "" for v in node.outputs]
            inputs = [inner.get(v, v) for v in node.inputs]
            name = self.names.fresh(f"{self.hint}/{node.name}")
            self.nodes.append(replace(node, name=name, inputs=inputs, outputs=outputs, attrs=attrs))
            self.values.update({Place(k, i): v for i, v in enumerate(outputs) if v})
        return True

    def _lags(self) -> Iterator[tuple[Place, int]]:
        return iter(self.states)

    def _read(self, source: Source) -> str:
        if isinstance(source, Inside):
            return self.values[source.place]
        if isinstance(source, Here):
            return self.here(source.place)
        if isinstance(source, Before):
            return self.states[source.place, source.lag]
        assert isinstance(source, Outside)
        return source.name

    def here(self, place: Place) -> str:
        """The position of this step."""
        if place not in self.values:
            dtype = self.copies.known.walks[0][place.data].dtype
            key = place.data, place.axis
            if key not in self.ports:
                self.ports[key] = self._named("step", dtype)
            port = self.ports[key]
            if place.keeps:
                axes = self._const(np.array([place.axis], np.int64))
                self.values[place] = self._add("Unsqueeze", [port, axes], dtype)
            else:
                self.values[place] = self._add("Identity", [port], dtype)
        return self.values[place]

    def _count(self, where: Count) -> str:
        """first + by * (number of this step)."""
        first, by = self.copies.counts[where]
        if self.counter is None:
            number = self._named("number", np.dtype(np.int64))
            self.counter = number, self._add("Add", [number, self._const(np.array(1, np.int64))], np.dtype(np.int64))
        onnx_type = {"float32": 1, "int32": 6, "int64": 7, "float64": 11}[first.dtype.name]
        at = self._add("Cast", [self.counter[0]], first.dtype, to=onnx_type)
        more = self._add("Mul", [at, self._const(by)], first.dtype)
        return self._add("Add", [more, self._const(first)], first.dtype)

    def end(self, place: Place, lag: int) -> str:
        """The next value of a state."""
        source = self.values[place] if lag == 1 else self.states[place, lag - 1]
        return self._add("Identity", [source], self._dtype(place))

    def result(self, stack: _Stack) -> str:
        """What is stacked, without the axis of the stack."""
        value = self.states[stack.place, 1] if stack.lag else self.values[stack.place]
        if not stack.joined:
            return self._add("Identity", [value], self._dtype(stack.place))
        axes = self._const(np.array([stack.axis], np.int64))
        return self._add("Squeeze", [value, axes], self._dtype(stack.place))
