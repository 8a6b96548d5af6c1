"""What load and the calls of a Model were told, checked against the ports of the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import given, views
from .analysis.meeting import meeting_point
from .analysis.spec import StreamSpec
from .errors import ArgumentError, DtypeError, FeedError, ShapeError, StateError
from .frozen import frozen
from .graph.ir import Array, Graph, Port
from .program.precision import KINDS, Precision

__all__ = [
    "Options",
    "asked_precision",
    "bound_inputs",
    "check_baked",
    "check_batch",
    "check_fixed",
    "check_sizes",
    "checked_feeds",
    "fed_ports",
    "held_ports",
    "load_options",
]


@frozen
class Options:
    """What `load` was told, kept so that a pickled model comes back the same."""

    isa: str | None
    inputs: Mapping[str, tuple[int | None, ...]]
    constants: Mapping[str, Array]
    states: Mapping[str, str] | None
    time_axis: Mapping[str, int] | None
    seed: int | None
    precision: Precision = field(default_factory=Precision)


def load_options(
    isa: str | None, inputs: Any, constants: Any, states: Any, time_axis: Any, seed: Any, precision: Any
) -> Options:
    """What `load` was told, of the kinds that it takes; the graph is not looked at."""
    sizes = {name: _shape(f"inputs: the shape of {name!r}", shape) for name, shape in _named("inputs", inputs).items()}
    texts = None if states is None else given.named("states", states)
    for name, output in (texts or {}).items():
        if not isinstance(output, str):
            raise ArgumentError(f"states: the name of an output expected for {name!r}, got {given.shown(output)}")
    axes = None if time_axis is None else given.named("time_axis", time_axis)
    return Options(
        isa,
        sizes,
        {n: given.array(f"constants: {n!r}", v).copy() for n, v in _named("constants", constants).items()},
        texts,
        None if axes is None else {n: given.number(f"time_axis: the axis of {n!r}", a) for n, a in axes.items()},
        None if seed is None else given.number("seed", seed, 0),
        asked_precision(precision),
    )


REST = "*"
"""Stands for the nodes that `precision` does not name."""


def asked_precision(asked: Any) -> Precision:
    """What `precision=` was given: a kind, or a dict of kinds by node."""
    if isinstance(asked, str):
        return Precision(_kind("precision", asked))
    if not isinstance(asked, Mapping):
        kinds = " or ".join(map(repr, KINDS))
        raise ArgumentError(f"precision: {kinds}, or a dict of them by node, expected, got {given.shown(asked)}")
    by_name = {n: _kind(f"precision: {n!r}", kind) for n, kind in given.named("precision", asked).items()}
    return Precision(by_name.pop(REST, "f32"), tuple(sorted(by_name.items())))


def _kind(what: str, asked: Any) -> str:
    if not isinstance(asked, str) or asked not in KINDS:
        raise ArgumentError(f"{what}: one of {', '.join(map(repr, KINDS))} expected, got {given.shown(asked)}")
    return asked


def _shape(what: str, value: Any) -> tuple[int | None, ...]:
    try:
        return tuple(None if n is None else given.number(what, n, 0) for n in given.items(what, value))
    except ArgumentError as error:
        raise ShapeError(str(error)) from error


def _named(what: str, value: Any) -> dict[str, Any]:
    return {} if value is None else given.named(what, value)


def fed_ports(graph: Graph, options: Options) -> list[Port]:
    """The fed inputs, with the sizes that the caller fixed."""
    known = {port.name: port for port in graph.inputs}
    constant = known.keys() | graph.defaults.keys() | graph.baked.keys()
    for what, names in (
        ("inputs", options.inputs), ("constants", options.constants),
        ("states", options.states or {}), ("time_axis", options.time_axis or {}),
    ):  # fmt: skip
        for name in names:
            if name not in (constant if what == "constants" else known):
                raise FeedError(f"{what}: there is no input {name!r}; the model takes {sorted(known)}")
    for name, axis in (options.time_axis or {}).items():
        shape = options.inputs.get(name, known[name].shape)
        rank = len(shape) if shape is not None else axis + 1
        if not -rank <= axis < rank:
            raise ShapeError(f"time_axis: axis {axis} lies outside {name!r}, which has {rank} axes")
        options.time_axis[name] = axis % rank  # type: ignore[index]
    outputs = {port.name for port in graph.outputs}
    for name, out in (options.states or {}).items():
        if out not in outputs:
            raise FeedError(f"states: there is no output {out!r} for {name!r}; the model has {sorted(outputs)}")
    ports = []
    for port in graph.inputs:
        if port.name in options.constants:
            value = options.constants[port.name]
            if value.dtype != port.dtype:
                options.constants[port.name] = _cast_constant(port, value)  # type: ignore[index]
            continue
        fixed = options.inputs.get(port.name)
        if fixed is not None:
            if port.shape is not None and len(fixed) != len(port.shape):
                raise ShapeError(f"inputs: {port.name!r} has {len(port.shape)} axes, got {list(fixed)}")
            declared = port.shape or (None,) * len(fixed)
            for axis, (old, new) in enumerate(zip(declared, fixed, strict=True)):
                if isinstance(old, int) and new is not None and new != old:
                    raise ShapeError(f"inputs: axis {axis} of {port.name!r} is {old} in the file, got {new}")
            port = replace(port, shape=tuple(o if n is None else n for o, n in zip(declared, fixed, strict=True)))
        ports.append(port)
    return ports


def _cast_constant(port: Port, value: Array) -> Array:
    cast = value.astype(port.dtype)
    if not np.array_equal(cast, value):
        raise DtypeError(f"constants: {port.name!r} takes {port.dtype}, {value.tolist()} does not fit it")
    return cast


def _as_it_fits(port: Port, array: NDArray[Any]) -> str:
    """What to write for an array that lacks axes, if these may be of one element and the others fit."""
    shape, missing = port.shape or (), len(port.shape or ()) - array.ndim
    found: dict[tuple[int, ...], None] = {}
    for at in range(array.ndim + 1 if missing > 0 else 0):
        sizes = (*array.shape[:at], *[1] * missing, *array.shape[at:])
        if all(not isinstance(n, int) or n == m for n, m in zip(shape, sizes, strict=True)):
            found[sizes] = None
    return "; write " + " or ".join(f"x.reshape{sizes}" for sizes in found) if found else ""


def _feed(port: Port, array: Any) -> NDArray[Any]:
    """One fed array, checked against its port, in C order and native byte order."""
    array = views.view(f"input {port.name!r}", port.dtype, array)
    given.refuse_masked(f"input {port.name!r}", array)
    if array.dtype != port.dtype and array.dtype.newbyteorder("=") != port.dtype:
        raise views.wrong_dtype(f"input {port.name!r}", port.dtype, array.dtype)
    if port.shape is not None:
        fits = len(port.shape) == array.ndim
        if not fits:
            shown = [n if isinstance(n, int) else n or "?" for n in port.shape]
            raise ShapeError(
                f"input {port.name!r} takes {len(port.shape)} axes {shown}, got {list(array.shape)}{_as_it_fits(port, array)}"
            )
    return np.ascontiguousarray(array, port.dtype).reshape(array.shape)


def checked_feeds(
    ports: Sequence[Port], feeds: Mapping[str, NDArray[Any]], options: Options, carried: Callable[[str], bool]
) -> list[NDArray[Any]]:
    """The arrays of these ports in order, every one checked; nothing else may be fed. `carried`: is it a state."""
    names = [port.name for port in ports]
    for name in feeds:
        if name not in names:
            constant = f"; {name!r} was made a constant by load()" if name in options.constants else ""
            raise FeedError(f"there is no input {name!r}{constant}; the model takes {names}")
    arrays = []
    for port in ports:
        if port.name not in feeds:
            hint = "; it is a state, which model.stream() carries from call to call" if carried(port.name) else ""
            raise FeedError(f"input {port.name!r} is missing; the model takes {names}{hint}")
        arrays.append(_feed(port, feeds[port.name]))
    return arrays


def check_baked(graph: Graph, feeds: Mapping[str, NDArray[Any]], options: Options) -> None:
    """What is fed for an input with a value in the file can take its place.

    Raises
    ------
    FeedError
        The graph holds what was made of the file's value.
    """
    for name in feeds:
        if name in graph.baked and name not in options.constants:
            raise FeedError(
                f"input {name!r} has a value in the file, from which constants were made when it was loaded; give it another one "
                f"with load(..., constants={{{name!r}: ...}})"
            )


def check_sizes(ports: Sequence[Port], arrays: Sequence[NDArray[Any]], opens: Callable[[str, int], bool]) -> None:
    """A size that the file declares holds, but for time and batch where they were found open (`opens`): what an unrolled loop
    or a baked constant would do with another size is not in the file."""
    for port, array in zip(ports, arrays, strict=False):
        for axis, (declared, size) in enumerate(zip(port.shape or (), array.shape, strict=False)):
            if isinstance(declared, int) and size != declared and not opens(port.name, axis):
                raise ShapeError(
                    f"input {port.name!r}: axis {axis} is {declared} in the file and was not found open, got {size}"
                )


def check_fixed(ports: Sequence[Port], arrays: Sequence[NDArray[Any]], graph: Graph) -> None:
    """A size that a number of the file may mean holds."""
    for port, array in zip(ports, arrays, strict=False):
        for axis, size in enumerate(array.shape):
            given, why = graph.fixed.get((port.name, axis), (size, ""))
            if size != given:
                raise ShapeError(
                    f"input {port.name!r}: axis {axis} is {given} in the file, and {why}; got {size}. Export the model "
                    "with this axis open (dynamic_axes=, dynamic_shapes=)"
                )


def held_ports(ports: Sequence[Port], graph: Graph) -> list[Port]:
    """The ports with the sizes that a number of the file may mean, also where it leaves them open."""
    return [
        port
        if port.shape is None
        else replace(port, shape=tuple(graph.fixed.get((port.name, a), (n, ""))[0] for a, n in enumerate(port.shape)))
        for port in ports
    ]


def bound_inputs(fed: Sequence[Port], inputs: Mapping[str, ArrayLike], spec: StreamSpec) -> dict[str, Array]:
    """What a stream fixes for its life: inputs that it neither streams nor carries."""
    ports = {port.name: port for port in fed}
    bound: dict[str, Array] = {}
    for name, value in inputs.items():
        if name not in ports:
            raise FeedError(f"inputs: there is no input {name!r}; the model takes {sorted(ports)}")
        if name in spec.pairs:
            raise FeedError(f"inputs: {name!r} is a state; give its first value with initial={{{name!r}: ...}}")
        if name in spec.roles.time and spec.mode == "time":
            raise FeedError(f"inputs: {name!r} has the time axis and is streamed; it cannot be bound")
        bound[name] = _feed(ports[name], given.array(f"inputs: {name!r}", value))
    return bound


def check_batch(batch: int, spec: StreamSpec) -> int:
    """The batch of a stream: what was asked for, where the model can have it, or what the file is fixed to."""
    if spec.one_signal and batch > 1:
        raise StateError(f"{spec.one_signal}: the signals of a batch; make {batch} streams of one signal each")
    if spec.roles.batch_size is not None:
        if batch not in (1, spec.roles.batch_size):
            raise ShapeError(f"the file is fixed to a batch of {spec.roles.batch_size}, asked for {batch}")
        return spec.roles.batch_size
    if batch > 1:
        if not spec.roles.batch:
            raise ShapeError(f"the model has no batch axis; asked for a batch of {batch}")
        node = meeting_point(spec.roles)
        if node is not None:
            raise StateError(f"{node} brings the signals of a batch together; make {batch} streams of one signal each")
        for info in spec.states:
            if info.batch_axis is None and info.kind != "drawn":  # what is drawn for all is drawn as for signal 0
                raise StateError(
                    f"state {info.name!r} has no batch axis, so {batch} signals cannot share a stream; make {batch} streams"
                )
    return batch
