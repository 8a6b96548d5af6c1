"""What would make a model stream that is refused: other readings of its axes, each tried before it is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import LstmInferError, NotStreamableError
from ..graph.ir import Graph, Node
from ..ops import carries, recurrent
from ..ops.control import Repeat
from .axes import trace
from .find_roles import find_roles
from .ground import time_label
from .labels import Trace
from .roles import Roles
from .spec import StreamSpec

__all__ = ["frames_inside", "remedy", "unrolled"]

MOST_AXES = 4
"""So many axes are tried as time."""


def remedy(roles: Roles, analyse: Callable[[Roles], StreamSpec]) -> str:
    """What to tell `load`, empty where nothing helps that is known. `analyse` reads the graph with other roles."""
    if roles.walkable or roles.switches or len(roles.candidates) > 1:
        return ""
    if roles.time:
        return _as_frames(roles, analyse)
    nodes = roles.walk(*roles.analysis_sizes()).nodes
    told = ""
    # what runs backwards over its steps keeps its batch for signals: nothing streams with these as steps
    for time in _open_axes(roles, batch=not any(_backwards(node) for node in nodes)):
        spec = _tried(roles, time, analyse)
        where = " and ".join(f"axis {axis} of {name!r}" for name, axis in time.items())
        if isinstance(spec, StreamSpec):
            if spec.mode == "time" and (spec.windows or spec.carried):
                return f"Where time is {where}, load(..., time_axis={time}) streams it"
        elif isinstance(spec, NotStreamableError) and spec.node and not told:
            told = f"Where time is {where}, node {spec.node!r} ({spec.op}) {spec.reason}"
    return told if any(carries.carries(node) for node in nodes) else _one_step_read(roles)


def _one_step_read(roles: Roles) -> str:
    """A file whose exporter took an example of one step for the whole sequence: all others are never read."""
    for time in _open_axes(roles, batch=False):
        try:
            other = find_roles(roles.graph, roles.inputs, roles.constants, time)
            walked = other.walk(*other.analysis_sizes())
        except LstmInferError:
            continue
        traced = trace(other.inputs, walked)
        label = time_label(other, traced)

        def holds(names: Sequence[str], traced: Trace = traced, label: int = label) -> bool:
            return any(name and traced.find(name, label) is not None for name in names)

        last = [n for n in walked.nodes if holds(n.inputs) and not holds(n.outputs)]
        picks = [n.op == "Gather" and walked.facts[n.inputs[1]].shape in ((), (1,)) for n in last]
        if last and all(picks) and not holds([port.name for port in roles.graph.outputs]):
            name, axis = next(iter(time.items()))
            return (
                f"Of axis {axis} of {name!r} the file reads one step only, at {last[0]}: where that is time, its exporter took an "
                "example of one step; export one of several, or use from_keras or from_torch"
            )
    return ""


def _as_frames(roles: Roles, analyse: Callable[[Roles], StreamSpec]) -> str:
    """A model whose states come in and go out may take what looks like time as one frame."""
    if any(_backwards(node) for node in roles.walk(*roles.analysis_sizes()).nodes):
        return ""
    spec = _tried(roles, {}, analyse)
    if not isinstance(spec, StreamSpec) or spec.mode != "frame" or not spec.streamed:
        return ""
    return "Where each call is one frame, load(..., time_axis={}) streams it from call to call"


def frames_inside(roles: Roles, analyse: Callable[[Roles], StreamSpec]) -> StreamSpec | None:
    """How a model streams from call to call of which only recurrences that run both ways run over what looks like time:
    the bands of a frame. Its own steps are the calls: the states of other recurrences are fed and given out."""
    if roles.chosen or roles.switches or not roles.time:
        return None
    walked = roles.walk(*roles.analysis_sizes())
    traced = trace(roles.inputs, walked)
    label = time_label(roles, traced)
    over, others = list[Node](), list[Node]()
    for node in carries.recurrences(walked.nodes):
        along = any(traced.find(node.inputs[i], label) == axis for i, axis in carries.runs_over(node))
        (over if along else others).append(node)
    if not over or not others or not all(map(_backwards, over)):
        return None
    spec = _tried(roles, {}, analyse)
    if not isinstance(spec, StreamSpec) or spec.mode != "frame" or not spec.streamed:
        return None

    def fed(nodes: Sequence[Node]) -> bool:
        starts = (n.inputs[i] for n in nodes for _, i, _ in carries.states(n) if i < len(n.inputs) and n.inputs[i])
        made_of = {traced.sources[label][0] for value in starts for label in traced.deps.get(value, ())}
        return not made_of.isdisjoint(spec.pairs)

    return spec if fed(others) and not fed(over) else None


def _backwards(node: object) -> bool:
    if isinstance(node, Repeat):
        return carries.carries(node) and any(s.reverse for s in node.scanned)
    return recurrent.both_ways(node)  # type: ignore[arg-type]


def _open_axes(roles: Roles, *, batch: bool) -> list[dict[str, int]]:
    """Axes that may be time: left open, what looks like the batch at the end (if that may be); those of one name
    together."""
    found: tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]] = {}, {}
    for port in roles.inputs:
        for axis, size in enumerate(port.shape or ()):
            if not isinstance(size, int):
                like = found[roles.batch.get(port.name) == axis]
                like.setdefault(size or f"{port.name}.{axis}", {}).setdefault(port.name, axis)
    return [*found[0].values(), *(found[1].values() if batch else ())][:MOST_AXES]


def _tried(roles: Roles, time: dict[str, int], analyse: Callable[[Roles], StreamSpec]) -> StreamSpec | LstmInferError:
    try:
        return analyse(find_roles(roles.graph, roles.inputs, roles.constants, time))
    except LstmInferError as error:
        return error.kept()


def unrolled(graph: Graph) -> str:
    """What an exporter did to the loop, where it took it apart."""
    if not graph.unrolled:
        return ""
    return (
        f"; a loop was unrolled over T={graph.unrolled} steps, and its copies are not those of one body: export the loop "
        "itself (torch.jit.script), or one step with its states as inputs and outputs"
    )
