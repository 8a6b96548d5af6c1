"""What `compare_precision` found: plain records, and the report that holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from numpy.typing import NDArray

from . import text

__all__ = ["GrowthPoint", "LayerError", "Mix", "OutputError", "PrecisionReport", "PrecisionRow"]


@dataclass(frozen=True)
class OutputError:
    """How far one output lies from that of f32, over all of the data.

    Attributes
    ----------
    output : str
    largest, mean : float
        Of |difference|; infinite where one side alone is no number.
    range : float
        Largest less smallest value of f32's output.
    relative : float
        `largest` over `range`; 0 where they agree.
    differing : float
        Share of values that are not the same.
    compared : float
        Share of values that are numbers in f32. Where both sides are NaN there is nothing to compare: `mean` and `differing`
        are those of the rest.
    """

    output: str
    largest: float
    mean: float
    range: float
    relative: float
    differing: float
    compared: float = 1.0


@dataclass(frozen=True)
class GrowthPoint:
    """Errors of a long run between the point before and this one, over all outputs.

    Attributes
    ----------
    steps : int
        Steps from the beginning.
    largest, mean : float
        Of |difference| from f32; NaN where neither side gave a number.
    """

    steps: int
    largest: float
    mean: float


@dataclass(frozen=True)
class PrecisionRow:
    """The whole model in one precision.

    Attributes
    ----------
    precision : str
    outputs : tuple of OutputError
    nbytes : int
        `Model.nbytes`: constants of the graph, and as the kernels read them.
    packed : int
        The second part alone: what is read by calls.
    us : float
        Median time of a step in µs (of a whole run where the model does not stream), all precisions by turns.
    held : dict of precision to int
        How many weights are held how.
    growth : tuple of GrowthPoint
        Of a long run; empty for f32, and where the model does not stream.
    """

    precision: str
    outputs: tuple[OutputError, ...]
    nbytes: int
    packed: int
    us: float
    held: Mapping[str, int]
    growth: tuple[GrowthPoint, ...]

    @property
    def largest(self) -> float:
        """Largest error of all outputs."""
        return max((o.largest for o in self.outputs), default=0.0)


@dataclass(frozen=True)
class LayerError:
    """One layer alone in one precision, all others in f32.

    Attributes
    ----------
    layer, op : str
    n_weights : int
    precision : str
    largest, mean : float
        Of |difference| from f32: that of the output which it hits most.
    relative : float
        The largest error relative to its output's range.
    saved : int
        Packed bytes that it takes less than in f32.
    held : str
        How it is held: where not as asked, `why` says why not.
    why : str
    """

    layer: str
    op: str
    n_weights: int
    precision: str
    largest: float
    mean: float
    relative: float
    saved: int
    held: str
    why: str = ""


@dataclass(frozen=True)
class Mix:
    """The cheapest mix that was found inside an error, and what it was measured to give.

    Attributes
    ----------
    precision : dict of node name to precision
        For `load(precision=)`.
    within : float
        The largest error that was asked for.
    outputs : tuple of OutputError
    nbytes, packed : int
        As in PrecisionRow.
    us, us_f32 : float
        Time of a step in µs, its and f32's, by turns.
    growth : tuple of GrowthPoint
        Of a long run, beside those of the rows.
    runs : int
        How many mixes were run over the data to find it.
    """

    precision: Mapping[str, str]
    within: float
    outputs: tuple[OutputError, ...]
    nbytes: int
    packed: int
    us: float
    us_f32: float
    growth: tuple[GrowthPoint, ...]
    runs: int

    @property
    def largest(self) -> float:
        """Largest error of all outputs."""
        return max((o.largest for o in self.outputs), default=0.0)


@dataclass(frozen=True)
class PrecisionReport:
    """What `compare_precision` found; as text a few tables, and the advice to paste.

    Attributes
    ----------
    model : str
        Name of the file or of the graph.
    data : str
        What was fed.
    steps : int
        Of the data; 0 where the model does not stream and is run whole.
    isa : str
    rows : tuple of PrecisionRow
        f32 first.
    layers : tuple of LayerError
        By layer, then precision.
    long_run : str
        How the growth was measured, or why not.
    mix : Mix or None
        None where `within` was not given.
    feeds : dict of name to array
        The data itself, not part of `to_dict()`.
    constants : dict of name to value
        Inputs that were made constants for want of data, such as a sample rate; `load` takes them.
    """

    model: str
    data: str
    steps: int
    isa: str
    rows: tuple[PrecisionRow, ...]
    layers: tuple[LayerError, ...]
    long_run: str
    mix: Mix | None = None
    feeds: Mapping[str, NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)
    constants: Mapping[str, Any] = field(default_factory=dict)

    @property
    def advice(self) -> dict[str, str] | None:
        """What to give `load(precision=)`; None where `within` was not asked for."""
        return None if self.mix is None else dict(self.mix.precision)

    def to_dict(self) -> dict[str, object]:
        """Plain values, as JSON takes them; what is not finite is None."""
        plain = asdict(self)
        del plain["feeds"]
        plain["constants"] = {name: getattr(v, "tolist", lambda v=v: v)() for name, v in self.constants.items()}
        found: dict[str, Any] = _plain(plain)
        return {**found, "advice": self.advice}

    def tables(self) -> list[text.Table]:
        """(title, heads, rows, notes below) of each table of the report."""
        return text.tables(self)

    def __str__(self) -> str:
        return text.written(self)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
