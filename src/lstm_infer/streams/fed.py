"""What goes into a stream, and at which sizes: what is bound when it is made, and what is fed with every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..analysis.settings import counts_with
from ..analysis.spec import StreamSpec
from ..errors import NotStreamableError
from ..graph.fact import Fact
from ..graph.ir import Array, Graph
from .squeezes import name_squeezed

__all__ = ["Fed", "check_lens", "extent", "resized"]


@dataclass
class Fed:
    """The graph as a stream walks it, and its inputs for one batch size."""

    graph: Graph
    spec: StreamSpec
    batch: int
    bound: dict[str, Array]
    """Side inputs that the first program reads."""
    known: dict[str, Fact]
    """Bound integers and booleans that are sizes, rates or switches: constants."""
    sizes: dict[tuple[str, int], int]
    """Extents of open axes that are neither time nor batch: by (input, axis)."""
    streamed: list[str] = field(default_factory=list)
    """Inputs with a time axis, fed step by step."""
    per_step: list[str] = field(default_factory=list)
    """Side inputs that were not bound: given with every call."""
    dropped: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Axes that an output is shown without."""

    @classmethod
    def of(
        cls,
        graph: Graph,
        spec: StreamSpec,
        batch: int,
        bound: Mapping[str, Array],
        sizes: Mapping[tuple[str, int], int] | None,
    ) -> Fed:
        """What a stream is fed that is made with these bound inputs."""
        computed = {name: array for name, array in bound.items() if array.dtype.kind == "f" or array.ndim}
        found = cls(
            graph if spec.steady else _without_checks(graph),
            spec,
            batch,
            computed,
            {name: Fact.of(array) for name, array in bound.items() if name not in computed},
            {**spec.roles.open_sizes, **(sizes or {})},
            [name for name in spec.streamed if name not in bound],
            [name for name in spec.side if name not in bound],
        )
        named = name_squeezed(found.graph, spec, found.facts(spec.roles.analysis_sizes()[0]))
        return replace(found, graph=named.graph, dropped=named.dropped)

    @property
    def names(self) -> list[str]:
        """The inputs of a call, in order."""
        return [*self.streamed, *self.per_step]

    def facts(self, n: int) -> dict[str, Fact]:
        """Every input of the graph at n steps."""
        facts = self.spec.roles.feeds(n, self.batch)
        for (name, axis), size in self.sizes.items():
            if name in facts and self.is_open(name, axis):
                facts[name] = resized(facts[name], axis, size)
        facts |= self.known
        for name, array in self.bound.items():
            facts[name] = Fact(array.shape, array.dtype)
        return facts

    def is_open(self, name: str, axis: int) -> bool:
        """Is this an axis whose extent the file leaves open, and which is neither time nor batch."""
        roles = self.spec.roles
        return (name, axis) in self.sizes and roles.time.get(name) != axis and roles.batch.get(name) != axis

    def shown(self) -> StreamSpec:
        """The spec with the outputs as a run shows them."""
        if not self.dropped:
            return self.spec
        outputs = tuple(replace(o, axis=o.axis - len(self.dropped.get(o.name, ()))) for o in self.spec.outputs)
        return replace(self.spec, outputs=outputs)

    def without_dropped(self, name: str, facts: Mapping[str, Fact]) -> Fact:
        """An output as a run shows it."""
        fact, gone = facts[name], self.dropped.get(name, ())
        return Fact(tuple(n for a, n in enumerate(fact.shape) if a not in gone), fact.dtype) if gone else fact

    def read_now(self) -> bool:
        """Take bound integers with axes (tokens, lengths) for constants; False: there are none."""
        known = {name: array for name, array in self.bound.items() if array.dtype.kind != "f"}
        self.bound = {name: array for name, array in self.bound.items() if name not in known}
        self.known |= {name: Fact.of(array) for name, array in known.items()}
        return bool(known)


def _without_checks(graph: Graph) -> Graph:
    """The graph for a stream that lags: a loop has fewer steps there than its input has, which the checks in front of
    the loops would refuse. The analysis has passed them."""
    nodes = [replace(n, op="Identity", domain="", inputs=n.inputs[:1], attrs={}) if n.op == "Steps" else n
             for n in graph.nodes]  # fmt: skip
    return replace(graph, nodes=nodes)


def check_lens(fed: Fed) -> None:
    """Lengths count from the start of the stream: they have to be there when it is made."""
    for name in fed.per_step:
        node = counts_with(fed.graph, fed.spec.lens, name)
        if node is not None:
            raise NotStreamableError(
                f"node {node!r} takes its sequence_lens from the input {name!r}; bind it with "
                f"stream(inputs={{{name!r}: lengths}}), or use run()",
                node=node,
                op="LSTM",
                reason=f"sequence_lens come from the input {name!r}, which is not bound",
            )


def resized(fact: Fact, axis: int, n: int) -> Fact:
    """A value with another extent along one axis."""
    return Fact((*fact.shape[:axis], max(n, 0), *fact.shape[axis + 1 :]), fact.dtype)


def extent(fact: Fact | None, axis: int) -> int:
    """The extent of a value that is there."""
    assert fact is not None
    return fact.shape[axis]
