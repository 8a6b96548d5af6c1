"""Rewrites on the graph before it is planned: sizes that an exporter froze, cells and loops it took apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..graph.edit import Names, Transaction, transaction
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node, Port
from ..ops import recurrent
from ..ops.activation import is_activation
from ..ops.registry import attr
from .batchnorm_folded import batchnorm
from .bias import bias
from .cell import Context
from .cells import rewrite_cells
from .delayed import pad_delays
from .fold import fold
from .frozen import thaw
from .known import Known, know
from .loops import normalise
from .notice import warn_once
from .overridable import fix_defaults, settle_defaults
from .pairs import join_pairs
from .positions import is_worth_it, read_sequences
from .quantised import UNFOLDED, is_quantised, join_quantised
from .reached import settle_comparisons
from .repeated import roll_all
from .rewrite import Editor
from .scans import open_scan
from .unfused import take_fused_apart
from .unrolled import roll_up
from .whole import name_whole_slices

__all__ = ["fix_defaults", "pad_delays", "rewrite", "settle_defaults", "thaw", "warn_once"]


def rewrite(
    graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array], states: Mapping[str, str] | None = None
) -> list[str]:
    """Bring a graph into the form that the planner knows best, in place; returns one text for each thing that changed.

    Parameters
    ----------
    graph : Graph
    inputs : ports of the fed inputs, with the sizes the caller fixed
    constants : inputs that the caller turned into constants
    states : input to output, where the caller said which hold states
    """
    if is_quantised(graph):  # before its weights become floats
        fold(graph, constants, leave=UNFOLDED)
        join_quantised(graph)
    fold(graph, constants)
    name_whole_slices(graph)
    pad_delays(graph, inputs, constants)
    take_fused_apart(graph)
    normalise(graph, inputs, constants)
    settle_comparisons(graph, inputs, constants)
    join_pairs(graph, batchnorm)
    texts = _cells_and_copies(graph, inputs, constants, states)
    join_pairs(graph, bias)
    _forget(graph)
    return texts


def _cells_and_copies(
    graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array], states: Mapping[str, str] | None
) -> list[str]:
    """Cells and layers of them. Where copies of a loop's body are left, they are rolled up as they are, else as they were
    before cells were looked for, which then are looked for in the body."""
    if not is_worth_it(graph):
        return _cells(graph, inputs, constants, states)[0]
    with transaction(graph) as change:
        texts, known = _cells(graph, inputs, constants, states)
        if known is not None and known.sure and not read_sequences(graph, known):
            change.keep()
            return texts
        with_cells = Transaction(graph, None)
        rolled = roll_all(graph, inputs, constants)
        if rolled is None or rolled:
            change.keep()
            return texts + (rolled or [])
    with transaction(graph) as change:
        rolled = roll_all(graph, inputs, constants)
        if rolled:
            change.keep()
            return rolled + _cells(graph, inputs, constants, states)[0]
    with_cells.undo()
    return texts


def _worth_it(graph: Graph) -> bool:
    """Is there anything that could be a cell, or one step of one."""
    nodes = list(graph.walk())
    gates = any(is_activation(node) or node.op == "Clip" for node in nodes)
    products = any(node.op in ("MatMul", "Gemm") for node in nodes)
    return (gates and products) or any(node.op in recurrent.GATES for node in nodes)


def _cells(
    graph: Graph, inputs: Sequence[Port], constants: Mapping[str, Array], states: Mapping[str, str] | None
) -> tuple[list[str], Known | None]:
    """A text for each, and what is known of all values then; None where nothing was walked."""
    known = know(graph, inputs, constants) if _worth_it(graph) else None
    if known is None:
        return [], None
    names = Names.of(graph)
    return _all(graph, known, Context(states or {}, tuple(p.name for p in graph.outputs)), names), known


def _all(graph: Graph, known: Known, context: Context, names: Names) -> list[str]:
    """A graph and all inside it, the innermost first: a body that is a cell opens its Scan."""
    texts: list[str] = []
    inner: dict[int, tuple[Known, list[str]]] = {}
    for node in graph.nodes:
        if node.op not in ("Scan", "If") or node.domain:
            continue
        for sub in node.subgraphs():
            n = len(node.inputs) - int(attr(node, "num_scan_inputs", 0))
            own = [_scan_facts(node, sub, facts, n) if node.op == "Scan" else {} for facts in known.walks]
            inside = known.inside(sub, own)
            if inside is not None:
                states = sub.inputs[:n] if node.op == "Scan" else []
                back = {i.name: o.name for i, o in zip(states, sub.outputs, strict=False)}
                found = _all(sub, inside, Context(back), names)
                if node.op == "Scan":
                    inner[id(node)] = inside, found
                else:
                    texts += found
    edit = Editor(graph, known, names)
    for node in [n for n in graph.nodes if id(n) in inner]:
        inside, found = inner[id(node)]
        text = open_scan(edit, node, inside, names)
        texts += [text] if text else found
    edit.commit()
    return texts + _one_graph(graph, known, names, context)


def _scan_facts(node: Node, body: Graph, facts: Mapping[str, Fact], n: int) -> dict[str, Fact]:
    """What a body of Scan is given: states as they are, sequences without their axis."""
    axes = attr(node, "scan_input_axes", [])
    found = {}
    for i, (port, name) in enumerate(zip(body.inputs, node.inputs, strict=False)):
        fact = facts[name]
        shape = list(fact.shape)
        if i >= n:
            shape.pop(int(axes[i - n]) if axes else 0)
        found[port.name] = Fact(tuple(shape), fact.dtype)
    return found


def _one_graph(graph: Graph, known: Known, names: Names, context: Context) -> list[str]:
    """Cells, then layers of them. Steps that only made sense as a layer are undone where no layer came of it."""
    barred: set[str] = set()
    shared = True
    while True:
        # taken back, layers have the names they had before, by which they are barred
        with transaction(graph, names) as change:
            edit = Editor(graph, known, names)
            texts = rewrite_cells(edit, context, shared=shared)
            rolled, picked = roll_up(edit, barred)
            made = {name for node in graph.nodes for name in node.outputs}
            left = {layer for layer, value in picked if value in made}
            lost = shared and any(node.op == "Gather" and "_picked" in node.outputs[0] for node in graph.nodes)
            if not left and not lost:
                change.keep()
                return rolled or texts
        known.forget()
        barred |= left
        shared = shared and not lost


def _forget(graph: Graph) -> None:
    """Constants that nobody reads any more."""
    used = set(graph.defaults)
    for g in graph.graphs():
        used |= {port.name for port in g.outputs}
        used.update(name for node in g.nodes for name in node.inputs)
    for g in graph.graphs():
        for name in [name for name in g.consts if name not in used]:
            del g.consts[name]
