"""Einsum-12: one or two operands, lowered to transposes, reductions and one matrix product.

Refused: three and more operands, an index twice in one operand (diagonals), ellipses.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ..errors import OnnxImportError, ShapeError
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..program.builder import Builder
from ..program.views import View
from .matmul import dynamic
from .reduce import reduce
from .registry import Op, attr, need, register, unsupported


def _equation(node: Node, n_in: int) -> tuple[list[str], str]:
    """The index letters of each operand and of the result."""
    text = str(attr(node, "equation")).replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if "." in text:
        raise unsupported(node, f"equation {text!r} (ellipsis)")
    if not arrow:
        letters = left.replace(",", "")
        right = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    if len(terms) != n_in or not set(right) <= set(left) or len(set(right)) != len(right):
        raise OnnxImportError(f"{node}: equation {text!r} does not fit {n_in} operands; the file is broken")
    if len(terms) > 2:
        raise unsupported(node, f"equation {text!r} (more than two operands)")
    if any(len(set(term)) != len(term) for term in terms):
        raise unsupported(node, f"equation {text!r} (an index twice in one operand)")
    return terms, right


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    facts: list[Fact] = [need(node, ins, i) for i in range(len(ins))]
    terms, right = _equation(node, len(ins))
    sizes: dict[str, int] = {}
    for term, fact in zip(terms, facts, strict=True):
        if fact.dtype.kind != "f" or fact.dtype != facts[0].dtype:
            raise unsupported(node, f"element type {fact.dtype}")
        if len(term) != len(fact.shape):
            raise ShapeError(f"{node}: indices {term!r} do not fit {list(fact.shape)}")
        for letter, n in zip(term, fact.shape, strict=True):
            if sizes.setdefault(letter, n) != n:
                raise ShapeError(f"{node}: index {letter!r} is both {sizes[letter]} and {n}")
    return [Fact(tuple(sizes[letter] for letter in right), facts[0].dtype)]


def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
    terms, right = _equation(node, len(ins))
    return [np.array(np.einsum(f"{','.join(terms)}->{right}", *(need(node, ins, i) for i in range(len(ins)))))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    terms, right = _equation(node, len(ins))
    return [Link(i, a, 0, right.index(c)) for i, term in enumerate(terms) for a, c in enumerate(term) if c in right]


def _only(b: Builder, view: View, term: str, kept: str) -> tuple[View, str]:
    """Sums over the indices that nothing else has."""
    axes = tuple(a for a, c in enumerate(term) if c not in kept)
    if not axes:
        return view, term
    out = b.alloc([n for a, n in enumerate(view.shape) if a not in axes])
    reduce(b, "Sum", view, axes, out)
    return out, "".join(c for c in term if c in kept)


def lower(node: Node, b: Builder) -> None:
    terms, right = _equation(node, len(node.inputs))
    views = [b.f32(b.view(name)) for name in node.inputs]
    if len(terms) == 1:
        view, term = _only(b, views[0], terms[0], right)
        b.bind(node.outputs[0], view.transpose([term.index(c) for c in right]))
        return
    x, s = _only(b, views[0], terms[0], terms[1] + right)
    y, t = _only(b, views[1], terms[1], terms[0] + right)
    sizes = dict(zip(s + t, x.shape + y.shape, strict=True))
    both = [c for c in s if c in t]
    batch, summed = [c for c in both if c in right], [c for c in both if c not in right]
    rows, columns = [c for c in s if c not in t], [c for c in t if c not in s]

    def group(view: View, term: str, parts: tuple[list[str], list[str]]) -> View:
        order = [term.index(c) for c in (*batch, *parts[0], *parts[1])]
        shape = [prod(sizes[c] for c in part) for part in parts]
        return b.reshape(view.transpose(order), [*(sizes[c] for c in batch), *shape])

    made = b.alloc([sizes[c] for c in (*batch, *rows, *columns)])
    flat = made.reshape([*(sizes[c] for c in batch), prod(sizes[c] for c in rows), prod(sizes[c] for c in columns)])
    assert flat is not None
    dynamic(b, group(x, s, (rows, summed)), group(y, t, (summed, columns)), flat)
    order = [*batch, *rows, *columns]
    b.bind(node.outputs[0], made.transpose([order.index(c) for c in right]))


def _work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
    """NumPy visits each combination of all indices."""
    terms, _ = _equation(node, len(ins))
    sizes = {c: n for term, fact in zip(terms, ins, strict=True) if fact for c, n in zip(term, fact.shape, strict=True)}
    return 4 * prod(sizes.values())


register(
    Op(
        "Einsum",
        infer,
        evaluate,
        flow,
        lower,
        work=_work,
        note="one or two operands; no ellipsis, no diagonal",
        runs="matmul_dyn_f32",
        why="sums over time",
    )
)
