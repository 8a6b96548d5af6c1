"""What the caller is told of a repair: one line, once for each file in a process."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Sequence

import numpy as np

from ..graph.ir import Graph

__all__ = ["warn_once"]

_MOST_KEPT = 4096
_told: dict[bytes, None] = {}


def warn_once(repaired: Sequence[str], graph: Graph) -> None:
    """Warn of the sizes that were opened, unless this file was told of before."""
    if not repaired:
        return
    key = _key(repaired, graph)
    if key in _told:
        return
    while len(_told) >= _MOST_KEPT:
        _told.pop(next(iter(_told)))
    _told[key] = None
    said = [text.rpartition(": ")[2] for text in repaired]
    what = [word for word in ("batch", "time") if any(re.search(rf"\b{word}\b", text) for text in said)]
    steps = any("iterations" in text for text in said) and "time" not in what
    words = ", ".join([*what, *["time"] * steps])
    n = len(repaired)
    sizes, they = ("1 size", "it was") if n == 1 else (f"{n} sizes", "they were")
    warnings.warn(
        f"the file has {sizes} of its example frozen in ({words}); {they} opened: see model.repaired", stacklevel=5
    )


def _key(repaired: Sequence[str], graph: Graph) -> bytes:
    """Different for files that differ in their nodes or weights."""
    digest = hashlib.sha256(repr((list(repaired), graph.name, graph.inputs, graph.outputs)).encode())
    for g in graph.graphs():
        for name, array in g.consts.items():
            digest.update(f"{name} {array.dtype} {array.shape};".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
