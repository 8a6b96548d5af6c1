"""Where boxes stand: rows by what comes before what, few crossings in a row, everything near what it is joined to.

The usual layered drawing (Sugiyama): rows by the longest path, a place in every row that an edge goes through, orders by the
mean of the neighbours, then places in a row as near to those means as the widths allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Placed", "place"]

GAP_X, GAP_Y = 26.0, 34.0
LANE = 12.0
"""Width of the place of an edge in a row that it goes through."""
SWEEPS = 12


@dataclass
class Placed:
    """The middle of each box, the way of each edge as points from row to row, and the size of all."""

    x: list[float]
    y: list[float]
    ways: dict[tuple[int, int], list[tuple[float, float]]]
    width: float
    height: float


def place(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Placed:
    """Place boxes of these sizes. Every edge leads from a lower number to a higher one, or between any two without a circle."""
    edges = list(dict.fromkeys(edges))
    row = _rows(len(sizes), edges)
    widths = [width for width, _ in sizes]
    ends: list[tuple[int, int]] = []
    chains: dict[tuple[int, int], list[int]] = {}
    for u, v in edges:
        chain = [u]
        for _ in range(row[u] + 1, row[v]):
            widths.append(LANE)
            row.append(row[chain[-1]] + 1)
            ends.append((chain[-1], len(widths) - 1))
            chain.append(len(widths) - 1)
        ends.append((chain[-1], v))
        chains[u, v] = [*chain, v]
    rows: list[list[int]] = [[] for _ in range(max(row, default=-1) + 1)]
    for i, r in enumerate(row):
        rows[r].append(i)
    above: list[list[int]] = [[] for _ in widths]
    below: list[list[int]] = [[] for _ in widths]
    for u, v in ends:
        below[u].append(v)
        above[v].append(u)
    x = _across(rows, above, below, widths)
    tops, at = [], 0.0
    for members in rows:
        tops.append(at)
        at += max((sizes[i][1] for i in members if i < len(sizes)), default=0.0) + GAP_Y
    left = min((x[i] - widths[i] / 2 for i in range(len(widths))), default=0.0)
    x = [one - left for one in x]
    y = [tops[row[i]] + sizes[i][1] / 2 for i in range(len(sizes))]
    ways = {}
    for (u, v), chain in chains.items():
        points = [(x[u], y[u] + sizes[u][1] / 2)]
        for i in chain[1:-1]:
            points += [(x[i], tops[row[i]]), (x[i], tops[row[i] + 1] - GAP_Y)]
        ways[u, v] = [*points, (x[v], y[v] - sizes[v][1] / 2)]
    width = max((x[i] + widths[i] / 2 for i in range(len(widths))), default=0.0)
    return Placed(x[: len(sizes)], y, ways, width, max(at - GAP_Y, 0.0))


def _rows(n: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The row of each box: one below all that lead to it; what nothing leads to stands just above what it leads to."""
    after: list[list[int]] = [[] for _ in range(n)]
    waits = [0] * n
    for u, v in edges:
        after[u].append(v)
        waits[v] += 1
    sources = [i for i in range(n) if not waits[i]]
    row, ready = [0] * n, list(sources)
    while ready:
        u = ready.pop()
        for v in after[u]:
            row[v] = max(row[v], row[u] + 1)
            waits[v] -= 1
            if not waits[v]:
                ready.append(v)
    for u in sources:
        row[u] = min((row[v] for v in after[u]), default=1) - 1
    return row


def _across(
    rows: Sequence[list[int]], above: Sequence[list[int]], below: Sequence[list[int]], widths: Sequence[float]
) -> list[float]:
    """Orders the rows, and places what stands in them."""
    x = [0.0] * len(widths)
    for members in rows:
        _spread(members, [0.0] * len(members), widths, x)
    for sweep in range(2 * SWEEPS):
        down = sweep % 2 == 0
        for members in rows if down else rows[::-1]:
            near = above if down else below
            means = {i: sum(x[j] for j in near[i]) / len(near[i]) if near[i] else x[i] for i in members}
            if sweep < SWEEPS:
                members.sort(key=means.__getitem__)
            _spread(members, [means[i] for i in members], widths, x)
    return x


def _spread(members: Sequence[int], wanted: Sequence[float], widths: Sequence[float], x: list[float]) -> None:
    """As near to where they want to be as their widths allow, in their order: neighbours that meet are moved as one."""
    offset, groups = 0.0, list[tuple[float, list[int]]]()
    offsets = []
    for k, i in enumerate(members):
        offset += (widths[members[k - 1]] + widths[i]) / 2 + GAP_X if k else 0.0
        offsets.append(offset)
        groups.append((wanted[k] - offset, [k]))
        while len(groups) > 1 and groups[-2][0] > groups[-1][0]:
            (a, left), (b, right) = groups[-2:]
            groups[-2:] = [((a * len(left) + b * len(right)) / (len(left) + len(right)), left + right)]
    for mean, inside in groups:
        for k in inside:
            x[members[k]] = mean + offsets[k]
