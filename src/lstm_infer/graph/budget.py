"""What a model may cost before it runs: one budget of work for a whole `load`, in proportion to the file.

A few bytes can ask for any amount of work: products of constants, loops in loops, functions that call each other
twice. Whoever folds, unrolls, inlines, walks or traces says here what it is about to do, in units of about a
nanosecond, and is refused once the budget is used up. The first who asks opens the budget (`open_budget`); all that
it calls shares it. What the load of an honest file uses is an eighth of its budget or less, of 308 models, exports and
zoo files.

Two decisions need no error and depend on the one node alone, so that every walk of a graph takes them alike: a
constant that costs more than `Allowance.fold_work` to compute, or that would not fit beside the others a walk holds
(`Allowance.held_bytes`), stays a node that runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors import BudgetError

__all__ = [
    "FOLD",
    "TRACE",
    "VISIT",
    "Allowance",
    "Budget",
    "allow",
    "is_left",
    "leave",
    "limits",
    "open_budget",
    "spend",
    "spent",
]

VISIT = 8_000
"""What a walk spends on a node, beside what it takes to compute it."""

FOLD = 20_000
"""What a constant takes that is computed, beside its work."""

TRACE = 20_000
"""What it costs to follow axes through a node."""

FLOOR = 1_800_000_000
"""The smallest file may use some seconds."""

PER_NODE = 600_000
"""What each node of the file adds: a load walks a graph some twenty times."""

PER_BYTE = 64
"""What each byte of the file's weights adds: they are read, unpacked, transposed and packed."""

FOLD_WORK = 250_000_000
"""A constant that takes more work than this is computed when the plan runs, not when it is made."""

HELD_BYTES = 1 << 26
"""All constants that a walk computes may take this much, and four times the file's bytes."""


class Allowance:
    """What a file may cost."""

    __slots__ = ("fold_work", "held_bytes", "work")

    def __init__(self, work: int = FLOOR, fold_work: int = FOLD_WORK, held_bytes: int = HELD_BYTES) -> None:
        self.work, self.fold_work, self.held_bytes = work, fold_work, held_bytes

    def __reduce__(self) -> tuple[object, ...]:  # pickle's protocols 0 and 1 take no slots
        return Allowance, (self.work, self.fold_work, self.held_bytes)

    @classmethod
    def of(cls, n_nodes: int, n_bytes: int) -> Allowance:
        """For a file of so many nodes and bytes."""
        return cls(FLOOR + PER_NODE * n_nodes + PER_BYTE * n_bytes, FOLD_WORK + 16 * n_bytes, HELD_BYTES + 4 * n_bytes)


_FLOOR = Allowance()


class Budget:
    """The work of one load, or of one plan made later."""

    def __init__(self, allowance: Allowance) -> None:
        self.allowance = allowance
        self.spent = 0
        self.error: BudgetError | None = None
        """Why it is used up. It stays so: whoever catches the error and tries another way is refused at once."""
        self.left: dict[int, object] = {}
        """Bodies of loops, by identity, that took too much to be computed: the next walk leaves them at once."""

    def spend(self, who: object, work: int) -> None:
        """Account for work that is about to be done for `who`, a node or a text.

        Raises
        ------
        BudgetError
            It is more than is left.
        """
        self.spent += work
        if self.spent <= self.allowance.work:
            return
        if self.error is None:
            self.error = BudgetError(
                f"{who}: asks for {_text(work)} operations, and {_text(self.spent - work)} were done before it; "
                f"{_text(self.allowance.work)} are in proportion to this file. Simplify the model (constant folding in the "
                "exporter, shorter loops, fewer nested ones), or turn an input that decides a size into a constant of "
                "that size: load(..., constants={...})"
            )
        raise self.error.kept()


_current: ContextVar[Budget | None] = ContextVar("budget", default=None)


def limits() -> Allowance:
    """What the budget that is open allows; the floor where none is."""
    budget = _current.get()
    return _FLOOR if budget is None else budget.allowance


def allow(allowance: Allowance) -> None:
    """The importer has seen how large the file is."""
    budget = _current.get()
    if budget is not None:
        budget.allowance = allowance


def leave(body: object) -> None:
    """A loop with this body takes too much work to be computed before it runs."""
    budget = _current.get()
    if budget is not None:
        budget.left[id(body)] = body


def is_left(body: object) -> bool:
    """Did it take too much before."""
    budget = _current.get()
    return budget is not None and id(body) in budget.left


def spent() -> int:
    """What was done of it so far."""
    budget = _current.get()
    return 0 if budget is None else budget.spent


def spend(who: object, work: int) -> None:
    """`Budget.spend` of the one that is open; nothing where none is."""
    budget = _current.get()
    if budget is not None:
        budget.spend(who, work)


@contextmanager
def open_budget(allowance: Allowance) -> Iterator[Budget]:
    """Open a budget for what is done inside, or go on with the one that is open.

    Raises
    ------
    BudgetError
        At the end, if it was used up and somebody went on without it.
    """
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    budget = Budget(allowance)
    token = _current.set(budget)
    try:
        yield budget
    finally:
        _current.reset(token)
    if budget.error is not None:
        raise budget.error.kept()


def _text(n: int) -> str:
    return str(n) if n < 10_000 else f"{n:.1e}".replace("e+0", "e").replace("e+", "e")
