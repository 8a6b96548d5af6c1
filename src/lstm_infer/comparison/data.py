"""What the precisions are compared on: the caller's data, or seeded noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import given
from ..analysis.spec import StreamSpec
from ..drive.driver import Driver
from ..drive.inputs import Feeds, Inputs, choices, stream_spec
from ..errors import FeedError, ShapeError
from ..frozen import frozen
from ..model import Model
from .measure import outputs_of

__all__ = ["Data", "chosen_constants", "given_data", "noise"]

NOISE_STEPS, WHOLE_STEPS = 1000, 100


@frozen
class Data:
    """Feeds in the layout of `Stream.run` (of `Model.run` where the model does not stream), and what they are, in words."""

    feeds: Feeds
    said: str
    steps: int


def chosen_constants(model: Model, feeds: object) -> Feeds:
    """A value for each scalar input that chooses between networks, where no data says one."""
    return {} if feeds is not None else next(iter(choices(model)), {})


def given_data(model: Model, feeds: Mapping[str, NDArray[Any]] | NDArray[Any]) -> Data:
    """The caller's own.

    Raises
    ------
    FeedError
        One array for several inputs.
    ShapeError
        There is nothing in it.
    ArgumentError
        It is neither an array nor a dict of them.
    """
    spec = stream_spec(model)
    if isinstance(feeds, np.ndarray):
        states = {state.name for state in model.states}
        names = (
            spec.streamed if isinstance(spec, StreamSpec) else [i.name for i in model.inputs if i.name not in states]
        )
        if len(names) != 1:
            raise FeedError(f"feeds: the model takes {list(names)}; give them in a dict by name")
        named: Feeds = {names[0]: feeds}
    else:
        named = {name: given.array(f"feeds: {name!r}", value) for name, value in given.named("feeds", feeds).items()}
    if not named or any(not array.size for array in named.values()):
        raise ShapeError("feeds: empty data; errors are measured on a signal of one step at least")
    if not isinstance(spec, StreamSpec):
        return Data(named, "as given, run whole", 0)
    steps = next((named[n].shape[_axis(model, spec, n)] for n in spec.streamed if _has_steps(model, spec, named, n)), 0)
    return Data(named, f"as given, {steps:,} steps", steps)


def noise(model: Model, seed: int) -> Data:
    """Seeded noise, and states that begin as a stream's do."""
    inputs = Inputs(model)
    found = _drawn(model, inputs, seed)
    if any(a.dtype.kind == "f" and not np.isfinite(a).all() for a in outputs_of(model, found.feeds).values()):
        inputs.positive = True  # a model that takes a logarithm of spectra, say
        return _drawn(model, inputs, seed)
    return found


def _drawn(model: Model, inputs: Inputs, seed: int) -> Data:
    spec, rng = stream_spec(model), np.random.default_rng(seed)
    if isinstance(spec, StreamSpec):
        T, B = inputs.sizes(NOISE_STEPS, 1)
        if spec.mode == "time" and inputs.opens[0]:
            feeds = inputs.draw(rng, T, B)
        else:
            feeds, T = Driver(model, inputs, spec).signal(rng, NOISE_STEPS, B), NOISE_STEPS
        feeds = {name: feeds[name] for name in (*spec.streamed, *spec.side)}
        steps, how = T, f"{T:,} steps of"
    else:
        T, B = inputs.sizes(inputs.declared[0] or WHOLE_STEPS, inputs.declared[1] or 1)
        feeds, steps = inputs.draw(rng, T, B), 0
        how = f"one whole run (T={T}) over" if inputs.roles.time else "one whole run over"
    low = 0 if inputs.positive else -1
    said = f"{how} seeded noise (seed {seed}, uniform in [{low}, 1]), since no data was given; on real data errors may differ"
    return Data(feeds, said, steps)


def _axis(model: Model, spec: StreamSpec, name: str) -> int:
    return 0 if spec.mode == "frame" else model._roles.time[name]


def _has_steps(model: Model, spec: StreamSpec, feeds: Feeds, name: str) -> bool:
    return name in feeds and feeds[name].ndim > _axis(model, spec, name)
