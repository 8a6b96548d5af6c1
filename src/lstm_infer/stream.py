"""Stream: one live signal (or a batch of them in lockstep), and the state it carries from call to call.

The fast path of `step` and `run` is compiled: `_stream.StreamCore` looks at the arrays once, and runs C plans over them. What
it does not take (a lag, a stride, other sizes, steps on the host) goes through `streams/general.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._core import aligned_empty
from ._stream import Standing, StreamCore
from .later import Later
from .within import within_memory

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping, Sequence
    from typing import NoReturn

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from . import given
    from ._core import StepError
    from .fingerprint import Sign
    from .records import StateInfo
    from .streams import general, named
    from .streams import snapshot as snapshots
    from .streams.asked import Asked, Sizes, Source
    from .streams.block import Phase
    from .streams.plan import StreamPlan
else:
    given, general, named = Later("given"), Later("streams.general"), Later("streams.named")
    snapshots = Later("streams.snapshot")

__all__ = ["Stream"]


class Stream(StreamCore):
    """A live signal through a model. Made by `Model.stream`; not to be entered by two threads at once.

    Notes
    -----
    run(a) then run(b) gives the same bits as run(concat(a, b)), and as `Model.run` on the whole.
    """

    __slots__ = ("__weakref__", "_arena", "_asked", "_source")

    if not TYPE_CHECKING:  # a type checker that saw these would believe in every name, and in every argument

        def __new__(cls, *args, **more):
            if len(args) < 3:
                from .errors import ArgumentError

                raise ArgumentError("a Stream is made by a model: lstm_infer.load(path).stream()")
            return super().__new__(cls)

        def __getattr__(self, name):
            from .misnamed import of_stream

            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{of_stream(name)}")

    def __init__(
        self, source: Source, asked: Asked, plan: StreamPlan, initial: Mapping[str, ArrayLike] | None = None
    ) -> None:
        self._source, self._asked = source, asked
        first = plan.first_state()
        state = aligned_empty(first.nbytes)
        state[:] = first
        self._arena: NDArray[np.uint8] | None = None
        self._bind(plan.call_in(plan.first_phase, False), state, Standing(plan, plan.first_phase, False, first))
        if initial:
            self._set_states(initial)
            self._begins_with(self._state.copy())

    def __repr__(self) -> str:
        from .records import printable

        plan = self._plan
        shapes = {name: list(plan.step_facts[name].shape) for name in plan.fed.names}
        takes = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        gives = ", ".join(o.name for o in plan.spec.outputs)
        n = len(plan.states)
        lag = f", lag {self.lag}" if self.lag else ""
        return printable(
            f"<lstm_infer.Stream: a step of {takes} -> {gives}; {n} state{'s' * (n != 1)}, batch {self.batch}{lag}>"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        plan, signs = self._plan, self._signs
        shared = self._first is plan.first_state()
        first = None if shared else snapshots.take(plan, signs, plan.first_phase, False, self._first, None)
        return _reopened, (self._source, self._asked, dict(plan.fed.sizes), first, self.snapshot())

    def __copy__(self) -> Stream:
        return self.fork()

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        return self.fork()

    @property
    def batch(self) -> int:
        """How many signals are stepped in lockstep."""
        return self._plan.batch

    @property
    def lag(self) -> int:
        """Input steps that an output lies behind its input: more than 0 in a model that looks ahead."""
        return self._plan.spec.lag

    @property
    def nbytes(self) -> int:
        """Bytes of memory that this stream has for itself: its states, and a first state if it was given one."""
        shared = self._first is self._plan.first_state()
        arena = 0 if self._arena is None else self._arena.nbytes
        return self._state.nbytes + (0 if shared else self._first.nbytes) + arena

    @property
    @within_memory("the state")
    def state(self) -> MutableMapping[str, NDArray[Any]]:
        """The states by name: reading copies, assigning an entry (or a whole dict) sets them."""
        return named.States(self._places, self._copy_state, self._set_states)

    @state.setter
    def state(self, values: Mapping[str, ArrayLike]) -> None:
        self._set_states(values)

    @within_memory("the stream")
    def reset(self, rows: Sequence[int] | None = None) -> None:
        """Back to the first state; `rows`: only these signals of a batch.

        Raises
        ------
        StateError
            A state has no batch axis, so single rows cannot be reset.
        ShapeError
            A row lies outside the batch.
        ArgumentError
            `rows` are no numbers.
        """

        def body(now: Standing) -> tuple[None, Standing]:
            if rows is not None:
                named.reset_rows(now.plan, named.checked_rows(now.plan.batch, rows), self._state, self._first)
                return None, now
            self._state[:] = self._first
            return None, self._behind(now, now.plan.first_phase, False)

        self._alone(body)

    @within_memory("the stream")
    def snapshot(self, rows: Sequence[int] | None = None) -> bytes:
        """All that the stream keeps as bytes, for `restore`; `rows`: only these signals of a batch, in this order.

        Raises
        ------
        StateError
            Something that is kept has no batch axis, so single rows cannot be taken out.
        ShapeError
            A row lies outside the batch, or is named twice.
        ArgumentError
            `rows` are no numbers.

        Notes
        -----
        It holds states by name, in an order of their own: whatever the instruction set, `max_chunk`, machine or later
        release, a stream of the same file, bound inputs and precision goes on from it. docs/snapshots.md has the format.
        """

        def body(now: Standing) -> tuple[bytes, Standing]:
            which = None if rows is None else named.checked_rows(now.plan.batch, rows, once=True)
            return snapshots.take(now.plan, self._signs, now.phase, now.flushed, self._state, which), now

        return self._alone(body, False)

    @within_memory("the stream")
    def restore(self, snapshot: bytes, rows: Sequence[int] | None = None) -> None:
        """Continue from a snapshot; `rows`: only these signals of a batch, from a snapshot of as many.

        Raises
        ------
        FormatError
            It is damaged, of another version, or of another model, batch or bound input. The stream is left as it was.
        StateError, ShapeError, ArgumentError
            As in `snapshot`; also where single signals stand at another phase of a model that looks ahead or strides.
        """

        def body(now: Standing) -> tuple[None, Standing]:
            which = None if rows is None else named.checked_rows(now.plan.batch, rows, once=True)
            phase, flushed = snapshots.put(now.plan, self._signs, snapshot, now.phase, now.flushed, self._state, which)
            return None, self._behind(now, phase, flushed)

        self._alone(body)

    @within_memory("the stream")
    def fork(self) -> Stream:
        """A second stream that starts where this one stands."""

        def body(now: Standing) -> tuple[Stream, Standing]:
            twin = Stream(self._source, self._asked, now.plan)
            twin._state[:] = self._state
            twin._stand(now)
            return twin, now

        return self._alone(body)

    # ---- what the compiled road does not take ---------------------------------------------------------------------

    def _step_slow(self, x: general.Frames, out: Any) -> general.Body:
        return general.step_slow(self, x, out)

    def _run_slow(self, x: general.Frames, out: Any) -> general.Body:
        return general.run_slow(self, x, out)

    def _flush_slow(self) -> general.Body:
        return general.flush_slow(self)

    def _refitted(self, x: Any) -> bool:
        others = self._plan.others
        found: StreamPlan | None = self._plan.fitting(x) if others else None  # type: ignore[attr-defined]
        if found is None:
            return False

        def body(now: Standing) -> tuple[None, Standing]:
            return None, self._stand(Standing(found, now.phase, now.flushed, now.first))

        self._alone(body)
        return True

    def _step_failed(self, error: StepError, nodes: Sequence[str]) -> NoReturn:
        from .program.program import step_failed  # what it takes is not needed before

        raise step_failed(error, nodes)

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _stand(self, then: Standing, state: NDArray[np.uint8] | None = None) -> Standing:
        """Go on from there, alone in the stream; with another state, if one is given."""
        self._bind(then.plan.call_in(then.phase, then.flushed), state, then)
        return then

    def _behind(self, now: Standing, phase: Phase, flushed: bool) -> Standing:
        """Where it stands with the same plan in that phase."""
        then = Standing(now.plan, phase, flushed, now.first)
        return then if phase == now.phase and flushed == now.flushed else self._stand(then)

    @property
    def _now(self) -> Standing:
        now: Standing = self._standing
        return now

    @property
    def _plan(self) -> StreamPlan:
        plan: StreamPlan = self._now.plan
        return plan

    @property
    def _first(self) -> NDArray[np.uint8]:
        return self._now.first

    def _begins_with(self, first: NDArray[np.uint8]) -> None:
        """A reset brings this state back."""
        self._alone(lambda now: (None, Standing(now.plan, now.phase, now.flushed, first)), False)

    def _signs(self) -> Mapping[str, Sign]:
        """What a snapshot shares with its stream."""
        return self._asked.signs(self._source)

    @property
    def _places(self) -> dict[str, tuple[NDArray[Any], StateInfo]]:
        """Where the states lie, by name."""
        return {name: (named.memory_of(view, self._state), info) for name, (view, info) in self._plan.states.items()}

    @within_memory("the state")
    def _copy_state(self, name: str) -> NDArray[Any]:
        view, info = self._plan.states[name]
        return self._alone(lambda now: (named.memory_of(view, self._state).astype(info.dtype, copy=True), now))

    @within_memory("the state")
    def _set_states(self, values: Mapping[str, ArrayLike]) -> None:
        """All of them or, where one does not fit, none."""
        places = self._places
        checked = [named.check_state(places, name, value) for name, value in given.named("state", values).items()]

        def body(now: Standing) -> tuple[None, Standing]:
            for memory, array in checked:
                memory[...] = array
            return None, now

        self._alone(body)


def _reopened(source: Source, asked: Asked, sizes: Sizes, first: bytes | None, snapshot: bytes) -> Stream:
    """A stream from its pickle."""
    stream = Stream(source, asked, source._replan(asked, sizes))
    if first is not None:
        stream.restore(first)
        stream._begins_with(stream._state.copy())
    stream.restore(snapshot)
    return stream
