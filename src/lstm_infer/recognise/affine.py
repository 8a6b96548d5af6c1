"""What a value is as a sum of products with constant matrices: x W1 + h W2 + b, however the nodes spell it.

Gemm or MatMul and Add, one product over a Concat, products per gate or for all gates with Split, Slice or
Reshape + Gather behind them: all come out as one matrix per source. Gate orders and operand orders need no rule of
their own, since each gate is asked for by itself.
"""

from __future__ import annotations

from dataclasses import field
from math import prod
from typing import Any

import numpy as np

from ..frozen import frozen
from ..graph.ir import Node
from ..ops.activation import by_name, is_activation
from ..ops.registry import attr
from .rewrite import Editor, broadcastable

__all__ = ["Act", "Affine", "Leaf", "Reader"]

_DEEPEST = 24
"""Nodes between a gate and its products; also keeps long residual sums from being followed."""


@frozen
class Leaf:
    """A source: a value, or one position of an axis of it (axis from the end, 0 for the whole value)."""

    base: str
    axis: int = 0
    index: int = 0
    raw: int = field(default=0, compare=False)
    keep: str = field(default="", compare=False)
    """The value in the file that is this position, where there is one."""


@frozen
class Affine:
    """sum of leaf [.., K] @ matrix [K, *out] + bias [*out]."""

    terms: dict[Leaf, Any]
    bias: Any
    out: tuple[int, ...]
    nodes: frozenset[int]

    def select(self, axis: int, start: int, n: int, squeeze: bool) -> Affine:
        """A part of one of the `out` axes (counted from the end)."""
        place = len(self.out) - axis
        index: tuple[Any, ...] = (slice(None),) * place + ((start,) if squeeze else (slice(start, start + n),))
        out = self.out[:place] + (() if squeeze else (n,)) + self.out[place + 1 :]
        terms = {leaf: m[(slice(None), *index)] for leaf, m in self.terms.items()}
        return Affine(terms, None if self.bias is None else self.bias[index], out, self.nodes)

    def reshape(self, out: tuple[int, ...]) -> Affine:
        """The `out` axes regrouped."""
        terms = {leaf: m.reshape(len(m), *out) for leaf, m in self.terms.items()}
        return Affine(terms, None if self.bias is None else self.bias.reshape(out), out, self.nodes)

    def scale(self, by: Any) -> Affine:
        """Times one number, or one for each element of `out`."""
        terms = {leaf: np.asarray(m * by, np.float32) for leaf, m in self.terms.items()}
        bias = None if self.bias is None else np.asarray(self.bias * by, np.float32)
        return Affine(terms, bias, self.out, self.nodes)

    def plus(self, bias: Any) -> Affine:
        """With a constant added."""
        return Affine(self.terms, bias if self.bias is None else self.bias + bias, self.out, self.nodes)

    def touching(self, *nodes: Node) -> Affine:
        """With more nodes on its way."""
        return Affine(self.terms, self.bias, self.out, self.nodes | {id(n) for n in nodes})

    def sum(self, other: Affine) -> Affine:
        """Both together."""
        terms = dict(self.terms)
        for leaf, m in other.terms.items():
            terms[leaf] = terms[leaf] + m if leaf in terms else m
        made = Affine(terms, self.bias, self.out, self.nodes | other.nodes)
        return made if other.bias is None else made.plus(other.bias)


@frozen
class Act:
    """An activation over a sum: ONNX name, alpha, beta, the sum, the nodes."""

    name: str
    params: tuple[float, ...]
    pre: Affine
    nodes: frozenset[int]
    peephole: Any = None
    """What the cell state is multiplied by, one number a unit, where it is in the sum as well."""


class Reader:
    """Reads values of a graph as Affine and Act; every value is looked at once."""

    def __init__(self, edit: Editor) -> None:
        self.edit, self.known = edit, edit.known
        self._affine: dict[str, Affine | None] = {}
        self._act: dict[str, Act | None] = {}
        self.shared = False
        """Was a product over a whole sequence found behind a pick of one step."""

    # ---- sums -------------------------------------------------------------------------------------------

    def affine(self, name: str, depth: int = 0) -> Affine | None:
        """The sum that a value is, None where it is none."""
        if name not in self._affine:
            if depth > _DEEPEST or not self.known.is_real(name):
                return None
            trail: list[Node] = []
            root = self.edit.root(name, trail)
            if root != name:
                found = self.affine(root, depth + 1)
                while found is not None and len(found.out) > 1 and found.out[0] == 1:
                    found = found.reshape(found.out[1:])
                self._affine[name] = found and found.touching(*trail)
            else:
                self._affine[name] = self._read(name, depth)
        return self._affine[name]

    def _read(self, name: str, depth: int) -> Affine | None:
        node = self.edit.maker.get(name)
        if node is None or node.domain:
            return None
        found: Affine | None = None
        if node.op in ("MatMul", "Gemm"):
            found = self._product(node, depth)
        elif node.op in ("Add", "Sub"):
            found = self._add(node, depth)
        elif node.op in ("Mul", "Div"):
            found = self._scale(node, depth)
        elif node.op == "Neg":
            inner = self.affine(node.inputs[0], depth + 1)
            found = inner and inner.scale(np.float32(-1))
        elif node.op in ("Split", "Slice", "Gather"):
            found = self._select(name, depth)
        elif node.op == "Reshape":
            found = self._split_last(node, depth)
        return found and found.touching(node)

    def _product(self, node: Node, depth: int) -> Affine | None:
        w: Any = self.known.const(node.inputs[1])
        if w is None or w.ndim != 2 or w.dtype not in (np.float32, np.float16):
            return None
        alpha, beta = 1.0, 1.0
        if node.op == "Gemm":
            if attr(node, "transA", 0):
                return None
            w = w.T if attr(node, "transB", 0) else w
            alpha, beta = float(attr(node, "alpha", 1.0)), float(attr(node, "beta", 1.0))
            w = w if alpha == 1 else np.asarray(w * np.float32(alpha))
        terms: dict[Leaf, Any] = {}
        at = 0
        for leaf, width in self.leaves(node.inputs[0]):
            part = w[at : at + width]
            terms[leaf] = terms[leaf] + part if leaf in terms else part
            at += width
        if at != len(w):
            return None
        made = Affine(terms, None, (w.shape[1],), frozenset())
        if node.op == "Gemm" and len(node.inputs) > 2 and node.inputs[2] and beta:
            return self._with(made, node.inputs[2], np.float32(beta), node.outputs[0], depth)
        return made

    def _with(self, made: Affine, name: str, by: Any, result: str, depth: int) -> Affine | None:
        """Plus another value, a sum or a constant, times a number."""
        other = self.affine(name, depth + 1)
        if other is not None:
            if other.out != made.out or self.known.lead(name) != self.known.lead(result):
                return None
            return made.sum(other if by == 1 else other.scale(by))
        const = self.known.const(name)
        row: Any = None if const is None else broadcastable(const, made.out)
        return None if row is None else made.plus(row if by == 1 else row * by)

    def _add(self, node: Node, depth: int) -> Affine | None:
        a, b = node.inputs[:2]
        sign = np.float32(-1 if node.op == "Sub" else 1)
        left = self.affine(a, depth + 1)
        if left is not None:
            same = self.known.lead(a) == self.known.lead(node.outputs[0])
            return self._with(left, b, sign, node.outputs[0], depth) if same else None
        right = self.affine(b, depth + 1)
        if right is None or self.known.lead(b) != self.known.lead(node.outputs[0]):
            return None
        right = right if sign == 1 else right.scale(sign)
        return self._with(right, a, np.float32(1), node.outputs[0], depth)

    def _scale(self, node: Node, depth: int) -> Affine | None:
        for a, b in ((0, 1), (1, 0))[: 1 if node.op == "Div" else 2]:
            const = self.known.const(node.inputs[b])
            inner = None if const is None else self.affine(node.inputs[a], depth + 1)
            row: Any = None if inner is None or const is None else broadcastable(const, inner.out)
            if inner is not None and row is not None and inner.out == self._out(node.outputs[0], inner):
                if node.op == "Div" and not np.all(row):
                    return None
                return inner.scale(np.float32(1) / row if node.op == "Div" else row)
        return None

    def _out(self, name: str, inner: Affine) -> tuple[int, ...]:
        return self.known.shapes(name)[0][-len(inner.out) :]

    def _select(self, name: str, depth: int) -> Affine | None:
        part = self.edit.part(name)
        inner = None if part is None else self.affine(part.source, depth + 1)
        if part is None or inner is None:
            return None
        squeeze = self.known.rank(name) < self.known.rank(part.source)
        if part.axis <= len(inner.out):
            return inner.select(part.axis, part.start, part.n, squeeze)
        if part.n != 1:
            return None
        terms = {}
        for leaf, m in inner.terms.items():  # one step of a product over the whole sequence is the product of one step
            if leaf.axis or self._before(leaf.base, 1) != self._before(part.source, len(inner.out)):
                return None
            axis = part.axis - len(inner.out) + 1
            terms[Leaf(leaf.base, axis, part.start, part.raw)] = m
        self.shared = True
        return Affine(terms, inner.bias, inner.out, frozenset())

    def _before(self, name: str, n: int) -> tuple[tuple[int, ...], ...]:
        return tuple(shape[: len(shape) - n] for shape in self.known.shapes(name))

    def _split_last(self, node: Node, depth: int) -> Affine | None:
        """Reshape [.., 4H] -> [.., 4, H]."""
        inner = self.affine(node.inputs[0], depth + 1)
        if inner is None or len(inner.out) != 1:
            return None
        shape = self.known.shapes(node.outputs[0])[0]
        for n in range(2, len(shape) + 1):
            out = shape[-n:]
            fits = all(s[-n:] == out for s in self.known.shapes(node.outputs[0])) and prod(out) == inner.out[0]
            lead = tuple(tuple(e for e in s[:-n] if e != 1) for s in self.known.shapes(node.outputs[0]))
            if fits and lead == self.known.lead(node.inputs[0]):
                return inner.reshape(out)
        return None

    # ---- sources ----------------------------------------------------------------------------------------

    def leaves(self, name: str, depth: int = 0) -> list[tuple[Leaf, int]]:
        """A value as sources side by side along its last axis, with their widths."""
        root = self.edit.root(name)
        node, width = self.edit.maker.get(root), self.known.shapes(root)[0][-1]
        if node is None or node.domain or depth > _DEEPEST:
            return [(Leaf(root), width)]
        if node.op == "Concat" and int(attr(node, "axis", 0)) in (-1, self.known.rank(root) - 1):
            return [leaf for part in node.inputs for leaf in self.leaves(part, depth + 1)]
        part = self.edit.part(root)
        if part is not None and part.axis > 1 and part.n == 1:
            base = self.edit.twin(part.source)
            return [(Leaf(base, part.axis, part.start, part.raw, root), width)]
        return [(Leaf(root), width)]

    def leaf(self, name: str) -> Leaf:
        """A value that is one source."""
        found = self.leaves(name)
        return found[0][0] if len(found) == 1 else Leaf(self.edit.root(name))

    # ---- activations ------------------------------------------------------------------------------------

    def act(self, name: str, depth: int = 0) -> Act | None:
        """The activation of a sum that a value is, also where it is a part of one over several gates."""
        if name not in self._act:
            if depth > _DEEPEST or not self.known.is_real(name):
                return None
            self._act[name] = self._read_act(name, depth)
        return self._act[name]

    def _read_act(self, name: str, depth: int) -> Act | None:
        trail: list[Node] = []
        root = self.edit.root(name, trail)
        ids = frozenset(id(n) for n in trail)
        found = self.act_on(root)
        if found is not None:
            kind, params, value, nodes = found
            over = self.affine(value)
            return None if over is None else Act(kind, params, over, ids | nodes | over.nodes)
        part = self.edit.part(root)
        inner = None if part is None else self.act(part.source, depth + 1)
        if part is None or inner is None or part.axis > len(inner.pre.out):
            return None
        squeeze = self.known.rank(root) < self.known.rank(part.source)
        pre = inner.pre.select(part.axis, part.start, part.n, squeeze)
        while len(pre.out) > 1 and pre.out[0] == 1:
            pre = pre.reshape(pre.out[1:])
        return Act(inner.name, inner.params, pre, inner.nodes | ids | {id(self.edit.maker[root])})

    def act_on(self, root: str) -> tuple[str, tuple[float, ...], str, frozenset[int]] | None:
        """(activation, parameters, operand, nodes) where a value is an activation of anything."""
        node = self.edit.maker.get(root)
        if node is None or node.domain:
            return None
        kind = by_name(node.op) if is_activation(node) else None
        if kind is not None:
            return kind.name, kind.coefficients(node), node.inputs[0], frozenset({id(node)})
        if node.op == "Clip":
            top = self._top(node)
            return ("HardSigmoid", (1.0, 0.0), node.inputs[0], frozenset({id(node)})) if top == 1 else None
        if node.op in ("Mul", "Div"):  # relu6(x + 3) / 6
            for a, b in ((0, 1), (1, 0))[: 1 if node.op == "Div" else 2]:
                const, inner = self.known.const(node.inputs[b]), self.edit.maker.get(node.inputs[a])
                if const is None or const.size != 1 or inner is None or inner.domain or inner.op != "Clip":
                    continue
                by = float(const.reshape(-1)[0])
                by = 1 / by if node.op == "Div" and by else by
                top = self._top(inner)
                if top is not None and abs(top * by - 1) < 1e-6:
                    return "HardSigmoid", (by, 0.0), inner.inputs[0], frozenset({id(node), id(inner)})
        return None

    def _top(self, node: Node) -> float | None:
        """The upper bound of a Clip from zero."""
        bounds = [self.known.const(node.inputs[i]) if i < len(node.inputs) else None for i in (1, 2)]
        if any(b is None or b.size != 1 for b in bounds):
            return None
        low, high = (float(b.reshape(-1)[0]) for b in bounds if b is not None)
        return high if low == 0 and high > 0 else None
