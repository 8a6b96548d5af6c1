"""What a step is said with: its walk, the draft, the states found so far, and the draft's names of its values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import prod

from ...errors import ConvertError
from ...graph.edit import Names
from ...graph.fact import Fact
from ...graph.ir import Node, Port
from ...records import shown_shape
from .carry import Carries, Carry, entered
from .clock import Clock
from .draft import Draft, held
from .step import Step

__all__ = ["Scene"]


class Scene(ABC):
    """Values of the graph, and what they are called in the draft."""

    def __init__(self, step: Step, outputs: Sequence[Port], opset: int, batch: int) -> None:
        self.step, self.spec, self.batch = step, step.fed.spec, batch
        self.facts: Mapping[str, Fact] = step.walked.facts
        ports = [port.name for port in (*self.spec.roles.inputs, *outputs)]
        self.d = Draft(opset, Names(set(self.facts) | set(ports) | {""}))
        self.states = Carries.beside(ports)
        self.at: dict[str, str] = {}
        """The draft's name of a value of the graph."""
        self._ports = set(ports)
        self.clock = Clock(self.d, self.states, step)

    @abstractmethod
    def node(self, node: Node) -> None:
        """Say one node of the walk, or of a body."""

    def value(self, name: str) -> str:
        """The draft's name of a value, "" of one that is absent."""
        if not name or name in self.at:
            return self.at.get(name, "")
        fact = self.facts[name]
        if fact.const is None:
            raise ConvertError(f"value {name!r} is made by no node of a step")
        self.at[name] = self.d.given(self.d.names.fresh(f"{name}/known") if name in self._ports else name, held(fact))
        return self.at[name]

    def new(self, name: str) -> str:
        """The draft's name for a value that is about to be made."""
        if not name:
            return ""
        self.at[name] = self.d.names.fresh(f"{name}/made") if name in self._ports else name
        return self.at[name]

    def fact(self, name: str) -> Fact:
        """What the walk knows of a value, as the file holds it."""
        return held(self.facts[name])

    def bind(self, name: str, made: str) -> None:
        """A value of the graph is this one of the draft."""
        if name:
            self.at[name] = made

    def carry_in(self, carry: Carry) -> str:
        """The input of a state, in float32."""
        return entered(self.d, carry)

    def public(self, label: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape in which a state is shown, `shape` being that of its memory."""
        info = next(info for info in self.spec.states if info.name == label)
        if len(info.shape) == len(shape):
            return shape
        return shown_shape(info, self.batch, prod(shape))
