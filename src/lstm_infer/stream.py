"""Stream: one live signal (or a batch of them in lockstep), and the state it carries from call to call.

The fast path of `step` and `run` is compiled: `_stream.StreamCore` looks at the arrays once, and runs C plans over them. What
it does not take (a lag, a stride, other sizes, steps on the host) goes through `streams/general.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from numpy.typing import ArrayLike, NDArray

from .errors import FormatError
from .graph.budget import within_memory
from .streams.general import GeneralPath, Replan, Results
from .streams.named import States, check_state, reset_rows
from .streams.plan import StreamPlan
from .streams.snapshot import Snapshot

__all__ = ["Stream"]


class Stream(GeneralPath):
    """A live signal through a model. Made by `Model.stream`; not to be entered by two threads at once.

    Notes
    -----
    run(a) then run(b) gives the same bits as run(concat(a, b)), and as `Model.run` on the whole.
    """

    def __init__(
        self,
        plan: StreamPlan,
        fingerprint: Callable[[], bytes],
        *,
        initial: Mapping[str, ArrayLike] | None = None,
        replan: Replan | None = None,
    ) -> None:
        super().__init__(plan, replan)
        self._fingerprint = fingerprint
        self._set_states(initial or {})
        self._first = self._state.copy()
        self._bind(plan.call, self._state)

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
        return States(self._places, self._copy_state, self._set_states)

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
        """
        with self._entered():
            if rows is not None:
                reset_rows(self._plan, rows, self._state, self._first)
                return
            self._state[:] = self._first
            self._phase, self._flushed = self._plan.first_phase, False

    @within_memory("the stream")
    def snapshot(self) -> bytes:
        """All states as bytes, for `restore` of a stream of the same model and batch; versioned, checked."""
        with self._entered():
            return self._stands().pack()

    @within_memory("the stream")
    def restore(self, snapshot: bytes) -> None:
        """Continue from a snapshot.

        Raises
        ------
        FormatError
            It is damaged, of another version, or of another model or batch. The stream is left as it was.
        """
        found = Snapshot.unpack(snapshot, self._stands())
        if not found.flushed and not self._plan.reaches(found.phase):
            raise FormatError(f"the snapshot is damaged: no stream of this model holds {list(found.phase)} steps")
        with self._entered():
            self._state[:] = found.state
            self._phase, self._flushed = found.phase, found.flushed

    @within_memory("the stream")
    def fork(self) -> Stream:
        """A second stream that starts where this one stands."""
        twin = Stream(self._plan, self._fingerprint, replan=self._replan)
        with self._entered():
            twin._state[:] = self._state
            twin._first[:] = self._first
            twin._phase, twin._flushed = self._phase, self._flushed
        return twin

    @within_memory("the stream")
    def flush(self) -> Results:
        """The outputs that are still behind (`lag`), as the whole run gives them. Then only `reset` goes on.

        Raises
        ------
        StateError
            The stream was flushed before.
        """
        return self._flush()

    def _stands(self) -> Snapshot:
        return Snapshot(self._fingerprint(), self.batch, self._phase, self._flushed, self._state, self._plan.digest)

    @within_memory("the state")
    def _copy_state(self, name: str) -> NDArray[Any]:
        memory, info = self._places[name]
        with self._entered():
            return memory.astype(info.dtype, copy=True)

    @within_memory("the state")
    def _set_states(self, values: Mapping[str, ArrayLike]) -> None:
        """All of them or, where one does not fit, none."""
        checked = [check_state(self._places, name, value) for name, value in values.items()]
        with self._entered():
            for memory, array in checked:
                memory[...] = array
