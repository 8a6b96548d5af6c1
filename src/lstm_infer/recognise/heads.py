"""First steps that an exporter folded: from a state of zeros, the product with it is a bias, and f * c is nothing.

What is left of such a step is any of a dozen forms. So it is not read from its nodes but tried: the values that the
second step starts from, computed for drawn inputs of several magnitudes, must be those of the second step's own
operator from zeros, at the position of the sequence that no step reads. Then that operator makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..ops import recurrent
from ..ops.registry import find
from ..walk.bodies import is_control
from .affine import Leaf
from .cell_emit import from_step, sequence
from .rewrite import Editor

__all__ = ["complete"]

MOST_NODES = 256
SCALES = (0.1, 1.0, 10.0)
"""Magnitudes of the drawn inputs: where gates are linear, bent and saturated."""

CLOSE = 1e-5
"""Two spellings of one sum in float32 differ by less; a bias, a state or a weight of its own makes more."""


def complete(edit: Editor, second: Node, sources: Sequence[Leaf], position: int) -> bool:
    """Put the operator of `second` in the place of what computes its states, where these are the same.

    sources: what `second` reads. position: what its predecessor would read of them.
    """
    leaves = [replace(s, index=position, raw=position, keep="") for s in sources]
    ends = [edit.root(second.inputs[index]) for _, index, _ in recurrent.states(second)]
    makers = [edit.maker.get(end) for end in ends]
    if any(maker is None or len(maker.outputs) != 1 for maker in makers):
        return False
    if any(not edit.known.is_real(leaf.base) or edit.known.rank(leaf.base) not in (2, 3) for leaf in leaves):
        return False
    cone = _cone(edit, ends, {leaf.base for leaf in leaves})
    if cone is None or not all(_equal(second, leaves, ends, cone, facts) for facts in edit.known.walks):
        return False
    hint = f"{second.name}/first"
    outputs = ["", *(edit.names.fresh(f"{hint}/{what}") for what, _, _ in recurrent.states(second))]
    inputs = [sequence(edit, leaves, hint), *second.inputs[1:4], "", *[""] * len(ends), *second.inputs[7:]]
    edit.add_node(replace(second, name=edit.names.fresh(hint), inputs=inputs, outputs=outputs))
    edit.drop(maker for maker in makers if maker is not None)
    for value, end in zip(outputs[1:], ends, strict=True):
        from_step(edit, value, end, f"{hint}/end")
    edit.commit()
    return True


def _cone(edit: Editor, ends: Iterable[str], bases: set[str]) -> list[Node] | None:
    """The nodes, in order, that compute some values from the sequences `bases` and constants; None where other things
    go in too."""
    found: dict[int, Node] = {}
    todo = list(ends)
    while todo:
        name = todo.pop()
        if name in bases or not name or edit.known.const(name) is not None:
            continue
        node = edit.maker.get(name)
        if node is None or is_control(node) or find(node).random or not edit.known.has(name):
            return None
        if not edit.known.unsettled.isdisjoint(node.outputs):
            return None  # at the lengths that were walked it is what it is, and may be another at others
        if id(node) not in found:
            found[id(node)] = node
            todo += node.inputs
        if len(found) > MOST_NODES:
            return None
    return [node for node in edit.graph.nodes if id(node) in found]


def _equal(
    second: Node, leaves: Sequence[Leaf], ends: Sequence[str], cone: Sequence[Node], facts: Mapping[str, Fact]
) -> bool:
    """At the sizes of one walk."""
    rng = np.random.default_rng(0)
    weights = [facts[name].const if name else None for name in second.inputs]
    for scale in SCALES:
        bases: dict[str, Array] = {}
        for leaf in leaves:
            bases[leaf.base] = rng.normal(0, scale, facts[leaf.base].shape).astype(np.float32)
        steps = [np.take(bases[leaf.base], leaf.index, bases[leaf.base].ndim - leaf.axis) for leaf in leaves]
        x = np.concatenate([step.reshape(1, -1, step.shape[-1]) for step in steps], axis=2)
        with np.errstate(all="ignore"):
            got = _computed(cone, bases, facts)
            want = find(second).evaluate(second, [x, *weights[1:4], None, *[None for _ in ends], *weights[7:]])
        if got is None or not all(_close(got[end], value) for end, value in zip(ends, want[1:], strict=True)):
            return False
    return True


def _computed(cone: Sequence[Node], given: Mapping[str, Array], facts: Mapping[str, Fact]) -> dict[str, Array] | None:
    values: dict[str, Any] = dict(given)
    try:
        for node in cone:
            ins = [(values[v] if v in values else facts[v].const) if v else None for v in node.inputs]
            values.update(zip(node.outputs, find(node).evaluate(node, ins), strict=False))
    except (LstmInferError, KeyError, ValueError, IndexError, TypeError):
        return None
    return values


def _close(got: Array, want: Array) -> bool:
    if got.size != want.size:
        return False
    most = max(1.0, float(np.abs(want).max(initial=0)))
    return bool(np.all(np.abs(got.reshape(want.shape) - want) <= CLOSE * most))
