"""What a model says of its inputs and outputs: declared shapes, with time and batch where they were found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .analysis.analyse import Reading
from .analysis.axes import trace
from .analysis.roles import Roles
from .analysis.spec import StreamSpec
from .graph.ir import Node, Port
from .program.precision import Held
from .records import InputInfo, LayerInfo, OutputInfo

__all__ = ["input_infos", "layer_infos", "output_infos"]

_Place = tuple[int, "int | None", "int | None"]
"""Rank of an output, its batch axis and its time axis."""


def input_infos(ports: Sequence[Port], roles: Roles) -> tuple[InputInfo, ...]:
    """Inputs: sizes that are open are None."""
    return tuple(_input(port, roles) for port in ports)


def _input(port: Port, roles: Roles) -> InputInfo:
    time, batch = roles.time.get(port.name), roles.batch.get(port.name)
    shape: list[int | None] = [n if isinstance(n, int) else None for n in port.shape or ()]
    if time is not None:
        shape[time] = roles.time_size
    if batch is not None:
        shape[batch] = roles.batch_size
    return InputInfo(port.name, tuple(shape), port.dtype, batch, time)


def layer_infos(held: Mapping[str, Held], weighted: Iterable[Node]) -> tuple[LayerInfo, ...]:
    """Layers that something has packed, in the order of their nodes."""
    found = [held[node.name] for node in weighted if node.name in held]
    return tuple(LayerInfo(h.node, h.op, h.n_weights, h.kind, h.why) for h in found)


def output_infos(ports: Sequence[Port], reading: Reading) -> tuple[OutputInfo, ...]:
    """Outputs: where the axes of the inputs went."""
    places = {} if reading.roles.walkable else _places(ports, reading)
    return tuple(_output(port, places.get(port.name), reading.roles) for port in ports)


def _output(port: Port, place: _Place | None, roles: Roles) -> OutputInfo:
    rank, batch, time = place or (len(port.shape or ()), None, None)
    shape = [n if isinstance(n, int) else None for n in port.shape or [None] * rank]
    for axis, size in ((batch, roles.batch_size), (time, None)):
        if axis is not None:
            shape[axis] = size
    return OutputInfo(port.name, tuple(shape), port.dtype, batch, time)


def _places(ports: Sequence[Port], reading: Reading) -> dict[str, _Place]:
    """Rank, batch axis and time axis of every output, from the trace."""
    roles, spec = reading.roles, reading.spec
    walked = roles.walk(*roles.analysis_sizes())
    traced = trace(roles.inputs, walked, roles.time, roles.batch)
    timed: dict[str, int | None] = {}
    if isinstance(spec, StreamSpec):
        timed |= {output.name: output.axis for output in spec.outputs if output.kind == "time"}
        timed |= dict.fromkeys(spec.pairs.values())  # states, whatever they were computed from
    found = {}
    for port in ports:
        places = []
        for axes in (roles.batch, roles.time):
            name, axis = next(iter(axes.items()), ("", 0))
            label = traced.axes[name][axis][0].label if name in traced.axes else 0
            places.append(traced.find(port.name, label) if label else None)
        time = timed.get(port.name, places[1])  # also behind a choice that is made at run time
        found[port.name] = (len(walked.facts[port.name].shape), places[0], time)
    return found
