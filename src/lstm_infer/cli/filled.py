"""Help texts at any width: paragraphs are filled, indented lines (examples, tables) stay as they are."""

from __future__ import annotations

import argparse
import itertools
import textwrap

__all__ = ["Filled"]


class Filled(argparse.HelpFormatter):
    """Descriptions and epilogs of paragraphs and indented lines."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        for kept, block in itertools.groupby(text.splitlines(), lambda line: not line or line.startswith(" ")):
            found = list(block)
            lines += [indent + line for line in (found if kept else textwrap.wrap(" ".join(found), width))]
        return "\n".join(lines)
