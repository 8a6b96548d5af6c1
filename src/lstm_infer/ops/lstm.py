"""LSTM-22 (7, 14). Gate order i o f c.

    i = f(X Wi' + H Ri' + Pi . C + Wbi + Rbi)        f = f(X Wf' + H Rf' + Pf . C + Wbf + Rbf)   or 1 - i (input_forget)
    c = g(X Wc' + H Rc' + Wbc + Rbc)                 C = f . C + i . c
    o = f(X Wo' + H Ro' + Po . C + Wbo + Rbo)        H = o . h(C)

Weights that are fed are packed in every call. docs/lstm.md has the readings of each attribute.
"""

from __future__ import annotations

from ..graph.ir import Array, Node
from ..program.arguments import Activation
from . import recurrent
from .activation import apply
from .registry import Op, attr, register


def _cell(node: Node, state: dict[str, Array], w: dict[str, Array], x: Array, acts: list[Activation]) -> None:
    z = x @ w["W"].T + state["h"] @ w["R"].T + (w["Wb"] + w["Rb"])
    zi, zo, zf, zc = z.reshape(len(z), 4, -1).swapaxes(0, 1)
    pi, po, pf = w["P"].reshape(3, -1)
    i = apply(acts[0], recurrent.limited(node, zi + pi * state["c"]))
    f = 1 - i if attr(node, "input_forget", 0) else apply(acts[0], recurrent.limited(node, zf + pf * state["c"]))
    state["c"] = f * state["c"] + i * apply(acts[1], recurrent.limited(node, zc))
    o = apply(acts[0], recurrent.limited(node, zo + po * state["c"]))
    state["h"] = o * apply(acts[2], state["c"])


register(
    Op("LSTM", recurrent.infer, recurrent.meaning(_cell), recurrent.flow, recurrent.lower, work=recurrent.work, opsets=(7, None),
       holds=recurrent.holds, weights=(1, 2), note="weights that are fed are packed in every call")
)  # fmt: skip
