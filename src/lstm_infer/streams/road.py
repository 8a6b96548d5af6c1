"""A plan as one crossing into C: its ports and its blocks. Where calls differ from each other in more than their length
there is none, and `general.py` does them.

Where a model looks ahead or strides over time, each phase has programs of its own. A chunk that leads from a phase back to it
is a call as well, once such a chunk has been fed. Off this road are the chunks before that, those that end in another phase,
a step that runs as NumPy, and more ports, or axes of one, than a call can hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .. import _core, _stream
from ..analysis.spec import StreamSpec
from ..graph.fact import Fact
from ..program.store import ConstStore
from .block import Block
from .gil import RELEASE_FROM

__all__ = ["Port", "call_of", "input_port", "output_port", "ports_of"]

MOST_PORTS, MOST_AXES = 61, 16

Port = tuple[str, np.dtype[Any], tuple[int, ...], int, bool]
"""Name, dtype, shape of one step, time axis (-1: none), and whether it has something for every step."""


def call_of(
    spec: StreamSpec,
    streamed: Sequence[str],
    inputs: Mapping[str, Fact],
    outputs: Mapping[str, Fact],
    blocks: Sequence[Block],
    store: ConstStore,
    state_bytes: int,
    period: int = 1,
    lengths: Sequence[int] | None = None,
) -> _stream.Call | None:
    """What a call does; None where it takes the general path. `period`, `lengths`: of a phase, to which so many steps lead back;
    chunks are cut into these lengths, for some of which there are blocks."""
    plans: list[tuple[int, _core.Plan]] = []
    for block in blocks:
        plan = block.program.plan
        if plan is None or block.present != tuple(outputs):
            return None
        plans.append((block.n, plan))
    if lengths is not None:
        made = [_made_of(spec, block, period) for block in blocks]
        if any(other != made[0] for other in made):
            return None
        outputs = made[0]
    ins, outs = ports_of(spec, streamed, inputs, outputs)
    ports = [*ins, *outs]
    if not plans or not outs or len(ports) > MOST_PORTS or not any(every for *_, every in ins):
        return None
    if any(len(shape) > MOST_AXES - (time < 0) for _, _, shape, time, _ in ports):  # one more of a chunk of frames
        return None
    if any(time >= 0 and shape[time] != 1 for _, _, shape, time, _ in ins):
        return None
    if any(time >= 0 and shape[time] < 1 for _, _, shape, time, _ in outs):
        return None
    return _stream.Call(
        consts=store.anchor,
        state_bytes=state_bytes,
        arena_bytes=max(block.program.arena_bytes for block in blocks),
        blocks=plans,
        inputs=ins,
        outputs=outs,
        work=[block.work for block in blocks],
        release_from=RELEASE_FROM,
        nodes=tuple(block.program.nodes[0] for block in blocks),
        can_fail=any(block.program.can_fail for block in blocks),
        rate=period,
        lengths=lengths,
    )


def _made_of(spec: StreamSpec, block: Block, period: int) -> dict[str, Fact]:
    """What a block gives for so many steps."""
    found = {}
    for output, fact in zip(spec.outputs, block.program.outputs, strict=True):
        shape = list(fact.shape)
        if output.kind == "time":
            shape[output.axis] = shape[output.axis] * period // block.n
        found[output.name] = Fact(tuple(shape), fact.dtype)
    return found


def ports_of(
    spec: StreamSpec, streamed: Sequence[str], inputs: Mapping[str, Fact], outputs: Mapping[str, Fact]
) -> tuple[list[Port], list[Port]]:
    """The inputs and the outputs of a call."""
    ins = [input_port(spec, name, fact, name in streamed) for name, fact in inputs.items()]
    return ins, [output_port(spec, o.name, o.kind, o.axis, outputs[o.name]) for o in spec.outputs]


def input_port(spec: StreamSpec, name: str, fact: Fact, streamed: bool) -> Port:
    """An input of a call; one that is given with the frames, but has no time axis, is the same for all of them."""
    time = -1 if spec.mode == "frame" else spec.roles.time.get(name, -1)
    return name, fact.dtype, fact.shape, time, time >= 0 or (streamed and spec.mode == "frame")


def output_port(spec: StreamSpec, name: str, kind: str, axis: int, fact: Fact) -> Port:
    """An output of a call: with an entry a step, or the one that holds at the end."""
    if spec.mode == "frame":
        return name, fact.dtype, fact.shape, -1, True
    return name, fact.dtype, fact.shape, axis if kind == "time" else -1, kind == "time"
