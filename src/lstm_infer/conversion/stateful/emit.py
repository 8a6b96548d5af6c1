"""One step of a stream as a draft: its nodes in order, and what each means where it stands in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...errors import ConvertError
from ...graph.fact import Fact
from ...graph.ir import Node, Port
from ...ops import carries, recurrent, registry
from ...ops.control import Choice, Repeat
from ...program.draws import DRAWN
from .dialect import say
from .draft import Draft, held
from .loops import put_choice, put_repeat
from .recurrent import put_recurrent
from .scene import Scene
from .step import Step
from .sums import put_sum
from .windows import put_delay, put_pad, put_window

__all__ = ["Emitter"]


class Emitter(Scene):
    """Says the nodes of one step, for one batch size.

    Raises
    ------
    ConvertError
        A node cannot be said in standard operators of the opset.
    """

    def __init__(self, step: Step, outputs: Sequence[Port], opset: int, batch: int, *, in_turn: bool = False) -> None:
        """in_turn: the step becomes the body of a loop over several, so that an output with all of their values is not the
        state behind the last."""
        super().__init__(step, outputs, opset, batch)
        self._outputs = {port.name: port for port in outputs}
        self._in_turn = in_turn
        self._delayed: dict[tuple[str, int], str] = {}

    def run(self) -> Draft:
        """The whole step."""
        if self.spec.draws:
            raise ConvertError(
                f"node {next(iter(self.spec.draws))!r} draws random numbers: no ONNX operator draws those of a stream"
            )
        self._take_inputs()
        for node in self.step.walked.nodes:
            self.node(node)
        self._give_outputs()
        return self.d

    # ---- nodes -------------------------------------------------------------------------------------------------------

    def node(self, node: Node) -> None:
        """One node of the walk, or of a body."""
        if node.name in self.spec.windows and not isinstance(node, (Repeat, Choice)):
            (put_pad if node.name in self.spec.pad_nodes else put_window)(self, node)
            return
        given = dict(self.at)
        node = self._with_all_steps(self._in_step(node))
        carried = {c.what: c for c in self.spec.carried if c.node == node.name and c.what != DRAWN}
        if isinstance(node, Repeat):
            put_repeat(self, node, carried)
        elif isinstance(node, Choice):
            put_choice(self, node)
        elif recurrent.is_recurrent(node):
            put_recurrent(self, node, carried)
        elif carries.sums(node) and carried:
            put_sum(self, node, carried["sum"])
        elif registry.is_random(node):
            raise ConvertError(f"{node}: draws random numbers: no ONNX operator draws those of the engine")
        else:
            self.plain(node)
        for name in node.inputs:  # what was delayed or repeated for this node only
            if name and name in given:
                self.at[name] = given[name]

    def plain(self, node: Node) -> None:
        """A node that means the same at every step."""
        inputs = [self.value(name) for name in node.inputs]
        facts = [self.fact(name) if name else Fact((), np.dtype(np.float32)) for name in node.outputs]
        outputs = [self.new(name) for name in node.outputs]
        say(self.d, replace(node, inputs=inputs, outputs=outputs), facts)

    def _in_step(self, node: Node) -> Node:
        """Inputs that are ahead wait for the one that lags most."""
        axes = self.spec.time_axes
        timed = [v for v in node.inputs if v in self.step.paces and v in axes]
        lag = max((self.step.pace(v).lag for v in timed), default=0)
        for v in timed:
            behind = lag - self.step.pace(v).lag
            if behind:
                key = v, behind
                if key not in self._delayed:
                    each = self.step.each(self.step.pace(v), self.facts[v].shape[axes[v]])
                    self._delayed[key] = put_delay(self, v, axes[v], behind * each)
                self.at[v] = self._delayed[key]
        return node

    def _with_all_steps(self, node: Node) -> Node:
        """Values without time that are as long as the sequence: one step of them where they are made, as many as the others
        have where they meet them."""
        reference = self.step.reference
        if not reference.repeated:
            return node
        along = reference.along(node)
        inputs = list(node.inputs)
        for i, name in enumerate(node.inputs):
            if not name:
                continue
            if self.facts[name].const is not None and any(v in reference.repeated for v in node.outputs):
                self.at[name] = self.d.given(self.d.names.fresh(f"{name}/once"), held(reference.one.facts[name]))
            elif i in along:
                j, axis = along[i]
                made = self.value(name)
                shape = list(self.d.facts[made].shape)
                n = self.d.facts[self.value(node.inputs[j])].shape[axis]
                shape[reference.repeated[name]] = n
                self.at[name] = self.d.op(
                    "Expand", [made, self.d.const(shape, np.int64, "shape")], shape, self.d.facts[made].dtype
                )
        return replace(node, inputs=inputs)

    # ---- ports -------------------------------------------------------------------------------------------------------

    def _take_inputs(self) -> None:
        """The inputs of the source: those that are states keep their place behind the others."""
        d, spec = self.d, self.spec
        for port in spec.roles.inputs:
            if port.name in spec.pairs or self.facts[port.name].const is not None:
                continue
            fact = Fact(self.facts[port.name].shape, port.dtype)
            d.inputs.append(Port(port.name, port.dtype, fact.shape))
            d.facts[port.name] = fact
            self.at[port.name] = d.cast(port.name, held(fact).dtype)
        for name, out in spec.pairs.items():
            fact = self.facts[name]
            place = spec.pairs.next[name].place
            whole = place.part is None and self.facts[out].shape == fact.shape and place.output == out
            once = list(spec.pairs.values()).count(out) == 1
            shown = self._in_turn and any(output.name == out for output in spec.outputs)
            kept = whole and once and not shown and self._outputs[out].dtype == fact.dtype and not self._is_input(out)
            carry = self.states.port(name, out if kept else "", fact.shape, fact.dtype)
            self.at[name] = self.carry_in(carry)

    def _is_input(self, name: str) -> bool:
        return any(port.name == name for port in self.spec.roles.inputs)

    def _give_outputs(self) -> None:
        d, spec = self.d, self.spec
        kept = {carry.after for carry in self.states.found.values()}
        for output in spec.outputs:
            port = self._outputs[output.name]
            if output.name not in kept:
                made, name = self.value(output.name), port.name
                if self._is_input(name):
                    d.called[name] = self.states.fresh(f"{name}_out")
                d.outputs.append(d.port(d.cast(made, self.facts[output.name].dtype, d.called.get(name, name))))
        for name in spec.pairs:
            carry = self.states.found[name]
            place = spec.pairs.next[name].place
            made = self.value(place.output)
            if place.part is not None:
                start, n = place.part.among(d.facts[made].shape[place.part.axis])
                made = d.part(made, place.part.axis, start, n)
            carry.value = d.reshaped(made, carry.shape)
        for carry in self.states.found.values():
            d.outputs.append(d.port(d.cast(carry.value, carry.dtype, carry.after)))
