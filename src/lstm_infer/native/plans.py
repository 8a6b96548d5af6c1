"""Plans that stand in a native file beside the graph: a stream runs at once, and the graph is read when something else is asked.

They are a cache: of another release or other kernels they are passed over, and each is verified before it runs.
"""

from __future__ import annotations

import sys
from _thread import RLock
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from .. import _core, _stream
from ..errors import FormatError
from ..later import Later

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..program import verifier
    from ..streams.asked import Asked
    from ..streams.plan import StreamPlan
    from .container import Container
    from .values import Value
else:
    verifier = Later("program.verifier")

__all__ = ["MOST_WORK", "PLANS", "MappedPlan", "layout_sign", "plan_key", "plans_of"]

PLANS = "plans"
"""The document."""
MOST_WORK = 2.0**40
"""Of one call; some minutes."""
MOST_BYTES = 1 << 32
"""Of what a stream keeps, or works in."""
MOST = 2**40


def plan_key() -> str:
    """What has to be the same where a plan was made and where it runs."""
    release = sys.modules[__name__.partition(".")[0]].__version__
    return f"{release} {crc32(repr(sorted(_core.slots.items())).encode()):08x}"


def plans_of(container: Container, isa: str) -> dict[tuple[int, int], MappedPlan]:
    """The plans of streams by batch and `max_chunk`, verified; none where they are of another build.

    Raises
    ------
    FormatError
        One of them is damaged, or would leave its memories.
    """
    if not container.has(PLANS):
        return {}
    document = container.document(PLANS)
    if document["key"].text() != plan_key():
        return {}
    numbers = container.part(document["words"], np.int64)
    found = {}
    for stream in document["streams"].items():
        key = stream["batch"].number(1, MOST), stream["max_chunk"].number(1, MOST)
        found[key] = MappedPlan(container, stream, numbers, isa)
    return found


def layout_sign(plan: StreamPlan) -> int:
    """What stands for where a stream keeps what."""
    places = [(key, view.buffer.offset, view.shape, view.dtype.str) for key, view in plan.layout.slots.items()]
    return crc32(repr(places).encode())


class MappedPlan:
    """What a stream needs to run, as `StreamPlan` has it. For all else it asks the plan that is made from the graph."""

    def __init__(self, container: Container, said: Value, numbers: NDArray[np.int64], isa: str) -> None:
        self.batch = said["batch"].number(1, MOST)
        self.max_chunk = said["max_chunk"].number(1, MOST)
        self.first_phase: tuple[int, ...] = ()
        self._first = container.part(said["first"], np.uint8)
        self._layout = said["layout"].number(0, 2**32 - 1)
        self._file, self._numbers, self._rest = container, numbers, numbers
        self._model: Any = None
        self._asked: Asked | None = None
        self._made: StreamPlan | None = None
        self._lock = RLock()
        self.call = self._call(said, isa)

    def first_state(self) -> NDArray[np.uint8]:
        """The state block before the first step: read-only, one for all streams."""
        return self._first

    def _call(self, said: Value, isa: str) -> _stream.Call:
        size = self._file.memory.size
        arena = said["arena"].number(0, MOST_BYTES)
        self.inputs, outputs = (list(map(_port, said[name].items(most=64))) for name in ("inputs", "outputs"))
        constants = self._take(2 * said["constants"].number(0, MOST)).reshape(-1, 2)
        starts, lengths = constants[:, 0], constants[:, 1]
        if ((starts < 64) | (lengths < 0) | (lengths > size) | (starts > size - lengths)).any():
            raise said.wrong("constants inside the file")
        blocks, work, nodes = [], [], []
        for item in said["blocks"].items(most=8):
            n = item["n"].number(1, 1 << 16)
            plan = self._words(item["plan"], 0)
            sizes = [[_bytes(port, n) for port in ports] for ports in (self.inputs, outputs)]
            places = zip(starts.tolist(), lengths.tolist(), strict=True)
            memories = verifier.Memories(places, self._first.nbytes, arena, *sizes)
            verifier.verify(plan, memories, most_work=MOST_WORK)
            blocks.append((n, _plan(isa, plan)))
            work.append(item["work"].number(0, MOST))
            nodes.append(tuple(item["nodes"].texts()))
            if len(nodes[-1]) != len(plan.steps):
                raise item.wrong("a node for each step")
        return _stream.Call(
            consts=self._file.memory, state_bytes=self._first.nbytes, arena_bytes=arena, blocks=blocks, inputs=self.inputs,
            outputs=outputs, work=work, release_from=said["release_from"].number(1, MOST), nodes=nodes,
            can_fail=said["can_fail"].truth(),
        )  # fmt: skip

    def _take(self, n: int) -> NDArray[np.int64]:
        """The next numbers."""
        if n > self._rest.size:
            raise self._file.wrong("the plans have fewer words than they say")
        found, self._rest = self._rest[:n], self._rest[n:]
        return found

    def _words(self, said: Value, depth: int) -> verifier.PlanWords:
        if depth > 16:
            raise said.wrong("plans that are less deep in each other")
        steps = []
        for step in said["steps"].items():
            slot, n = step.items(2)
            steps.append((slot.text(), self._take(n.number(0, MOST))))
        return verifier.PlanWords(steps, [self._words(inner, depth + 1) for inner in said["nested"].items()])

    # ---- the plan that is made from the graph -----------------------------------------------------------

    def bound(self, model: Any) -> MappedPlan:
        """The same, of the model that makes the rest."""
        self._model = model
        return self

    @property
    def asked(self) -> Any:
        """What its streams were asked for with: told when somebody wants to know."""
        return _MappedAsked(self)

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
                if layout_sign(plan) != self._layout or not np.array_equal(plan.first_state(), self._first):
                    raise FormatError(
                        f"{self._file.label}: its plans were made by another build of this release; convert the model again"
                    )
                self._asked, self._made = asked, plan
            return self._asked, self._made

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


def _plan(isa: str, words: verifier.PlanWords) -> _core.Plan:
    return _core.Plan(isa, words.steps, [_plan(isa, inner) for inner in words.nested])


def _port(value: Value) -> tuple[str, Any, tuple[int, ...], int, bool]:
    from .container import DTYPES, MOST_AXES

    name, dtype, shape, time, every = value.items(5)
    if dtype.text() not in DTYPES:
        raise dtype.wrong(f"one of {', '.join(DTYPES)}")
    dims = tuple(n.number(0, MOST) for n in shape.items(most=MOST_AXES))
    return name.text(), np.dtype(dtype.text()), dims, time.number(-1, len(dims) - 1), every.truth()


def _bytes(port: tuple[str, Any, tuple[int, ...], int, bool], n: int) -> int:
    """Of what a block of n steps reads or writes."""
    _, dtype, shape, time, every = port
    total = dtype.itemsize * (n if time >= 0 or every else 1)
    for size in shape:
        total *= size
    return int(total)
