"""What a model says of itself: plain records, in the graph's order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["InputInfo", "OutputInfo", "StateInfo"]


@dataclass(frozen=True)
class InputInfo:
    """A graph input. `shape` has None where a size is open; axes are None where there is none."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    batch_axis: int | None
    time_axis: int | None


@dataclass(frozen=True)
class OutputInfo(InputInfo):
    """A graph output."""


@dataclass(frozen=True)
class StateInfo:
    """What a stream carries from call to call.

    Attributes
    ----------
    name : str
        The graph input that seeds it, else made from its node's name.
    output : str or None
        The graph output that holds its next value.
    shape : tuple of int
        At the batch size the model declares (1 where it is open).
    dtype : numpy.dtype
    batch_axis : int or None
    kind : str
        "zero", "constant", "input" or "computed": where its first value comes from.
    """

    name: str
    output: str | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    batch_axis: int | None
    kind: str
