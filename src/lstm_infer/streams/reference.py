"""What every value of a stream looks like at one step, whatever its windows need: the shapes of memory, and of values
of which a chunk gives no step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import LstmInferError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Window
from ..ops import recurrent
from ..walk.bodies import is_control
from ..walk.walk import Walk, node_facts, walk
from .fed import Fed, resized

__all__ = ["Reference", "unpadded", "without_pads"]


@frozen
class Reference:
    """Walks that a plan is made from."""

    fed: Fed
    one: Walk
    """One step of each value."""
    long: Walk | None
    """The whole at the length that was analysed, for a stream that is not steady."""
    repeated: dict[str, int]
    """Values without a time axis that are as long as the sequence, all steps alike: one step of them, and its axis."""

    @classmethod
    def of(cls, fed: Fed) -> Reference:
        """Integers with axes (tokens, lengths) are read when the stream is made, by the kernels that a whole run takes;
        where they decide about sizes they have to be known here already."""
        try:
            return cls._of(fed)
        except LstmInferError:
            if not fed.read_now():
                raise
            return cls._of(fed)

    @classmethod
    def _of(cls, fed: Fed) -> Reference:
        spec = fed.spec
        long = None if spec.steady else walk(fed.graph, fed.facts(spec.roles.analysis_sizes()[0]))

        def on_node(node: Node, ins: list[Fact | None]) -> list[Fact] | None:
            if node.name not in spec.windows:
                return _regrouped(fed, long, node, ins)
            axis, window = spec.windows[node.name]
            x = ins[0]
            assert x is not None
            if node.name not in spec.pad_nodes:
                ins = [resized(x, axis, (window.kernel - 1) * window.dilation + 1), *ins[1:]]
            if node.name in spec.cropped:
                return [resized(x, axis, 1)]
            return node_facts(without_pads(node, axis, len(x.shape), window), unpadded(node, axis, ins))

        one = walk(fed.graph, fed.facts(1), on_node=on_node)
        repeated = _repeated(fed, one, long)
        for value, axis in repeated.items():
            const = one.facts[value].const
            if const is not None and const.shape[axis] != 1:
                one.facts[value] = Fact.of(const.take([0], axis))
        return cls(fed, one, long, repeated)

    def regrouped(self, node: Node, ins: list[Fact | None]) -> list[Fact] | None:
        """What a Reshape makes of the steps that are there: its target may tell how many a whole run has."""
        return _regrouped(self.fed, self.long, node, ins)

    def along(self, node: Node) -> dict[int, tuple[int, int]]:
        """By input with a repeated value: (input, axis) that says how many steps of it the node takes. A node that
        broadcasts takes one."""
        if not self.repeated or not (node.op == "Concat" or is_control(node) or recurrent.is_recurrent(node)):
            return {}
        assert self.long is not None
        whole, axes = self.long.facts, self.fed.spec.time_axes
        timed = [(i, axes[value]) for i, value in enumerate(node.inputs) if value in axes]
        found: dict[int, tuple[int, int]] = {}
        for i, value in enumerate(node.inputs):
            if value in self.repeated and timed:
                n = whole[value].shape[self.repeated[value]]
                found[i] = next(((j, a) for j, a in timed if whole[node.inputs[j]].shape[a] == n), timed[0])
        return found


def _repeated(fed: Fed, one: Walk, long: Walk | None) -> dict[str, int]:
    """Of side inputs and constants, expanded over the length that is fed: what they meet may lie behind that."""
    found: dict[str, int] = {}
    for value, whole in (long.facts if long else {}).items():
        fact = one.facts.get(value)
        if fact is None or fact.dtype.kind != "f" or value in fed.spec.time_axes:
            continue
        axes = [a for a, n in enumerate(whole.shape) if fact.shape[a : a + 1] != (n,)]
        if len(fact.shape) != len(whole.shape) or len(axes) != 1:
            continue
        if fact.shape[axes[0]] == 1 or (fact.shape[axes[0]] == fed.batch and _alike(fact.const, axes[0])):
            found[value] = axes[0]
    return found


def _alike(const: Array | None, axis: int) -> bool:
    """Is a constant the same all along an axis."""
    return const is not None and bool((const == const.take([0], axis)).all())


def _regrouped(fed: Fed, long: Walk | None, node: Node, ins: list[Fact | None]) -> list[Fact] | None:
    x, steps, axes = ins[0] if ins else None, fed.spec.steps, fed.spec.time_axes
    if long is None or x is None or node.op != "Reshape" or x.const is not None:
        return None
    source, value = node.inputs[0], node.outputs[0]
    if not (steps.get(source) and steps.get(value)):
        return None
    before, after = long.facts[source], long.facts[value]
    n = x.shape[axes[source]] * steps[source] // before.shape[axes[source]]
    return [Fact(resized(after, axes[value], n * after.shape[axes[value]] // steps[value]).shape, x.dtype)]


def without_pads(node: Node, axis: int, rank: int, window: Window) -> Node:
    """The node without padding on one axis of its input: an output for every full window."""
    if node.op in ("Pad", "Slice"):
        return node
    attrs = dict(node.attrs)
    spatial = rank - 2
    pads = list(attrs.get("pads", [0] * (2 * spatial)))  # type: ignore[arg-type]
    pads[axis - 2] = pads[axis - 2 + spatial] = 0
    if node.op == "ConvTranspose":  # its pads cut off what comes of windows that are not full
        pads[axis - 2] = pads[axis - 2 + spatial] = (window.kernel - 1) * window.dilation
        more = list(attrs.get("output_padding", [0] * spatial))  # type: ignore[arg-type]
        attrs |= {"output_padding": [0 if a == axis - 2 else n for a, n in enumerate(more)], "auto_pad": "NOTSET"}
    attrs["pads"] = pads
    if str(attrs.get("auto_pad", "NOTSET")) != "NOTSET" and spatial == 1:
        attrs["auto_pad"] = "NOTSET"
    return replace(node, attrs=attrs)


def unpadded(node: Node, axis: int, ins: list[Fact | None]) -> list[Fact | None]:
    """The inputs of a Pad without the padding of one axis; of another node as they are."""
    x = ins[0]
    if node.op != "Pad" or x is None or len(ins) < 2 or ins[1] is None or ins[1].const is None:
        return list(ins)
    rank = len(x.shape)
    axes = list(range(rank))
    if len(ins) > 3 and ins[3] is not None and ins[3].const is not None:
        axes = [int(a) % rank for a in ins[3].const.reshape(-1)]
    pads = np.array(ins[1].const)
    where = axes.index(axis)
    pads[where] = pads[where + len(axes)] = 0
    return [x, Fact.of(pads), *ins[2:]]
