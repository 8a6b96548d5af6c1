"""Stream: one live signal (or a batch of them in lockstep), and the state it carries from call to call."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .errors import DtypeError, FeedError, FormatError, ShapeError, StateError
from .program.program import BASE_FIRST, step_failed
from .program.views import View
from .streams.plan import Block, Phase, StreamPlan

__all__ = ["Stream"]

_MAGIC = b"LISNAP\x00\x01"
_HEADER = struct.Struct("<8s32sqqI")  # magic and version, fingerprint, batch, payload bytes, checksum

Replan = Callable[[Mapping[tuple[str, int], int]], StreamPlan]
"""Makes the plan of the same stream for other extents of open axes, by (input, axis)."""

Frames = NDArray[Any] | Mapping[str, NDArray[Any]]
Results = NDArray[Any] | dict[str, NDArray[Any] | None]


class Stream(_core.StreamCore):
    """A live signal through a model. Made by `Model.stream`; not to be entered by two threads at once.

    Notes
    -----
    run(a) then run(b) gives the same bits as run(concat(a, b)), and as `Model.run` on the whole.
    """

    def __init__(
        self,
        plan: StreamPlan,
        fingerprint: bytes,
        *,
        initial: Mapping[str, ArrayLike] | None = None,
        replan: Replan | None = None,
    ) -> None:
        self._plan = plan
        self._fingerprint = fingerprint
        self._replan = replan
        self._state = _core.aligned_empty(max(plan.layout.n_bytes, 1))
        self._arena = _core.aligned_empty(
            max([64, plan.init.arena_bytes, *(block.program.arena_bytes for block in plan.blocks)])
        )
        self._phase: Phase = plan.first_phase
        self._flushed = False
        self._views = {name: (self._memory(view), info) for name, (view, info) in plan.states().items()}
        bases = [plan.store.anchor, self._state, self._arena, *plan.bound.values()]
        plan.init.run(bases)
        self._set_states(initial or {})
        self._first = self._state.copy()
        self._bind_fast()

    # ---- the public face --------------------------------------------------------------------------------

    @property
    def batch(self) -> int:
        """How many signals are stepped in lockstep."""
        return self._plan.batch

    @property
    def lag(self) -> int:
        """Input steps that an output lies behind its input: more than 0 in a model that looks ahead."""
        return self._plan.spec.lag

    @property
    def state(self) -> MutableMapping[str, NDArray[Any]]:
        """The states by name: reading copies, assigning an entry (or a whole dict) sets them."""
        return _States(self)

    @state.setter
    def state(self, values: Mapping[str, ArrayLike]) -> None:
        self._set_states(values)

    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Back to the first state; `rows`: only these signals of a batch.

        Raises
        ------
        StateError
            A state has no batch axis, so single rows cannot be reset.
        ShapeError
            A row lies outside the batch.
        """
        self.lock()
        try:
            if rows is None:
                self._state[:] = self._first
                self._phase, self._flushed = self._plan.first_phase, False
                return
            if self._plan.fills:
                raise StateError("single rows of a stream that looks ahead or strides over time cannot be reset")
            for row in rows:
                if not 0 <= row < self.batch:
                    raise ShapeError(f"row {row} lies outside a batch of {self.batch}")
            self._histories()  # refused before anything is reset
            for name, (view, info) in self._plan.states().items():
                if info.batch_axis is None:
                    raise StateError(f"state {name!r} has no batch axis; reset() without rows resets the whole stream")
                index = (slice(None),) * info.batch_axis + (list(rows),)
                self._memory(view)[index] = self._memory(view, self._first)[index]
            self._reset_history(rows)
        finally:
            self.unlock()

    def _reset_history(self, rows: Sequence[int]) -> None:
        for view, axis, before in self._histories():
            after = view.shape[axis] // (before * self.batch)
            shape = (*view.shape[:axis], before, self.batch, after, *view.shape[axis + 1 :])
            index = (slice(None),) * (axis + 1) + (list(rows),)
            first, now = (self._memory(view, block).reshape(shape) for block in (self._first, None))
            now[index] = first[index]

    def _histories(self) -> list[tuple[View, int, int]]:
        """Memory of windows and of lengths: where it lies, the axis with the batch, and what stands before it there."""
        found: list[tuple[View, int, int]] = []
        for key, view in self._plan.layout.slots.items():
            if isinstance(key, tuple) and key[1] == "remaining":
                found.append((view, 0, 1))
            elif isinstance(key, tuple) and key[1] == "history" and len(key) == 2:
                place = self._plan.spec.rows.get(key[0])
                if place is None:
                    raise StateError(
                        f"the memory of node {key[0]!r} has no batch axis; reset() without rows resets all"
                    )
                found.append((view, *place))
        return found

    def snapshot(self) -> bytes:
        """All states as bytes, for `restore` of a stream of the same model and batch; versioned, checked."""
        self.lock()
        try:
            phase = (*self._phase, int(self._flushed))
            payload = np.array(phase, "<i8").tobytes() + self._state.tobytes()
        finally:
            self.unlock()
        return _HEADER.pack(_MAGIC, self._fingerprint, self.batch, len(payload), zlib.crc32(payload)) + payload

    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot.

        Raises
        ------
        FormatError
            It is damaged, of another version, or of another model or batch. The stream is left as it was.
        """
        snapshot = bytes(snapshot)
        if len(snapshot) < _HEADER.size:
            raise FormatError(f"the snapshot is cut off: {len(snapshot)} bytes, its header alone takes {_HEADER.size}")
        magic, fingerprint, batch, n_bytes, checksum = _HEADER.unpack_from(snapshot)
        payload = snapshot[_HEADER.size :]
        if magic[:6] != _MAGIC[:6]:
            raise FormatError("these bytes are no snapshot of a stream")
        if magic != _MAGIC:
            raise FormatError(f"the snapshot has version {magic[7]}, this package reads version {_MAGIC[7]}")
        if len(payload) != n_bytes or zlib.crc32(payload) != checksum:
            raise FormatError(
                f"the snapshot is damaged: {len(payload)} bytes of state, {n_bytes} expected, or a wrong checksum"
            )
        if fingerprint != self._fingerprint:
            raise FormatError("the snapshot belongs to another model")
        n_phase = 8 * (len(self._phase) + 1)
        if batch != self.batch or n_bytes != self._state.nbytes + n_phase:
            raise FormatError(f"the snapshot is of a stream with batch {batch}, this one has {self.batch}")
        phase = [int(n) for n in np.frombuffer(payload[:n_phase], "<i8")]
        self.lock()
        try:
            self._state[:] = np.frombuffer(payload[n_phase:], np.uint8)
            self._phase, self._flushed = tuple(phase[:-1]), bool(phase[-1])
        finally:
            self.unlock()

    def fork(self) -> Stream:
        """A second stream that starts where this one stands."""
        twin = Stream(self._plan, self._fingerprint, replan=self._replan)
        self.lock()
        try:
            twin._state[:] = self._state
            twin._first[:] = self._first
            twin._phase, twin._flushed = self._phase, self._flushed
        finally:
            self.unlock()
        return twin

    def flush(self) -> Results:
        """The outputs that are still behind (`lag`), as the whole run gives them. Then only `reset` goes on.

        Raises
        ------
        StateError
            The stream was flushed before.
        """
        plan = self._plan
        if plan.spec.steady or plan.spec.mode != "time":
            return self._deliver({o.name: self._joined(o.name, []) for o in plan.spec.outputs}, None)
        if self._flushed:
            raise StateError("the stream was flushed; reset() begins a new signal")
        block = plan.block(0, self._phase, flush=True)
        facts = {name: plan.step_facts[name] for name in (*plan.fed, *plan.per_step)}
        feeds = {
            name: np.zeros([0 if a == plan.spec.roles.time.get(name) else n for a, n in enumerate(f.shape)], f.dtype)
            for name, f in facts.items()
        }
        made = self._locked([(block, feeds)])
        self._flushed = True
        return self._deliver({o.name: self._joined(o.name, made) for o in plan.spec.outputs}, None)

    # ---- memory -----------------------------------------------------------------------------------------

    def _memory(self, view: View, block: NDArray[np.uint8] | None = None) -> NDArray[Any]:
        raw = self._state if block is None else block
        start = view.buffer.offset + view.byte_offset
        return raw[start : start + view.size * view.dtype.itemsize].view(view.dtype).reshape(view.shape)

    def _set_states(self, values: Mapping[str, ArrayLike]) -> None:
        """All of them or, where one does not fit, none."""
        checked = [self._checked_state(name, value) for name, value in values.items()]
        self.lock()
        try:
            for memory, array in checked:
                memory[...] = array
        finally:
            self.unlock()

    def _checked_state(self, name: str, value: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
        if name not in self._views:
            raise FeedError(f"there is no state {name!r}; this stream carries {sorted(self._views) or 'none'}")
        memory, info = self._views[name]
        array = np.asarray(value)
        if array.dtype != info.dtype:
            raise DtypeError(f"state {name!r} takes {info.dtype}, got {array.dtype}; convert it with astype")
        if array.shape != memory.shape:
            lead = array.shape[0] == 1 and array.shape[1:] == memory.shape if array.ndim == memory.ndim + 1 else False
            if not lead:
                raise ShapeError(f"state {name!r} takes {list(memory.shape)}, got {list(array.shape)}")
        return memory, array.reshape(memory.shape)

    # ---- the fast path ----------------------------------------------------------------------------------

    def _bind_fast(self) -> None:
        plan = self._plan
        if len(plan.fed) != 1 or plan.per_step or len(plan.spec.outputs) != 1 or not plan.blocks:
            return
        if any(block.program.plan is None for block in plan.blocks):
            return
        (x_name,), output = plan.fed, plan.spec.outputs[0]
        x, y = plan.step_facts[x_name], plan.out_facts[output.name]
        frame = plan.spec.mode == "frame"
        x_time = -1 if frame else plan.spec.roles.time[x_name]
        y_time = -1 if frame or output.kind != "time" else output.axis
        if any(n != 1 for n in x.shape[: max(x_time, 0)]) or any(n != 1 for n in y.shape[: max(y_time, 0)]):
            return
        if not frame and output.kind == "time" and (x.shape[x_time] != 1 or y.shape[y_time] != 1):
            return
        self.bind(
            consts=plan.store.anchor,
            state=self._state,
            arena=self._arena,
            blocks=[(block.n, block.program.plan) for block in plan.blocks if block.program.plan is not None],
            x_dtype=x.dtype,
            y_dtype=y.dtype,
            x_step_shape=x.shape,
            x_time=x_time,
            y_step_shape=y.shape,
            y_time=y_time,
            release_gil=[block.release_gil for block in plan.blocks],
            backup=np.empty_like(self._state) if any(block.program.can_fail for block in plan.blocks) else None,
            input_base=BASE_FIRST,
            output_base=BASE_FIRST + 1,
        )

    def _step_failed(self, error: _core.StepError, plan: _core.Plan) -> NoReturn:
        for block in self._plan.blocks:
            if block.program.plan is plan:
                raise step_failed(error, block.program.nodes[0])
        raise error

    # ---- the general path -------------------------------------------------------------------------------

    def _step_slow(self, x: Frames, out: Any) -> Results:
        feeds = self._feeds(x)
        self._adapt(feeds, lead=0)
        ready: dict[str, NDArray[Any]] = {}
        dropped = False
        for name, array in feeds.items():
            want = self._plan.step_facts[name].shape
            axis = self._time_axis(name)
            if axis is not None and array.ndim == len(want) - 1:
                if array.shape != want[:axis] + want[axis + 1 :]:
                    raise self._wrong_shape(name, array, "step")
                array = np.expand_dims(array, axis)
                dropped = True
            elif array.shape != want:
                raise self._wrong_shape(name, array, "step")
            ready[name] = np.ascontiguousarray(array)
        if self._plan.spec.lag or self._plan.spec.rate != 1:
            raise ShapeError(
                f"step: this model looks ahead by {self._plan.spec.lag} steps and gives one step for {self._plan.spec.rate}; "
                "use run(), which returns what is complete, and flush() at the end"
            )
        block = self._block_now()
        shapes = {
            o.name: tuple(n for a, n in enumerate(f.shape) if not (dropped and o.kind == "time" and a == o.axis))
            for o, f in zip(self._plan.spec.outputs, block.program.outputs, strict=True)
        }
        self._check_out(out, shapes, ready)
        results = self._locked([(block, ready)])[0]
        final: dict[str, NDArray[Any] | None] = {}
        for spec in self._plan.spec.outputs:
            result = results[spec.name]
            final[spec.name] = np.squeeze(result, spec.axis) if dropped and spec.kind == "time" else result
        return self._deliver(final, out)

    def _run_slow(self, x: Frames, out: Any) -> Results:
        feeds = self._feeds(x)
        self._adapt(feeds, lead=1 if self._plan.spec.mode == "frame" else 0)
        spec = self._plan.spec
        lengths: dict[str, int] = {}
        for name, array in feeds.items():
            want = self._plan.step_facts[name].shape
            if spec.mode == "frame" and name in spec.streamed:
                if array.shape[1:] != want or array.ndim != len(want) + 1:
                    raise self._wrong_shape(name, array, "run")
                lengths[name] = array.shape[0]
                continue
            axis = self._time_axis(name)
            shape = array.shape if axis is None else (*array.shape[:axis], 1, *array.shape[axis + 1 :])
            if shape != want or array.ndim != len(want):
                raise self._wrong_shape(name, array, "run")
            if axis is not None:
                lengths[name] = array.shape[axis]
        if len(set(lengths.values())) > 1:
            raise ShapeError(f"the streamed inputs have different numbers of steps: {lengths}")
        n = next(iter(lengths.values()), 1)
        if self._flushed:
            raise StateError("the stream was flushed; reset() begins a new signal")
        pieces: list[tuple[Block, dict[str, NDArray[Any]]]] = []
        at = 0
        blocks = self._plan.cut(n, self._phase)
        for block in blocks:
            pieces.append((block, {name: self._piece(name, a, at, block.n) for name, a in feeds.items()}))
            at += block.n
        self._check_out(out, self._run_shapes(blocks), feeds)
        made = self._locked(pieces)
        return self._deliver({o.name: self._joined(o.name, made) for o in spec.outputs}, out)

    def _adapt(self, feeds: Mapping[str, NDArray[Any]], lead: int) -> None:
        """Take the extents of axes that the file leaves open from what is fed."""
        plan, new = self._plan, {}
        for name, array in feeds.items():
            want = plan.step_facts[name].shape
            skip = lead if name in plan.spec.streamed else 0
            for axis, size in enumerate(want):
                if array.ndim == len(want) + skip and plan.is_open(name, axis) and array.shape[axis + skip] != size:
                    new[name, axis] = array.shape[axis + skip]
        if not new or self._replan is None:
            return
        plan = self._replan({**plan.sizes, **new})
        if {k: v.shape for k, v in plan.layout.slots.items()} != {
            k: v.shape for k, v in self._plan.layout.slots.items()
        }:
            raise ShapeError(f"the states of this stream do not fit the sizes {new}; make a new stream for them")
        self.lock()
        try:
            self._plan = plan
            need = max([64, *(block.program.arena_bytes for block in plan.blocks)])
            if need > self._arena.nbytes:
                self._arena = _core.aligned_empty(need)
        finally:
            self.unlock()
        self._bind_fast()

    def _time_axis(self, name: str) -> int | None:
        return None if self._plan.spec.mode == "frame" else self._plan.spec.roles.time.get(name)

    def _piece(self, name: str, array: NDArray[Any], at: int, n: int) -> NDArray[Any]:
        if self._plan.spec.mode == "frame":
            return np.ascontiguousarray(array[at]) if name in self._plan.spec.streamed else np.ascontiguousarray(array)
        axis = self._time_axis(name)
        if axis is None:
            return np.ascontiguousarray(array)
        return np.ascontiguousarray(array[(slice(None),) * axis + (slice(at, at + n),)])

    def _joined(self, name: str, made: list[dict[str, NDArray[Any]]]) -> NDArray[Any] | None:
        spec = next(o for o in self._plan.spec.outputs if o.name == name)
        fact = self._plan.out_facts[name]
        if self._plan.spec.mode == "frame":
            return np.stack([m[name] for m in made]) if made else np.empty((0, *fact.shape), fact.dtype)
        if spec.kind == "time":
            empty = [0 if a == spec.axis else n for a, n in enumerate(fact.shape)]
            parts = [m[name] for m in made if name in m]
            return np.concatenate(parts, spec.axis) if parts else np.empty(empty, fact.dtype)
        return next((m[name] for m in reversed(made) if name in m), None)

    def _block_now(self) -> Block:
        return self._plan.block(1, self._phase)

    def _run_shapes(self, blocks: Sequence[Block]) -> dict[str, tuple[int, ...] | None]:
        """Shapes of what a run over these blocks returns; None for an output that does not exist yet."""
        shapes: dict[str, tuple[int, ...] | None] = {}
        for o in self._plan.spec.outputs:
            shape = self._plan.out_facts[o.name].shape
            if self._plan.spec.mode == "frame":
                shapes[o.name] = (len(blocks), *shape)
            elif o.kind == "time":
                steps = sum(
                    f.shape[o.axis]
                    for b in blocks
                    for name, f in zip(b.present, b.program.outputs, strict=True)
                    if name == o.name
                )
                shapes[o.name] = (*shape[: o.axis], steps, *shape[o.axis + 1 :])
            else:
                shapes[o.name] = shape if any(o.name in b.present for b in blocks) else None
        return shapes

    def _locked(self, pieces: Sequence[tuple[Block, Mapping[str, NDArray[Any]]]]) -> list[dict[str, NDArray[Any]]]:
        self.lock()
        before = self._phase, self._state.copy() if any(block.program.can_fail for block, _ in pieces) else None
        try:
            made = []
            for block, feeds in pieces:
                made.append(self._call(block, feeds))
                self._phase = block.next_phase
            return made
        except BaseException:
            self._phase = before[0]
            if before[1] is not None:
                self._state[:] = before[1]
            raise
        finally:
            self.unlock()

    def _call(self, block: Block, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        plan, program = self._plan, block.program
        outs = [np.empty(f.shape, f.dtype) for f in program.outputs]
        if program.arena_bytes > self._arena.nbytes:
            self._arena = _core.aligned_empty(program.arena_bytes)
        program.run(
            [plan.store.anchor, self._state, self._arena, *(feeds[n] for n in (*plan.fed, *plan.per_step)), *outs]
        )
        return dict(zip(block.present, outs, strict=True))

    def _deliver(self, results: dict[str, NDArray[Any] | None], out: Any) -> Results:
        if out is None:
            return next(iter(results.values())) if len(results) == 1 else results  # type: ignore[return-value]
        for name, target in self._targets(out).items():
            result = results[name]
            assert result is not None
            target[...] = result
        return out  # type: ignore[no-any-return]

    def _targets(self, out: Any) -> Mapping[str, Any]:
        return out if isinstance(out, Mapping) else {self._plan.spec.outputs[0].name: out}

    def _check_out(
        self, out: Any, shapes: Mapping[str, tuple[int, ...] | None], feeds: Mapping[str, NDArray[Any]]
    ) -> None:
        """Refuse what cannot be filled before anything has run."""
        if out is None:
            return
        if len(shapes) > 1 and not isinstance(out, Mapping):
            raise FeedError(f"out: the stream returns {len(shapes)} outputs; give a dict with {sorted(shapes)}")
        for name, target in self._targets(out).items():
            if name not in shapes:
                raise FeedError(f"out: there is no output {name!r}; the stream returns {sorted(shapes)}")
            shape, dtype = shapes[name], self._plan.out_facts[name].dtype
            if not isinstance(target, np.ndarray) or target.dtype != dtype or not target.dtype.isnative:
                got = target.dtype if isinstance(target, np.ndarray) else type(target).__name__
                raise DtypeError(f"out: output {name!r} takes a NumPy array of {dtype}, got {got}")
            if shape is None:
                raise ShapeError(f"out: output {name!r} does not exist before the first step")
            if target.shape != shape:
                raise ShapeError(f"out: output {name!r} has shape {list(shape)}, got {list(target.shape)}")
            if not target.flags.writeable:
                raise FeedError(f"out: the array for output {name!r} is read-only")
            if not target.flags.c_contiguous or not target.flags.aligned:
                raise FeedError(f"out: the array for output {name!r} is not C-contiguous and aligned")
            if any(np.may_share_memory(target, array) for array in feeds.values()):
                raise FeedError(f"out: the array for output {name!r} shares memory with an input")

    # ---- feeds ------------------------------------------------------------------------------------------

    def _feeds(self, x: Any) -> dict[str, NDArray[Any]]:
        names = [*self._plan.fed, *self._plan.per_step]
        if not isinstance(x, Mapping):
            if len(names) != 1:
                raise FeedError(f"this stream takes {len(names)} inputs; feed a dict with {names}")
            x = {names[0]: x}
        for name in x:
            if name not in names:
                raise FeedError(f"there is no input {name!r} to feed; the stream takes {names}{self._why_not(name)}")
        for name in names:
            if name not in x:
                hint = (
                    f" (or bind it once with stream(inputs={{{name!r}: ...}}))" if name in self._plan.per_step else ""
                )
                raise FeedError(f"input {name!r} is missing{hint}; the stream takes {names}")
        found: dict[str, NDArray[Any]] = {}
        for name in names:
            array, want = x[name], self._plan.step_facts[name].dtype
            if not isinstance(array, np.ndarray):
                raise DtypeError(
                    f"input {name!r} takes a NumPy array of {want}, got {type(array).__name__}; use np.asarray"
                )
            if array.dtype != want:
                raise DtypeError(f"input {name!r} takes {want}, got {array.dtype}; convert it with astype")
            found[name] = array
        return found

    def _why_not(self, name: str) -> str:
        if name in self._views:
            return f"; {name!r} is a state the stream carries, set it with stream.state[{name!r}] = ... or initial="
        return (
            f"; {name!r} was bound when the stream was made"
            if name in self._plan.bound or name in self._plan.known
            else ""
        )

    def _wrong_shape(self, name: str, array: NDArray[Any], call: str) -> ShapeError:
        want: list[Any] = list(self._plan.step_facts[name].shape)
        axis = self._time_axis(name)
        if self._plan.spec.mode == "frame" and name in self._plan.spec.streamed:
            takes = str(want) if call == "step" else str(["T", *want])
        elif axis is None:
            takes = str(want)
        elif call == "step":
            takes = f"{want} or {want[:axis] + want[axis + 1 :]}"
        else:
            takes = str([*want[:axis], "T", *want[axis + 1 :]])
        return ShapeError(f"{call}: input {name!r} takes {takes}, got {list(array.shape)}".replace("'T'", "T"))


class _States(MutableMapping[str, NDArray[Any]]):
    """The states of a stream by name: copies out, checked values in."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._stream._views:
            raise FeedError(f"there is no state {name!r}; this stream carries {sorted(self._stream._views) or 'none'}")
        memory, info = self._stream._views[name]
        self._stream.lock()
        try:
            return memory.astype(info.dtype, copy=True)
        finally:
            self._stream.unlock()

    def __setitem__(self, name: str, value: ArrayLike) -> None:
        self._stream._set_states({name: value})

    def __delitem__(self, name: str) -> None:
        raise StateError("a state cannot be removed; reset() sets it back")

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream._views)

    def __len__(self) -> int:
        return len(self._stream._views)

    def __repr__(self) -> str:
        shown = ", ".join(f"{n!r}: {m.dtype}{list(m.shape)}" for n, (m, _) in self._stream._views.items())
        return f"{{{shown}}}"
