"""Tables in plain text."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["is_number", "plain_table"]


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns in plain text: the first to the left, numbers to the right."""
    from ..records import printable  # with NumPy, which the help of the command does not wait for

    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(row[c]) for row in [head, *rows]) for c in range(len(head))]
    right = [c > 0 and all(is_number(row[c]) for row in rows) for c in range(len(head))]
    lines = []
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def is_number(cell: str) -> bool:
    """Does a cell hold a number, or nothing."""
    return (
        cell in ("", "-")
        or cell.rstrip("x%").replace("e-", "").replace("e+", "").replace(".", "").replace(",", "").isdigit()
    )
