"""The walk of Loop, Scan and If: their bodies at the sizes of what goes in.

An If on a known condition keeps its taken branch. A loop whose values are all known is computed; one whose carried
values change their shape is unrolled, if it is short. What is left becomes a `Repeat` or a `Choice` (ops/control.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .errors import LstmInferError, OnnxImportError, ShapeError
from .ir import Array, AttrValue, Graph, Node
from .ops import registry
from .ops.control import Carried, Choice, Repeat, Scanned, Stacked
from .ops.registry import Fact, attr, unsupported

__all__ = ["Scope", "is_control", "needed", "walk_control"]

UNROLLED_TRIPS, UNROLLED_NODES = 64, 5_000
"""A loop is unrolled up to so many iterations, and nodes in all of them together."""

FOLDED_TRIPS = 1_000
"""A loop over known values is computed when the plan is made, up to so many iterations; a longer one runs in the plan."""

COUNTED_TRIPS = 100_000
"""The end of a loop that only counts is looked for that far: by arithmetic, else (COUNTED_STEPS) iteration by iteration."""
COUNTED_STEPS = 2_000

MOST_TRIPS = 1 << 26
"""More iterations are absurd."""

WORK = 1 << 25
"""What a loop whose end depends on the data may do, in elements and steps, before it counts as endless."""


@dataclass
class Scope:
    """What the walk of a graph works on: the facts of all values, the nodes left to run, and the walk itself."""

    facts: dict[str, Fact]
    nodes: list[Node]
    walk: Callable[[Graph, Scope], None]

    def inner(self) -> Scope:
        """The same facts, other nodes."""
        return Scope(self.facts, [], self.walk)

    def alias(self, node: Node, source: str, name: str) -> None:
        """`name` is the value `source`."""
        fact = self.facts.get(source)
        if fact is None:
            raise OnnxImportError(f"{node}: value {source!r} of its body is made by no node; the file is broken")
        self.facts[name] = fact
        if fact.const is None and name != source:
            self.nodes.append(Node("Identity", f"{node.name}/{name}", [source], [name], opset=node.opset))


def is_control(node: Node) -> bool:
    """Does the node hold graphs that are walked here."""
    return (node.domain == "" and node.op in ("If", "Loop", "Scan")) or (
        node.domain == "lstm_infer" and node.op == "Steps"
    )


def needed(nodes: Sequence[Node], results: Sequence[str]) -> list[Node]:
    """Without nodes whose results only served to find a shape; the guards of branches stay."""
    read = set(results)
    kept = []
    for node in reversed(nodes):
        if any(name in read for name in node.outputs) or (isinstance(node, Choice) and None in node.branches):
            read.update(name for name in node.inputs if name)
            kept.append(node)
    return kept[::-1]


def walk_control(node: Node, scope: Scope) -> None:
    """Walk one of them."""
    for name in node.inputs:
        if name and name not in scope.facts:
            raise OnnxImportError(f"{node}: input {name!r} is made by no node before it; the file is broken")
    if node.op == "If":
        _if(node, scope)
    elif node.op == "Steps":
        _steps(node, scope)
    elif node.op == "Loop":
        _loop(_of_loop(node, scope), scope)
    else:
        _loop(_of_scan(node, scope), scope)


# ---- If ------------------------------------------------------------------------------------------------------


def _if(node: Node, scope: Scope) -> None:
    if not node.inputs or not node.inputs[0]:
        raise OnnxImportError(f"{node}: has no condition; the file is broken")
    cond = scope.facts[node.inputs[0]]
    graphs = [registry.subgraph(node, "else_branch"), registry.subgraph(node, "then_branch")]
    for graph in graphs:
        if len(graph.outputs) < len(node.outputs):
            raise OnnxImportError(f"{node}: a branch has {len(graph.outputs)} outputs, the node {len(node.outputs)}")
    if cond.const is not None:
        taken = graphs[bool(np.asarray(cond.const).reshape(-1)[0])]
        scope.walk(taken, scope)
        for name, port in zip(node.outputs, taken.outputs, strict=False):
            if name:
                scope.alias(node, port.name, name)
        return
    if int(np.prod(cond.shape)) != 1:
        raise ShapeError(f"{node}: its condition has the shape {list(cond.shape)}, one value is needed")
    walked: list[Scope | None] = []
    errors: list[LstmInferError] = []
    for graph in graphs:
        inner = scope.inner()
        try:
            scope.walk(graph, inner)
            walked.append(inner)
        except LstmInferError as error:
            walked.append(None)
            errors.append(error)
    if len(errors) == 2:
        raise ShapeError(f"{node}: neither branch fits these sizes; then: {errors[1]}; else: {errors[0]}") from errors[
            0
        ]
    if errors:
        _guarded(node, scope, graphs, walked, errors[0])
        return
    _choice(node, scope, graphs, walked)


def _guarded(
    node: Node, scope: Scope, graphs: Sequence[Graph], walked: Sequence[Scope | None], error: LstmInferError
) -> None:
    """One branch fits: it runs, behind a check that the condition chooses it."""
    fits = 1 if walked[0] is None else 0
    inner = walked[fits]
    assert inner is not None
    guard = f"{node.name}/chosen"
    scope.facts[guard] = scope.facts[node.inputs[0]]
    branches: tuple[list[Node] | None, list[Node] | None] = ([], None) if fits == 0 else (None, [])
    scope.nodes.append(
        Choice(
            "If", node.name, [node.inputs[0]], [guard], {}, "", node.opset,
            branches=branches, outs=[scope.facts[guard]], cause=str(error),
        )
    )  # fmt: skip
    scope.nodes += inner.nodes
    for name, port in zip(node.outputs, graphs[fits].outputs, strict=False):
        if name:
            scope.alias(node, port.name, name)


def _choice(node: Node, scope: Scope, graphs: Sequence[Graph], walked: Sequence[Scope | None]) -> None:
    outs: list[Fact] = []
    results: tuple[list[str], list[str]] = ([], [])
    for index, name in enumerate(node.outputs):
        found = []
        for graph, kept in zip(graphs, results, strict=True):
            value = graph.outputs[index].name
            kept.append(value)
            fact = scope.facts.get(value)
            if fact is None:
                raise OnnxImportError(f"{node}: output {value!r} of a branch is made by no node; the file is broken")
            found.append(fact)
        no, yes = found
        if name and (no.shape != yes.shape or no.dtype != yes.dtype):
            raise unsupported(
                node,
                f"a choice at run time between {yes.dtype}{list(yes.shape)} and {no.dtype}{list(no.shape)} (turn the "
                "input that its condition comes from into a constant: load(..., constants={...}))",
            )
        outs.append(Fact(yes.shape, yes.dtype))
        if name:
            scope.facts[name] = outs[-1]
    branches = tuple(
        [] if part is None else needed(part.nodes, kept) for part, kept in zip(walked, results, strict=True)
    )
    captured = _captures(branches, [*results[0], *results[1]], scope.facts, set())
    scope.nodes.append(
        Choice(
            "If", node.name, [node.inputs[0], *captured], list(node.outputs), {}, "", node.opset,
            branches=branches, results=results, facts=scope.facts, outs=outs,  # type: ignore[arg-type]
        )
    )  # fmt: skip


def _captures(
    lists: Sequence[Sequence[Node]], results: Sequence[str], facts: Mapping[str, Fact], inside: set[str]
) -> list[str]:
    """Values from outside that the nodes read, or that are results."""
    found: dict[str, None] = {}
    made = set(inside)
    for nodes in lists:
        for node in nodes:
            for name in node.inputs:
                if name and name not in made:
                    found.setdefault(name)
            made |= {name for name in node.outputs if name}
    for name in results:
        if name not in made:
            found.setdefault(name)
    return list(found)


# ---- loops ---------------------------------------------------------------------------------------------------


@dataclass
class _Spec:
    """A Loop or Scan as written: which value is what."""

    node: Node
    body: Graph
    iter: str
    cond: str
    again: str
    carried: list[Carried]
    scanned: list[Scanned]
    stacked: list[Stacked]
    most: int | None
    """Iterations, if nothing stops earlier; None: not known, or no limit."""
    start: bool | None
    """Is the first condition true; None: not known."""


def _of_loop(node: Node, scope: Scope) -> _Spec:
    body = registry.subgraph(node, "body")
    n = len(node.inputs) - 2
    if len(node.inputs) < 2:
        node = replace(node, inputs=[*node.inputs, "", ""][:2])
        n = 0
    if len(body.inputs) != n + 2 or len(body.outputs) < n + 1 or len(node.outputs) > len(body.outputs) - 1:
        raise OnnxImportError(
            f"{node}: {n} carried values and {len(node.outputs)} outputs do not fit a body with {len(body.inputs)} inputs "
            f"and {len(body.outputs)} outputs; the file is broken"
        )
    carried = [Carried(2 + k, body.inputs[2 + k].name, body.outputs[1 + k].name, k) for k in range(n)]
    stacked = [
        Stacked(port.name, 0, False, n + k) for k, port in enumerate(body.outputs[1 + n :])
        if n + k < len(node.outputs) and node.outputs[n + k]
    ]  # fmt: skip
    most = _one(node, scope, 0)
    start = _one(node, scope, 1)
    return _Spec(
        node, body, body.inputs[0].name, body.inputs[1].name, body.outputs[0].name, carried, [], stacked,
        None if most is None else max(int(most), 0),
        None if start is None and node.inputs[1] else bool(start is None or start),
    )  # fmt: skip


def _one(node: Node, scope: Scope, index: int) -> Any:
    """An input of one element, if its value is known."""
    name = node.inputs[index]
    if not name:
        return None
    fact = scope.facts[name]
    if int(np.prod(fact.shape)) != 1:
        raise ShapeError(f"{node}: input {index} has the shape {list(fact.shape)}, one value is needed")
    return None if fact.const is None else np.asarray(fact.const).reshape(-1)[0]


def _of_scan(node: Node, scope: Scope) -> _Spec:
    registry.find(node)
    body = registry.subgraph(node, "body")
    m = int(attr(node, "num_scan_inputs"))
    n = len(node.inputs) - m
    k = len(body.outputs) - n
    if m < 1 or n < 0 or k < 0 or len(body.inputs) != n + m or len(node.outputs) > len(body.outputs):
        raise OnnxImportError(
            f"{node}: {len(node.inputs)} inputs, {m} of them scanned, do not fit a body with {len(body.inputs)} inputs and "
            f"{len(body.outputs)} outputs; the file is broken"
        )
    axes, turned = _list(node, "scan_input_axes", m), _list(node, "scan_input_directions", m)
    out_axes, out_turned = _list(node, "scan_output_axes", k), _list(node, "scan_output_directions", k)
    scanned = []
    extents = set()
    for j in range(m):
        shape = scope.facts[node.inputs[n + j]].shape if node.inputs[n + j] else ()
        axis = axes[j] + len(shape) * (axes[j] < 0)
        if not 0 <= axis < len(shape):
            raise ShapeError(f"{node}: scan axis {axes[j]} lies outside a value of shape {list(shape)}")
        extents.add(shape[axis])
        scanned.append(Scanned(n + j, axis, bool(turned[j]), body.inputs[n + j].name))
    if len(extents) != 1:
        raise ShapeError(f"{node}: its scan inputs have different lengths {sorted(extents)}")
    carried = [Carried(i, body.inputs[i].name, body.outputs[i].name, i) for i in range(n)]
    stacked = [
        Stacked(port.name, out_axes[j], bool(out_turned[j]), n + j) for j, port in enumerate(body.outputs[n:])
        if n + j < len(node.outputs) and node.outputs[n + j]
    ]  # fmt: skip
    return _Spec(node, body, "", "", "", carried, scanned, stacked, extents.pop(), True)


def _list(node: Node, name: str, n: int) -> list[int]:
    found = [int(v) for v in attr(node, name, [0] * n)]
    if len(found) != n:
        raise OnnxImportError(f"{node}: {name} has {len(found)} entries, {n} are needed; the file is broken")
    return found


def _loop(spec: _Spec, scope: Scope) -> None:
    node, facts = spec.node, scope.facts
    if _all_known(spec, scope) and (spec.most is None or spec.most <= FOLDED_TRIPS or spec.again):
        before = len(scope.nodes)
        try:
            _unroll(spec, scope, None, FOLDED_TRIPS, _NO_LIMIT)
            return
        except _TooLong:
            del scope.nodes[before:]
    fixed = _bind_fixed(spec, scope)
    for c in spec.carried:
        if c.inside not in fixed:
            first = facts[node.inputs[c.input]]
            facts[c.inside] = Fact(first.shape, first.dtype)
    if spec.iter:
        facts[spec.iter] = Fact((), np.dtype(np.int64))
    if spec.cond:
        facts[spec.cond] = Fact.of(np.array(True))
    for s in spec.scanned:
        whole = facts[node.inputs[s.input]]
        shape = whole.shape[: s.axis] + whole.shape[s.axis + 1 :]
        one = whole.const is not None and whole.shape[s.axis] > 0 and _equal_slices(whole.const, s.axis)
        facts[s.inside] = Fact(shape, whole.dtype, np.take(whole.const, 0, s.axis) if one else None)  # type: ignore[arg-type]
    inner = scope.inner()
    try:
        scope.walk(spec.body, inner)
    except LstmInferError:
        trips = spec.most if spec.start else None
        if trips is not None and trips <= UNROLLED_TRIPS and spec.again == "":
            _unroll(spec, scope, trips, UNROLLED_TRIPS, UNROLLED_NODES)
            return
        if _unrollable(spec, scope):
            _unroll(spec, scope, _trips(spec, scope), UNROLLED_TRIPS, UNROLLED_NODES)
            return
        raise
    for port in spec.body.outputs:
        if port.name not in facts:
            raise OnnxImportError(f"{node}: output {port.name!r} of its body is made by no node; the file is broken")
    trips = _trips(spec, scope)
    why = _why_unroll(spec, scope, inner)
    if why is not None:
        if trips is None or trips > UNROLLED_TRIPS or trips * len(inner.nodes) > UNROLLED_NODES:
            raise unsupported(
                node, f"{why}, in a loop too long to unroll ({trips or 'an unknown number of'} iterations),"
            )
        _unroll(spec, scope, trips, UNROLLED_TRIPS, UNROLLED_NODES)
        return
    if trips == 0:
        _nothing(spec, scope)
        return
    if trips is not None and trips > MOST_TRIPS:
        raise ShapeError(f"{node}: would run {trips} times, {MOST_TRIPS} is the most; check the sizes in the file")
    if trips is None and spec.stacked:
        raise unsupported(
            node,
            f"output {node.outputs[spec.stacked[0].output]!r} whose size (a number of iterations) depends on the data",
        )
    scope.nodes.append(_repeat(spec, scope, inner, trips, fixed))


_NO_LIMIT = 1 << 62


class _TooLong(ShapeError):
    """A loop with more iterations than are unrolled."""


def _repeat(spec: _Spec, scope: Scope, inner: Scope, trips: int | None, fixed: set[str]) -> Repeat:
    node, facts = spec.node, scope.facts
    carried = [c for c in spec.carried if c.inside not in fixed]
    results = (
        {c.result for c in carried} | {t.result for t in spec.stacked} | ({spec.again} if trips is None else set())
    )
    inner.nodes = needed(inner.nodes, sorted(results))
    read = {name for n in inner.nodes for name in n.inputs}
    wanted = read | results
    # a carried value that nobody reads but itself goes
    carried = [c for c in carried if c.inside in wanted or _out(node, c.output)]
    scanned = [s for s in spec.scanned if s.inside in wanted]
    inputs = [""] * len(node.inputs)
    outputs = [""] * len(node.outputs)
    for c in carried:
        inputs[c.input] = node.inputs[c.input]
        if _out(node, c.output):
            outputs[c.output] = node.outputs[c.output]
            facts[outputs[c.output]] = Fact(facts[c.inside].shape, facts[c.inside].dtype)
    for s in scanned:
        inputs[s.input] = node.inputs[s.input]
    start = again = ""
    limit = trips or 0
    if trips is None:
        work = sum(int(np.prod(facts[name].shape)) for n in inner.nodes for name in n.outputs if name)
        limit = max(1 << 10, WORK // (16 * len(inner.nodes) + work + 16))
        if node.inputs[0]:
            inputs[0] = node.inputs[0]
        if spec.start is None:
            inputs[1] = start = node.inputs[1]
        if facts[spec.again].const is None:
            again = spec.again
    stacked = []
    for t in spec.stacked:
        fact = facts[t.result]
        axis = t.axis + (len(fact.shape) + 1) * (t.axis < 0)
        if not 0 <= axis <= len(fact.shape):
            raise ShapeError(f"{node}: scan output axis {t.axis} lies outside a value of {len(fact.shape) + 1} axes")
        outputs[t.output] = node.outputs[t.output]
        assert trips is not None
        facts[outputs[t.output]] = Fact((*fact.shape[:axis], trips, *fact.shape[axis:]), fact.dtype)
        stacked.append(replace(t, axis=axis))
    inside = {c.inside for c in carried} | {s.inside for s in scanned} | ({spec.iter} if spec.iter in wanted else set())
    kept = [c.result for c in carried] + [t.result for t in stacked] + ([again] if again else [])
    captured = _captures([inner.nodes], kept, facts, inside)
    outs = [facts[name] if name else Fact((), np.dtype(np.float32)) for name in outputs]
    for index in range(len(node.outputs)):
        if node.outputs[index] and not outputs[index]:
            source = next(c for c in spec.carried if c.output == index)
            scope.alias(node, source.inside, node.outputs[index])
    return Repeat(
        node.op, node.name, [*inputs, *captured], outputs, {}, "", node.opset,
        body=inner.nodes, facts=facts, outs=outs, iter=spec.iter if spec.iter in wanted else "", trips=trips, limit=limit,
        start=start, again=again, carried=carried, scanned=scanned, stacked=stacked,
    )  # fmt: skip


def _out(node: Node, index: int) -> bool:
    return index < len(node.outputs) and bool(node.outputs[index])


def _equal_slices(array: Array, axis: int) -> bool:
    first = np.take(array, [0], axis)
    return bool(np.array_equal(array, np.repeat(first, array.shape[axis], axis), equal_nan=array.dtype.kind == "f"))


def _why_unroll(spec: _Spec, scope: Scope, inner: Scope) -> str | None:
    """What a loop in C cannot do with this body."""
    facts = scope.facts
    for c in spec.carried:
        a, z = facts[c.inside], facts[c.result]
        if a.dtype != z.dtype:
            raise OnnxImportError(f"{spec.node}: the carried value {c.inside!r} is {a.dtype}, its next value {z.dtype}")
        if a.shape != z.shape:
            return f"a carried value ({c.inside!r}) whose shape changes from {list(a.shape)} to {list(z.shape)}"
    for node in inner.nodes:
        if not isinstance(node, (Repeat, Choice)) and registry.find(node).lower is None:
            return f"{node.op} inside"
    return None


def _all_known(spec: _Spec, scope: Scope) -> bool:
    """Are all values known that go in."""
    if spec.start is None or (spec.node.inputs[0] and spec.most is None and spec.node.op == "Loop"):
        return False
    names = [name for name in spec.node.inputs if name]
    names += [name for name in outer_names(spec.body) if name in scope.facts]
    return all(scope.facts[name].const is not None for name in names) and not any(
        registry.is_random(node) for node in spec.body.walk()
    )


def outer_names(graph: Graph) -> set[str]:
    """Values from outside that a graph reads, at any depth."""
    made = {port.name for port in graph.inputs} | set(graph.consts)
    read: set[str] = {port.name for port in graph.outputs}
    for node in graph.nodes:
        read |= {name for name in node.inputs if name}
        made |= {name for name in node.outputs if name}
        for value in node.attrs.values():
            if isinstance(value, Graph):
                read |= outer_names(value)
    return read - made


def source_of(graph: Graph, name: str) -> str:
    """The value behind a chain of Identity nodes."""
    made = {out: node for node in graph.nodes for out in node.outputs if out}
    while name in made and made[name].op == "Identity" and made[name].domain == "":
        name = made[name].inputs[0]
    return name


def _bind_fixed(spec: _Spec, scope: Scope) -> set[str]:
    """Carried values that never change are values from outside: weights, sizes."""
    fixed = set()
    for c in spec.carried:
        if source_of(spec.body, c.result) == c.inside:
            scope.alias(spec.node, spec.node.inputs[c.input], c.inside)
            fixed.add(c.inside)
    return fixed


def _unrollable(spec: _Spec, scope: Scope) -> bool:
    trips = _trips(spec, scope, walked=False)
    return trips is not None and trips <= UNROLLED_TRIPS


def _nothing(spec: _Spec, scope: Scope) -> None:
    """A loop that never runs."""
    for c in spec.carried:
        if _out(spec.node, c.output):
            scope.alias(spec.node, spec.node.inputs[c.input], spec.node.outputs[c.output])
    for t in spec.stacked:
        fact = scope.facts[t.result]
        axis = t.axis + (len(fact.shape) + 1) * (t.axis < 0)
        empty = np.empty((*fact.shape[:axis], 0, *fact.shape[axis:]), fact.dtype)
        scope.facts[spec.node.outputs[t.output]] = Fact.of(empty)


# ---- how often ---------------------------------------------------------------------------------------------------


def _trips(spec: _Spec, scope: Scope, *, walked: bool = True) -> int | None:
    """How many iterations, if it does not depend on the data."""
    if spec.start is None:
        return None
    if not spec.start or spec.most == 0:
        return 0
    if not spec.again:
        return spec.most
    if spec.node.inputs[0] and spec.most is None:
        return None
    if walked:
        again = scope.facts[spec.again].const
        if again is not None:
            return spec.most if bool(np.asarray(again).reshape(-1)[0]) else 1
    counted = count(spec.node, spec.body, spec.iter, spec.cond, spec.carried, [spec.again], scope)
    if counted is None:
        return None
    return counted.trips(spec.again, spec.most)


@dataclass
class Counted:
    """Body values that depend on the number of the iteration alone, as a function of it."""

    run: Callable[[int], list[dict[str, Array]] | None]
    vectors: Callable[[int], dict[str, Array] | None]

    def trips(self, again: str, most: int | None) -> int | None:
        """Iterations until the condition is false, at most `most`; None: too many to tell."""
        n = 16
        while True:
            n = min(n * 16, COUNTED_TRIPS if most is None else min(most, COUNTED_TRIPS))
            values = self.sequence(again, n)
            if values is None:
                return None
            false = np.flatnonzero(~values.astype(bool))
            if false.size:
                return int(false[0]) + 1
            if n == most:
                return n
            if n >= COUNTED_TRIPS:
                return None

    def sequence(self, name: str, n: int) -> Array | None:
        """The values of one scalar over n iterations."""
        vectors = self.vectors(n)
        if vectors is not None and name in vectors:
            return np.broadcast_to(vectors[name], (n,))
        steps = self.run(n) if n <= COUNTED_STEPS else None
        if steps is None:
            return None
        return np.array([step[name].reshape(-1)[0] for step in steps])


def count(
    node: Node, body: Graph, iter: str, cond: str, carried: Sequence[Carried], wanted: Sequence[str], scope: Scope
) -> Counted | None:
    """Follow values of a body that depend on nothing but the number of the iteration; None: they depend on data."""
    made = {out: n for n in body.nodes for out in n.outputs if out}
    inside = {c.inside: c for c in carried}
    changing = {c.inside for c in carried if source_of(body, c.result) != c.inside}
    outer = dict(scope.facts)
    for c in carried:
        if c.inside not in changing:
            outer[c.inside] = outer[node.inputs[c.input]]

    def known(name: str) -> bool:
        if name in body.consts:
            return True
        fact = outer.get(name)
        return name not in made and name not in changing and fact is not None and fact.const is not None

    def leaves(name: str, found: set[str], seen: set[str]) -> bool:
        """The counters a value depends on; False: it depends on data."""
        todo = [name]
        while todo:
            value = todo.pop()
            if value in seen:
                continue
            seen.add(value)
            if value in (iter, cond) or known(value):
                continue
            if value in changing:
                found.add(value)
            elif value in made and not any(isinstance(a, Graph) for a in made[value].attrs.values()):
                todo += [v for v in made[value].inputs if v]
            else:
                return False
        return True

    counters: set[str] = set()
    seen: set[str] = set()
    todo = list(wanted)
    while todo:
        found: set[str] = set()
        if not leaves(todo.pop(), found, seen):
            return None
        for name in found - counters:
            first = outer[node.inputs[inside[name].input]]
            if first.const is None or first.const.size != 1:
                return None
            counters.add(name)
            todo.append(inside[name].result)
    nodes = [n for n in body.nodes if any(out in seen for out in n.outputs if out)]
    small = Graph(body.name, [], [], nodes, body.consts)
    firsts = {name: np.asarray(outer[node.inputs[inside[name].input]].const) for name in counters}

    def run(n: int) -> list[dict[str, Array]] | None:
        now = dict(firsts)
        steps = []
        base = {name: fact for name, fact in outer.items() if name in seen and known(name)}
        for i in range(n):
            facts = dict(base)
            facts |= {name: Fact.of(value) for name, value in now.items()}
            if iter:
                facts[iter] = Fact.of(np.array(i, np.int64))
            if cond:
                facts[cond] = Fact.of(np.array(True))
            scope.walk(small, Scope(facts, [], scope.walk))
            values = {name: facts[name].const for name in [*wanted, *(inside[c].result for c in counters)]}
            if any(value is None or value.size != 1 for value in values.values()):
                return None
            steps.append({name: value for name, value in values.items() if value is not None})
            now = {name: steps[-1][inside[name].result] for name in counters}
        return steps

    def vectors(n: int) -> dict[str, Array] | None:
        """All iterations at once, where counters go up evenly and everything is element-wise."""
        index = np.arange(n, dtype=np.int64)
        values: dict[str, Array] = {iter: index, cond: np.ones(n, bool)}
        for name in counters:
            step = _step(body, inside[name], made, known, outer)
            first = firsts[name].reshape(-1)[0]
            if step is None or firsts[name].dtype.kind not in "iu":
                return None
            values[name] = (first + index * step).astype(firsts[name].dtype)
        for name in seen:
            if known(name):
                const = body.consts[name] if name in body.consts else outer[name].const
                if const is None or const.size != 1:
                    return None
                values[name] = np.asarray(const).reshape(-1)
        for node in nodes:
            if node.op in ("Squeeze", "Unsqueeze", "Identity", "Reshape") and node.inputs[0] in values:
                values[node.outputs[0]] = values[node.inputs[0]]
                continue
            if node.domain or node.op not in _SCALAR or any(name not in values for name in node.inputs if name):
                return None
            made_of: list[Array | None] = [values[name] if name else None for name in node.inputs]
            with np.errstate(all="ignore"):
                values[node.outputs[0]] = np.asarray(registry.find(node).evaluate(node, made_of)[0])
        return values

    return Counted(run, vectors)


_SCALAR = {
    "Cast", "Add", "Sub", "Mul", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Equal", "And", "Or", "Not", "Min", "Max",
    "Neg", "Where", "Abs",
}  # fmt: skip


def _step(
    body: Graph, carried: Carried, made: Mapping[str, Node], known: Callable[[str], bool], outer: Mapping[str, Fact]
) -> int | None:
    """By how much a counter goes up, if it does so evenly."""
    node = made.get(source_of(body, carried.result))
    if node is None or node.op not in ("Add", "Sub") or node.domain:
        return None
    a, b = (source_of(body, name) for name in node.inputs)
    if node.op == "Add" and b == carried.inside:
        a, b = b, a
    if a != carried.inside or not known(b):
        return None
    const = body.consts[b] if b in body.consts else outer[b].const
    if const is None or const.size != 1:
        return None
    return int(const.reshape(-1)[0]) * (1 if node.op == "Add" else -1)


def _steps(node: Node, scope: Scope) -> None:
    """Does the Loop that became a Scan visit every position of the axis, once and in order; see recognise/loops.py."""
    x = scope.facts[node.inputs[0]]
    axis, body = int(attr(node, "axis")), registry.subgraph(node, "body")
    if axis >= len(x.shape):
        raise ShapeError(f"{node}: axis {axis} lies outside a value of shape {list(x.shape)}")
    n = x.shape[axis]
    loop = replace(node, inputs=node.inputs[1:])
    most, start = _one(loop, scope, 0), _one(loop, scope, 1)
    carried = [Carried(2 + k, p.name, body.outputs[1 + k].name, k) for k, p in enumerate(body.inputs[2:])]
    again, index = body.outputs[0].name, body.outputs[-1].name
    counted = count(loop, body, body.inputs[0].name, body.inputs[1].name, carried, [again, index], scope)
    known = counted is not None and most is not None and (start is not None or not loop.inputs[1])
    runs = n == most == 0 or start is None or bool(start) or n == 0
    if counted is not None and known and runs and n == 0:
        runs = most == 0 or not (start is None or start)
    elif counted is not None and known and runs:
        at = counted.sequence(index, n)
        want = np.arange(n)[::-1] if attr(node, "reverse", 0) else np.arange(n)
        runs = counted.trips(again, int(most)) == n and at is not None and np.array_equal(at, want)
    if not known or not runs:
        raise ShapeError(
            f"{node}: at these sizes the loop does not take the {n} positions of axis {axis} of {node.inputs[0]!r} one by "
            f"one (it would run {most} times); check the sizes that were fed"
        )
    scope.alias(node, node.inputs[0], node.outputs[0])


# ---- unrolled ----------------------------------------------------------------------------------------------------


def _unroll(spec: _Spec, scope: Scope, trips: int | None, most: int, most_nodes: int) -> None:
    """The body walked once for each iteration, with names of its own each time."""
    node, facts = spec.node, scope.facts
    limit = trips if trips is not None else spec.most
    if not spec.start or limit == 0:
        _unroll_nothing(spec, scope)
        return
    now = {c.inside: node.inputs[c.input] for c in spec.carried}
    rows: list[list[str]] = [[] for _ in spec.stacked]
    n_before = len(scope.nodes)
    i = 0
    while limit is None or i < limit:
        if i >= most:
            raise _TooLong(f"{node}: would run more than {most} times; check its condition and the sizes in the file")
        if len(scope.nodes) - n_before > most_nodes:
            raise unsupported(node, f"a loop that unrolls to more than {most_nodes} nodes")
        names: dict[str, str] = {}
        copy = instance(spec.body, f"#{node.name}.{i}", names)
        if spec.iter:
            facts[names[spec.iter]] = Fact.of(np.array(i, np.int64))
        if spec.cond:
            facts[names[spec.cond]] = Fact.of(np.array(True))
        for c in spec.carried:
            scope.alias(node, now[c.inside], names[c.inside])
        for s in spec.scanned:
            _pick(node, scope, node.inputs[s.input], s, i, names[s.inside])
        scope.walk(copy, scope)
        now = {c.inside: names.get(c.result, c.result) for c in spec.carried}
        for row, t in zip(rows, spec.stacked, strict=True):
            row.append(names.get(t.result, t.result))
        i += 1
        if spec.again:
            again = facts[names.get(spec.again, spec.again)].const
            if again is None and trips is None:
                raise unsupported(node, "a condition that depends on the data, in a loop that has to be unrolled,")
            if again is not None and not bool(np.asarray(again).reshape(-1)[0]):
                break
    for c in spec.carried:
        if _out(node, c.output):
            scope.alias(node, now[c.inside], node.outputs[c.output])
    for row, t in zip(rows, spec.stacked, strict=True):
        _stack(node, scope, row, t)


def _unroll_nothing(spec: _Spec, scope: Scope) -> None:
    """Zero iterations: the body is walked for the shapes of its results only."""
    if spec.stacked:
        copy = scope.inner()
        copy.facts = dict(scope.facts)
        for c in spec.carried:
            first = scope.facts[spec.node.inputs[c.input]]
            copy.facts[c.inside] = Fact(first.shape, first.dtype)
        for s in spec.scanned:
            whole = scope.facts[spec.node.inputs[s.input]]
            copy.facts[s.inside] = Fact(whole.shape[: s.axis] + whole.shape[s.axis + 1 :], whole.dtype)
        if spec.iter:
            copy.facts[spec.iter] = Fact((), np.dtype(np.int64))
        if spec.cond:
            copy.facts[spec.cond] = Fact((), np.dtype(np.bool_))
        scope.walk(spec.body, copy)
        for t in spec.stacked:
            scope.facts[t.result] = copy.facts[t.result]
    _nothing(spec, scope)


def _pick(node: Node, scope: Scope, source: str, s: Scanned, i: int, name: str) -> None:
    whole = scope.facts[source]
    n = whole.shape[s.axis]
    at = n - 1 - i if s.reverse else i
    if whole.const is not None:
        scope.facts[name] = Fact.of(np.take(whole.const, at, s.axis))
        return
    index = f"{name}/at"
    scope.facts[index] = Fact.of(np.array(at, np.int64))
    scope.facts[name] = Fact(whole.shape[: s.axis] + whole.shape[s.axis + 1 :], whole.dtype)
    scope.nodes.append(Node("Gather", f"{node.name}/{name}", [source, index], [name], {"axis": s.axis}, opset=13))


def _stack(node: Node, scope: Scope, row: list[str], t: Stacked) -> None:
    """The scan output of an unrolled loop."""
    facts, output = scope.facts, node.outputs[t.output]
    first = facts[row[0]]
    for name in row:
        if facts[name].shape != first.shape or facts[name].dtype != first.dtype:
            raise ShapeError(f"{node}: scan output {output!r} gets {list(first.shape)} and {list(facts[name].shape)}")
    axis = t.axis + (len(first.shape) + 1) * (t.axis < 0)
    if t.reverse:
        row = row[::-1]
    known = [array for name in row if (array := facts[name].const) is not None]
    if len(known) == len(row):
        facts[output] = Fact.of(np.stack(known, axis))
        return
    parts = []
    shape = (*first.shape[:axis], 1, *first.shape[axis:])
    where = f"{output}/axis"
    facts[where] = Fact.of(np.array([axis], np.int64))
    for k, name in enumerate(row):
        part = f"{output}/part{k}"
        const = facts[name].const
        facts[part] = Fact(shape, first.dtype) if const is None else Fact.of(const.reshape(shape))
        if const is None:
            scope.nodes.append(Node("Unsqueeze", part, [name, where], [part], opset=13))
        parts.append(part)
    facts[output] = Fact((*first.shape[:axis], len(row), *first.shape[axis:]), first.dtype)
    scope.nodes.append(Node("Concat", f"{node.name}/{output}", parts, [output], {"axis": axis}, opset=13))


def instance(graph: Graph, suffix: str, names: dict[str, str]) -> Graph:
    """A copy in which all that the graph makes has another name; `names` takes old to new."""
    for name in [p.name for p in graph.inputs] + list(graph.consts):
        names[name] = name + suffix
    for node in graph.nodes:
        for name in node.outputs:
            if name:
                names[name] = name + suffix

    def renamed(name: str) -> str:
        return names.get(name, name)

    def copied(value: AttrValue) -> AttrValue:
        return instance(value, suffix, dict(names)) if isinstance(value, Graph) else value

    nodes = [
        replace(
            node,
            name=node.name + suffix,
            inputs=[renamed(name) for name in node.inputs],
            outputs=[renamed(name) for name in node.outputs],
            attrs={key: copied(value) for key, value in node.attrs.items()},
        )
        for node in graph.nodes
    ]
    return Graph(
        graph.name,
        [replace(p, name=renamed(p.name)) for p in graph.inputs],
        [replace(p, name=renamed(p.name)) for p in graph.outputs],
        nodes,
        {renamed(name): value for name, value in graph.consts.items()},
    )
