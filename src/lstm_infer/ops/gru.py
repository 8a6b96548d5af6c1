"""GRU-22 (7, 14). Gate order z r h.

    z = f(X Wz' + H Rz' + Wbz + Rbz)      r = f(X Wr' + H Rr' + Wbr + Rbr)
    h = g(X Wh' + (r . H) Rh' + Rbh + Wbh)            linear_before_reset = 0
    h = g(X Wh' + r . (H Rh' + Rbh) + Wbh)            linear_before_reset != 0
    H = (1 - z) . h + z . H

Weights that are fed are packed in every call.
"""

from __future__ import annotations

from ..graph.ir import Array, Node
from ..program.arguments import Activation
from . import recurrent
from .activation import apply
from .registry import Op, attr, register


def _cell(node: Node, state: dict[str, Array], w: dict[str, Array], x: Array, acts: list[Activation]) -> None:
    H, n = state["h"], state["h"].shape[1]
    zx = x @ w["W"].T + w["Wb"]
    zh = H @ w["R"][: 2 * n].T + w["Rb"][: 2 * n]
    z = apply(acts[0], recurrent.limited(node, zx[:, :n] + zh[:, :n]))
    r = apply(acts[0], recurrent.limited(node, zx[:, n : 2 * n] + zh[:, n:]))
    rh, rb = w["R"][2 * n :], w["Rb"][2 * n :]
    part = r * (H @ rh.T + rb) if attr(node, "linear_before_reset", 0) else (r * H) @ rh.T + rb
    h = apply(acts[1], recurrent.limited(node, zx[:, 2 * n :] + part))
    state["h"] = (1 - z) * h + z * H


register(
    Op("GRU", recurrent.infer, recurrent.meaning(_cell), recurrent.flow, recurrent.lower, work=recurrent.work, opsets=(7, None),
       holds=recurrent.holds, weights=(1, 2), note="weights that are fed are packed in every call")
)  # fmt: skip
