"""Some signals that are stepped together."""

from __future__ import annotations

from collections.abc import Mapping

from .. import _core, _rig
from ..streams.plan import StreamPlan

__all__ = ["Batch"]


class Batch:
    """The plan for so many signals, and where each of them lies in it."""

    def __init__(self, n: int, plan: StreamPlan, layout: _rig.Layout, axes: Mapping[str, int | None]) -> None:
        self.n, self.plan, self.layout = n, plan, layout
        self.axes = axes
        """The axis of a port that has the batch."""
        self.first = plan.first_state()
        self.block = _core.aligned_empty(self.first.nbytes)
        """A state block to work in, for who has the pool to himself."""
        self.block[:] = self.first
