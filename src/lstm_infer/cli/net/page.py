"""The page of `lstm-infer inspect --html`: one file that needs no other, with the net drawn in it."""

from __future__ import annotations

from itertools import pairwise

from ...shown import details, escape, table
from ..describe import Inspection
from .layered import Placed, place
from .units import Drawing, Unit

__all__ = ["page"]

WIDTH, LINE, EDGE = 176.0, 15.0, 8.0
"""Of a box, of a line of text in it, and above and below."""
MOST = 26
"""Characters of a line in a box."""
LANE = 14.0
"""Between the ways of states, right of the boxes."""
MARGIN = 12.0

LOOK = """
:root{color-scheme:light dark;--page:#fff;--ink:#1d2433;--soft:#5d677a;--line:#9aa4b5;--time:#0b6bcb;--box:#f4f6f9;--layer:#dfeaf8;
--state:#fbe9c6;--port:#e1f2e3;--loop:#b5651d;--no:#c0392b;--nobox:#fbdcd8}
@media (prefers-color-scheme:dark){:root{--page:#14171c;--ink:#e6e9ef;--soft:#9aa4b5;--line:#6b7688;--time:#63b0ff;--box:#222831;
--layer:#1d3550;--state:#4a3a17;--port:#1e3b26;--loop:#f0a860;--no:#ff8a7a;--nobox:#4d2420}}
body{margin:0;padding:1rem clamp(.8rem,3vw,2.5rem);background:var(--page);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.35rem;margin:.2rem 0;overflow-wrap:anywhere}h2{font-size:1.05rem;margin:1.6rem 0 .4rem}
p{margin:.3rem 0;max-width:75ch}.no{color:var(--no)}.soft{color:var(--soft)}
.net{overflow:auto;border:1px solid var(--line);border-radius:8px;padding:.6rem;max-height:85vh}
.net svg{display:block;margin:auto}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .t{font-weight:600}svg .s{fill:var(--soft);font-size:11px}
svg rect{stroke:var(--line);fill:var(--box)}svg .layer{fill:var(--layer)}svg .state{fill:var(--state)}
svg .input,svg .output{fill:var(--port)}
svg .refused{fill:var(--nobox);stroke:var(--no);stroke-width:2}
svg path{fill:none;stroke:var(--line);stroke-width:1.3}svg .time{stroke:var(--time);stroke-width:2}
svg .loop{stroke:var(--loop);stroke-dasharray:5 4;stroke-width:1.6}
svg .flow{marker-end:url(#to)}svg .time{marker-end:url(#to-time)}svg .loop{marker-end:url(#to-loop)}
svg marker path{stroke:none;fill:var(--line)}svg #to-time path{fill:var(--time)}svg #to-loop path{fill:var(--loop)}
svg .l{fill:var(--loop);font-size:11px}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.4rem 0;font-size:.9rem;color:var(--soft)}
.legend i{display:inline-block;width:1.7em;height:.75em;border:1px solid var(--line);border-radius:3px;margin-right:.4em}
table{border-collapse:collapse;display:block;overflow-x:auto;margin:.3rem 0}
th{text-align:left;color:var(--soft);font-weight:600}th,td{padding:.15rem 1rem .15rem 0;vertical-align:top;white-space:nowrap}
td:last-child{min-width:9em;white-space:normal}td:first-child,pre{font-family:ui-monospace,monospace;font-size:.88rem}
pre{overflow-x:auto;background:var(--box);border-radius:8px;padding:.7rem}summary{cursor:pointer}
"""

HEADS = "<defs>{}</defs>".format(
    "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z"/></marker>'
        for name in ("to", "to-time", "to-loop")
    )
)
"""Arrowheads: of a value, of one with a time axis, of what is kept."""


def page(found: Inspection, net: Drawing | None, why_no_net: str, *, repaired: list[str], rewritten: list[str]) -> str:
    """All of it. `why_no_net`: where there is nothing to draw."""
    title = escape(found.model)
    streams = {
        "time": "any number of steps a call",
        "loop": "one step at a time",
        "frame": "every call is one step, there is no time axis",
    }
    how = (
        f"<p>Streams: {streams.get(found.mode, found.mode)}.</p>"
        if found.streams
        else f'<p class="no">Does not stream: {escape(found.not_streamable)}</p>'
    )
    ports = table(
        ("name", "", "role", "type", "of a step", "of a run"),
        [
            (row["name"], kind, row["role"], row["dtype"], row["step"], row["run"])
            for kind, rows in (("input", found.inputs), ("output", found.outputs))
            for row in rows
        ],
    )
    states = table(
        ("name", "comes from", "type", "shape", "starts", "evidence"),
        [
            (s["name"], s["output"] or "inside", s["dtype"], s["shape"], s["starts"], s["evidence"])
            for s in found.states
        ],
    )
    drawn = f'{_legend(net)}<div class="net">{_svg(net)}</div>' if net else f'<p class="no">{escape(why_no_net)}</p>'
    cost = f"{found.parameters:,} parameters, {found.step_bytes / 2**20:.2f} MiB held for {found.call}, {found.isa}"
    parts = [
        f"<h1>{title}</h1>", how, f'<p class="soft">{escape(cost)}</p>',
        "<h2>The net</h2>", drawn, "<h2>What goes in and comes out</h2>", ports,
        f"<h2>What a stream carries</h2>{states}" if states else "",
        "<h2>What was recognised and repaired</h2>" if rewritten or repaired else "",
        details(f"{len(rewritten)} rewritten", table(("",), [(one,) for one in rewritten]), len(rewritten) < 13),
        details(f"{len(repaired)} repaired", table(("",), [(one,) for one in repaired]), len(repaired) < 13),
        f"<h2>To paste</h2><pre>{escape(found.snippet)}</pre>",
    ]  # fmt: skip
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{LOOK}</style>"
    )
    body = "".join(parts)
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _legend(net: Drawing) -> str:
    kinds = {unit.kind for unit in net.units}
    words = {
        "input": "input, output",
        "layer": "with weights",
        "plain": "without",
        "state": "state",
        "refused": "stands in the way",
    }
    colours = {"input": "port", "layer": "layer", "plain": "box", "state": "state", "refused": "nobox"}
    shown = [
        f'<span><i style="background:var(--{colours[kind]})"></i>{text}</span>'
        for kind, text in words.items()
        if kind in kinds
    ]
    if any(net.edges.values()):
        shown.append(
            '<span><i style="border:0;border-top:3px solid var(--time);height:0"></i>has a time axis (T)</span>'
        )
    if net.back or any(unit.loop for unit in net.units):
        shown.append(
            '<span><i style="border:0;border-top:2px dashed var(--loop);height:0;width:2.4em"></i>kept from step to step</span>'
        )
    return f'<div class="legend">{"".join(shown)}</div>'


def _svg(net: Drawing) -> str:
    """Boxes, what leads from one to the other, and what comes back."""
    lines = [_lines(unit) for unit in net.units]
    sizes = [
        (WIDTH + (34.0 if unit.loop else 0.0), len(text) * LINE + 2 * EDGE)
        for unit, text in zip(net.units, lines, strict=True)
    ]
    at = place(sizes, list(net.edges))
    parts = [
        f'<path class="{"time" if timed else "flow"}" d="{_way(at.ways[edge])}"/>' for edge, timed in net.edges.items()
    ]
    parts += _backs(net, at, sizes)
    parts += [
        _box(unit, text, at.x[k], at.y[k], size)
        for k, (unit, text, size) in enumerate(zip(net.units, lines, sizes, strict=True))
    ]
    width = at.width + 2 * MARGIN + LANE * (len(net.back) + 1) * bool(net.back)
    height = at.height + 2 * MARGIN
    head = f'width="{width:.0f}" height="{height:.0f}" viewBox="{-MARGIN:g} {-MARGIN:g} {width:.0f} {height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="the net" {head}>{HEADS}{"".join(parts)}</svg>'
    )


def _short(text: str, most: int = MOST) -> str:
    """The end of a name says more than its beginning."""
    return text if len(text) <= most else f"…{text[1 - most :]}"


def _lines(unit: Unit) -> list[tuple[str, str]]:
    """Class and text of each line."""
    found = [("t", _short(unit.title))]
    if unit.name:
        found.append(("s", _short(unit.name)))
    if unit.more:
        found.append(("s", f"+ {unit.more}" if len(unit.more) < MOST else f"+ {unit.more[: MOST - 3]}…"))
    if unit.shape:
        found.append(
            ("s", f"→ {_short(unit.shape)}" if unit.kind not in ("input", "output", "state") else _short(unit.shape))
        )
    return found


def _box(unit: Unit, lines: list[tuple[str, str]], x: float, y: float, size: tuple[float, float]) -> str:
    left, top = x - size[0] / 2, y - size[1] / 2
    round_ = 14 if unit.kind in ("input", "output", "state") else 4
    text = "".join(
        f'<text class="{kind}" x="{left + WIDTH / 2:.1f}" y="{top + EDGE + LINE * (k + 0.78):.1f}" text-anchor="middle">'
        f"{escape(line)}</text>"
        for k, (kind, line) in enumerate(lines)
    )
    loop = ""
    if unit.loop:
        edge, middle = left + WIDTH, y
        loop = (
            f'<path class="loop" d="M{edge:.1f},{middle + 9:.1f} c30,14 30,-32 0,-18"/>'
            f'<text class="l" x="{edge + 5:.1f}" y="{middle - 17:.1f}">{escape(_short(unit.loop, 10))}</text>'
        )
    told = escape("\n".join(unit.told[:40]) + (f"\nkeeps {unit.loop}" if unit.loop else ""))
    place = f'x="{left:.1f}" y="{top:.1f}" width="{WIDTH:g}" height="{size[1]:.1f}" rx="{round_}"'
    return f'<g><title>{told}</title><rect class="{unit.kind}" {place}/>{text}{loop}</g>'


def _way(points: list[tuple[float, float]]) -> str:
    """Down from row to row, smoothly."""
    found = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        found.append(f"C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}")
    return "".join(found)


def _backs(net: Drawing, at: Placed, sizes: list[tuple[float, float]]) -> list[str]:
    """Next values that go back to where the states stand, in lanes right of all boxes."""
    found = []
    for k, (maker, state, name) in enumerate(net.back):
        x = at.width + LANE * (k + 1)
        y0, y1 = at.y[maker], at.y[state]
        right = at.x[maker] + sizes[maker][0] / 2, at.x[state] + sizes[state][0] / 2
        found.append(
            f'<path class="loop" d="M{right[0]:.1f},{y0:.1f} H{x - 8:.1f} Q{x:.1f},{y0:.1f} {x:.1f},{y0 - 8:.1f} '
            f'V{y1 + 8:.1f} Q{x:.1f},{y1:.1f} {x - 8:.1f},{y1:.1f} H{right[1]:.1f}"/>'
            f'<text class="l" x="{right[0] + 6:.1f}" y="{y0 - 5:.1f}">{escape(_short(name))}</text>'
        )
    return found
