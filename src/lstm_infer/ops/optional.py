"""Optional-15, OptionalGetElement-18 (15), OptionalHasElement-18 (15) of tensors: the value itself, and that it is there.

Refused: an Optional that holds nothing, and optionals that are fed or returned (the importer says so).
"""

from __future__ import annotations

import numpy as np

from ..graph.fact import Fact
from ..graph.ir import Array, Node
from . import identity
from .registry import Op, register, unsupported


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    if not ins or ins[0] is None:
        raise unsupported(node, "an optional that holds nothing")
    return identity.infer(node, ins)


def infer_has(node: Node, ins: list[Fact | None]) -> list[Fact]:
    return [Fact.of(np.array(bool(ins) and ins[0] is not None))]


def evaluate_has(node: Node, ins: list[Array | None]) -> list[Array]:
    return [np.array(bool(ins) and ins[0] is not None)]


for _name in ("Optional", "OptionalGetElement"):
    register(Op(_name, infer, identity.evaluate, identity.flow, identity.lower, opsets=(15, None), dtypes="any",
                note="tensors only", runs="view"))  # fmt: skip
register(Op("OptionalHasElement", infer_has, evaluate_has, opsets=(15, None), dtypes="any", runs="known"))
