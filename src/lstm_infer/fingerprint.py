"""A digest of a graph and of what `load` was told: what a snapshot shares with its stream."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from .graph.ir import Graph, Node

__all__ = ["Fingerprint", "fingerprint"]

_PLAIN = frozenset((str, int, float, bool, type(None)))


class Fingerprint:
    """What the streams of a model share, which never changes: told when somebody first asks, as not every program does."""

    def __init__(self, *values: Any) -> None:
        self._values = values
        self._digest: bytes | None = None

    def beside(self, bound: Mapping[str, Any]) -> bytes:
        """That of a stream with these side inputs."""
        if self._digest is None:
            self._digest = fingerprint(*self._values)
        return fingerprint(bound, behind=self._digest)


def fingerprint(*values: Any, behind: bytes = b"") -> bytes:
    """Different values never give the same bytes. behind: the digest of what comes before them."""
    digest = hashlib.sha256(behind)
    for value in values:
        _add(digest, value)
    return digest.digest()


def _add(digest: hashlib._Hash, value: Any) -> None:
    if isinstance(value, Node):
        called = [value.domain, value.op, value.opset, value.name]
        _add(digest, [*called, value.inputs, value.outputs, value.attrs])
    elif isinstance(value, (list, tuple)):
        if _PLAIN.issuperset(map(type, value)):
            digest.update("".join([f"list {len(value)};", *map(_plain, value)]).encode())
            return
        digest.update(f"list {len(value)};".encode())
        for item in value:
            _add(digest, item)
    elif isinstance(value, np.ndarray):
        digest.update(f"array {value.dtype.str} {value.shape};".encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Graph):
        _add(digest, [value.inputs, value.outputs, value.nodes, value.consts, value.defaults])
    elif isinstance(value, Mapping):
        _add(digest, [item for name in sorted(value) for item in (name, value[name])])
    else:
        digest.update(_plain(value).encode())


def _plain(value: Any) -> str:
    return f"{type(value).__name__} {value!r};"
