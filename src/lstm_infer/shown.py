"""A model as HTML: tables of what it takes, gives and carries, for notebooks and for the page of `lstm-infer inspect --html`.

Everything that a file says is escaped. The colours follow the page around it: dark on light, or light on dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape as _escape
from typing import Protocol

from .errors import LstmInferError
from .records import InputInfo, LayerInfo, OutputInfo, StateInfo, StreamInfo, printable

__all__ = ["STYLE", "details", "escape", "model_html", "ports", "shape_text", "table"]

STYLE = """<style>
.lstm-infer{font:14px/1.45 system-ui,sans-serif;max-width:100%}
.lstm-infer table{border-collapse:collapse;margin:.3em 0 .9em;display:block;overflow-x:auto}
.lstm-infer th{font-weight:600;text-align:left;opacity:.75}
.lstm-infer th,.lstm-infer td{padding:.15em .9em .15em 0;vertical-align:top;text-align:left;border:0;background:none;
white-space:nowrap}
.lstm-infer td:first-child,.lstm-infer code{font-family:ui-monospace,monospace;font-size:.93em;overflow-wrap:anywhere}
.lstm-infer td:last-child{min-width:8em;white-space:normal}
.lstm-infer summary{cursor:pointer;font-weight:600;margin:.2em 0}
.lstm-infer p{margin:.3em 0}
.lstm-infer .no{color:#c0392b}
</style>"""
STARTS = {
    "zero": "at zero", "constant": "at a constant in the file", "computed": "computed from side inputs",
    "input": "at zero, or at initial=", "drawn": "at a key of its own",
}  # fmt: skip
STREAMS = {
    "time": "chunks of any length", "loop": "one step at a time", "frame": "frame by frame, every call is one step"
}  # fmt: skip
MOST_LAYERS = 12
"""More are folded away."""


MOST_ROWS = 60
"""Of a table in a notebook, which keeps it; `summary()` has all."""


def escape(text: str) -> str:
    """Text for HTML and SVG, which hold no control characters."""
    return _escape(printable(text))


def shape_text(info: InputInfo) -> str:
    """Sizes, T and B where they are open."""
    return "[" + ", ".join(
        str(n) if n is not None else "T" if a == info.time_axis else "B" if a == info.batch_axis else "?"
        for a, n in enumerate(info.shape)
    ) + "]"  # fmt: skip


def table(head: Sequence[str], rows: Iterable[Sequence[object]], most: int | None = None) -> str:
    """Texts in rows; "" where there is no row. A column in which nothing stands is left out; of rows beyond `most` the number
    is told."""
    texts = [[str(one) for one in row] for row in rows]
    left = "" if most is None or len(texts) <= most else f"<p>and {len(texts) - most:,} more</p>"
    texts = texts[:most]
    kept = [k for k in range(len(head)) if any(row[k] for row in texts)]
    head = [head[k] for k in kept]
    lines = ["<tr>" + "".join(f"<td>{escape(row[k])}</td>" for k in kept) + "</tr>" for row in texts]
    if not lines:
        return ""
    return (
        "<table><tr>"
        + "".join(f"<th>{escape(one)}</th>" for one in head)
        + "</tr>"
        + "".join(lines)
        + f"</table>{left}"
    )


def details(title: str, body: str, opened: bool = True) -> str:
    """A part that can be folded; "" where there is nothing in it."""
    shown = " open" if opened else ""
    return f"<details{shown}><summary>{escape(title)}</summary>{body}</details>" if body else ""


def ports(inputs: Sequence[InputInfo], outputs: Sequence[InputInfo]) -> str:
    """Inputs and outputs."""
    rows = [
        (info.name, kind, info.dtype, shape_text(info), "" if info.time_axis is None else f"axis {info.time_axis}")
        for kind, infos in (("input", inputs), ("output", outputs))
        for info in infos
    ]
    return table(("name", "", "type", "shape", "time"), rows, MOST_ROWS)


def states_table(states: Sequence[StateInfo]) -> str:
    """What a stream carries, and why."""
    return table(
        ("name", "comes from", "type", "shape", "starts", "evidence"),
        [
            (s.name, s.output or "inside", s.dtype, list(s.shape), STARTS.get(s.kind, s.kind), s.evidence)
            for s in states
        ],
        MOST_ROWS,
    )


class Shown(Protocol):
    """What a model says of itself."""

    @property
    def inputs(self) -> tuple[InputInfo, ...]: ...
    @property
    def outputs(self) -> tuple[OutputInfo, ...]: ...
    @property
    def states(self) -> tuple[StateInfo, ...]: ...
    @property
    def layers(self) -> tuple[LayerInfo, ...]: ...
    @property
    def streaming(self) -> StreamInfo: ...
    @property
    def rewritten(self) -> tuple[str, ...]: ...
    @property
    def repaired(self) -> tuple[str, ...]: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def isa(self) -> str: ...


def model_html(model: Shown, name: str, producer: str) -> str:
    """The tables of a model."""
    try:
        how, states = f"<p>streams: {STREAMS[model.streaming.mode]}</p>", model.states
    except LstmInferError as error:
        how, states = f'<p class="no">does not stream: {escape(str(error))}</p>', ()
    layers, notes = model.layers, (*model.rewritten, *model.repaired)
    weights = table(
        ("layer", "", "weights", "held as", ""),
        [(x.name, x.op, f"{x.n_weights:,}", x.precision, x.why) for x in layers],
        MOST_ROWS,
    )
    n_weights = sum(x.n_weights for x in layers)
    cost = f"{n_weights:,} weights in layers, {model.nbytes / 2**20:.2f} MiB, kernels: {model.isa}"
    parts = [
        f"<p><b>{escape(f'{name} by {producer}' if producer else name)}</b></p>", how, ports(model.inputs, model.outputs),
        details(f"{len(states)} state{'s' * (len(states) != 1)}", states_table(states)),
        details(f"{len(layers)} layer{'s' * (len(layers) != 1)} with weights", weights, len(layers) <= MOST_LAYERS),
        details("recognised and repaired", table(("",), [(note,) for note in notes], MOST_ROWS), len(notes) <= MOST_LAYERS),
        f"<p>{escape(cost)}</p>",
    ]  # fmt: skip
    return f'{STYLE}<div class="lstm-infer">{"".join(parts)}</div>'
