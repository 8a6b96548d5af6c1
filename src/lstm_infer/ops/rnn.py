"""RNN-22 (7, 14): H = f(X Wi' + H Ri' + Wbi + Rbi).

Weights that are fed are packed in every call.
"""

from __future__ import annotations

from ..graph.ir import Array, Node
from ..program.arguments import Activation
from . import recurrent
from .activation import apply
from .registry import Op, register


def _cell(node: Node, state: dict[str, Array], w: dict[str, Array], x: Array, acts: list[Activation]) -> None:
    z = x @ w["W"].T + state["h"] @ w["R"].T + (w["Wb"] + w["Rb"])
    state["h"] = apply(acts[0], recurrent.limited(node, z))


register(
    Op("RNN", recurrent.infer, recurrent.meaning(_cell), recurrent.flow, recurrent.lower, work=recurrent.work, opsets=(7, None),
       holds=recurrent.holds, weights=(1, 2), note="weights that are fed are packed in every call")
)  # fmt: skip
