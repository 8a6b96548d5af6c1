"""A digest of plain values and arrays: different ones never give the same bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .weights import Weight

__all__ = ["digest"]


def digest(*values: Any) -> bytes:
    """32 bytes of SHA-256 over text, numbers, bytes, arrays, and lists and mappings of them. A mapping has no order."""
    found = hashlib.sha256()
    for value in values:
        _add(found, value)
    return found.digest()


def _add(found: hashlib._Hash, value: Any) -> None:
    if isinstance(value, Weight):
        value = value.array
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
        found.update(f"array {value.dtype.name} {value.shape};".encode())
        found.update(little.reshape(-1).view(np.uint8).data)
    elif isinstance(value, bytes):
        found.update(f"bytes {len(value)};".encode())
        found.update(value)
    elif isinstance(value, (list, tuple)):
        found.update(f"list {len(value)};".encode())
        for item in value:
            _add(found, item)
    elif isinstance(value, Mapping):
        _add(found, [item for name in sorted(value) for item in (name, value[name])])
    else:
        found.update(f"{type(value).__name__} {value!r};".encode())
