"""Loop-25, Scan-25 and If-25 whose conditions are only known at run time: lists of steps run by the plan, in C.

The walk (bodies/) meets these operators first. It walks their bodies at the sizes of the values that go in and turns
the node into a `Repeat` or a `Choice`: a node that holds its walked body, and names all it reads among its inputs, also
what the body captures. What the walk can decide (a known condition, a growing value in a short loop) it unrolls, so
that it never gets here.

Refused: scan outputs of a loop whose number of iterations depends on the data; carried values that change their shape
in a loop that is too long to unroll; operators inside that run on the host; sequences other than those that
recognise/loops.py turns into scan outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..frozen import frozen
from ..graph.budget import TRACE, spend
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.calls import AnyCall, BranchCall, LoopCall, Slice, window
from ..program.views import Buffer, View, storage
from .registry import Op, register, unsupported

__all__ = ["Carried", "Choice", "Repeat", "Scanned", "Stacked", "set_tracer"]


@frozen
class Carried:
    """A value that goes from iteration to iteration."""

    input: int
    """Position of its first value in the node's inputs."""
    inside: str
    result: str
    output: int
    """Position of its last value in the node's outputs."""


@frozen
class Scanned:
    """A value of which each iteration sees one position of an axis."""

    input: int
    axis: int
    reverse: bool
    inside: str


@frozen
class Stacked:
    """An output that takes one position of an axis from each iteration."""

    result: str
    axis: int
    reverse: bool
    output: int


@dataclass
class Repeat(Node):
    """A Loop or Scan at one set of sizes. Inputs: those of the operator ("" where the body does not need them), then
    all values from outside that the body reads."""

    body: list[Node] = field(default_factory=list)
    facts: dict[str, Fact] = field(default_factory=dict)
    """Facts of the walk, those of the body's values among them."""
    outs: list[Fact] = field(default_factory=list)
    iter: str = ""
    """The body's name of the number of the iteration, "" where it is not read."""
    trips: int | None = None
    """How many iterations; None: as many as input 0 (if it is there) and the condition say."""
    limit: int = 0
    start: str = ""
    """The condition for the first iteration, "" where it is known to be true."""
    again: str = ""
    """The body's value that says whether to go on, "" where it is known to be true."""
    carried: list[Carried] = field(default_factory=list)
    scanned: list[Scanned] = field(default_factory=list)
    stacked: list[Stacked] = field(default_factory=list)
    links: list[Link] | None = None
    """What `flow_repeat` found."""


@dataclass
class Choice(Node):
    """An If at one set of sizes; inputs: the condition, then all that the branches read. A branch that is None does not
    fit the sizes: choosing it is an error. `results`: per branch the values behind the outputs."""

    branches: tuple[list[Node] | None, list[Node] | None] = (None, None)
    """Where the condition is false, and where it is true."""
    results: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    facts: dict[str, Fact] = field(default_factory=dict)
    outs: list[Fact] = field(default_factory=list)
    cause: str = ""
    """Why the other branch does not fit."""
    links: list[Link] | None = None
    """What `flow_choice` found."""


BodyLink = tuple[str, int, str, int]
"""(source value, its axis, result value, its axis): position i of the one needs position i of the other only."""

Tracer = Callable[
    [dict[str, Fact], Sequence[Node], Sequence[str], Sequence[str], Sequence[tuple[str, str]]], list[BodyLink]
]
_tracer: list[Tracer] = []


def set_tracer(tracer: Tracer) -> None:
    """How axes pass through a body; trace.py, which is built upon the operators, registers itself."""
    _tracer[:] = [tracer]


# ---- what time does ------------------------------------------------------------------------------------------


def _body_links(
    facts: dict[str, Fact],
    nodes: Sequence[Node],
    sources: Sequence[str],
    results: Sequence[str],
    carried: Sequence[tuple[str, str]] = (),
) -> list[BodyLink]:
    return _tracer[0](facts, nodes, sources, results, carried) if _tracer else []


def reaches(nodes: Sequence[Node], sources: set[str]) -> set[str]:
    """All values computed from these."""
    found = set(sources)
    for node in nodes:
        if any(name in found for name in node.inputs if name):
            found |= {name for name in node.outputs if name}
    return found


def flow_repeat(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """Axes that pass straight through the body; the scan axis of a forward Scan is a "scan", its last values "last"."""
    if not isinstance(node, Repeat):
        return []
    if node.links is not None:
        return node.links
    inside: dict[str, tuple[int, int | None]] = {c.inside: (c.input, None) for c in node.carried}
    inside |= {s.inside: (s.input, s.axis) for s in node.scanned}
    inside |= {name: (index, None) for index, name in enumerate(node.inputs) if name and name not in inside}
    places: dict[str, list[tuple[int, int | None]]] = {}
    for c in node.carried:
        places.setdefault(c.result, []).append((c.output, None))
    for t in node.stacked:
        places.setdefault(t.result, []).append((t.output, t.axis))
    links = []
    loops = [(c.inside, c.result) for c in node.carried]
    spend(node, TRACE * len(node.body))
    for source, axis, result, out_axis in _body_links(node.facts, node.body, list(inside), list(places), loops):
        index, scan = inside[source]
        for output, stack in places[result]:
            into = out_axis + (stack is not None and out_axis >= stack)
            links.append(Link(index, axis + (scan is not None and axis >= scan), output, into))
    if node.trips is None or not node.scanned:
        node.links = links
        return links
    states = reaches(node.body, {c.inside for c in node.carried})
    reverse = {s.reverse for s in node.scanned} | {t.reverse for t in node.stacked}
    for s in node.scanned:
        for t in node.stacked:
            held = t.result in states
            kind = "same" if not held else "scan" if reverse == {False} else "whole"
            if held or s.reverse == t.reverse:
                links.append(Link(s.input, s.axis, t.output, t.axis, kind))
        if reverse == {False}:
            links += [Link(s.input, s.axis, c.output, -1, "last") for c in node.carried]
    node.links = [link for link in links if link.output < len(outs)]
    return node.links


def flow_choice(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """Axes that pass straight through both branches."""
    if not isinstance(node, Choice):
        return []
    if node.links is not None:
        return node.links
    found: list[set[Link]] = []
    for nodes, results in zip(node.branches, node.results, strict=True):
        if nodes is None:
            continue
        links = set()
        spend(node, TRACE * len(nodes))
        for source, axis, result, out_axis in _body_links(node.facts, nodes, node.inputs[1:], results):
            for output, name in enumerate(results):
                if name == result:
                    links.add(Link(node.inputs.index(source, 1), axis, output, out_axis))
        found.append(links)
    node.links = sorted(set.intersection(*found), key=str) if found else []
    return node.links


# ---- steps ---------------------------------------------------------------------------------------------------


def lower_repeat(node: Node, b: Builder) -> None:
    assert isinstance(node, Repeat)
    memory: list[View | None] = []
    for c in node.carried:
        fact = b.fact(c.inside)
        if fact.const is not None:
            memory.append(None)
            continue
        name = node.inputs[c.input]
        view = b.carry(node, f"s{c.output}0", b.view(name), fact.shape, storage(fact.dtype))
        b.views[c.inside] = view
        memory.append(view)
    slices: list[Slice] = []
    for s in node.scanned:
        fact = b.fact(s.inside)
        if fact.const is None:
            whole = b.view(node.inputs[s.input])
            b.in_place.read(whole)
            piece, view = window(whole, s.axis, s.reverse, written=False)
            b.views[s.inside] = view
            slices.append(piece)
    stacks = [window(b.new(node.outputs[t.output]), t.axis, t.reverse, written=True) for t in node.stacked]
    at_iter = None
    if node.iter:
        at_iter = b.views[node.iter] = b.alloc((), np.int64)
    go = None
    if node.start or node.again:
        go = b.alloc((), np.bool_)
        b.copy(go, b.reshape(b.view(node.start), ()) if node.start else b.scalar(True, np.bool_))
    with b.nested() as body:
        for inner in node.body:
            b.node(inner)
        fixed = {id(v.buffer) for v in (*memory, at_iter, go) if v is not None}
        for t, (piece, view) in zip(node.stacked, stacks, strict=True):
            result = b.view(t.result)
            if _can_become(result, view, body, fixed):
                result.buffer.kind = "slice"  # the body writes it where the output wants it
                piece = replace(piece, buffer=result.buffer)
            else:
                b.copy(view, result)
            slices.append(piece)
        b.advance([(v, b.view(c.result)) for c, v in zip(node.carried, memory, strict=True) if v is not None])
        if go is not None and node.again:
            b.copy(go, b.reshape(b.view(node.again), ()))
    trips = None
    if node.trips is not None:
        trips = b.scalar(node.trips, np.int64)
    elif node.inputs and node.inputs[0]:
        trips = b.view(node.inputs[0])
    if body and node.trips != 0:
        b.add(LoopCall(body, Buffer("arena", 8), trips, go, at_iter, node.limit, slices, str(node)))
    for c, kept in zip(node.carried, memory, strict=True):
        if kept is not None and b.wanted(node, c.output):
            b.bind(node.outputs[c.output], kept)


def _can_become(result: View, stack: View, body: Sequence[AnyCall], fixed: set[int]) -> bool:
    """Is the memory of a result the body's own, and laid out as the output wants it."""
    buffer = result.buffer
    own = (
        buffer.kind == "arena" and id(buffer) not in fixed and result.is_dense and stack.is_dense and result.offset == 0
    )
    if not own or buffer.n_bytes != max(result.size, 1) * result.dtype.itemsize or result.dtype != stack.dtype:
        return False
    return any(view.buffer is buffer for step in body for view in step.writes)


def lower_choice(node: Node, b: Builder) -> None:
    assert isinstance(node, Choice)
    cond = b.reshape(b.view(node.inputs[0]), ())
    if None in node.branches:  # a guard: nothing to run, but the condition must say so
        lists: list[list[AnyCall] | None] = [None if part is None else [] for part in node.branches]
        which = "else" if node.branches[0] is None else "then"
        text = f"{node}: at run time its condition chooses the {which} branch, which does not fit these input sizes ({node.cause})"
        b.add(BranchCall(cond, (lists[0], lists[1]), text))
        b.bind(node.outputs[0], b.view(node.inputs[0]))
        return
    outs = [b.new(name) if name else None for name in node.outputs]
    made = []
    for nodes, results in zip(node.branches, node.results, strict=True):
        with b.nested() as steps:
            for inner in nodes or ():
                b.node(inner)
            for out, result in zip(outs, results, strict=True):
                if out is not None:
                    b.copy(out, b.view(result))
        made.append(steps)
    b.add(BranchCall(cond, (made[0], made[1]), str(node)))


# ---- the operators -------------------------------------------------------------------------------------------


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    if isinstance(node, (Repeat, Choice)):
        return node.outs
    raise AssertionError(f"{node}: the walk meets it first")


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    """Never asked: the walk folds what is known by walking the body."""
    raise unsupported(node, f"{node.op} on the host")


_RUNS = "steps of the body, in a loop of the plan; unrolled or folded where the walk can"
register(
    Op(
        "Loop",
        infer,
        evaluate,
        flow_repeat,
        lower_repeat,
        note="no scan outputs where the number of iterations depends on the data",
        dtypes="any",
        runs=_RUNS,
    ),
    Op("Scan", infer, evaluate, flow_repeat, lower_repeat, opsets=(9, None), dtypes="any", runs=_RUNS),
    Op(
        "If",
        infer,
        evaluate,
        flow_choice,
        lower_choice,
        note="chosen at run time: both branches give the same shapes",
        dtypes="any",
        runs="the chosen branch alone where it is known, else steps of either branch in the plan",
    ),
)
