"""A model from a native file: its graph, what it was converted with, and its weights as they lie in the file."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from .. import _core
from .. import ops as _ops  # noqa: F401  (registers the operators)
from ..errors import FormatError
from ..feeds import Options
from ..frozen import frozen
from ..graph.ir import Array, Graph, Port
from ..graph.weights import Weight, mark
from ..ops import registry
from ..program.packing import HEAD
from ..program.precision import KINDS, Held, Precision
from ..program.store import PANEL_DTYPES, ConstStore, Panels
from ..program.unpacking import Piece, Unpack
from ..program.views import View
from .container import DTYPES, MOST_AXES, Container
from .graphs import graph_of
from .values import Value

__all__ = ["Restored", "restored"]

MOST = 2**40
"""Elements of anything."""


@frozen
class Restored:
    """A model as it was converted."""

    graph: Graph
    options: Options
    store: ConstStore
    repaired: tuple[str, ...]


def restored(container: Container, isa: str | None) -> Restored:
    """What a file holds.

    Raises
    ------
    FormatError
        It is damaged.
    UnsupportedOpError
        It holds an operator that this release has not.
    """
    return _Reader(container).read(isa)


class _Reader:
    """Reads one file."""

    def __init__(self, container: Container) -> None:
        self._file, head = container, container.model
        self._head = head
        units = head.named().get("units")
        if units is not None and units.number(1, MOST) != _core.UNITS:
            raise FormatError(
                f"{container.label}: its panels hold {units.raw} units, this release reads {_core.UNITS}; convert the model again"
            )
        self._precision = _precision(head["options"]["precision"])
        self._store = ConstStore(self._precision)
        self._panels = head["panels"].items()
        self._views = [self._panel_view(panel) for panel in self._panels]
        self._constants: dict[int, Array] = {}
        self._described = head["constants"].items()

    def read(self, isa: str | None) -> Restored:
        """The whole of it."""
        head, file = self._head, self._file
        graph = graph_of(file.document("graph"), self._constant, file.memory.size)
        graph.notes = head["notes"].texts()
        weights, structure = (_digest(value) for value in head["source"].items(2))
        graph.signature = weights, structure
        for panel, view in zip(self._panels, self._views, strict=True):
            self._store.restore(self._key(panel, view), view)
        self._restore_held(graph)
        options, ports = self._options(isa), {port.name for port in graph.inputs}
        graph.baked = {n: Port(n, a.dtype, a.shape) for n, a in options.constants.items() if n not in ports}
        return Restored(graph, options, self._store, tuple(head["repaired"].texts()))

    # ---- constants --------------------------------------------------------------------------------------

    def _constant(self, value: Value) -> Array:
        number = value.number(0, len(self._described) - 1)
        found = self._constants.get(number)
        if found is None:
            described = self._described[number]
            said = described.named()
            if "packed" in said:
                found = cast(Array, self._weight(described, number))
            else:
                found = self._file.array(self._file.number(described["block"]))
                if "packed too" in said:
                    found = cast(Array, Weight(found, ("const", number)))
            self._constants[number] = found
        return found

    def _weight(self, described: Value, number: int) -> Weight:
        """A constant that stands in panels alone."""
        packed = described["packed"]
        dtype, kind = described["dtype"].text(), _kind(packed["kind"])
        if dtype not in ("float32", "float16"):
            raise described.wrong("float32 or float16")
        shape = tuple(n.number(1, MOST) for n in described["shape"].items(most=MOST_AXES))
        pieces = [self._piece(piece, kind) for piece in packed["pieces"].items()]
        n = sum(piece.gates * piece.units * piece.k for piece in pieces)
        if not pieces or n != int(np.prod(shape, dtype=object)) or len({piece.k for piece in pieces}) > 1:
            raise packed.wrong("pieces that make up the shape")
        again = Unpack(kind, shape, np.dtype(dtype), tuple(pieces), packed["turned"].truth())
        return Weight.unpacked(shape, np.dtype(DTYPES[dtype].newbyteorder("=")), ("const", number), again)

    def _piece(self, value: Value, kind: str) -> Piece:
        panel, *numbers = value.items(7)
        view = self._views[panel.number(0, len(self._views) - 1)]
        gates, units, k, size = (n.number(1, MOST) for n in numbers[:4])
        start, first = (n.number(0, MOST) for n in numbers[4:])
        rows = HEAD + -(-k // 4) if kind == "int8" else k
        held = view.size
        fits = held % size == 0 and (first - (-units // _core.UNITS)) * size <= held
        if not fits or start + gates * rows * _core.UNITS > size or view.dtype != PANEL_DTYPES[kind]:
            raise value.wrong("a piece inside its panels")
        return Piece(view, gates, units, k, size, start, first)

    def _panel_view(self, value: Value) -> View:
        array = self._file.array(self._file.number(value["block"]))
        kind = _kind(value["kind"])
        if array.ndim != 1 or array.dtype != PANEL_DTYPES[kind]:
            raise value.wrong(f"one row of {PANEL_DTYPES[kind]}")
        return self._store.placed(array)

    def _key(self, value: Value, view: View) -> Panels:
        """What the panels are made of; constants by their marks."""
        return Panels(_kind(value["kind"]), view.size, tuple(self._plain(item) for item in value["of"].items(most=64)))

    def _plain(self, value: Value) -> Any:
        raw = value.raw
        if isinstance(raw, list):
            return tuple(self._plain(item) for item in value.items(most=64))
        if isinstance(raw, dict):
            return mark(self._constant(value["const"]))
        if raw is not None and type(raw) not in (int, float, str, bool):
            raise value.wrong("a plain value")
        return raw

    # ---- what the model was loaded with -----------------------------------------------------------------

    def _options(self, isa: str | None) -> Options:
        asked, file = self._head["options"], self._file
        inputs = {n: tuple(None if d.raw is None else d.number(0, MOST) for d in shape.items(most=MOST_AXES))
                  for n, shape in asked["inputs"].named().items()}  # fmt: skip
        constants = {n: file.array(file.number(block)) for n, block in asked["constants"].named().items()}
        states = asked["states"].optional()
        axes = asked["time_axis"].optional()
        seed = asked["seed"].optional()
        return Options(
            isa, inputs, constants,
            None if states is None else {n: v.text() for n, v in states.named().items()},
            None if axes is None else {n: v.number(-MOST_AXES, MOST_AXES) for n, v in axes.named().items()},
            None if seed is None else seed.number(0, 2**128), self._precision,
        )  # fmt: skip

    def _restore_held(self, graph: Graph) -> None:
        """How the weights of each node are held, as it was decided when they were converted."""
        nodes = {node.name: node for node in graph.walk()}
        consts = {name: array for one in graph.graphs() for name, array in one.consts.items()}
        for item in self._head["held"].items():
            name, op, kind, asked, n, why, weights = item.items(7)
            node = nodes.get(name.text())
            if node is None:
                raise item.wrong("a node of the graph")
            arrays = [self._constant(weight) for weight in weights.items(most=len(node.inputs))]
            held = Held(node.name, op.text(), _kind(kind), _kind(asked), n.number(0, MOST), why.text())
            read = [consts.get(node.inputs[i]) for i in registry.weights(node) if i < len(node.inputs)]
            if held.op != node.op or not all(any(array is one for one in read) for array in arrays):
                raise item.wrong("what its node reads")
            self._store.decided(held, arrays)


def _kind(value: Value) -> str:
    if value.text() not in KINDS:
        raise value.wrong(f"one of {', '.join(KINDS)}")
    return value.text()


def _precision(value: Value) -> Precision:
    rest, named = value.items(2)
    pairs = [pair.items(2) for pair in named.items()]
    return Precision(_kind(rest), tuple((name.text(), _kind(kind)) for name, kind in pairs))


def _digest(value: Value) -> bytes:
    try:
        found = bytes.fromhex(value.text())
    except ValueError as error:
        raise value.wrong("a digest in hexadecimal") from error
    if len(found) not in (0, 32):
        raise value.wrong("a digest of 32 bytes")
    return found
