"""Putting an operator with T = 1 in the place of the nodes of a step, and values of a step in the form it takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.ir import Array, Node
from ..ops import recurrent
from .affine import Affine, Leaf
from .cell import Cell
from .rewrite import Editor

__all__ = ["emit", "from_step", "sequence", "to_step"]

_ORDER = {"LSTM": "iofc", "GRU": "zrh", "RNN": "h"}


def emit(edit: Editor, cell: Cell, inside: list[Node]) -> None:
    """The operator in the place of the nodes `inside`."""
    assert cell.h is not None
    hint = next((n.name for n in inside if n.outputs and n.outputs[0] == (cell.c_out or cell.h_out)), "") or cell.h_out
    hint = f"{hint}/{cell.op.lower()}"
    order = _ORDER[cell.op]
    xs = [leaf for leaf in cell.leaves() if leaf != cell.h]
    rest = cell.rest
    w = np.concatenate([_rows(cell.gates[g], xs, _width(cell, xs)) for g in order])
    parts = [cell.gates[g] for g in order]
    if rest is not None:
        parts[-1] = rest
    r = np.concatenate([_rows(part, [cell.h], [cell.size]) for part in parts])
    bias = np.zeros((2, len(order), cell.size), np.float32)
    for k, g in enumerate(order):
        found = cell.gates[g].bias
        bias[0, k] = 0 if found is None else found
    if rest is not None and rest.bias is not None:
        bias[1, -1] = rest.bias
    x = sequence(edit, xs, hint)
    inputs = [x, edit.const(w[None], f"{hint}/W"), edit.const(r[None], f"{hint}/R")]
    inputs += [edit.const(bias.reshape(1, -1), f"{hint}/B"), "", to_step(edit, cell.h, f"{hint}/h")]
    attrs: dict[str, Any] = {"hidden_size": cell.size}
    if cell.op == "LSTM":
        inputs.append(to_step(edit, Leaf(cell.c), f"{hint}/c"))
        if cell.peepholes:
            rows = [cell.peepholes.get(g, np.zeros(cell.size)) for g in "iof"]
            inputs.append(edit.const(np.concatenate(rows).astype(np.float32)[None], f"{hint}/P"))
    if cell.op == "GRU":
        attrs["linear_before_reset"] = cell.reset
    names = [name for name, _ in cell.acts]
    if names != recurrent.DEFAULTS[cell.op]:
        attrs["activations"] = names
        attrs["activation_alpha"] = [params[0] for _, params in cell.acts if params]
        attrs["activation_beta"] = [params[1] for _, params in cell.acts if len(params) > 1]
    outputs = ["", edit.names.fresh(f"{hint}/Y_h")] + ([edit.names.fresh(f"{hint}/Y_c")] if cell.op == "LSTM" else [])
    edit.add_node(Node(cell.op, edit.names.fresh(hint), inputs, outputs, attrs, opset=14))
    from_step(edit, outputs[1], cell.h_out, f"{hint}/h_out")
    if cell.c_out:
        from_step(edit, outputs[2], cell.c_out, f"{hint}/c_out")


def _width(cell: Cell, xs: list[Leaf]) -> list[int]:
    return [next(len(g.terms[leaf]) for g in cell.gates.values() if leaf in g.terms) for leaf in xs]


def _rows(gate: Affine, leaves: list[Leaf], widths: list[int]) -> Array:
    """[H, K] of one gate; zero where a source is not in it."""
    size = gate.out[0]
    parts = [
        gate.terms[leaf].T if leaf in gate.terms else np.zeros((size, n), np.float32)
        for leaf, n in zip(leaves, widths, strict=True)
    ]
    return np.ascontiguousarray(np.concatenate(parts, 1), np.float32)


def sequence(edit: Editor, xs: list[Leaf], hint: str) -> str:
    """The inputs of one step side by side, as a sequence of one."""
    parts = [to_step(edit, leaf, f"{hint}/x") for leaf in xs]
    return parts[0] if len(parts) == 1 else edit.add("Concat", parts, f"{hint}/x_all", axis=2)


def to_step(edit: Editor, leaf: Leaf, hint: str) -> str:
    """A source as [1, B, K]. A leading axis of extent 1 is taken off and put back: it is not time."""
    known, name = edit.known, leaf.keep or leaf.base
    const = known.const(name)
    if const is not None and not (leaf.axis and not leaf.keep):
        return edit.const(np.ascontiguousarray(const).reshape(1, -1, const.shape[-1]), f"{hint}_const")
    if leaf.axis and not leaf.keep:
        index = edit.const(np.array(leaf.raw, np.int64), "index")
        name = edit.add("Gather", [name, index], f"{hint}_picked", axis=known.rank(name) - leaf.axis)
    rank = known.rank(name)
    zero = edit.const(np.array([0], np.int64), "axes0")
    if rank == 3 and known.extent(name, 0) == 1:
        name, rank = edit.add("Squeeze", [name, zero], f"{hint}_frame"), 2
    if rank == 2:
        return edit.add("Unsqueeze", [name, zero], f"{hint}_step")
    width = known.shapes(name)[0][-1]
    return edit.add("Reshape", [name, edit.const(np.array([1, -1, width], np.int64), "shape")], f"{hint}_step")


def from_step(edit: Editor, name: str, out: str, hint: str) -> None:
    """[1, B, H] as the value `out` of any rank with one free axis."""
    known, zero = edit.known, edit.const(np.array([0], np.int64), "axes0")
    rank = known.rank(out)
    if rank == 2:
        edit.add("Squeeze", [name, zero], hint, output=out)
    elif rank == 1:
        edit.add("Squeeze", [name, edit.const(np.array([0, 1], np.int64), "axes01")], hint, output=out)
    elif rank == 3 and known.extent(out, 0) == 1:
        frame = edit.add("Squeeze", [name, zero], f"{hint}_frame")
        edit.add("Unsqueeze", [frame, zero], hint, output=out)
    else:
        free = [a for a in range(rank - 1) if known.extent(out, a) != 1]
        target = [(-1 if a in free else 1) for a in range(rank - 1)] + [known.shapes(out)[0][-1]]
        edit.add("Reshape", [name, edit.const(np.array(target, np.int64), "shape")], hint, output=out)
