"""The walk: one pass in graph order over concrete input sizes.

For each value it finds either a constant or shape and dtype. Everything known is folded, an `If` on a known
condition keeps its taken branch only (the other is never looked at), so that what remains are the nodes that
have to run.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import ops as _ops  # noqa: F401  (registers the operators)
from ..errors import LstmInferError, OnnxImportError, ShapeError, UnsupportedOpError
from ..frozen import frozen
from ..graph.budget import FOLD, VISIT, limits, open_budget, spend
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node
from ..ops import registry, work
from .bodies import Scope, is_control, needed, walk_control
from .decided import say_chosen
from .scope import Held

__all__ = ["LIMIT_BYTES", "Instead", "Walk", "resume", "walk"]

LIMIT_BYTES = 1 << 32
"""No single value may be larger: absurd sizes in a file end in an error, not in an allocation."""

FOLD_BYTES = 1 << 28
"""Constants larger than this are computed when the plan runs, not when it is made."""

_SMALL = 1 << 12
"""Constants below this are always computed: sizes, shapes, axes."""


_PYTHON_ERRORS = (
    ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError, KeyError, AttributeError, MemoryError, RuntimeError
)  # fmt: skip


@dataclass
class Walk:
    """The outcome: facts of every value, and the nodes that are left to run, in order."""

    facts: dict[str, Fact]
    nodes: list[Node] = field(default_factory=list)
    traces: dict[Hashable, Any] = field(default_factory=dict, repr=False, compare=False)
    """Where its axes go, by the inputs that are followed: see analysis/axes.py."""


@frozen
class Instead:
    """What a node with a body is to be walked with, in place of the facts of its inputs."""

    ins: list[Fact | None]


OnNode = Callable[[Node, list[Fact | None]], list[Fact] | Instead | None]


def walk(
    graph: Graph,
    feeds: Mapping[str, Fact],
    *,
    on_node: OnNode | None = None,
) -> Walk:
    """Walk `graph` with the given inputs. What comes out is only to be read: others may get the same.

    Parameters
    ----------
    graph : Graph
    feeds : mapping of input name to Fact
        One for every graph input.
    on_node : callable, optional
        Asked first for the facts of a node's outputs; None leaves the node to its operator, and Instead one with a body
        to its walk with other inputs.

    Raises
    ------
    ShapeError
        Sizes do not fit each other, or a value would be larger than `LIMIT_BYTES`.
    UnsupportedOpError, OnnxImportError
        A node that cannot be run; the message names it.
    """
    if graph.walks is None or on_node is not None:
        return _made(graph, feeds, on_node)[0]
    found: Walk = graph.walks.walk(graph, feeds, lambda: _made(graph, feeds, None))
    return found


def _made(graph: Graph, feeds: Mapping[str, Fact], on_node: OnNode | None) -> tuple[Walk, int]:
    """A walk, and the bytes of the constants that it computed."""
    out = Walk(dict(feeds))
    with open_budget(graph.allowance):
        scope = resume(out, on_node)
        scope.graph = graph
        scope.walk(graph, scope)
    out.nodes = needed(out.nodes, [port.name for port in graph.outputs])
    return out, scope.held.n_bytes


def resume(walked: Walk, on_node: OnNode | None = None) -> Scope:
    """What the walk of a body works on, behind a walk of the graph around it."""

    def into(part: Graph, scope: Scope) -> None:
        _walk_into(part, scope, on_node)

    def known(part: Graph, scope: Scope) -> None:
        _walk_into(part, scope, None)

    return Scope(walked.facts, walked.nodes, into, known)


def _walk_into(graph: Graph, out: Scope, on_node: OnNode | None) -> None:
    facts = out.facts
    for name, array in graph.consts.items():
        if name not in facts:
            facts[name] = Fact.of(array)
    for node in graph.nodes:
        spend(node, VISIT)
        if is_control(node):
            try:
                if not _asked(node, out, on_node):
                    walk_control(node, out)
            except LstmInferError as error:
                say_chosen(error, graph, node)
                raise
            except _PYTHON_ERRORS as error:
                raise ShapeError(f"{node}: its values do not fit its body: {error}") from error
            for name in node.outputs:
                if name:
                    _checked_bytes(node, facts[name])
            continue
        try:
            ins = [facts[name] if name else None for name in node.inputs]
        except KeyError as error:
            raise OnnxImportError(
                f"{node}: input {error.args[0]!r} is made by no node before it; the file is broken"
            ) from None
        said = on_node(node, ins) if on_node else None
        try:
            outs = said if isinstance(said, list) else folded(graph, node, ins, out.held)
        except LstmInferError as error:
            say_chosen(error, graph, node)
            raise
        if len(outs) < len(node.outputs) and any(node.outputs[len(outs) :]):
            raise OnnxImportError(f"{node}: has {len(node.outputs)} outputs, {node.op} makes {len(outs)}")
        runs = False
        for name, fact in zip(node.outputs, outs, strict=False):
            if name:
                facts[name] = fact
                runs |= fact.const is None
        if runs:
            out.nodes.append(node)


def _asked(node: Node, out: Scope, on_node: OnNode | None) -> bool:
    """Does `on_node` say what a node with a body makes."""
    if on_node is None or any(name and name not in out.facts for name in node.inputs):
        return False
    said = on_node(node, [out.facts[name] if name else None for name in node.inputs])
    if said is None:
        return False
    if isinstance(said, Instead):
        _walk_with(node, said.ins, out)
        return True
    for name, fact in zip(node.outputs, said, strict=False):
        if name:
            out.facts[name] = fact
    out.nodes.append(node)
    return True


def _walk_with(node: Node, ins: list[Fact | None], out: Scope) -> None:
    """Walk a node with a body as if its inputs had these facts."""
    before = {name: out.facts[name] for name in node.inputs if name}
    out.facts.update({name: fact for name, fact in zip(node.inputs, ins, strict=True) if fact is not None})
    walk_control(node, out)
    out.facts.update(before)


def folded(graph: Graph, node: Node, ins: list[Fact | None], held: Held) -> list[Fact]:
    """`node_facts`; where the constants that go in are the very arrays of the last walk, so is what comes out.

    Weights that a file computes from its constants are then one array at every size, packed once for all plans. What
    would not fit beside the constants that the walk computed so far stays a node.
    """
    for fact in ins:
        if fact is not None and fact.const is None:
            return node_facts(node, ins)
    consts = [None if fact is None else fact.const for fact in ins]
    room = limits().held_bytes - held.n_bytes
    found = graph.folds.get(id(node))
    if (
        found is not None
        and len(found[1]) == len(consts)
        and all(a is b for a, b in zip(found[1], consts, strict=True))
    ):
        outs: list[Fact] = found[2]
        n_bytes = _fresh_bytes(outs, consts)
        outs = outs if n_bytes <= max(room, 0) else [Fact(fact.shape, fact.dtype) for fact in outs]
    else:
        outs = node_facts(node, ins, room)
        n_bytes = _fresh_bytes(outs, consts)
        if all(fact.const is not None for fact in outs):
            graph.folds[id(node)] = (node, consts, outs)  # the node is held: its id is the key
    held.n_bytes += n_bytes if outs and outs[0].const is not None else 0
    return outs


def _fresh_bytes(outs: Sequence[Fact], consts: Sequence[Array | None]) -> int:
    """The bytes of constants that are no mere views of what they were computed from."""
    total = 0
    for fact in outs:
        made = fact.const
        if made is None or made.nbytes < _SMALL:
            continue
        if not any(a is not None and made.nbytes <= a.nbytes and np.may_share_memory(a, made) for a in consts):
            total += made.nbytes
    return total


def node_facts(node: Node, ins: list[Fact | None], room: int = FOLD_BYTES) -> list[Fact]:
    """Facts of a node's outputs from those of its inputs; folded where every input is known, and it costs little enough.

    `room`: the bytes that all outputs together may take to be folded.
    """
    op = registry.find(node)
    try:
        if op.inputs is not None:
            registry.check_inputs(node, op)
        outs = op.infer(node, ins)
        n_bytes = 0
        for fact in outs:
            n_bytes += _checked_bytes(node, fact)
        for given in ins:
            if given is not None and given.const is None:
                return outs
        if op.random:
            return outs
        if n_bytes > FOLD_BYTES or (n_bytes > room and n_bytes >= _SMALL):
            return outs
        if all(fact.const is not None for fact in outs):
            return outs
        cost = work.of(node, ins, outs)
        if cost > limits().fold_work:
            return outs
        spend(node, FOLD + cost)
        with np.errstate(all="ignore"):
            arrays = op.evaluate(node, [None if fact is None else np.asarray(fact.const) for fact in ins])
        return [_folded(node, fact, array) for fact, array in zip(outs, arrays, strict=False)]
    except LstmInferError:
        raise
    except _PYTHON_ERRORS as error:
        shapes = ", ".join("-" if fact is None else f"{fact.dtype}{list(fact.shape)}" for fact in ins)
        raise ShapeError(f"{node}: inputs {shapes} do not fit {node.op}: {error}") from error


def _folded(node: Node, fact: Fact, array: Array) -> Fact:
    array = np.asarray(array)
    if array.shape != fact.shape or array.dtype != fact.dtype:
        raise AssertionError(
            f"{node}: folds to {array.dtype}{array.shape}, its shape rule says {fact.dtype}{fact.shape}"
        )
    return Fact.of(array)


def _checked_bytes(node: Node, fact: Fact) -> int:
    """The bytes of a value, which may be had."""
    shape, dtype = fact.shape, fact.dtype
    if dtype.kind == "c":
        raise UnsupportedOpError(f"{node}: element type {dtype} is not supported; see docs/ops.md")
    n = dtype.itemsize
    for size in shape:
        if size < 0:
            raise ShapeError(f"{node}: an output would have the shape {list(shape)}; the input is too short for it")
        n *= size
    if n > LIMIT_BYTES:
        raise ShapeError(
            f"{node}: an output of shape {list(shape)} would take {n / 2**30:.1f} GiB, "
            f"the limit is {LIMIT_BYTES // 2**30} GiB; feed smaller pieces, or check the sizes in the file"
        )
    return n
