"""The text of Model.summary()."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .analysis.apart import why_apart
from .analysis.roles import Roles
from .analysis.settings import counts_with
from .analysis.spec import StreamSpec
from .errors import LstmInferError
from .graph.ir import Graph
from .ops.registry import is_random
from .records import InputInfo, LayerInfo, printable
from .walk.decided import compared_with

__all__ = ["summarize"]


def _port(info: InputInfo) -> str:
    shape = ", ".join("T" if a == info.time_axis else "B" if a == info.batch_axis else "?" if n is None else str(n)
                      for a, n in enumerate(info.shape))  # fmt: skip
    fixed = [f"{what}={info.shape[axis]}" for what, axis in (("T", info.time_axis), ("B", info.batch_axis))
             if axis is not None and info.shape[axis] is not None]  # fmt: skip
    return f"  {info.name}: {info.dtype} [{shape}]" + (f"  fixed: {', '.join(fixed)}" if fixed else "")


def summarize(
    graph: Graph,
    inputs: Sequence[InputInfo],
    outputs: Sequence[InputInfo],
    spec: StreamSpec | LstmInferError,
    roles: Roles,
    layers: Sequence[LayerInfo],
    isa: str,
) -> str:
    """Inputs, outputs, states, layers, the time axis and the cost, one thing a line."""
    lines = [f"model {graph.name!r}" + (f" by {graph.producer}" if graph.producer else "") + f", kernels: {isa}"]
    lines += ["inputs:", *map(_port, inputs), "outputs:", *map(_port, outputs)]
    if isinstance(spec, LstmInferError):
        lines.append(f"streams: no. {spec}")
    else:
        how = {
            "time": "yes, chunks of any length",
            "loop": "yes, one step at a time",
            "frame": "yes, frame by frame (no time axis; every call is one step)",
        }[spec.mode]
        if spec.stepwise:
            how = "yes, each step quantised by its own range (run() takes the range of the whole input, as onnxruntime)"
        if spec.side and any(state.kind == "computed" for state in spec.states):
            how += "; first states are computed from side inputs: bind those with stream(inputs=...)"
        lines.append(f"streams: {how}")
        if why := why_apart(spec):
            lines.append(f"  pool: one signal at a time: {why}")
        if spec.lag or spec.rate != 1:
            lines.append(
                f"  lag: {spec.lag} steps of look-ahead, one step out for {spec.rate} in: run() gives what is complete, "
                "flush() the tail"
            )
        lines += [_beside(graph, spec, name) for name in spec.side]
        lines.append("states:" if spec.states else "states: none")
        for state in spec.states:
            goes = f" -> {state.output}" if state.output else ""
            why = f" ({state.evidence})" if state.evidence else ""
            shape = ", ".join("?" if n is None else str(n) for n in state.shape)
            lines.append(f"  {state.name}{goes}: {state.dtype} [{shape}], starts {_STARTS[state.kind]}{why}")
    if graph.notes:
        lines += ["rewritten:", *(f"  {note}" for note in graph.notes)]
    drawn = dict.fromkeys(str(node) for node in graph.walk() if is_random(node))
    if drawn:
        lines.append(f"random: {', '.join(drawn)}: by seed, signal and step; load(seed=) repeats it")
    if layers:
        lines.append("weights:")
    for layer in layers:
        why = f" ({layer.why})" if layer.why else ""
        lines.append(f"  {layer.name}: {layer.op}, {layer.n_weights:,} as {layer.precision}{why}")
    counts = Counter(node.op for node in graph.walk())
    lines.append("operators: " + ", ".join(f"{n} {op}" for op, n in counts.most_common()))
    weights = sum(a.size for g in graph.graphs() for a in g.consts.values() if a.dtype.kind == "f")
    lines.append(f"constants: {weights:,} floating-point numbers ({weights * 4 / 2**20:.2f} MiB as float32)")
    return "\n".join(map(printable, lines))


_STARTS = {
    "zero": "at zero",
    "constant": "at a constant in the file",
    "computed": "at a value computed from side inputs",
    "input": "at zero, or at initial=",
    "drawn": "at a key of its own, and counts the steps drawn",
}


def _beside(graph: Graph, spec: StreamSpec, name: str) -> str:
    """The line of an input beside the signal."""
    known = " or ".join(map(str, compared_with(graph, name)))
    meets = f", the graph compares it with {known}" if known else ""
    counts = counts_with(graph, spec.lens, name) is not None
    call = ": it counts from the start" if counts else " or feed it with every call"
    return f"  {name}: no time axis{meets}; bind it with stream(inputs=...){call}"
