"""A chunk lowered node by node: windows over time read their history, inputs of different lag their queues."""

from __future__ import annotations

from dataclasses import replace

from ..frozen import frozen
from ..graph.ir import Node
from ..program.builder import Builder
from ..program.memory import StateLayout
from ..program.views import View
from .chunk import Chunk, Taken
from .fed import resized
from .reference import unpadded, without_pads
from .state_block import History, Kept, Queue

__all__ = ["Lowering"]


@frozen
class Lowering:
    """One chunk, on its way into a Builder."""

    b: Builder
    chunk: Chunk
    layout: StateLayout

    def node(self, node: Node) -> None:
        """One node."""
        b, chunk, reference = self.b, self.chunk, self.chunk.reference
        if node.name in reference.fed.spec.windows:
            self._window(node)
            return
        inputs = self._from_queues(node)
        if node.name in chunk.skipped:
            self._skip(node)
            return
        along = reference.along(node)
        for i, value in enumerate(node.inputs):
            if value and b.facts[value].const is not None and any(v in reference.repeated for v in node.outputs):
                inputs[i] = self._once(node, value)
            elif i in along:
                j, axis = along[i]
                inputs[i] = self._all_along(node, value, b.fact(inputs[j]).shape[axis])
        b.node(replace(node, inputs=inputs))

    def _from_queues(self, node: Node) -> list[str]:
        """The inputs of a node, each at the steps that all of them have by now."""
        b, inputs = self.b, list(node.inputs)
        for key, taken in self.chunk.taken.items():
            if not isinstance(key, Queue) or key.node != node.name:
                continue
            value, steps = node.inputs[key.input], taken.total - taken.kept
            axis = self.chunk.reference.fed.spec.time_axes[value]
            joined = self._joined(value, axis, key, taken, 0)
            self._keep(joined, axis, key, taken)
            name = inputs[key.input] = f"{value}/queue/{node.name}"
            b.facts[name] = resized(b.fact(value), axis, steps)
            b.bind(name, joined.part(axis, 0, steps))
        return inputs

    def _once(self, node: Node, value: str) -> str:
        """A size that a repeated value is made with, as it is for one step."""
        name = f"{value}/once/{node.name}"
        self.b.facts[name] = self.chunk.reference.one.facts[value]
        return name

    def _all_along(self, node: Node, value: str, n: int) -> str:
        """A repeated value at as many steps as what it meets."""
        b, name = self.b, f"{value}/along/{node.name}"
        axis, view = self.chunk.reference.repeated[value], self.b.view(value)
        b.facts[name] = resized(b.fact(value), axis, n)
        strides = (*view.strides[:axis], 0, *view.strides[axis + 1 :])
        b.bind(name, replace(view, shape=b.facts[name].shape, strides=strides))
        return name

    def _skip(self, node: Node) -> None:
        for value in node.outputs:
            if value and self.b.facts[value].const is None:
                self.b.new(value)

    def _window(self, node: Node) -> None:
        b, spec = self.b, self.chunk.reference.fed.spec
        axis, window = spec.windows[node.name]
        if node.name in spec.pad_nodes:
            self._pad(node, axis)
            return
        key, value = History(node.name), node.inputs[0]
        taken = self.chunk.taken[key]
        plain = without_pads(node, axis, len(b.fact(value).shape), window)
        if taken.held == 0 and taken.kept == 0 and not self.chunk.flush:
            if node.name in spec.cropped:
                steps = taken.total // window.stride
                b.bind(node.outputs[0], b.view(value).part(axis, spec.cropped[node.name], steps, window.stride))
            else:
                b.node(plain)
            return
        joined = self._joined(value, axis, key, taken, window.pad_value)
        self._keep(joined, axis, key, taken)
        if node.name in self.chunk.skipped:
            self._skip(node)
            return
        if node.name in spec.cropped:
            steps = (taken.total - window.kernel) // window.stride + 1
            b.bind(node.outputs[0], joined.part(axis, spec.cropped[node.name], steps, window.stride))
            return
        name = f"{value}/history/{node.name}"
        b.facts[name] = resized(b.fact(value), axis, taken.total)
        b.bind(name, joined)
        b.node(replace(plain, inputs=[name, *node.inputs[1:]]))

    def _pad(self, node: Node, axis: int) -> None:
        """A Pad over time: done by the windows behind it, but for the other axes."""
        b = self.b
        if node.name in self.chunk.skipped:
            self._skip(node)
            return
        name = f"{node.inputs[1]}/unpadded/{node.name}"
        new = unpadded(node, axis, [b.fact(v) if v else None for v in node.inputs])[1]
        assert new is not None
        b.facts[name] = new
        b.node(replace(node, inputs=[node.inputs[0], name, *node.inputs[2:]]))

    def _joined(self, value: str, axis: int, key: Kept, taken: Taken, pad: float) -> View:
        """What a memory holds, the new steps, and padding up to the total, behind each other."""
        b = self.b
        fact, slot = b.fact(value), self.layout.slots[key]
        total, n, skip = taken.total, fact.shape[axis], max(-taken.held, 0)
        shape = list(fact.shape)
        shape[axis] = max(total, 0)
        joined = b.alloc(shape, slot.dtype)
        at = max(taken.held, 0)
        if at:
            b.copy(joined.part(axis, 0, at), slot.part(axis, 0, at))
        fresh = max(n - skip, 0)
        if fresh:
            b.copy(joined.part(axis, at, fresh), b.view(value).part(axis, skip, fresh))
        if total > at + fresh:
            b.copy(joined.part(axis, at + fresh, total - at - fresh), b.scalar(pad, slot.dtype))
        return joined

    def _keep(self, joined: View, axis: int, key: Kept, taken: Taken) -> None:
        slot, kept = self.layout.slots[key], taken.kept
        if kept > slot.shape[axis]:
            raise AssertionError(f"memory {key} holds {slot.shape[axis]} steps, {kept} are to be kept")
        if kept > 0:
            self.b.copy(slot.part(axis, 0, kept), joined.part(axis, taken.total - kept, kept))
