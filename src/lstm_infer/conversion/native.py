"""The native form: a file that `load` maps (docs/format.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from .. import __version__, _core, given
from .._stream import MAX_CHUNK
from ..analysis.spec import StreamSpec
from ..drive.driver import named, one_or_all
from ..drive.inputs import stream_spec
from ..errors import ArgumentError, ConvertError, LstmInferError
from ..graph.ir import Array, Graph, Node
from ..graph.weights import MARKS, Weight, as_weight, mark
from ..model import Model, load
from ..native.container import ALIGN, DTYPES, HEADER, MAGIC, ORDER, VERSION, native
from ..native.plans import PORT_DTYPES, layout_sign, most_bytes, plan_key
from ..ops.registry import is_random
from ..program.assemble import Placed, Words, words
from ..program.store import Panels
from ..program.unpacking import Piece, Unpack
from ..program.views import View
from ..streams.gil import RELEASE_FROM
from ..streams.plan import StreamPlan
from ..streams.road import ports_of
from .form import Asked, Proof, Written
from .proof import Live, live_cases, matched, whole_cases
from .report import Checked

__all__ = ["FORM", "write_native"]

STEPS, PIECE = 60, 7
"""Of a signal on which a file is checked, and of one call."""


def write_native(model: Model, path: Path, plans: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write a model as it runs into a file. plans: sizes besides the usual ones whose plans it holds (`convert`).

    Raises
    ------
    ConvertError
        It holds something that the format has no word for.
    OSError
        The file cannot be written.
    """
    keep = _pack_all(model)
    with open(path, "wb") as file:
        _Writer(model, file, plans).write()
    del keep


def _pack_all(model: Model) -> list[Any]:
    """What has to live so that all weights are packed: programs of a run, and of a stream where there is one."""
    roles = model._walked_roles
    keep: list[Any] = []
    if not roles.walkable:
        keep.append(model._program(roles.feeds(*roles.analysis_sizes()), model._output_names))
    try:
        spec = stream_spec(model)
        if isinstance(spec, StreamSpec) and not spec.side:
            keep.append(model.stream())
    except LstmInferError:
        pass  # it is opened when the states are said: nothing of the file depends on it
    return keep


class _Writer:
    """Writes one file: blocks as they are met, then the documents."""

    def __init__(self, model: Model, file: Any, wanted: Sequence[Mapping[str, Any]]) -> None:
        self._model, self._file, self._store = model, file, model._programs.store
        self._at, self._wanted = 0, wanted
        self._blocks: list[list[Any]] = []
        self._by_array: dict[int, int] = {}
        self._held: list[Array] = []
        """What has its number by its identity: alive as long as the writer."""
        self._constants: list[Array] = []
        self._numbers: dict[int, int] = {}
        self._marked: dict[Any, Array] = {}
        """Constants of the graph by what stands for them in keys."""
        self._panels: list[tuple[Panels, View, int]] = []
        """With their blocks."""
        self._panel_numbers: dict[int, int] = {}

    def write(self) -> None:
        """The whole file."""
        model, graph = self._model, self._model._graph
        self._put(bytes(HEADER.size))
        consts = [one.consts[name] for one in graph.graphs() for name in sorted(one.consts)]
        self._marked = {mark(array): array for array in consts}
        for array in consts:
            self._constant(array)
        known = {key: view for key, view in self._store.panels().items() if self._is_known(key.of)}
        for key in sorted(known, key=lambda key: repr((key.kind, self._plain(key.of)))):
            self._panel_numbers[id(known[key])] = len(self._panels)
            self._panels.append((key, known[key], self._block(known[key].buffer.keep[0])))
        shown = self._graph(graph) | {
            "producer": graph.producer, "opsets": graph.opsets, "unrolled": graph.unrolled,
            "split_whole": sorted(graph.split_whole),
            "fixed": [[name, axis, size, why] for (name, axis), (size, why) in graph.fixed.items()],
            "defaults": {name: self._constant(graph.consts[name]) for name in graph.defaults},
            **({"meta": graph.meta} if graph.meta else {}),
        }  # fmt: skip
        nodes = {node.name for node in graph.walk()}
        held = [  # passes of a loop that is written out are nodes of a plan alone, and decided from the same weights again
            [h.node, h.op, h.kind, h.asked, h.n_weights, h.why, [self._numbers[id(a)] for a in arrays]]
            for _, (arrays, h) in sorted(self._store.deciding().items())
            if h.node in nodes and all(id(a) in self._numbers for a in arrays)
        ]
        described = [
            {"block": self._block(array)} if (weight := as_weight(array)) is None else self._weight(weight)
            for array in self._constants
        ]
        plans = self._plans()
        said = {
            "options": self._options(), "source": [digest.hex() for digest in graph.signature],
            "notes": list(model.rewritten), "repaired": list(model.repaired), "held": held,
            "constants": described, "units": _core.UNITS,
            "panels": [{"block": block, "kind": key.kind, "of": self._plain(key.of)} for key, _, block in self._panels],
            "blocks": self._blocks,
        }  # fmt: skip
        documents = {"graph": self._document(shown), "model": self._document(said)}
        start, length, checksum = self._document({"by": f"lstm_infer {__version__}", "documents": documents})
        fields = (MAGIC, ORDER, *VERSION, self._at, start, length, checksum, *plans, 0, 0)
        own = crc32(HEADER.pack(*fields)[: HEADER.size - 4])
        self._file.seek(0)
        self._file.write(HEADER.pack(*fields[:-1], own))

    # ---- parts ------------------------------------------------------------------------------------------

    def _put(self, data: Any) -> tuple[int, int, int]:
        """Bytes at the next multiple of 64: where, how many, their checksum."""
        gap = -self._at % ALIGN
        self._file.write(bytes(gap))
        data = memoryview(data).cast("B")
        start = self._at + gap
        self._file.write(data)
        self._at = start + len(data)
        return start, len(data), crc32(data)

    def _document(self, content: Mapping[str, Any]) -> tuple[int, int, int]:
        return self._put(json.dumps(content, separators=(",", ":"), sort_keys=True, allow_nan=False).encode())

    def _block(self, array: Array) -> int:
        """The number of the block that holds an array."""
        found = self._by_array.get(id(array))
        if found is None:
            if array.dtype.name not in DTYPES:
                raise ConvertError(f"a constant of {array.dtype} {list(array.shape)} has no place in a native file")
            little = np.ascontiguousarray(array, DTYPES[array.dtype.name])
            span = self._put(little.reshape(-1).view(np.uint8).data)
            found = self._by_array[id(array)] = len(self._blocks)
            self._held.append(array)
            self._blocks.append([array.dtype.name, list(array.shape), *span])
        return found

    def _constant(self, array: Array) -> int:
        """The number of a constant."""
        found = self._numbers.get(id(array))
        if found is None:
            found = self._numbers[id(array)] = len(self._constants)
            self._constants.append(array)
        return found

    def _weight(self, weight: Weight) -> dict[str, Any]:
        again = weight.again
        if isinstance(again, Unpack) and all(id(piece.view) in self._panel_numbers for piece in again.pieces):
            packed = {"kind": again.kind, "turned": again.turned, "pieces": [self._piece(p) for p in again.pieces]}
            return {"dtype": weight.dtype.name, "shape": list(weight.shape), "packed": packed}
        return {"block": self._block(weight.array), "packed too": True}

    def _piece(self, piece: Piece) -> list[int]:
        number = self._panel_numbers[id(piece.view)]
        return [number, piece.gates, piece.units, piece.k, piece.panel, piece.start, piece.first]

    def _is_known(self, part: Any) -> bool:
        """Does a key name constants of the graph alone."""
        if not isinstance(part, tuple):
            return part is None or type(part) in (bool, int, float, str)
        if part and part[0] in MARKS:
            return part in self._marked
        return all(map(self._is_known, part))

    def _plain(self, part: Any) -> Any:
        """A key in JSON: constants by their numbers."""
        if not isinstance(part, tuple):
            return part
        if part and part[0] in MARKS:
            return {"const": self._constant(self._marked[part])}
        return [self._plain(item) for item in part]

    # ---- the graph --------------------------------------------------------------------------------------

    def _graph(self, graph: Graph) -> dict[str, Any]:
        return {
            "name": graph.name, "inputs": list(map(_port, graph.inputs)), "outputs": list(map(_port, graph.outputs)),
            "consts": {name: self._constant(array) for name, array in graph.consts.items()},
            "nodes": list(map(self._node, graph.nodes)),
        }  # fmt: skip

    def _node(self, node: Node) -> list[Any]:
        attrs = {}
        for name, value in node.attrs.items():
            attrs[name] = self._attribute(value)
            if attrs[name] is None:
                raise ConvertError(
                    f"{node}: attribute {name!r} is {type(value).__name__}, which has no place in a native file"
                )
        return [node.op, node.domain, node.opset, node.name, node.inputs, node.outputs, attrs]

    def _attribute(self, value: Any) -> list[Any] | None:
        """Kind and content."""
        if isinstance(value, Graph):
            return ["graph", self._graph(value)]
        if isinstance(value, np.ndarray):
            return ["array", self._constant(value)]
        if isinstance(value, (list, tuple)):
            if value and all(isinstance(item, Graph) for item in value):
                return ["graphs", [self._graph(item) for item in value]]
            parts = [self._attribute(item) for item in value]
            kinds = {part[0] for part in parts if part is not None} or {"int"}
            if None in parts or len(kinds) > 1 or not kinds <= {"int", "float", "text"}:
                return None
            return [f"{kinds.pop()}s", [part[1] for part in parts if part is not None]]
        if isinstance(value, (bool, int, np.integer)):
            return ["int", int(value)]
        if isinstance(value, (float, np.floating)):
            return ["float", float(value) if np.isfinite(value) else str(float(value))]
        return ["text", value] if isinstance(value, str) else None

    # ---- plans ------------------------------------------------------------------------------------------

    def _plans(self) -> tuple[int, int, int]:
        """Streams that run at once: where they lie (by 64 bytes), their length and checksum; 0 where there are none."""
        streams = self._streams()
        if not streams:
            return 0, 0, 0
        row = np.array([*plan_key(), len(streams)], "<i8")
        start, length, checksum = self._put(np.concatenate([row, *streams]).data)
        return (start // ALIGN, length, checksum) if start // ALIGN < 1 << 32 > length else (0, 0, 0)

    def _streams(self) -> list[NDArray[np.int64]]:
        """The plan of the usual stream (one signal, with nothing but its frames), and those for the sizes that are wanted."""
        model = self._model
        try:
            spec = stream_spec(model)
            if not isinstance(spec, StreamSpec) or spec.side:
                return self._none("the model does not stream, or takes inputs without time")
            asked, plan = model._streams.open(1, {}, {}, MAX_CHUNK)
        except LstmInferError as error:
            return self._none(str(error))
        usual = self._stream(plan)
        if usual is None:
            return self._none(
                "a stream of it draws numbers, looks ahead, has a step that runs as NumPy, or takes too much memory"
            )
        found = [usual]
        for shapes in self._wanted:
            sizes = _sizes(plan, shapes)
            other = model._replan(asked, sizes) if sizes else plan
            if layout_sign(other) != layout_sign(plan):
                raise ConvertError(
                    f"plans: the states of a stream have other sizes at {shapes}; fix them by inputs={shapes}"
                )
            words = self._stream(other) if sizes else None
            found += [] if words is None else [words]
        return found

    def _none(self, why: str) -> list[NDArray[np.int64]]:
        if self._wanted:
            raise ConvertError(f"plans: a file holds none of this model: {why}")
        return []

    def _stream(self, plan: StreamPlan) -> NDArray[np.int64] | None:
        """What `native/plans.py` reads of a plan."""
        first, most = plan.first_state(), most_bytes(self._at)
        if plan.call is None or not plan.is_settled or first.nbytes > most:
            return None
        used: dict[int, int] = {}
        blocks, arena = [], 0
        for block in plan.blocks:
            found = plan.placed(block.n, plan.first_phase)
            arena = max(arena, found.arena_bytes)

            def address(view: View, found: Placed = found) -> tuple[int, int]:
                if view.buffer.kind != "const":
                    return found.address(view)
                start, length = self._blocks[self._block(view.buffer.keep[0])][2:4]
                used[start] = length
                return 0, start + view.byte_offset

            blocks += [block.n, block.work, *_plan(words(found.calls, address, found.n_bases))]
        ports = ports_of(plan.spec, plan.fed.streamed, plan.step_facts, plan.out_facts)
        if max(arena, *(port[1].itemsize * prod(port[2]) for side in ports for port in side)) > most:
            return None
        can_fail = any(block.program.can_fail for block in plan.blocks)
        constants = [number for pair in sorted(used.items()) for number in pair]
        return np.array([
            1, MAX_CHUNK, layout_sign(plan), *_first(first), arena, RELEASE_FROM, can_fail,
            *(number for side in ports for number in (len(side), *(n for port in side for n in _shown(port)))),
            len(used), *constants, len(plan.blocks), *blocks,
        ], "<i8")  # fmt: skip

    def _options(self) -> dict[str, Any]:
        asked = self._model._options
        return {
            "inputs": {name: list(shape) for name, shape in asked.inputs.items()},
            "constants": {name: self._block(np.asarray(array)) for name, array in asked.constants.items()},
            "states": asked.states, "time_axis": asked.time_axis, "seed": asked.seed,
            "precision": [asked.precision.rest, [list(pair) for pair in asked.precision.named]],
        }  # fmt: skip


def _sizes(plan: StreamPlan, shapes: Mapping[str, Any]) -> dict[tuple[str, int], int]:
    """Extents that differ from those of a plan."""
    found = {}
    for name, shape in shapes.items():
        fact = plan.step_facts.get(name)
        sizes = given.items(f"plans: {name!r}", shape)
        if fact is None or len(sizes) != len(fact.shape):
            raise ArgumentError(
                f"plans: {name!r}: one of {list(plan.step_facts)} expected, with a size, or None, for each axis; got {sizes}"
            )
        for axis, size in enumerate(sizes):
            if size is None or size == fact.shape[axis]:
                continue
            if not plan.fed.is_open(name, axis):
                raise ArgumentError(
                    f"plans: {name!r}: the file does not leave axis {axis} open (it has {fact.shape[axis]}, or is time or batch); "
                    "write None there"
                )
            found[name, axis] = given.number(f"plans: {name!r}", size, 1)
    return found


def _first(first: NDArray[np.uint8]) -> list[int]:
    """The first state: its size, and where it is not all 0 its bytes."""
    return [first.nbytes, 1, *_bytes(first.tobytes())] if first.any() else [first.nbytes, 0]


def _bytes(data: bytes) -> list[int]:
    """Bytes as words, behind their number."""
    return [len(data), *np.frombuffer(data + bytes(-len(data) % 8), "<i8").tolist()]


def _plan(made: Words) -> list[int]:
    """Steps by slots and numbers of words, then the words, then the plans in it."""
    table = [number for slot, row in made.steps for number in (_core.slot_names.index(slot), len(row))]
    row = [int(word) for _, words in made.steps for word in words]
    inner = [word for one in made.nested for word in _plan(one)]
    return [len(made.steps), len(row), len(made.nested), *table, *row, *inner]


def _shown(port: Any) -> list[int]:
    name, dtype, shape, time, every = port
    return [PORT_DTYPES.index(np.dtype(dtype).name), len(shape), *shape, time, every, *_bytes(name.encode())]


def _port(port: Any) -> list[Any]:
    kinds = {"V": "unknown", "O": "none"}  # ports of bodies may be of types that a graph's cannot
    return [port.name, kinds.get(port.dtype.kind, port.dtype.name), None if port.shape is None else list(port.shape)]


class Native:
    """The native form."""

    name = "native"
    suffix = ".lsi"
    feeds_defaults = True
    takes: Mapping[str, Any] = {"plans": ()}
    allowed = "nothing: every output has the same bits, whole and streamed"

    def write(self, model: Model, folder: Path, asked: Asked) -> Written:
        """One file."""
        path = folder / (asked.path.name or "model.lsi")
        write_native(model, path, asked.options["plans"])
        file = native(path)
        assert file is not None
        weights = sum(n for _, _, _, n, _ in file.blocks)
        facts = {"weights": f"{weights:,} bytes in {len(file.blocks)} blocks", "format": ".".join(map(str, VERSION))}
        return Written(path, facts=facts)

    def prove(self, model: Model, written: Written, asked: Asked) -> Proof:
        """The file is loaded, and gives the same bits and the same snapshots."""
        file = native(written.main)
        assert file is not None
        file.check()
        if model._options.seed is None and any(map(is_random, model._graph.walk())):
            return Proof(not_checked="it draws numbers, others in each run: give a seed")
        made = load(written.main, isa=model.isa)
        checks = [matched(case, made.run(case.feeds), bits=True) for case in whole_cases(model, asked.seed)]
        if isinstance(stream_spec(model), StreamSpec):
            checks += [_streamed(made, case) for case in live_cases(model, asked.seed, steps=STEPS)]
        return Proof(tuple(checks))


def _streamed(made: Model, case: Live) -> Checked:
    """A signal in pieces of a few steps."""
    spec = case.drive.spec
    stream = made.stream(case.signals, initial=case.initial, inputs=case.side)
    parts = [named(stream.run(one_or_all(piece)), spec) for piece in case.pieces(PIECE)]
    if not case.drive.frames:
        parts.append(named(stream.flush(), spec))
    got: dict[str, NDArray[Any] | None] = {}
    for output in spec.outputs:
        there = [array for array in (part.get(output.name) for part in parts) if array is not None]
        timed = case.drive.frames or output.kind == "time"
        axis = 0 if case.drive.frames else output.axis
        got[output.name] = None if not there else np.concatenate(there, axis) if timed else there[-1]
    return matched(case, got, bits=True)


FORM = Native()
