"""The one bridge to C: hands memory to the kernels and takes statuses back."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

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
quantize_codes: Final[dict[str, int]]
"""How inputs are quantised ("ROW", "ROW_U8", "ALL_U8", "GIVEN") to li_quantize."""
scatter_codes: Final[dict[str, int]]
"""Reduction ("LOG_SUM_EXP") to li_reduce_code."""
status_codes: Final[dict[str, int]]
"""Status ("OK", "INDEX") to li_status."""
control: Final[dict[str, int]]
"""Steps that run the steps of nested plans: name to the number of those. Records: kernels/li_plan.h."""
slot_names: Final[tuple[str, ...]]
"""By the number of the slot; behind them those of `control`."""
ISA_VARIABLE: Final[str]
"""The environment variable that forces an instruction set."""
USE_READ: Final[int]
USE_WRITE: Final[int]
USE_OWN: Final[int]
"""What may be done with a memory: li_use, kernels/li_check.h."""
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

def recur_i8_scratch(gates: int, T: int, B: int, I: int, H: int) -> int:
    """Return the scratch bytes of lstm_i8 (4 gates), gru_i8 (3) or rnn_i8 (1)."""

def matmul_i8_scratch(n: int, k: int) -> int:
    """Return the scratch bytes of matmul_i8."""

def matmul_dyn_scratch(k: int, m: int) -> int:
    """Return the scratch bytes of matmul_dyn_f32."""

def pool_scratch(y_cols: int, kernel: int, stride: int, dilation: int) -> int:
    """Return the scratch bytes of pool_f32, whose windows lie so along a row."""

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

def pack_i8(
    src: NDArray[np.int8],
    scale: NDArray[np.float32],
    zero: NDArray[np.int32] | None = None,
    *,
    gates: int,
    n_units: int,
    k: int,
    gate_stride: int,
    unit_stride: int,
    k_stride: int,
    src_offset: int = 0,
    panel: int = 0,
    out: NDArray[np.int32] | None = None,
    out_offset: int = 0,
) -> NDArray[np.int32]:
    """Pack a matrix of 8-bit weights, w standing for (w - zero) * scale, into panels of 16 units (kernels/li_pack.h).

    Parameters
    ----------
    src : int8, any shape, C-contiguous
        As `src` of `pack_f32`. Weights of uint8 go in less 128, and so do their zero points.
    scale : float32, gates * n_units, C-contiguous
        Of unit u of gate g at [g, u].
    zero : int32, gates * n_units, C-contiguous, optional
        Zero points, -128 .. 127; 0 if absent.
    gates, n_units, k : int
        Extents.
    panel : int
        Words from one panel to the next; 0: gates * (3 + ceil(k / 4)) * 16, the panels lie densely.
    out : int32, C-contiguous, optional
        Written from element `out_offset` on (R behind W: out_offset = gates * (3 + ceil(I / 4)) * 16).

    Returns
    -------
    int32 array, 1-d if it is new
        `out`, with units past the last zero-filled. Untouched where k is 0.

    Raises
    ------
    TypeError
        An array is of another type.
    ValueError
        One is not C-contiguous, or does not hold what is asked.
    """

def memories(
    constants: Iterable[tuple[int, int]], state: int, arena: int, inputs: Sequence[int], outputs: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The bases and the blocks of `check_steps`, from the sizes of all memories (as of `verifier.Memories`).

    Raises
    ------
    ValueError
        One of them is impossible.
    """

def check_steps(
    steps: Sequence[tuple[str, NDArray[np.int64]]] | Steps,
    bases: NDArray[np.int64],
    blocks: NDArray[np.int64],
    kept: NDArray[np.int64],
) -> float | tuple[int, str, str]:
    """Verify arguments of steps, each by itself (kernels/li_check.h; `program/verifier.py` has the whole of a plan).

    Parameters
    ----------
    steps : sequence of (slot name, int64 array [n_words]), or Steps
        As those of a Plan.
    bases : int64 [n_bases, 7]
        li_memory of each base.
    blocks, kept : int64 [n, 3]
        li_bytes: what may be touched of the parted memories, and what no step may touch.

    Returns
    -------
    float or (int, str, str)
        About how many numbers all steps together read, write or multiply; or the first step that is wrong, the field of its
        record, and what is wrong with it.

    Raises
    ------
    TypeError
        Words or a table are not int64 arrays.
    ValueError
        A slot is unknown, an array is not C-contiguous, or a table has another width.
    """

@final
class Steps:
    """The steps of a plan as they stand in a file.

    Parameters
    ----------
    row : int64 [2 * n + n_words], C-contiguous
        The number of the slot and the number of words of each step, then the words of all of them. Not copied, kept alive.
    n : int
        Steps.

    Raises
    ------
    TypeError
        `row` is no int64 array.
    ValueError
        It is not that long, a slot is unknown, or a record has the wrong number of words.
    """

    def __new__(cls, row: NDArray[np.int64], n: int) -> Steps: ...
    @property
    def controls(self) -> tuple[int, ...]:
        """Which of them are steps of `control`."""
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> tuple[str, NDArray[np.int64]]: ...

@final
class Mapping:
    """The bytes of an open file, mapped for reading: a buffer.

    Parameters
    ----------
    file : int
        Its descriptor, which may be closed afterwards.

    Raises
    ------
    OSError
        It cannot be mapped; nothing can on Windows, where the module mmap does it.
    """

    def __new__(cls, file: int) -> Mapping: ...

def crc32(data: NDArray[np.uint8] | bytes) -> int:
    """The CRC-32 of zlib over bytes that lie one behind the other."""

def slots_sign() -> int: ...
def best_isa() -> str:
    """The first of `list_isas()` that can run here."""

def loop_inside(words: NDArray[np.int64], bases: NDArray[np.int64]) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """Return how often a loop that `check_steps` found right may run, the bases that its body sees, and its table as a row of
    `kept`."""

@final
class Plan:
    """Steps of one instruction set, copied into C memory. Immutable; any number of threads may run it at once,
    each over its own state and scratch.

    Parameters
    ----------
    isa : str
        One of `list_isas()` that can run here.
    steps : sequence of (slot name, int64 array [n_words]), or Steps
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

    def __new__(
        cls, isa: str, steps: Sequence[tuple[str, NDArray[np.int64]]] | Steps, nested: Sequence[Plan] = ()
    ) -> Plan: ...
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
