"""A call of a stream in one crossing into C, and what every stream has of it."""

from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, NoReturn, final, overload

import numpy as np
from _typeshed import SupportsGetItem
from numpy.typing import NDArray
from typing_extensions import TypeVar

from ._core import Base, Plan, StepError
from .typing import Array, ArrayIn, Feeds, Out

Result = TypeVar("Result")
P = TypeVar("P", default=Any)
Port = tuple[str, object, tuple[int, ...], int, bool]
"""Name, dtype, shape of one step, time axis (-1: none), and whether it has something for every step."""

def fill_scratch(value: int) -> None:
    """Overwrite the memory that no call has now: for tests, that nothing of an earlier call is read."""

@final
class Call:
    """What a call of a plan's streams takes and gives, and the blocks that it runs. Holds no state; shared.

    Parameters
    ----------
    consts
        Base 0 of the plans. Kept alive.
    state_bytes, arena_bytes : int
        What lies at bases 1 and 2: the state of a stream, and memory that is lent to a call.
    blocks : sequence of (n_steps, Plan)
        Descending in n_steps down to 1 (but see `lengths`), at most 16. A chunk is cut into these, largest first.
    inputs, outputs : sequence of Port
        Together at most 61: bases 3 and on, in this order. The time axis has extent 1 in the shape of a step; a port
        that has none, but something for every step, is a frame model's: a chunk has a new leading axis. A port without
        anything for every step is a side input, the same for all, or an output as if the sequence ended here.
    work : sequence of int
        Per block: the work of one run of its plan.
    release_from : int
        The work of a call, that of all its blocks together, from which on it releases the GIL.
    nodes : by the number of a block, a sequence of str
        Which node each of its steps came from. Asked for errors alone.
    can_fail : bool
        A step may refuse its data: the state is then put back as it was before the call.
    rate : int
        Time steps that are fed for one step of the outputs.
    lengths : sequence of int, optional
        What chunks are cut into elsewhere, where only some of those have a block here. Such a call takes chunks alone, no
        steps, and of them those that its blocks make up as `lengths` would.

    Raises
    ------
    ValueError
        The arguments contradict each other.
    """

    def __init__(
        self,
        *,
        consts: Base,
        state_bytes: int,
        arena_bytes: int,
        blocks: Sequence[tuple[int, Plan]],
        inputs: Sequence[Port],
        outputs: Sequence[Port],
        work: Sequence[int],
        release_from: int,
        nodes: SupportsGetItem[int, Sequence[str]],
        can_fail: bool = False,
        rate: int = 1,
        lengths: Sequence[int] | None = None,
    ) -> None: ...
    @property
    def nodes(self) -> SupportsGetItem[int, Sequence[str]]: ...
    @property
    def sizes(self) -> tuple[int, ...]:
        """Time steps of each block."""

MAX_CHUNK: Final[int]
"""Longest block of a stream, where the caller does not say."""

@final
class Standing(Generic[P]):
    """Where a stream stands, besides its state: replaced as a whole, so that a call sees whether it is still there."""

    def __init__(self, plan: P, phase: tuple[int, ...], flushed: bool, first: NDArray[np.uint8]) -> None: ...
    @property
    def plan(self) -> P: ...
    @property
    def phase(self) -> tuple[int, ...]: ...
    @property
    def flushed(self) -> bool: ...
    @property
    def first(self) -> NDArray[np.uint8]:
        """The state that it began with, and that a reset brings back."""

class StreamCore:
    """The fast road of a stream: look, run, return.

    A subclass says how everything else is done: `step` and `run` hand whatever is not for this road to `_step_slow` and
    `_run_slow`, which do the general thing or raise the precise error.
    """

    @property
    def _state(self) -> NDArray[np.uint8]: ...
    def _bind(self, call: Call | None, state: NDArray[np.uint8] | None, standing: Any) -> None:
        """Say what a call is, where the state lies (None: where it lay), and where the stream stands: alone in it, or before it
        is used. May be called again; without a call every call is slow.

        Raises
        ------
        ValueError
            The state is smaller than the call says.
        """
    @property
    def _standing(self) -> Any:
        """Whatever a call changes besides the state; only `_bind` and `_alone` set it."""
    def _alone(self, body: Callable[[Any], tuple[Result, Any]], writes: bool = True) -> Result:
        """Call body(standing), which returns a result and the next standing, with nobody else in the stream.

        All or nothing: where it raises, whatever it is (a signal too), the state is as it was before. `writes`: False for a body
        that leaves the state alone.

        Raises
        ------
        StateError
            Another thread is inside the stream.
        """
    @overload
    def step(self, x: ArrayIn, out: None = None) -> Array | dict[str, Array | None]: ...
    @overload
    def step(self, x: Feeds, out: None = None) -> dict[str, Array | None]: ...
    @overload
    def step(self, x: ArrayIn | Feeds, out: Out) -> Out:
        """Run one step.

        Parameters
        ----------
        x : array, or dict of arrays by input: of the port's dtype
            The step shape, with the time axis kept at 1 or dropped; the outputs follow.
        out : array, or dict of arrays by output, optional
            Filled and returned: dtype and shape of the outputs, C-contiguous, writeable, apart from all others.

        Raises
        ------
        StateError
            Another thread is inside the stream.

        Notes
        -----
        What users read, with all that a stream takes, is the docstring of the compiled method.
        """
    @overload
    def run(self, x: ArrayIn, out: None = None) -> Array | dict[str, Array | None]: ...
    @overload
    def run(self, x: Feeds, out: None = None) -> dict[str, Array | None]: ...
    @overload
    def run(self, x: ArrayIn | Feeds, out: Out) -> Out:
        """Run T steps, T >= 0 being the extent of the time axis (or of a new leading axis in a frame model).

        Parameters and errors as in `step`.
        """
    def flush(self) -> Array | dict[str, Array | None]:
        """The outputs that are still behind (`lag`), as the whole run gives them; then only `reset` goes on.

        Where nothing is ever behind, since each step gives its outputs at once, there are none, and the stream goes on.

        Raises
        ------
        StateError
            The stream was flushed before.
        """
    def _refitted(self, x: Any) -> bool:
        """Hook: is what a call runs another now, because of what is fed."""
    def _step_failed(self, error: StepError, nodes: Sequence[str]) -> NoReturn:
        """Hook: raise the public error for a step that failed, the state being that before the call again. Called
        without the lock."""
