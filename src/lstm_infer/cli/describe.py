"""What `lstm-infer inspect` shows: shapes of a step and of a run, what a step calls and reads, a snippet to paste."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Array
from ..model import Model
from ..records import InputInfo, OutputInfo
from ..stream import Stream
from ..walk.decided import compared_with
from ..walk.walk import Walk, walk

__all__ = ["Inspection", "describe"]

CHUNK = 64


@dataclass
class Inspection:
    """A model, described. Shapes are text: "[T, 1, 5]"."""

    model: str
    isa: str
    summary: str
    streams: bool
    not_streamable: str = ""
    mode: str = ""
    inputs: list[dict[str, Any]] = field(default_factory=list)
    """name, dtype, role (streamed, side, state, whole), step and run shapes."""
    outputs: list[dict[str, Any]] = field(default_factory=list)
    """name, dtype, role (streamed, last, state, side, whole), step and run shapes."""
    states: list[dict[str, Any]] = field(default_factory=list)
    kernels: dict[str, int] = field(default_factory=dict)
    """Kernel slots that a step (or a run, where the model does not stream) calls, and how often."""
    parameters: int = 0
    call: str = "a run"
    """What `kernels` and `step_bytes` are of."""
    step_bytes: int = 0
    """Constants held for a step, packed: an upper bound of what it reads."""
    snippet: str = ""


def describe(model: Model, source: str, *, load_options: str = "") -> Inspection:
    """Describe a model freshly loaded from `source`; `load_options` is what the snippet's load() is given besides."""
    found = Inspection(os.fspath(source), model.isa, model.summary(), False)
    found.parameters = _parameters(model)
    found.states = [
        {
            "name": s.name,
            "output": s.output,
            "dtype": s.dtype.name,
            "shape": list(s.shape),
            "starts": s.kind,
            "evidence": s.evidence,
        }
        for s in model.states
    ]  # fmt: skip
    stream, found.not_streamable = _open(model)
    found.streams = stream is not None
    if stream is None:
        _whole(model, found)
    else:
        _streamed(model, stream, found)
    found.step_bytes = model._programs.store.n_bytes
    load = f"model = lstm_infer.load({os.fspath(source)!r}{load_options})"
    lines = ["import numpy as np", "import lstm_infer", "", load]
    found.snippet = "\n".join(lines + (_run_lines(model) if stream is None else _stream_lines(model, stream)))
    return found


def _parameters(model: Model) -> int:
    """Floating-point constants that the nodes left after folding read, with side inputs as the snippet binds them: of an If on
    one of them, the branch that it takes. What is made for the sizes of a call, such as first states of zeros, is none: of it
    those count that it is made from."""
    roles = model._roles
    if roles.walkable:
        return 0
    try:
        side = model.streaming.side
    except LstmInferError:
        side = ()

    def walked(steps: int, batch: int) -> Walk:
        facts = roles.feeds(steps, batch)
        facts |= {name: Fact.of(np.full(facts[name].shape, _switch(model, name), facts[name].dtype)) for name in side}
        return walk(roles.graph, facts)

    steps, batch = roles.analysis_sizes()
    one = walked(steps, batch)
    try:
        other = walked(roles.time_size or roles.probes[1], roles.batch_size or batch + 1)
    except LstmInferError:  # fixed in ways that no axis tells
        other = one
    makers = {name: node for node in roles.graph.nodes for name in node.outputs}
    found: dict[str, Array | None] = {}
    left = [name for node in one.nodes for name in node.inputs]
    while left:
        name = left.pop()
        array = one.facts[name].const if name else None
        if array is None or name in found:
            continue
        same = (
            name in other.facts and other.facts[name].const is array
        )  # constants of constants are kept from walk to walk
        found[name] = array if same else None
        if not same and name in makers:
            left += makers[name].inputs
    return sum(array.size for array in found.values() if array is not None and array.dtype.kind == "f")


def _open(model: Model) -> tuple[Stream | None, str]:
    """A stream with side inputs that might be meant, or why there is none."""
    try:
        side = model.streaming.side
        facts = model._roles.feeds(1, model._roles.batch_size or 1)
        inputs = {name: np.full(facts[name].shape, _switch(model, name), facts[name].dtype) for name in side}
        return model.stream(inputs=inputs), ""
    except LstmInferError as error:
        return None, str(error)


def _switch(model: Model, name: str) -> int:
    """What a side input may be: a number that the graph compares it with, else 0."""
    return next(iter(compared_with(model._roles.graph, name)), 0)


def _text(shape: Any) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"


def _declared(info: InputInfo | OutputInfo) -> str:
    """A graph shape with T and B for the axes that are open."""
    return _text(
        [
            n if n is not None else "T" if a == info.time_axis else "B" if a == info.batch_axis else None
            for a, n in enumerate(info.shape)
        ]
    )


def _stays_open(stream: Stream, name: str, axis: int) -> bool:
    """Is this a size that neither the file nor its weights say: a stream takes it from its first frame."""
    fed, roles = stream._plan.fed, stream._plan.spec.roles
    return fed.is_open(name, axis) and (name, axis) not in roles.known_sizes


def _streamed(model: Model, stream: Stream, found: Inspection) -> None:
    plan = stream._plan
    spec = plan.spec
    found.mode = spec.mode
    batch_open = model._roles.batch_size is None

    def shapes(info: InputInfo | OutputInfo, shape: tuple[int, ...], time: int | None) -> tuple[str, str]:
        open_axes = [a for a in range(len(shape)) if _stays_open(stream, info.name, a)]
        sizes: list[Any] = [
            "B" if a == info.batch_axis and batch_open else None if a in open_axes else n for a, n in enumerate(shape)
        ]
        if spec.mode == "frame":
            return _text(sizes), _text(["T", *sizes])
        if time is None:
            return _text(sizes), _text(sizes)
        if not spec.steady:
            return "-", _text([*sizes[:time], "T", *sizes[time + 1 :]])
        return _text(sizes[:time] + sizes[time + 1 :]), _text([*sizes[:time], "T", *sizes[time + 1 :]])

    for info in model.inputs:
        role = "state" if info.name in spec.pairs else "streamed" if info.name in spec.streamed else "side"
        step = run = _declared(info)
        if role == "streamed":
            time = None if spec.mode == "frame" else model._roles.time[info.name]
            step, run = shapes(info, plan.step_facts[info.name].shape, time)
        found.inputs.append({"name": info.name, "dtype": info.dtype.name, "role": role, "step": step, "run": run})
    kinds = {o.name: o for o in spec.outputs}
    for out in model.outputs:
        output = kinds.get(out.name)
        if output is None:
            role, step, run = "state", _declared(out), _declared(out)
        else:
            role = {"time": "streamed", "frame": "streamed"}.get(output.kind, output.kind)
            step, run = shapes(out, plan.out_facts[out.name].shape, output.axis if output.kind == "time" else None)
            run = step if output.kind != "time" and spec.mode != "frame" else run
        found.outputs.append({"name": out.name, "dtype": out.dtype.name, "role": role, "step": step, "run": run})
    block = plan.blocks[-1] if spec.steady else plan.cut(CHUNK, plan.first_phase)[0]
    found.kernels = dict(Counter(block.program.slots))
    found.call = "a step" if spec.steady else f"a chunk of {block.n} steps"


def _whole(model: Model, found: Inspection) -> None:
    for kind, infos in (("inputs", model.inputs), ("outputs", model.outputs)):
        for info in infos:
            row = {"name": info.name, "dtype": info.dtype.name, "role": "whole", "step": "-", "run": _declared(info)}
            getattr(found, kind).append(row)
    roles = model._roles
    if not roles.walkable:
        try:
            program = model._program(roles.feeds(*roles.analysis_sizes()), [o.name for o in model.outputs])
        except LstmInferError:
            return
        found.kernels = dict(Counter(program.slots))


def _zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"np.zeros({tuple(shape)}, {dtype.name!r})"


def _side(fact: Fact, value: int) -> str:
    if value and fact.shape == ():
        return f"np.array({value}, {fact.dtype.name!r})"
    return _zeros(fact.shape, fact.dtype)


def _stream_lines(model: Model, stream: Stream) -> list[str]:
    plan = stream._plan
    spec = plan.spec
    facts = model._roles.feeds(1, stream.batch)
    side = ", ".join(f"{name!r}: {_side(facts[name], _switch(model, name))}" for name in spec.side)
    lines = [f"stream = model.stream(inputs={{{side}}})" if side else "stream = model.stream()"]
    steps, runs = {}, {}
    for name in spec.streamed:
        fact = plan.step_facts[name]
        if spec.mode == "frame":
            steps[name], runs[name] = _zeros(fact.shape, fact.dtype), _zeros((100, *fact.shape), fact.dtype)
        else:
            t = model._roles.time[name]
            steps[name] = _zeros(fact.shape[:t] + fact.shape[t + 1 :], fact.dtype)
            runs[name] = _zeros((*fact.shape[:t], 100, *fact.shape[t + 1 :]), fact.dtype)
    if not spec.steady:
        return [
            *lines,
            f"frames = {_argument(runs)}",
            f"ys = stream.run(frames)   # what is complete: the outputs lie {stream.lag} steps behind the inputs",
            "rest = stream.flush()",
        ]
    any_open = any(_stays_open(stream, name, a) for name in spec.streamed for a in range(len(facts[name].shape)))
    note = "   # the file leaves a size open: put in yours" if any_open else ""
    lines += [f"frame = {_argument(steps)}{note}", f"frames = {_argument(runs)}"]
    many = len(spec.outputs) > 1
    names = ", ".join(repr(o.name) for o in spec.outputs)
    lines.append("y = stream.step(frame)" + (f"    # a dict: {names}" if many else f"    # {names}"))
    lines.append("ys = stream.run(frames)   # the same, 100 steps at once")
    return lines


def _argument(arrays: dict[str, str]) -> str:
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    return "{" + ", ".join(f"{name!r}: {array}" for name, array in arrays.items()) + "}"


def _run_lines(model: Model) -> list[str]:
    roles = model._roles
    if roles.walkable:
        return [f"# sizes unknown: {roles.walkable}"]
    facts = roles.feeds(roles.time_size or 20, roles.batch_size or 1)
    lines = ["feeds = {"]
    lines += [f"    {port.name!r}: {_zeros(facts[port.name].shape, facts[port.name].dtype)}," for port in roles.inputs]
    return [*lines, "}", "results = model.run(feeds)   # a dict: " + ", ".join(repr(o.name) for o in model.outputs)]
