"""The walks of a graph while a load looks at it: each form of the graph is walked once at each set of sizes.

Passes over a graph ask for the same walks: cells, copies and frozen sizes for one at the sizes of the exporter's example,
time, batch and the first program for one at the sizes of the analysis. A walk is given again only where the graph is the
very same: nodes, what they read and make, their attributes and all constants, in bodies too. So a rewrite need not say
that it changed something, and one that is taken back finds the walks from before it. Who gets a walk only reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import field, replace
from typing import Any, TypeVar

from ..errors import BudgetError, LstmInferError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Graph
from .walk import Walk

__all__ = ["Remembered", "remembering", "unchanged"]

FORMS = 3
"""Forms of a graph whose walks are remembered: as it was, with its cells, and with its copies rolled up."""
ROOM = 1 << 24
"""Bytes of constants that the remembered walks computed."""

Feeds = Mapping[str, Fact]
T = TypeVar("T")


@frozen
class _Form:
    """A graph as it stood: what it says, and all objects that it says it with, so that an address stays one object's."""

    said: list[Any]
    held: list[Any]
    made: dict[Any, tuple[Any, Any]] = field(default_factory=dict)
    """Walks and errors by the facts of the inputs, other findings by their keys; with what the keys have addresses of."""

    @classmethod
    def of(cls, graph: Graph) -> _Form:
        said: list[Any] = []
        held: list[Any] = []
        _tell(graph, said, held)
        return cls(said, held)

    def only(self, keys: Collection[Any]) -> _Form:
        """With these walks alone."""
        return replace(self, made={key: made for key, made in self.made.items() if key in keys})


class Remembered:
    """Walks by the form of the graph and the facts of its inputs."""

    def __init__(self) -> None:
        self._forms: list[_Form] = []
        self._room = ROOM
        self._stays: _Form | None = None
        self.learns = True
        """Are new walks remembered; where not, only those from before are given."""

    def walk(self, graph: Graph, feeds: Feeds, make: Callable[[], tuple[Walk, int]]) -> Walk:
        """A walk, or the error that ends it; `make` walks, and says how many bytes of constants that took."""
        form, key = self._form(graph), _key(feeds)
        if form is not None and key in form.made:
            found: Walk | LstmInferError = form.made[key][1]
            if isinstance(found, LstmInferError):
                raise found.kept()
            return found
        if form is None or not self.learns:
            return make()[0]
        try:
            made, n_bytes = make()
        except BudgetError:
            raise
        except LstmInferError as error:
            form.made[key] = dict(feeds), error.kept()
            raise
        if n_bytes <= self._room:
            self._room -= n_bytes
            form.made[key] = dict(feeds), made
        return made

    def once(self, graph: Graph, key: Hashable, held: object, make: Callable[[], T]) -> T:
        """Something else that only reads the graph, by a key of its own; `held`: what the key has addresses of."""
        form = self._form(graph)
        if form is not None and key in form.made:
            found: T = form.made[key][1]
            return found
        made = make()
        if form is not None and self.learns:
            form.made[key] = held, made
        return made

    def rest(self, graph: Graph, asked: Iterable[Feeds], keys: Iterable[Hashable] = ()) -> None:
        """Nothing more is remembered, and of what was only what is asked for again: walks of the graph as it is, and
        findings by their keys."""
        form, keys = self._form(graph), {*map(_key, asked), *keys}
        self._forms, self.learns = [] if form is None else [form.only(keys)], False

    @contextmanager
    def unchanged(self, graph: Graph) -> Iterator[None]:
        """Inside, nobody changes the graph: its form is looked at once."""
        before = self._stays
        self._stays = self._form(graph)
        try:
            yield
        finally:
            self._stays = before

    def _form(self, graph: Graph) -> _Form | None:
        """The form of the graph as it is now; None: an unknown one, where nothing is learned."""
        if self._stays is not None and self._stays.said[0] == id(graph):
            return self._stays
        now = _Form.of(graph)
        known = next((form for form in self._forms if form.said == now.said), None)
        if known is None and not self.learns:
            return None
        known = known or now
        self._forms = [*[form for form in self._forms if form is not known][1 - FORMS :], known]
        return known


@contextmanager
def remembering(graph: Graph) -> Iterator[Remembered]:
    """Remember walks inside, and those from before; behind it only where they were laid to rest."""
    walks = graph.walks = graph.walks or Remembered()
    walks.learns = True
    try:
        yield walks
    finally:
        if walks.learns:
            graph.walks = None


@contextmanager
def unchanged(graph: Graph) -> Iterator[None]:
    """Inside, a graph is only read."""
    with nullcontext() if graph.walks is None else graph.walks.unchanged(graph):
        yield


def _key(feeds: Feeds) -> frozenset[Any]:
    return frozenset((name, fact.shape, fact.dtype, id(fact.const)) for name, fact in feeds.items())


def _tell(graph: Graph, said: list[Any], held: list[Any]) -> None:
    """What decides a walk: plain words by what they say, objects by what they are."""
    said += [
        id(graph),
        len(graph.nodes),
        *(port.name for port in graph.outputs),
        *graph.consts,
        *map(id, graph.consts.values()),
    ]
    held += [graph, *graph.consts.values()]
    for node in graph.nodes:
        said += [
            id(node),
            node.op,
            node.name,
            node.domain,
            len(node.inputs),
            *node.inputs,
            *node.outputs,
            *node.attrs,
            *map(id, node.attrs.values()),
        ]
        held += [node, *node.attrs.values()]
        for sub in node.subgraphs() if node.attrs else ():
            _tell(sub, said, held)
