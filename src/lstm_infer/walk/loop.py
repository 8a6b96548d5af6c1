"""Loop and Scan: computed where all is known, unrolled where shapes change and it is short, else a `Repeat`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import LstmInferError, OnnxImportError, OpenSizeError, ShapeError
from ..graph.budget import is_left, leave, spend
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..ops import registry
from ..ops.control import Choice, Repeat
from ..ops.registry import unsupported
from .count import n_trips
from .graphs import makers_in, source_of
from .iterations import TooLong, compute, nothing, unroll
from .scope import Scope, captures, needed
from .written import Spec, has_output

__all__ = ["walk_loop"]

UNROLLED_TRIPS, UNROLLED_NODES = 64, 5_000
"""A loop is unrolled up to so many iterations, and nodes in all of them together."""

FOLDED_TRIPS = 1_000
"""A loop over known values is computed when the plan is made, up to so many iterations, and as long as it takes a small
part of the budget; a longer one runs in the plan."""

MOST_TRIPS = 1 << 26
"""More iterations are absurd."""

WORK = 1 << 25
"""What a loop whose end depends on the data may do, in elements and steps, before it counts as endless."""


def walk_loop(spec: Spec, scope: Scope) -> None:
    node, facts = spec.node, scope.facts
    short = spec.most is None or spec.most <= FOLDED_TRIPS or spec.again != ""
    if short and not is_left(spec.body) and _all_known(spec, scope):
        try:
            compute(spec, scope, FOLDED_TRIPS)
            return
        except TooLong:
            leave(spec.body)
    fixed = _bind_fixed(spec, scope)
    _bind_each(spec, facts, fixed)
    inner = scope.inner()
    try:
        scope.walk(spec.body, inner)
    except LstmInferError:
        trips = spec.most if spec.start else None
        if trips is not None and trips <= UNROLLED_TRIPS and spec.again == "":
            unroll(spec, scope, trips, UNROLLED_TRIPS, UNROLLED_NODES)
            return
        trips = n_trips(spec, scope, walked=False)
        if trips is not None and trips <= UNROLLED_TRIPS:
            unroll(spec, scope, trips, UNROLLED_TRIPS, UNROLLED_NODES)
            return
        raise
    for port in spec.body.outputs:
        if port.name not in facts:
            raise OnnxImportError(f"{node}: output {port.name!r} of its body is made by no node; the file is broken")
    trips = n_trips(spec, scope)
    why = _why_unroll(spec, scope, inner)
    if why is not None:
        if trips is None or trips > UNROLLED_TRIPS or trips * len(inner.nodes) > UNROLLED_NODES:
            raise unsupported(
                node, f"{why}, in a loop too long to unroll ({trips or 'an unknown number of'} iterations),"
            )
        unroll(spec, scope, trips, UNROLLED_TRIPS, UNROLLED_NODES)
        return
    if trips == 0:
        nothing(spec, scope)
        return
    if trips is not None and trips > MOST_TRIPS:
        raise ShapeError(f"{node}: would run {trips} times, {MOST_TRIPS} is the most; check the sizes in the file")
    if trips is None and spec.stacked:
        output = node.outputs[spec.stacked[0].output]
        raise OpenSizeError(
            f"{node}: output {output!r} whose size (a number of iterations) depends on the data is not supported "
            "(where that number is an input, load(..., constants={...}) tells it); see docs/ops.md"
        )
    scope.nodes.append(_repeat(spec, scope, inner, trips, fixed))


def _bind_each(spec: Spec, facts: dict[str, Fact], fixed: set[str]) -> None:
    """What differs from iteration to iteration: states and slices by their shape, the number, the condition."""
    node = spec.node
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
        one = whole.const is not None and whole.shape[s.axis] > 0 and _equal_slices(node, whole.const, s.axis)
        facts[s.inside] = Fact(shape, whole.dtype, np.take(whole.const, 0, s.axis) if one else None)  # type: ignore[arg-type]


def _repeat(spec: Spec, scope: Scope, inner: Scope, trips: int | None, fixed: set[str]) -> Repeat:
    node, facts = spec.node, scope.facts
    carried = [c for c in spec.carried if c.inside not in fixed]
    results = (
        {c.result for c in carried} | {t.result for t in spec.stacked} | ({spec.again} if trips is None else set())
    )
    inner.nodes = needed(inner.nodes, sorted(results))
    read = {name for n in inner.nodes for name in n.inputs}
    wanted = read | results
    # a carried value that nobody reads but itself goes
    carried = [c for c in carried if c.inside in wanted or has_output(node, c.output)]
    scanned = [s for s in spec.scanned if s.inside in wanted]
    inputs = [""] * len(node.inputs)
    outputs = [""] * len(node.outputs)
    for c in carried:
        inputs[c.input] = node.inputs[c.input]
        if has_output(node, c.output):
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
    captured = captures([inner.nodes], kept, facts, inside)
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


def _equal_slices(node: Node, array: Array, axis: int) -> bool:
    """Is each the first one, bit for bit. The last is looked at before all others: mostly it differs."""
    bits = array.view(f"u{array.itemsize}") if array.dtype.kind in "biuf" else array
    bits = np.moveaxis(bits, axis, 0)  # no copy, which np.take would make of all of it
    first = bits[:1]
    for rest in (bits[-1:], bits):
        spend(node, 3 * rest.size)
        if not (rest == first).all():
            return False
    return True


def _why_unroll(spec: Spec, scope: Scope, inner: Scope) -> str | None:
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


def _all_known(spec: Spec, scope: Scope) -> bool:
    """Are all values known that go in."""
    if spec.start is None or (spec.node.inputs[0] and spec.most is None and spec.node.op == "Loop"):
        return False
    if any(name and scope.facts[name].const is None for name in spec.node.inputs):
        return False
    body = scope.bodies.of(spec.body)
    outer = (scope.facts.get(name) for name in body.outer)
    return not body.random and all(fact is None or fact.const is not None for fact in outer)


def _bind_fixed(spec: Spec, scope: Scope) -> set[str]:
    """Carried values that never change are values from outside: weights, sizes."""
    fixed, made = set(), makers_in(spec.body)
    for c in spec.carried:
        if source_of(made, c.result) == c.inside:
            scope.alias(spec.node, spec.node.inputs[c.input], c.inside)
            fixed.add(c.inside)
    return fixed
