"""What a stream was asked for, and of whom: all that another one like it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from ..analysis.spec import StreamSpec
from ..fingerprint import Fingerprint, Sign, bound_sign, sign
from ..frozen import frozen
from ..graph.ir import Array
from .plan import StreamPlan

__all__ = ["Asked", "Sizes", "Source"]

Sizes = Mapping[tuple[str, int], int]
"""Extents of open axes that are neither time nor batch: by (input, axis)."""


@frozen
class Asked:
    """The arguments of `Model.stream` that streams alike share, and how such a stream runs."""

    spec: StreamSpec
    batch: int
    bound: Mapping[str, Array]
    max_chunk: int
    sizes: Sizes
    """What the bound inputs and the first states say."""
    known: dict[str, Sign] = field(default_factory=dict, repr=False, compare=False)
    """The signs, once they were asked for."""

    def signs(self, source: Source) -> dict[str, Sign]:
        """What a snapshot shares with its stream; found out when first asked for."""
        if not self.known:
            spec = self.spec
            time = {name: axis for name, axis in spec.roles.time.items() if name in spec.streamed}
            own = {f"input {n}": bound_sign(a, spec.roles.batch.get(n), self.batch) for n, a in self.bound.items()}
            shared = {**source._fingerprint.signs, "streaming": sign(spec.mode == "frame", dict(spec.pairs), time)}
            self.known.update({**shared, **own})  # at once: another thread may ask too
        return self.known


class Source(Protocol):
    """The model of a stream."""

    def _replan(self, asked: Asked, sizes: Sizes) -> StreamPlan:
        """The plan of the same stream for other extents of open axes."""

    @property
    def _fingerprint(self) -> Fingerprint:
        """What all its streams share."""
