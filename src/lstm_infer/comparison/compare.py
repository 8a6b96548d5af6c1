"""compare_precision: what each way to hold weights costs in error, bytes and time, and the cheapest mix inside an error."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from .. import given
from ..drive.inputs import stream_spec
from ..errors import ArgumentError, FeedError, NotStreamableError
from ..model import Model, load
from ..program.precision import KINDS
from .choose import F32, Found, as_dict, choose
from .data import Data, chosen_constants, given_data, noise
from .measure import errors, growth, outputs_of, step_times
from .records import GrowthPoint, LayerError, Mix, OutputError, PrecisionReport, PrecisionRow

if TYPE_CHECKING:
    from typing import Unpack

    from ..typing import Array, CompareOptions, Precision, Source

__all__ = ["compare_precision"]

MIX = "the mix"
LONG_STEPS, LONG_S = 100_000, 8.0
ROUNDS = 5


def compare_precision(
    source: Source,
    feeds: Mapping[str, Array] | Array | None = None,
    *,
    precisions: Sequence[Precision] = KINDS,
    within: float | None = None,
    long_run: int = LONG_STEPS,
    seconds: float = LONG_S,
    say: Callable[[str], None] | None = None,
    **load_options: Unpack[CompareOptions],
) -> PrecisionReport:
    """Compare ways to hold the weights of a model: error against f32, bytes and time; also layer by layer.

    Parameters
    ----------
    source : path, bytes, file object or onnx.ModelProto
        As `load` takes it.
    feeds : dict of name to array, or array; optional
        Data to measure on: the streamed inputs in the layout of `Stream.run`, of any length, side inputs, and first states;
        of a model that does not stream, what `Model.run` takes. One array where one input is streamed. None: 1,000 steps of
        seeded noise, and the report says so.
    precisions : names
        What to compare with f32.
    within : float, optional
        The largest absolute error against f32 that any output may have on this data. The report then has the cheapest mix
        (fewest bytes) that stays inside as `mix`, and `advice`, the dict for `load(precision=)`.
    long_run : int
        Steps over which the growth of errors is followed, the data repeated and the states carried on; 0 for none.
    seconds : float
        The long run ends after so many.
    say : callable, optional
        Called with a line before each part.
    **load_options
        isa, inputs, constants, states, time_axis, seed, as in `load`; `seed` (default 0) is that of the noise too.

    Returns
    -------
    PrecisionReport
        As text, tables.

    Raises
    ------
    ArgumentError
        A precision is unknown, `within` no positive number, or an argument of another kind.
    FeedError, ShapeError, DtypeError
        `feeds` do not fit the model, or f32 gives NaN alone for them.
    LstmInferError
        The model is refused by `load`.

    Notes
    -----
    A layer's error is that of the model with this layer alone in that precision. A mix is guessed from their sums, then run;
    its error is a measured one. Times are medians of calls by turns.
    """
    kinds = _checked(precisions, within, long_run, seconds, load_options)
    tell = say or (lambda line: None)
    seed = load_options.get("seed") or 0
    if not isinstance(source, (str, bytes, os.PathLike)) and hasattr(source, "read"):
        name, source = "model", source.read()
    else:
        name = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "model"
    options: dict[str, Any] = {**load_options, "seed": seed}
    tell("f32")
    model = load(source, **options)
    constants = chosen_constants(model, feeds)
    if constants:
        options["constants"] = {**(options.get("constants") or {}), **constants}
        model = load(source, **options)
    data = noise(model, seed) if feeds is None else given_data(model, feeds)
    if constants:
        data = replace(data, said=data.said + "; " + ", ".join(f"{n}={v} chosen" for n, v in constants.items()))
    one = _Comparison(model, data, kinds, tell)
    layers = tuple(one.layers())
    found = None if within is None else one.choose(layers, within)
    grown, said = one.growth(long_run, seconds)
    times = one.times()
    rows = tuple(one.row(kind, grown, times) for kind in (F32, *kinds))
    mix = None
    if found is not None and within is not None:
        row = one.row(MIX, grown, times)
        mix = Mix(
            as_dict(found.kinds),
            within,
            row.outputs,
            row.nbytes,
            row.packed,
            row.us,
            times[F32],
            row.growth,
            found.runs,
        )
    return PrecisionReport(name, data.said, data.steps, model.isa, rows, layers, said, mix, data.feeds, constants)


class _Comparison:
    """One model, its data, and what f32 gives for it."""

    def __init__(self, model: Model, data: Data, kinds: Sequence[str], tell: Callable[[str], None]) -> None:
        self.data, self.tell = data, tell
        self.want = outputs_of(model, data.feeds)
        self.models: dict[str, Model] = {}
        self.found: dict[str, tuple[OutputError, ...]] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self._add(F32, model)
        if self.found[F32] and not any(one.compared for one in self.found[F32]):
            raise FeedError(
                "feeds: all that the model gives for this data in f32 is NaN, so there is nothing to compare"
            )
        for kind in kinds:
            tell(kind)
            self._add(kind, model._held_as(kind))

    def _add(self, name: str, model: Model) -> None:
        """One more to be shown; its bytes are those behind the data, before other calls pack more."""
        self.models[name], self.found[name] = model, self.errors(model)
        self.sizes[name] = model.nbytes, _packed(model)

    def errors(self, model: Model) -> tuple[OutputError, ...]:
        """Of each output against f32; the model is run, so that all is packed that it reads."""
        return errors(outputs_of(model, self.data.feeds), self.want)

    def layers(self) -> Iterator[LayerError]:
        """Each layer alone in each precision."""
        model = self.models[F32]
        for layer in model.layers:
            for kind in list(self.models)[1:]:
                self.tell(f"{layer.name} in {kind}")
                alone = model._held_as({layer.name: kind})
                found = self.errors(alone)
                held = next(one for one in alone.layers if one.name == layer.name)
                why = "" if held.precision == kind else held.why or "not built for this layer"
                yield LayerError(
                    layer.name, layer.op, layer.n_weights, kind, _largest(found), max((o.mean for o in found), default=0.0),
                    max((o.relative for o in found), default=0.0), self.sizes[F32][1] - _packed(alone), held.precision, why,
                )  # fmt: skip

    def choose(self, layers: Sequence[LayerError], within: float) -> Found:
        """The cheapest mix inside an error; from now on it is one of the models."""

        def run(kinds: Mapping[str, str]) -> float:
            self.tell(f"a mix within {within:g}")
            return _largest(self.errors(self.models[F32]._held_as(as_dict(kinds))))

        found = choose(layers, within, run, {kind: _largest(one) for kind, one in self.found.items()})
        self._add(MIX, self.models[F32]._held_as(as_dict(found.kinds)))
        return found

    def growth(self, steps: int, seconds: float) -> tuple[dict[str, tuple[GrowthPoint, ...]], str]:
        """Of each over a long run, and how that was measured."""
        spec = stream_spec(self.models[F32])
        if isinstance(spec, NotStreamableError):
            return {}, f"no long run: the model does not stream ({spec})"
        if not steps or len(self.models) == 1:
            return {}, "no long run was asked for"
        grown, done = growth(self.models, self.data.feeds, steps, seconds, self.tell)
        again = "the data repeated" if done > self.data.steps else "the data"
        short = f" (of {steps:,}: {seconds:g} s were over)" if done < steps else ""
        return grown, f"{done:,} steps{short}, {again}, the states carried on; errors are absolute, over all outputs"

    def times(self) -> dict[str, float]:
        """µs of a step of each, by turns."""
        self.tell("times")
        return step_times(self.models, self.data.feeds, ROUNDS)

    def row(self, name: str, grown: Mapping[str, tuple[GrowthPoint, ...]], times: Mapping[str, float]) -> PrecisionRow:
        """One of them as a whole."""
        return PrecisionRow(
            name, self.found[name], *self.sizes[name], times[name], _held(self.models[name]), grown.get(name, ())
        )


def _largest(found: Sequence[OutputError]) -> float:
    return max((o.largest for o in found), default=0.0)


def _packed(model: Model) -> int:
    """Bytes of constants as calls read them."""
    return model._programs.store.n_bytes


def _held(model: Model) -> dict[str, int]:
    """How many weights are held how."""
    found: dict[str, int] = {}
    for layer in model.layers:
        found[layer.precision] = found.get(layer.precision, 0) + layer.n_weights
    return found


def _checked(
    precisions: object, within: object, long_run: object, seconds: object, options: Mapping[str, Any]
) -> list[str]:
    """The precisions besides f32.

    Raises
    ------
    ArgumentError
        Something is not what it should be.
    """
    if "precision" in options:
        raise ArgumentError("precision: compare_precision sets it itself; name what to compare in precisions=")
    kinds = given.names("precisions", precisions)
    for kind in kinds:
        if kind not in KINDS:
            raise ArgumentError(f"precisions: one of {', '.join(map(repr, KINDS))} expected, got {given.shown(kind)}")
    for what, value in (("within", within), ("seconds", seconds)):
        numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (numeric and isfinite(value) and value > 0):  # type: ignore[arg-type, operator]
            raise ArgumentError(f"{what}: a number above 0 expected, got {given.shown(value)}")
    given.number("long_run", long_run, 0)
    return [kind for kind in dict.fromkeys(kinds) if kind != F32]
