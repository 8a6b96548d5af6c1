"""Classes of modules that this package does not import, where somebody else has."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["is_of"]


def is_of(module: str, name: str, value: Any) -> bool:
    """Is this of a class of a module that is not imported for it. Another thread may be halfway through its import: where there is
    no such class yet, nothing is of it."""
    kind = getattr(sys.modules.get(module), name, None)
    return isinstance(kind, type) and isinstance(value, kind)
