"""The moves of which graphs over time are grown, by kinds: each is a function of a `time_graphs.Grower`, named in a case's
`moves`, and raises `Impossible` where it does not fit the value that it drew."""

from __future__ import annotations

from .recurrences import along_rows, recurrent, scan, state_at_every_step
from .shapes import fold, merge, ones, rows, transpose
from .steps import (
    by_length,
    cumsum,
    cut,
    difference,
    expand,
    gather,
    pad,
    past,
    position,
    position_mask,
    scatter,
    tile,
)
from .values import (
    argmax,
    attention,
    binary,
    broadcast,
    concat,
    constant,
    einsum,
    mask,
    matmul,
    norm,
    reduce,
    softmax,
    split,
    thin,
    topk,
    unary,
)
from .windows import cache, conv, conv2d, pool, residual, unconv

__all__ = ["MOVES", "recurrent", "rows", "unary"]

MOVES = (
    unary, binary, broadcast, constant, transpose, position, by_length, cut, thin, difference, past, pad, conv, conv,
    conv2d, unconv, pool, recurrent, recurrent, cumsum, gather, reduce, mask, position_mask, softmax, norm, matmul,
    attention, einsum, expand, tile, split, scatter, topk, argmax, fold, ones, concat, residual, cache, merge, along_rows,
    scan, state_at_every_step,
)  # fmt: skip
"""The order is part of what a seed draws."""
