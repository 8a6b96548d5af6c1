"""The one bridge to C: hands memory to the kernels and takes statuses back."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn, TypeVar, final, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

Out = TypeVar("Out", bound=NDArray[Any] | Mapping[str, NDArray[Any]])
Base = NDArray[Any] | int | None
"""What stands behind one base number of a plan: an array, an address, or nothing."""

slots: Final[dict[str, tuple[int, int]]]
"""Slot name to (number, 8-byte words of its argument record; 0: any number). Contracts: kernels/li_kernels.h."""
map_codes: Final[dict[str, tuple[int, int]]]
"""Instruction of map_f32 / map_i64 ("ADD") to (code, number of register arguments)."""
dtypes: Final[dict[str, int]]
"""NumPy's name of an element type ("float32"; also "bfloat16") to li_dtype."""
act_codes: Final[dict[str, int]]
"""Activation ("SIGMOID") to li_act_code."""
reduce_codes: Final[dict[str, int]]
"""Reduction ("LOG_SUM_EXP") to li_reduce_code."""
status_codes: Final[dict[str, int]]
"""Status ("OK", "INDEX") to li_status."""
control: Final[dict[str, int]]
"""Steps that run the steps of nested plans: name to the number of those. Records: kernels/li_plan.h."""
UNITS: Final[int]
"""Hidden units (output columns) in one packed panel."""
LANES: Final[int]
"""Virtual lanes of a contiguous reduction."""
RANK: Final[int]
"""Most axes of a strided operand."""
MAP_REGS: Final[int]
"""Registers of an element-wise program."""

class StepError(Exception):
    """A step of a plan failed. Whoever made the plan knows the node and says so in an error of the public tree.

    Attributes
    ----------
    step : int
        Index of the step in its plan.
    status : int
        One of `status_codes`, never OK.
    """

    step: int
    status: int
    def __init__(self, step: int, status: int) -> None: ...

def list_isas() -> list[tuple[str, bool]]:
    """Return the instruction sets of this build, best first, and whether this CPU and its OS can run each."""

def recur_scratch(gates: int, T: int, B: int, I: int, H: int) -> int:
    """Return the scratch bytes of lstm_f32 (4 gates), gru_f32 (3) or rnn_f32 (1)."""

def matmul_dyn_scratch(k: int, m: int) -> int:
    """Return the scratch bytes of matmul_dyn_f32."""

def conv_scratch(
    channels: int,
    groups: int,
    kernel: Sequence[int],
    out: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
) -> int:
    """Return the scratch bytes of conv_f32. Three numbers each, 1 where there is no such axis."""

def aligned_empty(n_bytes: int) -> NDArray[np.uint8]:
    """Return n_bytes of zeroed memory that starts on a 64-byte boundary.

    Raises
    ------
    ValueError
        `n_bytes` is negative.
    """

def pack_f32(
    src: NDArray[np.float32],
    *,
    gates: int,
    n_units: int,
    k: int,
    gate_stride: int,
    unit_stride: int,
    k_stride: int,
    src_offset: int = 0,
    panel: int = 0,
    out: NDArray[np.float32] | None = None,
    out_offset: int = 0,
) -> NDArray[np.float32]:
    """Pack a weight matrix into panels of 16 units (kernels/li_pack.h).

    Parameters
    ----------
    src : float32, any shape, C-contiguous
        Element (gate g, unit u, term i) is read at src_offset + g * gate_stride + u * unit_stride + i * k_stride.
        Strides and offset count elements; strides may be negative.
    gates, n_units, k : int
        Extents. A plain matrix [k, m] has gates = 1, n_units = m, unit_stride = 1, k_stride = m.
    panel : int
        Floats from one panel to the next; 0: gates * k * 16, the panels lie densely.
    out : float32, C-contiguous, optional
        Written from element `out_offset` on, so that W and R of one layer can share panels (R: out_offset =
        gates * I * 16). New memory, 64-byte aligned, if absent.

    Returns
    -------
    float32 array, 1-d if it is new
        `out`, with units past the last zero-filled.

    Raises
    ------
    TypeError
        `src` or `out` is not a float32 array.
    ValueError
        Either is not C-contiguous, or too small for what is asked.
    """

@final
class Plan:
    """Steps of one instruction set, copied into C memory. Immutable; any number of threads may run it at once,
    each over its own state and scratch.

    Parameters
    ----------
    isa : str
        One of `list_isas()` that can run here.
    steps : sequence of (slot name, int64 array [n_words])
        Argument records as arrays of 8-byte words (a double as its bits). The first words of a step of `control`
        are positions in `nested`, or -1 for the branch that must not be taken.
    nested : sequence of Plan
        What loops and branches run; kept alive.

    Raises
    ------
    IsaError
        `isa` is not in this build, or this CPU cannot run it.
    TypeError
        Words are not a one-dimensional int64 array.
    ValueError
        A slot is unknown, or a record has the wrong number of words.
    """

    def __new__(cls, isa: str, steps: Sequence[tuple[str, NDArray[np.int64]]], nested: Sequence[Plan] = ()) -> Plan: ...
    @property
    def nested(self) -> tuple[Plan, ...]:
        """The plans that its loops and branches run."""
    @property
    def isa(self) -> str:
        """The instruction set it was made for."""
    @property
    def n_steps(self) -> int:
        """Number of steps."""
    @property
    def slots(self) -> tuple[str, ...]:
        """Slot name of every step."""
    @property
    def symbols(self) -> tuple[str, ...]:
        """C name of the kernel behind every step, "li_copy_avx2": found from its address, so that a kernel borrowed
        from a lesser set shows that set's name."""
    def run(self, bases: Sequence[Base]) -> None:
        """Run all steps with the GIL released.

        Parameters
        ----------
        bases : sequence of array, int or None
            Memory behind the base numbers 0, 1, ... that the records name. Layouts, sizes and alignment are what
            the records say: nothing is checked here.

        Raises
        ------
        StepError
            A step failed; the steps before it have run.
        """

class StreamCore:
    """The fast path of a stream with one streamed input and one output: check, run, return.

    A subclass says how everything else is done: `step` and `run` hand whatever the fast path does not take to
    `_step_slow` and `_run_slow`, which do the general thing or raise the precise error.
    """

    def _bind(
        self,
        *,
        consts: Base,
        state: Base,
        arena: Base,
        blocks: Sequence[tuple[int, Plan]],
        x_dtype: DTypeLike,
        y_dtype: DTypeLike,
        x_step_shape: tuple[int, ...],
        x_time: int,
        y_step_shape: tuple[int, ...],
        y_time: int,
        release_gil: Sequence[bool],
        backup: NDArray[np.uint8] | None = None,
        input_base: int = 3,
        output_base: int = 4,
    ) -> None:
        """Set all that the fast path needs. May be called again; without it every call is slow.

        Parameters
        ----------
        consts, state, arena
            Bases 0, 1 and 2 of the plans. Kept alive; the state is updated in place.
        blocks : sequence of (n_steps, Plan)
            Descending in n_steps down to 1, at most 16. `run` cuts its input into these, largest first.
        x_dtype, y_dtype
            Element types of input and output.
        x_step_shape, y_step_shape : tuple of int
            Shape of one step with the time axis at extent 1; at most 16 axes (15 in a frame model).
        x_time, y_time : int
            Position of the time axis. Both -1: a frame model, `run` takes a new leading axis. y_time alone -1: the
            output is the value as if the sequence ended here, so `run` returns the last one.
        release_gil : sequence of bool
            Per block: one run of its plan takes several microseconds. `run` goes by the largest block it uses, and
            releases the GIL too if it has more steps than the largest block.
        backup : array of uint8, or None
            As large as the state. Given, a call that fails leaves the state as it was before; None: no step can fail.
        input_base, output_base : int
            Base numbers, 3 to 15, at which the plans read the input and write the output.

        Raises
        ------
        StateError
            Another thread is inside the stream.
        ValueError
            The arguments contradict each other.
        """
    @overload
    def step(self, x: NDArray[Any], out: None = None) -> NDArray[Any] | dict[str, NDArray[Any] | None]: ...
    @overload
    def step(self, x: Mapping[str, NDArray[Any]], out: None = None) -> dict[str, NDArray[Any] | None]: ...
    @overload
    def step(self, x: NDArray[Any] | Mapping[str, NDArray[Any]], out: Out) -> Out:
        """Run one step.

        Parameters
        ----------
        x : array of the bound dtype, native, aligned, C-contiguous
            The step shape, with the time axis kept at 1 or dropped; the output follows.
        out : array, optional
            Filled and returned: dtype and shape of the output, C-contiguous, writeable, apart from `x`.

        Raises
        ------
        StateError
            Another thread is inside the stream.

        Notes
        -----
        What users read, with all that a stream takes, is the docstring of the compiled method.
        """
    @overload
    def run(self, x: NDArray[Any], out: None = None) -> NDArray[Any] | dict[str, NDArray[Any] | None]: ...
    @overload
    def run(self, x: Mapping[str, NDArray[Any]], out: None = None) -> dict[str, NDArray[Any] | None]: ...
    @overload
    def run(self, x: NDArray[Any] | Mapping[str, NDArray[Any]], out: Out) -> Out:
        """Run T steps, T >= 0 being the extent of the time axis (or of a new leading axis in a frame model).

        The fast path takes arrays in which nothing with an extent above 1 stands before the time axis.
        Parameters and errors as in `step`.
        """
    def _lock(self) -> None:
        """Enter the stream: the busy flag that `step` and `run` use too. It does not wait and does not nest.

        Raises
        ------
        StateError
            The stream is entered already.
        """
    def _unlock(self) -> None:
        """Leave the stream. Only after a `_lock` that succeeded."""
    def _step_slow(self, x: Any, out: Any) -> Any:
        """Hook: do what the fast path of `step` does not take, or raise the precise error. Called without the lock."""
    def _run_slow(self, x: Any, out: Any) -> Any:
        """Hook: the same for `run`."""
    def _step_failed(self, error: StepError, plan: Plan) -> NoReturn:
        """Hook: raise the public error for a step of `plan` that failed, the state being that before the call
        again. Called without the lock."""
