"""Plans that stand in a native file beside the graph: a stream runs at once, and the graph is read when something else is asked.

They are a cache: of another release or other kernels they are passed over, and each is verified before it runs. What is not
in order with a file is not said here: whoever reads all of it (`container`) does.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core, _stream
from ..later import Later

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .. import errors
    from .. import isa as isas
    from ..program import verifier
    from ..streams.asked import Asked
    from ..streams.plan import StreamPlan

    Bytes = NDArray[np.uint8]
    Port = tuple[str, Any, tuple[int, ...], int, bool]
    Words = tuple[_core.Steps, list["Words"]]
    """Steps, and the plans that loops and branches among them run."""
else:
    errors, isas, verifier = Later("errors"), Later("isa"), Later("program.verifier")

__all__ = [
    "ALIGN", "HEADER_BYTES", "MAGIC", "ORDER", "PORT_DTYPES", "VERSION", "MappedPlan", "layout_sign", "map_native", "mapping",
    "most_bytes", "plan_key", "plans_in", "quick",
]  # fmt: skip

MAGIC = b"\x89LSI\r\n\x1a\n"
ORDER = 0x01020304
"""As the file's byte order shows it."""
VERSION = (1, 3)
ALIGN = HEADER_BYTES = 64
PORT_DTYPES = (
    "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
)  # fmt: skip
"""By their number in a port."""
MOST_WORK = 2.0**40
"""Of one call; some minutes."""
MOST_BYTES = 1 << 28
"""Of what a stream keeps, works in, or is given at a step, where the file is small (`most_bytes`)."""
MOST, MOST_AXES, MOST_PORTS, MOST_STEPS, MOST_STREAMS = 2**40, 16, 61, 1 << 18, 64
_ODD = (ValueError, TypeError, LookupError, ArithmeticError)


def mapping(file: int) -> Any:
    """The bytes of an open file."""
    if sys.platform == "win32":
        import mmap

        return mmap.mmap(file, 0, access=mmap.ACCESS_READ)
    return _core.Mapping(file)


def map_native(path: str) -> Bytes | None:
    """The bytes of a native file, mapped; None: it begins otherwise, or is no regular file.

    Raises
    ------
    OSError, ValueError
        It cannot be read, or mapped.
    """
    if not os.path.isfile(path):  # before it is opened: a FIFO would wait for a writer
        return None
    with open(path, "rb", 0) as file:
        if file.read(len(MAGIC)) != MAGIC:
            return None
        return np.frombuffer(mapping(file.fileno()), np.uint8)


def quick(source: object) -> tuple[Bytes, str] | None:
    """The bytes of a native file, mapped, and how to call it; None: another kind of source, or a file that is not in order."""
    if type(source) is not str and not isinstance(source, os.PathLike):
        return None
    try:
        label = os.path.expanduser(os.fsdecode(source))
        memory = map_native(label)
    except (OSError, ValueError):
        return None
    return None if memory is None or not _in_order(memory) else (memory, label)


def _in_order(memory: Bytes) -> bool:
    if memory.size < HEADER_BYTES or sys.byteorder != "little":
        return False
    numbers = memory[:HEADER_BYTES].view(np.uint32).tolist()
    if numbers[2] != ORDER or numbers[3] & 0xFFFF != VERSION[0] or numbers[4] | numbers[5] << 32 != memory.size:
        return False
    own: int = numbers[15]
    return numbers[14] == 0 and own == _core.crc32(memory[: HEADER_BYTES - 4])


def plan_key() -> list[int]:
    """What has to be the same where a plan was made and where it runs."""
    release = sys.modules[__name__.partition(".")[0]].__version__
    return [_core.crc32(release.encode()), _core.slots_sign()]


def most_bytes(size: int) -> int:
    """What a plan of a file of this size may ask for: nobody's memory is taken for a few words."""
    return max(MOST_BYTES, 16 * size)


def layout_sign(plan: StreamPlan) -> int:
    """What stands for where a stream keeps what."""
    places = [(key, view.buffer.offset, view.shape, view.dtype.str) for key, view in plan.layout.slots.items()]
    return _core.crc32(repr(places).encode())


def plans_in(memory: Bytes, label: str, isa: str | None) -> dict[tuple[int, int], MappedPlan]:
    """The plans of streams by batch and `max_chunk`, verified; none where they are of another build.

    Raises
    ------
    FormatError
        One of them is damaged, or would leave its memories.
    IsaError
        As `choose_isa` says.
    """
    start, size, checksum = memory[44:56].view(np.uint32).tolist()
    start *= ALIGN
    if not start:
        return {}
    try:
        if size % 8 or not HEADER_BYTES <= start <= memory.size - size:
            raise ValueError("they do not lie in the file")
        row = memory[start : start + size].copy()
        if _core.crc32(row) != checksum:
            raise ValueError("they do not fit their checksum")
        words = _Words(row.view(np.int64))
        if words.take(2) != plan_key():
            return {}
        if isa is not None or os.environ.get(_core.ISA_VARIABLE):
            isa = isas.choose_isa(isa)
        found: dict[tuple[int, int], MappedPlan] = {}
        for _ in range(words.number(0, MOST_STREAMS)):
            plan = MappedPlan(memory, label, words, isa or _core.best_isa())
            found.setdefault((plan.batch, plan.max_chunk), plan).beside(plan)
        return found
    except _ODD as error:
        if isinstance(error, errors.LstmInferError):
            raise
        raise errors.FormatError(f"{label}: its plans: {error}; the file is damaged") from error


class _Words:
    """Numbers, taken one after the other."""

    def __init__(self, row: NDArray[np.int64]) -> None:
        self._row, self._at = row, 0

    def row(self, n: int) -> NDArray[np.int64]:
        """The next n."""
        at = self._at
        if not 0 <= n <= self._row.size - at:
            raise ValueError(f"{n} words where there are {self._row.size - at}")
        self._at = at + n
        return self._row[at : at + n]

    def take(self, n: int) -> list[int]:
        """The next n, each for itself."""
        found: list[int] = self.row(n).tolist()
        return found

    def number(self, low: int, high: int) -> int:
        """The next one."""
        (found,) = self.take(1)
        if not low <= found <= high:
            raise ValueError(f"a number from {low} to {high} expected, got {found}")
        return found

    def bytes(self, most: int) -> Bytes:
        """A number of bytes, and these."""
        n = self.number(0, most)
        return self.row(-(-n // 8)).view(np.uint8)[:n]


class MappedPlan:
    """What a stream needs to run, as `StreamPlan` has it. For all else it asks the plan that is made from the graph."""

    def __init__(self, memory: Bytes, label: str, words: _Words, isa: str) -> None:
        self.batch, self.max_chunk = words.number(1, MOST), words.number(1, MOST)
        self.first_phase: tuple[int, ...] = ()
        self.others: list[MappedPlan] = []
        """For other sizes of the same inputs, with the same states."""
        self._layout = words.number(0, 2**32 - 1)
        most = most_bytes(memory.size)
        self._first, self._kept = _first(words, most)
        self._label = label
        self._model: Any = None
        self._asked: Asked | None = None
        self._made: StreamPlan | None = None
        self._lock = RLock()
        arena, release_from, can_fail = words.number(0, most), words.number(1, MOST), words.number(0, 1)
        self.inputs, outputs = _ports(words, most), _ports(words, most)
        constants = words.row(2 * words.number(0, MOST)).reshape(-1, 2)
        starts, lengths = constants[:, 0], constants[:, 1]
        if ((starts < 64) | (lengths < 0) | (lengths > memory.size) | (starts > memory.size - lengths)).any():
            raise ValueError("constants inside the file expected")
        blocks, work, places = [], [], list(map(tuple, constants.tolist()))
        for _ in range(words.number(1, 16)):
            n, costs = words.number(1, 1 << 16), words.number(0, MOST)
            plan = _plan_words(words, 0)
            sizes = [[_bytes(port, n) for port in ports] for ports in (self.inputs, outputs)]
            _verify(plan, (places, self._first.nbytes, arena, *sizes))
            blocks.append((n, _plan(isa, plan)))
            work.append(costs)
        self.call = _stream.Call(
            consts=memory, state_bytes=self._first.nbytes, arena_bytes=arena, blocks=blocks, inputs=self.inputs,
            outputs=outputs, work=work, release_from=release_from, nodes=self, can_fail=bool(can_fail),
        )  # fmt: skip

    def call_in(self, phase: tuple[int, ...], flushed: bool) -> _stream.Call:
        """What does a call, wherever a stream stands."""
        return self.call

    def first_state(self) -> Bytes:
        """The state block before the first step: read-only, one for all streams."""
        return self._first

    # ---- other sizes --------------------------------------------------------------------------------------

    def beside(self, other: MappedPlan) -> None:
        """Another plan of the same stream, for other sizes."""
        if other is self:
            return
        if other._layout != self._layout or not self._begins_as(other):
            raise ValueError("plans of a stream with the same states expected")
        other._first = self._first
        known = [self, *self.others]
        for one in known:
            one.others.append(other)
        other.others = known

    def _begins_as(self, other: MappedPlan) -> bool:
        if not (self._kept or other._kept):  # zeros that nobody has touched so far
            return other._first.nbytes == self._first.nbytes
        return np.array_equal(other._first, self._first)

    def fitting(self, x: Any) -> MappedPlan | None:
        """That of the others which takes what is fed."""
        for other in self.others:
            named = x if isinstance(x, dict) else {other.inputs[0][0]: x}
            if len(named) == len(other.inputs) and all(_takes(port, named.get(port[0])) for port in other.inputs):
                return other
        return None

    # ---- the plan that is made from the graph -----------------------------------------------------------

    def bound(self, model: Any) -> MappedPlan:
        """The same, of the model that makes the rest."""
        for one in (self, *self.others):
            one._model = model
        return self

    @property
    def asked(self) -> Any:
        """What its streams were asked for with: told when somebody wants to know."""
        return _MappedAsked(self)

    def __getitem__(self, block: int) -> tuple[str, ...]:
        """The nodes that the steps of a block came from."""
        call: Any = self.made()[1].call
        found: tuple[str, ...] = call.nodes[block]
        return found

    def made(self) -> tuple[Asked, StreamPlan]:
        """What `Model.stream` would have given without a plan in the file.

        Raises
        ------
        FormatError
            It is another one: the states of a running stream cannot be read by it.
        """
        with self._lock:
            if self._made is None or self._asked is None:
                asked, plan = self._model._streams.open(self.batch, {}, {}, self.max_chunk)
                plan = self._sized(asked, plan)
                if (
                    plan is None
                    or layout_sign(plan) != self._layout
                    or not np.array_equal(plan.first_state(), self._first)
                ):
                    raise errors.FormatError(
                        f"{self._label}: its plans were made by another build of this release; convert the model again"
                    )
                self._asked, self._made = asked, plan
            return self._asked, self._made

    def _sized(self, asked: Asked, plan: StreamPlan) -> StreamPlan | None:
        """The plan from the graph at the sizes of this one; None: it has other inputs."""
        own = {name: shape for name, _, shape, *_ in self.inputs}
        facts = {name: fact.shape for name, fact in plan.step_facts.items()}
        if own.keys() != facts.keys() or any(len(own[name]) != len(shape) for name, shape in facts.items()):
            return None
        sizes = {
            (name, a): own[name][a] for name, shape in facts.items() for a, n in enumerate(shape) if own[name][a] != n
        }
        made: StreamPlan = self._model._replan(asked, sizes) if sizes else plan
        return made

    def __getattr__(self, name: str) -> Any:
        return getattr(self.made()[1], name)


class _MappedAsked:
    """Stands for `Asked`."""

    def __init__(self, plan: MappedPlan) -> None:
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        return getattr(self._plan.made()[0], name)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self._plan.made()[0],)


def _itself(asked: Asked) -> Asked:
    return asked


def _first(words: _Words, most: int) -> tuple[Bytes, bool]:
    """The first state, and do its bytes stand in the file: else they are all 0."""
    n, kept = words.number(0, most), words.number(0, 1)
    found: Bytes = words.bytes(n) if kept else np.zeros(n, np.uint8)
    if found.nbytes != n:
        raise ValueError(f"a first state of {n} bytes expected, got {found.nbytes}")
    found.flags.writeable = False
    return found, bool(kept)


def _plan_words(words: _Words, depth: int) -> Words:
    if depth > 16:
        raise ValueError("plans that are less deep in each other expected")
    n_steps, n_words, n_nested = (words.number(0, MOST) for _ in range(3))
    steps = _core.Steps(words.row(2 * n_steps + n_words), n_steps)
    return steps, [_plan_words(words, depth + 1) for _ in range(n_nested)]


def _verify(plan: Words, sizes: tuple[Any, ...]) -> None:
    """Refuse a plan as `program/verifier.py` does, which is asked where there are loops and branches, or something is wrong."""
    steps, nested = plan
    if not nested and not steps.controls and len(steps) < MOST_STEPS:
        found = _core.check_steps(steps, *_core.memories(*sizes), np.empty((0, 3), np.int64))
        if isinstance(found, float) and found <= MOST_WORK:
            return
    verifier.verify(_named(plan), verifier.Memories(*sizes), most_work=MOST_WORK)


def _named(plan: Words) -> verifier.PlanWords:
    steps, nested = plan
    return verifier.PlanWords(steps, [_named(inner) for inner in nested])


def _plan(isa: str, words: Words) -> _core.Plan:
    steps, nested = words
    return _core.Plan(isa, steps, [_plan(isa, inner) for inner in nested])


def _ports(words: _Words, most: int) -> list[Port]:
    return [_port(words, most) for _ in range(words.number(1, MOST_PORTS))]


def _port(words: _Words, most: int) -> Port:
    dtype = np.dtype(PORT_DTYPES[words.number(0, len(PORT_DTYPES) - 1)])
    shape = tuple(words.number(0, MOST) for _ in range(words.number(0, MOST_AXES)))
    time, every = words.number(-1, len(shape) - 1), words.number(0, 1)
    port = words.bytes(MOST).tobytes().decode(), dtype, shape, time, bool(every)
    if _bytes(port, 1) > most:
        raise ValueError(f"port {port[0]!r}: a step of {list(shape)}")
    return port


def _takes(port: Port, array: Any) -> bool:
    """May an array be a step of such a port, or several."""
    _, dtype, shape, time, _ = port
    if type(array) is not np.ndarray or array.dtype != dtype:
        return False
    got = array.shape
    if time < 0:
        return shape in (got, got[1:])
    one = (*shape[:time], *shape[time + 1 :])
    return one in (got, (*got[:time], *got[time + 1 :]))


def _bytes(port: Port, n: int) -> int:
    """Of what a block of n steps reads or writes."""
    _, dtype, shape, time, every = port
    total: int = dtype.itemsize * (n if time >= 0 or every else 1)
    for size in shape:
        total *= size
    return total
