"""Layers that were unrolled over time: a chain of equal one-step recurrences becomes one over the whole sequence.

The steps have the same weights, each starts from the states of the one before, and their inputs are the positions
0 .. T-1 of one sequence (or T-1 .. 0: direction "reverse"). The first may have been folded (heads.py). The outputs may
be stacked again, or only the last ones be read; where a state in the middle is read otherwise, the steps stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..graph.ir import Node
from ..ops import recurrent
from ..ops.common import pass_broadcast
from ..ops.registry import attr, find
from .affine import Leaf, Reader
from .heads import complete
from .rewrite import Editor

__all__ = ["ends", "is_step", "roll_up"]


@dataclass
class _Step:
    node: Node
    sources: list[Leaf]


def roll_up(edit: Editor, barred: set[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Roll up one layer after the other, in place.

    Returns texts, and (name of the first step, value) for each state in the middle that had to be picked out of the
    sequence again: where such a value is still there in the end, the caller undoes all and bars that layer.
    """
    texts: list[str] = []
    picked: list[tuple[str, str]] = []
    tails: dict[str, Leaf] = {}
    done = True
    while done:
        done = False
        for chain in _chains(edit, tails):
            if chain[0].node.name in barred:
                continue
            if _behind_a_folded_step(edit, chain):
                done = True
                break
            if len(chain) == 1:
                continue
            text = _roll(edit, chain, picked, tails)
            if text:
                texts.append(text)
                edit.commit()
                done = True
                break
    return texts, picked


def _behind_a_folded_step(edit: Editor, chain: list[_Step]) -> bool:
    """Do the steps read all positions but the one that the first state comes from; then that step is one of them now."""
    order = [step.sources[0].index for step in chain]
    n = len(chain) + 1
    missing = {tuple(range(1, n)): 0, tuple(range(n - 2, -1, -1)): n - 1}.get(tuple(order))
    if missing is None or not _seeded(chain[0].node) or not _one_sequence(edit, chain, n):
        return False
    return complete(edit, chain[0].node, chain[0].sources, missing)


def _seeded(node: Node) -> bool:
    """Does a step start from given states."""
    return all(len(node.inputs) > i and node.inputs[i] for _, i, _ in recurrent.states(node))


def is_step(edit: Editor, node: Node) -> bool:
    """Is a node one forward step of a recurrence that starts from a given state."""
    return _one_step(edit, node) and all(
        len(node.inputs) > i and node.inputs[i] for _, i, _ in recurrent.states(node)[:1]
    )


def _one_step(edit: Editor, node: Node) -> bool:
    return (
        recurrent.is_recurrent(node)
        and recurrent.directions(node) == [False]
        and not node.attrs.get("layout", 0)
        and edit.known.has(node.inputs[0])
        and edit.known.extent(node.inputs[0], 0) == 1
        and not (len(node.inputs) > 4 and node.inputs[4])
    )


def ends(edit: Editor, node: Node, output: int) -> list[str]:
    """The values that are the state behind a step: Y_h or Y_c, and Y of one step."""
    places = [output, 0] if output == 1 else [output]
    return [node.outputs[p] for p in places if p < len(node.outputs) and node.outputs[p]]


def _chains(edit: Editor, tails: dict[str, Leaf]) -> list[list[_Step]]:
    """Steps that follow each other. tails: last states of layers rolled up before, as positions of their outputs."""
    steps = [node for node in edit.graph.nodes if _one_step(edit, node)]
    behind = {name: node for node in steps for name in ends(edit, node, 1)}
    after: dict[int, Node] = {}
    before: dict[int, Node] = {}
    for node in steps:
        ahead = behind.get(edit.root(node.inputs[5])) if len(node.inputs) > 5 and node.inputs[5] else None
        if ahead is None or _kind(ahead) != _kind(node) or id(ahead) in after:
            continue
        if node.op == "LSTM" and (len(node.inputs) < 7 or edit.root(node.inputs[6]) not in ends(edit, ahead, 2)):
            continue
        after[id(ahead)] = node
        before[id(node)] = ahead
    read = Reader(edit)
    chains = []
    for node in steps:
        if id(node) in before:
            continue
        chain = [node]
        while id(chain[-1]) in after:
            chain.append(after[id(chain[-1])])
        sources = [[leaf for leaf, _ in read.leaves(n.inputs[0])] for n in chain]
        chains.append([_Step(n, [tails.get(x.base, x) for x in xs]) for n, xs in zip(chain, sources, strict=True)])
    return chains


def _kind(node: Node) -> tuple[object, ...]:
    weights = [node.inputs[i] if i < len(node.inputs) else "" for i in (1, 2, 3, 7)]
    return (node.op, *weights, sorted((k, str(v)) for k, v in node.attrs.items()))


def _roll(edit: Editor, chain: list[_Step], picked: list[tuple[str, str]], tails: dict[str, Leaf]) -> str:
    known, n = edit.known, len(chain)
    everywhere = (list(range(n)), list(range(n - 1, -1, -1)))
    order = [step.sources[0].index for step in chain]
    if order not in everywhere or not _one_sequence(edit, chain, n):
        return ""
    first, last = chain[0].node, chain[-1].node
    for step in chain[:-1]:  # cell states in the middle: read by the next step only
        if step.node.op == "LSTM":
            for name in ends(edit, step.node, 2):
                if edit.is_output(name) or len(edit.users(name)) > 1:
                    return ""
    hint = f"{first.name}/rolled"
    parts = [_whole(edit, leaf, hint) for leaf in chain[0].sources]
    if not all(parts):
        return ""
    x = parts[0] if len(parts) == 1 else edit.add("Concat", parts, f"{hint}/x", axis=2)
    y = edit.names.fresh(f"{hint}/Y")
    attrs = dict(first.attrs)
    if order != list(range(n)):
        attrs["direction"] = "reverse"
    outs = [y] + [(last.outputs[i] if i < len(last.outputs) else "") or "" for _, _, i in recurrent.states(last)]
    name = edit.names.fresh(hint)
    edit.add_node(replace(first, name=name, inputs=[x, *first.inputs[1:]], outputs=outs, attrs=attrs))
    edit.drop(step.node for step in chain)
    rows = edit.add("Squeeze", [y, edit.const(np.array([1], np.int64), "axes1")], f"{hint}/rows")
    if outs[1]:
        tails[outs[1]] = Leaf(rows, 3, order[-1], order[-1])
    for output in (0, 1):
        by_position = sorted((order[t], step.node.outputs) for t, step in enumerate(chain))
        if all(len(values) > output and values[output] for _, values in by_position):
            _stacks(edit, [values[output] for _, values in by_position], rows, hint)
    for t, step in enumerate(chain):
        for output in (0, 1):
            value = step.node.outputs[output] if output < len(step.node.outputs) else ""
            if not value or (t == n - 1 and output == 1):
                continue
            index = edit.const(np.array(order[t], np.int64), "index")
            step_h = edit.add("Gather", [rows, index], f"{hint}/h", axis=0)
            axes = np.array([0] if output else [0, 1], np.int64)
            edit.add("Unsqueeze", [step_h, edit.const(axes, "axes")], f"{hint}/h_step", output=value)
            picked.append((first.name, step_h))
    what = "reverse " if "direction" in attrs else ""
    shape = known.shapes(first.inputs[2])[0]
    return f"{first.name}: unrolled over {n} steps: rolled into one {what}{first.op} of {shape[-1]} units"


def _one_sequence(edit: Editor, chain: list[_Step], n: int) -> bool:
    """Do all steps read positions of one sequence, which has n."""
    first = chain[0].sources
    for step in chain:
        if [(s.base, s.axis) for s in step.sources] != [(s.base, s.axis) for s in first]:
            return False
        if any(not s.axis or s.index != step.sources[0].index for s in step.sources):
            return False
    for leaf in first:
        rank = edit.known.rank(leaf.base)
        extent = edit.known.extent(leaf.base, rank - leaf.axis)
        if extent != n and not (extent is None and (n in edit.graph.split_whole or _reads_all(edit, leaf, n))):
            return False
    return True


def _reads_all(edit: Editor, leaf: Leaf, n: int) -> bool:
    """Is an axis whose extent is open read at the positions 0 .. n-1 and nowhere else: n is the exporter's example."""
    read = set()
    for user in edit.users(leaf.base):
        if user.op in ("Shape", "Size"):
            continue
        index = edit.known.const(user.inputs[1]) if user.op == "Gather" and not user.domain else None
        axis = edit.known.rank(leaf.base) - leaf.axis
        if index is None or index.ndim or int(attr(user, "axis", 0)) % edit.known.rank(leaf.base) != axis:
            return False
        read.add(int(index))
    return read == set(range(n)) and n > 2


def _whole(edit: Editor, leaf: Leaf, hint: str) -> str:
    """The sequence behind a source as [T, B, K]; "" where it has more axes."""
    rank = edit.known.rank(leaf.base)
    axis = rank - leaf.axis
    if rank == 2:
        return edit.add("Unsqueeze", [leaf.base, edit.const(np.array([1], np.int64), "axes1")], f"{hint}/x_rows")
    if rank == 3 and axis == 0:
        return leaf.base
    if rank == 3 and axis == 1:
        return edit.add("Transpose", [leaf.base], f"{hint}/x_first", perm=[1, 0, 2])
    return ""


def _stacks(edit: Editor, states: list[str], rows: str, hint: str) -> None:
    """Every Concat of all outputs in the order of the sequence is the sequence itself; layers that every step passes
    on the way there (a head, an activation) go over the whole sequence at once.

    states: h of each position. rows: the sequence [T, B, H].
    """
    todo = [([edit.root(v) for v in states], rows)]
    while todo:
        values, whole = todo.pop()
        _stack(edit, values, whole, hint)
        users = [_equals(edit, value) for value in values]
        for key, first in users[0].items():
            nodes = [found.get(key) for found in users]
            if any(node is None or len(node.outputs) != 1 for node in nodes):
                continue
            made = _over_all(edit, first, values[0], whole, hint)
            if made:
                todo.append(([edit.root(node.outputs[0]) for node in nodes if node is not None], made))


def _equals(edit: Editor, value: str) -> dict[tuple[object, ...], Node]:
    """The readers of a value by what they do with it."""
    found: dict[tuple[object, ...], Node] = {}
    for node in edit.users(value):
        inputs = ["" if edit.root(v) == value else v for v in node.inputs]
        if inputs.count("") == 1 and node.op != "Concat":
            key = (node.domain, node.op, *inputs, *sorted((k, str(v)) for k, v in node.attrs.items()))
            while key in found:
                key = (*key, "again")
            found[key] = node
    return found


def _over_all(edit: Editor, node: Node, value: str, whole: str, hint: str) -> str:
    """A node that reads one step, over the whole sequence; "" where it cannot be said."""
    known = edit.known
    place = next(i for i, v in enumerate(node.inputs) if edit.root(v) == value)
    out = node.outputs[0]
    if known.rank(out) != 2 or known.rank(node.inputs[place]) != 2 or not known.is_real(out):
        return ""
    others = [v for i, v in enumerate(node.inputs) if i != place and v]
    name = f"{hint}/{node.op.lower()}"
    if not node.domain and node.op == "Gemm" and place == 0 and not attr(node, "transA", 0):
        w, c = known.const(node.inputs[1]), known.const(others[1]) if len(others) > 1 else None
        if w is None or (len(others) > 1 and c is None):
            return ""
        dtype = w.dtype
        w = np.ascontiguousarray(w.T if attr(node, "transB", 0) else w) * np.float32(attr(node, "alpha", 1.0))
        made = edit.add("MatMul", [whole, edit.const(w.astype(dtype), f"{name}/W")], name)
        if c is None:
            return made
        bias = np.asarray(c, np.float32) * np.float32(attr(node, "beta", 1.0))
        return edit.add("Add", [made, edit.const(bias.astype(dtype), f"{name}/bias")], name)
    weights = not node.domain and node.op == "MatMul" and place == 0 and known.rank(others[0]) == 2
    alike = find(node).flow is pass_broadcast and all(known.rank(v) <= 2 for v in others)
    if not (alike or (weights and known.const(others[0]) is not None)):
        return ""
    made = edit.names.fresh(name)
    inputs = [whole if i == place else v for i, v in enumerate(node.inputs)]
    edit.add_node(replace(node, name=edit.names.fresh(f"{name}/all"), inputs=inputs, outputs=[made]))
    return made


def _stack(edit: Editor, values: list[str], whole: str, hint: str) -> None:
    known = edit.known
    for node in edit.users(values[0]):
        if node.op != "Concat" or node.domain or [edit.root(v) for v in node.inputs] != values:
            continue
        out = node.outputs[0]
        rank = known.rank(out)
        axis = int(attr(node, "axis", 0)) % rank
        if any(known.extent(v, axis) != 1 for v in node.inputs) or axis == rank - 1:
            continue
        if rank == 3 and axis == 0:
            edit.add("Identity", [whole], f"{hint}/stack", output=out)
        elif rank == 3 and axis == 1:
            edit.add("Transpose", [whole], f"{hint}/stack", output=out, perm=[1, 0, 2])
        elif rank == 2:
            edit.add("Squeeze", [whole, edit.const(np.array([1], np.int64), "axes1")], f"{hint}/stack", output=out)
        else:
            continue
        edit.drop([node])
