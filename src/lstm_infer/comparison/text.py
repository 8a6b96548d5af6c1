"""The report of `compare_precision` as tables of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, isnan
from typing import Any, NamedTuple, Protocol

from ..drive.tables import plain_table
from ..records import printable_lines

__all__ = ["Table", "tables", "written"]

MIB = 2.0**20
LAYERS_SHOWN = 24


class Table(NamedTuple):
    """One table: what it shows, its heads, rows of cells, and lines to go below."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]


class _Report(Protocol):
    """What is read of a PrecisionReport."""

    @property
    def model(self) -> str: ...
    @property
    def data(self) -> str: ...
    @property
    def isa(self) -> str: ...
    @property
    def rows(self) -> Sequence[Any]: ...
    @property
    def layers(self) -> Sequence[Any]: ...
    @property
    def long_run(self) -> str: ...
    @property
    def mix(self) -> Any: ...
    @property
    def steps(self) -> int: ...
    @property
    def constants(self) -> Mapping[str, Any]: ...


def written(report: _Report) -> str:
    """All of it in plain text."""
    lines = []
    for table in tables(report):
        lines += [table.title, *([plain_table(table.head, table.rows)] if table.rows else []), *table.notes, ""]
    return printable_lines("\n".join(lines)).rstrip()


def tables(report: _Report) -> list[Table]:
    """Each table of a report."""
    return [*_costs(report), _outputs(report), *_layers(report), *_growth(report), *_mix(report)]


def _costs(report: _Report) -> Iterator[Table]:
    first, rows = report.rows[0], []
    for row in report.rows:
        held = ", ".join(f"{n:,} {kind}" for kind, n in row.held.items()) or "none"
        rows.append(
            [row.precision, _error(row.largest), _share(max((o.relative for o in row.outputs), default=0.0)),
             f"{row.packed / MIB:.3f}", f"{row.nbytes / MIB:.3f}", f"{row.us:.2f}", _ratio(row.us, first.us), held]
        )  # fmt: skip
    call = "step" if report.steps else "run"
    head = ["", "largest error", "of range", "MiB packed", "MiB in all", f"µs a {call}", "of f32's", "weights held as"]
    notes = [
        f"data: {report.data}",
        "errors are absolute, against f32 on this data; packed is what a call reads, in all is Model.nbytes",
    ]
    yield Table(f"{report.model}, {report.isa}", head, rows, notes)


def _outputs(report: _Report) -> Table:
    rows = [
        [one.output, row.precision, _error(one.largest), _error(one.mean), f"{one.range:.4g}", _share(one.relative),
         f"{one.differing:.1%}"]
        for row in report.rows[1:]
        for one in row.outputs
    ]  # fmt: skip
    notes = [
        f"{one.output}: {1 - one.compared:.1%} of its values are NaN in f32 on this data, and say nothing; the errors are those of "
        "the rest"
        for one in (report.rows[1].outputs if len(report.rows) > 1 else ())
        if one.compared < 1
    ]
    return Table("each output", ["output", "", "largest", "mean", "range", "of range", "differ"], rows, notes)


def _layers(report: _Report) -> Iterator[Table]:
    kinds = list(dict.fromkeys(one.precision for one in report.layers))
    by_name: dict[str, dict[str, Any]] = {}
    for one in report.layers:
        by_name.setdefault(one.layer, {})[one.precision] = one
    rows = []
    for name, found in by_name.items():
        any_of = next(iter(found.values()))
        cells = [name, any_of.op, f"{any_of.n_weights:,}"]
        for kind in kinds:
            one = found.get(kind)
            cells += ["-", "-"] if one is None else [_error(one.largest), f"{one.saved:,}"]
        rows.append((max(one.largest for one in found.values()), cells))
    rows.sort(key=lambda row: -row[0])
    notes = ["each layer alone in that precision, the rest f32; the one that brings most stands first"]
    if len(rows) > LAYERS_SHOWN:
        notes.append(f"and {len(rows) - LAYERS_SHOWN} more (to_dict() and --json have all)")
    notes += [f"{one.layer}: {one.held}, not {one.precision}: {one.why}" for one in report.layers if one.why]
    head = ["layer", "op", "weights", *(h for kind in kinds for h in (f"{kind}: error", "bytes saved"))]
    if rows:
        yield Table("which layer brings it", head, [cells for _, cells in rows[:LAYERS_SHOWN]], notes)


def _growth(report: _Report) -> Iterator[Table]:
    grown = {row.precision: row.growth for row in report.rows if row.growth}
    if report.mix is not None and report.mix.growth:
        grown["the mix"] = report.mix.growth
    head = ["up to step", *(h for name in grown for h in (f"{name}: largest", "mean"))]
    rows = [
        [f"{points[0].steps:,}", *(_error(v) for p in points for v in (p.largest, p.mean))]
        for points in (zip(*grown.values(), strict=True) if grown else ())
    ]
    yield Table("over a long run, since the row above", head, rows, [report.long_run])


def _mix(report: _Report) -> Iterator[Table]:
    mix = report.mix
    if mix is None:
        return
    first = report.rows[0]
    head = ["", "largest error", "MiB packed", "µs a step" if report.steps else "µs a run"]
    rows = [
        ["f32", "0", f"{first.packed / MIB:.3f}", f"{mix.us_f32:.2f}"],
        ["the mix", _error(mix.largest), f"{mix.packed / MIB:.3f}", f"{mix.us:.2f}"],
    ]
    told = (
        f"found in {mix.runs} runs over the data; the error is measured on this data, another signal may show another"
    )
    smaller = mix.packed < first.packed
    none = ["no smaller mix stays inside"] * (not smaller)
    slower = ["this mix is smaller, but not faster than f32 here"] * (smaller and mix.us >= mix.us_f32)
    beyond = max((point.largest for point in mix.growth if not isnan(point.largest)), default=0.0)
    grows = [f"over the long run its error reaches {_error(beyond)}"] * (beyond > mix.within)
    constants = f"constants={_plain_constants(report.constants)}, " if report.constants else ""
    paste = ["to paste:", f"    lstm_infer.load({report.model!r}, {constants}precision={dict(mix.precision)})"]
    yield Table(f"the cheapest mix within {mix.within:g}", head, rows, [told, *none, *slower, *grows, *paste])


def _plain_constants(constants: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in constants.items()}


def _error(value: float) -> str:
    return "0" if value == 0 else "-" if isnan(value) else f"{value:.1e}"


def _share(value: float) -> str:
    return f"{value:.3%}" if isfinite(value) else "-"


def _ratio(value: float, of: float) -> str:
    return f"{value / of:.2f}x" if of else "-"
