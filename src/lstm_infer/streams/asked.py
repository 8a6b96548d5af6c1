"""What a stream was asked for, and of whom: all that another one like it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..analysis.spec import StreamSpec
from ..fingerprint import Fingerprint
from ..graph.ir import Array
from .plan import StreamPlan

__all__ = ["Asked", "Sizes", "Source"]

Sizes = Mapping[tuple[str, int], int]
"""Extents of open axes that are neither time nor batch: by (input, axis)."""


@dataclass(frozen=True)
class Asked:
    """The arguments of `Model.stream` that streams alike share, and how such a stream runs."""

    spec: StreamSpec
    batch: int
    bound: Mapping[str, Array]
    max_chunk: int
    sizes: Sizes
    """What the bound inputs and the first states say."""
    known: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """The fingerprint, once it was asked for."""

    def fingerprint(self, source: Source) -> bytes:
        """What a snapshot shares with its stream; computed when first asked for."""
        found = self.known.get("fingerprint")
        if found is None:
            found = self.known["fingerprint"] = source._fingerprint.beside(self.bound)
        return found


class Source(Protocol):
    """The model of a stream."""

    def _replan(self, asked: Asked, sizes: Sizes) -> StreamPlan:
        """The plan of the same stream for other extents of open axes."""

    @property
    def _fingerprint(self) -> Fingerprint:
        """What all its streams share."""
