"""Rewrites on the graph before it is planned: sizes that an exporter froze, cells and loops it took apart."""

from .frozen import thaw
from .loops import normalise

__all__ = ["normalise", "thaw"]
