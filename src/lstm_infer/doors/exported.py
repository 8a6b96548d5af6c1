"""A framework's model exported in memory: the first of its exports that gives what it gives itself, at other sizes too."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..drive.compare import compare
from ..errors import ArgumentError, ConvertError, DtypeError, FeedError, IsaError, LstmInferError
from ..model import Model, load
from .open_axes import Arrays, Axes, drawn

__all__ = ["DECIDES", "Framework", "check_names", "export_sizes", "first_right", "streams"]

SMALL = (5, 3, 7, 11, 13, 17, 19)
"""Extents of open axes in the export, where those of the example are smaller than the first: no two alike, none of them 1."""
LONGER = ((1, 2), (2, 3), (0, 1))
"""Sizes at which an export is checked besides: so many times that of the export, and so many more. The last is one signal, one
step: modules that ask for the size ask for that."""
SCALES = (-16.0, 0.0625, 0.0)
"""What the numbers of an example are multiplied with besides: what is negative, loud, quiet or silent takes the other ways of a
module that decides in Python."""
ROUNDING = 1e-3
"""Of the largest value, at those: large numbers cancel out with larger rests than those of the example."""
DECIDES = (
    "; what it computes is chosen in Python by the numbers that it is fed (an if, max(), float(x), x.item()), and an "
    "export keeps what was chosen for its example: say it by torch.where, torch.maximum, torch.clamp"
)


@dataclass(frozen=True)
class Trial:
    """What a framework gives for these inputs."""

    inputs: Arrays
    want: Arrays
    how: str = ""
    """How the inputs are unlike the example, "" where only in their sizes."""


@dataclass(frozen=True)
class Framework:
    """A model as its framework runs it, and the ways to export it."""

    name: str
    eager: Callable[[Arrays], Arrays]
    """Its outputs for inputs in order; raises where it takes no such inputs."""
    ways: Mapping[str, Callable[[], bytes]]
    """ONNX files by what the export is called, each made when it is tried."""
    arrays: Arrays
    """The inputs at the sizes of the export."""
    groups: Sequence[Axes]
    slow: frozenset[str] = frozenset()
    """The ways that are not tried for a stream alone, where another was right for whole runs."""


def export_sizes(arrays: Arrays, groups: Sequence[Axes]) -> list[int]:
    """An extent for each group of open axes. Groups of one extent keep one: what meets may have to be alike."""
    found: dict[int, int] = {}
    free = iter(SMALL)
    for group in groups:
        size = arrays[group[0][0]].shape[group[0][1]]
        if size not in found:
            found[size] = size if size >= SMALL[0] else next(free, SMALL[-1])
    return [found[arrays[group[0][0]].shape[group[0][1]]] for group in groups]


def first_right(of: Framework, options: Mapping[str, Any]) -> Model:
    """The first export that gives what the framework gives; one that streams before one that does not.

    Raises
    ------
    ConvertError
        None does; says why of each.
    ArgumentError, FeedError
        The options do not fit what was exported.
    """
    trials = _trials(of)
    problems, whole, decides = [], None, ""
    for way, export in of.ways.items():
        if whole is not None and way in of.slow:
            break
        try:
            data = export()
            with warnings.catch_warnings():  # a size that was frozen is opened, and the trials show whether rightly
                warnings.simplefilter("ignore")
                model = load(data, **{**options, "precision": "f32"})
        except (ArgumentError, FeedError, DtypeError, IsaError):  # of an option, which another export does not change
            raise
        except LstmInferError as error:
            problems.append(f"{way}: {error}")
            continue
        except Exception as error:  # an exporter's own, of whatever kind
            problems.append(f"{way}: {type(error).__name__}: {_first_line(error)}")
            continue
        wrong, trial = _wrong(model, trials)
        if wrong:
            problems.append(f"{way}: {wrong}")
            decides = decides or (DECIDES if trial is not None and trial.how else "")
        elif streams(model):
            return _held(model, options)
        else:
            whole = whole or model
    if whole is not None:
        return _held(whole, options)
    raise ConvertError(f"no export of the {of.name} gives what it gives itself: {'; '.join(problems)}{decides}")


def _held(model: Model, options: Mapping[str, Any]) -> Model:
    asked = options.get("precision", "f32")
    return model if isinstance(asked, str) and asked == "f32" else model._held_as(asked)


def streams(model: Model) -> bool:
    """Does it stream as it is."""
    try:
        return bool(model.streaming)
    except LstmInferError:
        return False


def _trials(of: Framework) -> list[Trial]:
    """At the sizes of the export and at others, with numbers like those of the example and with others."""
    rng = np.random.default_rng(0)
    base = [of.arrays[group[0][0]].shape[group[0][1]] for group in of.groups]
    sizes = [base]
    for times, more in LONGER if of.groups else ():
        other = [times * n + more for n in base]
        sizes.append(other)
        if not _runs(of, drawn(rng, of.arrays, of.groups, other)):  # not together: then one group at a time
            sizes.pop()
            sizes += [[*base[:g], other[g], *base[g + 1 :]] for g in range(len(base))]
    found = []
    for one in sizes:
        inputs = drawn(rng, of.arrays, of.groups, one)
        try:
            found.append(Trial(inputs, of.eager(inputs)))
        except Exception as error:
            if one is base:
                raise ConvertError(f"the {of.name} does not run on its example: {_first_line(error)}") from error
    _refuse_changing(of, found[0].inputs, found[0].want)
    return found + _unlike(of, found[0].inputs)


def _scaled(by: float, x: NDArray[Any]) -> NDArray[Any]:
    made: NDArray[Any] = np.multiply(x, by, dtype=x.dtype)
    return made


def _unlike(of: Framework, inputs: Arrays) -> list[Trial]:
    """The same with other numbers, where the framework takes them and gives numbers for them."""
    floats = [array.dtype.kind == "f" for array in inputs]
    rng, found = np.random.default_rng(0), []

    def tried(change: Callable[[NDArray[Any]], NDArray[Any]], which: Sequence[bool], how: str) -> None:
        other: Arrays = [change(array) if its else array for array, its in zip(inputs, which, strict=True)]
        with contextlib.suppress(Exception):  # whatever a module says of them
            want = of.eager(other)
            if any(which) and all(np.isfinite(one).all() for one in (*other, *want) if one.dtype.kind == "f"):
                found.append(Trial(other, want, how))

    for scale in SCALES:
        tried(partial(_scaled, scale), floats, f" with numbers {scale:g} times those of the example")
    whole = [not its and array.size > 1 for its, array in zip(floats, inputs, strict=True)]
    tried(lambda x: rng.permutation(x.reshape(-1)).reshape(x.shape), whole, " with whole numbers in another order")
    tried(lambda x: np.full_like(x, x.max()), whole, " with whole numbers all like the largest")
    return found


def _refuse_changing(of: Framework, inputs: Arrays, results: Arrays) -> None:
    """What gives something else each time cannot be compared with anything."""
    for array, again in zip(results, of.eager(inputs), strict=True):
        if compare(again, array)[1] > 1:
            raise ConvertError(
                f"the {of.name} gives something else for the same inputs when it is called again: it keeps a state in itself, or "
                "draws random numbers; let it take the state as an input and give the next one as an output"
            )


def _runs(of: Framework, inputs: Arrays) -> bool:
    try:
        of.eager(inputs)
    except Exception:
        return False
    return True


def _wrong(model: Model, trials: Sequence[Trial]) -> tuple[str, Trial | None]:
    """What a model gives otherwise than its framework, "" where nothing, and in which trial."""
    for trial in trials:
        shapes = ", ".join(str(list(array.shape)) for array in trial.inputs) + trial.how
        try:
            feeds = _feeds(model, trial.inputs)
            got = list(model.run(feeds).values())
        except LstmInferError as error:
            return f"fed {shapes}: {error}", trial
        if len(got) != len(trial.want):
            return f"{len(got)} outputs, expected {len(trial.want)}", None
        for name, mine, theirs in zip((o.name for o in model.outputs), got, trial.want, strict=True):
            largest, excess, detail = compare(mine, theirs)
            if excess > 1 and not (trial.how and largest <= ROUNDING * np.abs(theirs).max()):
                return f"fed {shapes}, output {name!r} is off by {largest:.2g}" + f" ({detail})" * bool(detail), trial
    return "", None


def _feeds(model: Model, inputs: Arrays) -> dict[str, Any]:
    """Inputs by name: exporters name them in order, leave out those that are not used, and constants are none."""
    order = [port.name for port in model._graph.inputs]
    constants = model._options.constants
    if len(order) != len(inputs):
        raise ConvertError(f"the export takes {len(order)} inputs, the example has {len(inputs)}")
    return {name: array for name, array in zip(order, inputs, strict=True) if name not in constants}


def check_names(what: str, names: Sequence[str], n: int) -> None:
    """So many names, no two alike."""
    if len(names) != n or len(set(names)) != n:
        raise ArgumentError(f"{what}: {n} different names expected, got {list(names)}")


def _first_line(error: BaseException) -> str:
    plain = re.sub("\x1b\\[[0-9;]*m", "", str(error))  # exporters colour what they say
    lines = [line for line in plain.splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
