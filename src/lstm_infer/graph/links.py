"""How axes pass through a node, and what a sliding window along one of them sees."""

from __future__ import annotations

from typing import Any

from ..frozen import frozen

__all__ = ["Link", "Window"]


@frozen
class Window:
    """A sliding window along an axis: kernel extent, stride, dilation, padding before and after."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    pad_begin: int = 0
    pad_end: int = 0
    pad_value: float = 0.0


@frozen
class Link:
    """How one axis of an input reaches an axis of an output.

    kind "same":   position i of the output needs position i of the input only.
         "scan":   position i needs positions 0 .. i (a forward recurrence).
         "whole":  the axes correspond, but position i needs them all (a backward recurrence).
         "window": position i needs a window of positions (info: Window).
         "spread": position i makes the positions i * n .. i * n + n - 1 and needs no other (info: n).
         "slice":  a part of the axis (info: (start, stop, step), as for range()).
         "pick":   one position; the axis is gone (output axis -1; info: index, negative from the end).
         "last":   the state behind the last position; the axis is gone (output axis -1).
    An input axis that no link names is needed whole by every output. `why` explains it to the user.
    """

    input: int
    axis: int
    output: int
    out_axis: int
    kind: str = "same"
    info: Any = None
