"""Where the states of a stream lie, or what the random nodes of a run count."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from .views import Buffer, View, dense_strides, storage

__all__ = ["ALIGN", "NodeState", "StateLayout"]

ALIGN = 64


@dataclass(frozen=True, order=True)
class NodeState:
    """The key of a state that a node carries; `what`: its name in the node, and the direction ("h0")."""

    node: str
    what: str


class StateLayout:
    """Where each state lies in the state block: the same in every program of a stream. A run has one for its random nodes."""

    def __init__(self) -> None:
        self.slots: dict[Hashable, View] = {}
        self.n_bytes = 0
        self.closed = False
        """Is this all that there will be: a stream's, once its states are placed."""

    def carried(self, node: str, what: str) -> View | None:
        """Where a node's state lies, if the stream carries it."""
        return self.slots.get(NodeState(node, what))

    def slot(self, key: Hashable, shape: Sequence[int], dtype: Any) -> View:
        """The state of this key; placed when first asked for."""
        found = self.slots.get(key)
        if found is None:
            dtype = storage(np.dtype(dtype))
            n_bytes = prod(shape) * dtype.itemsize
            buffer = Buffer("state", n_bytes, offset=self.n_bytes)
            found = self.slots[key] = View(buffer, tuple(shape), dense_strides(shape), dtype)
            self.n_bytes += -(-n_bytes // ALIGN) * ALIGN
        return found
