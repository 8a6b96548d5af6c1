"""Verifies the words of a plan that comes from a file: nobody trusts it, and what is right here may be run.

`_core.check_steps` (kernels/li_check.h) says of each step whether the slot, whatever its data are, stays inside the memories that
are handed to it. Here is what goes over all steps: loops with the windows that move along, branches, plans in plans, and how long
it all takes. Looks at words and sizes only, never at data, and allocates next to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from .. import _core
from ..errors import FormatError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Table = NDArray[np.int64]

__all__ = ["Memories", "PlanWords", "verify"]

MOST_WORK = 2.0**38
"""Numbers that are read, written or multiplied: minutes. A caller who knows what a plan is for has a smaller one."""
MOST_STEPS = 1 << 18
"""Steps that are looked at, those of a plan once for each place in which it stands; to enter one counts as `_ENTER`."""
MOST_DEPTH = 16
_ENTER = 16


class PlanWords:
    """A plan as `_core.Plan` takes it: steps, and what their loops and branches run."""

    __slots__ = ("nested", "steps")

    def __init__(
        self, steps: Sequence[tuple[str, NDArray[np.int64]]] | _core.Steps, nested: Sequence[PlanWords] = ()
    ) -> None:
        self.steps, self.nested = steps, nested


class Memories:
    """What stands behind the bases of a program: constants, state, arena, inputs, outputs. The first three begin at multiples of
    64 bytes.

    Parameters
    ----------
    constants : iterable of (int, int)
        Offset from base 0 and bytes of each block. A step reads inside one of them.
    state, arena : int
        Bytes.
    inputs, outputs : sequence of int
        Bytes of each.
    """

    def __init__(
        self,
        constants: Iterable[tuple[int, int]],
        state: int,
        arena: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
    ) -> None:
        try:
            self.bases, self.blocks = _core.memories(constants, state, arena, inputs, outputs)
        except (ValueError, OverflowError) as error:
            raise FormatError(str(error)) from None


def verify(plan: PlanWords, memories: Memories, *, most_work: float = MOST_WORK) -> float:
    """Refuse a plan that could read or write outside of its memories, divide by nothing, or take too long.

    Parameters
    ----------
    plan : PlanWords
        The plan, with those that its loops and branches run.
    memories : Memories
        What it will be run over. Every base is as large as it is said to be.
    most_work : float
        Numbers that it may read, write or multiply, loops to their limits.

    Returns
    -------
    float
        How many it does at most.

    Raises
    ------
    FormatError
        The plan is refused: step, slot, field and why.
    """
    found = _Verified(memories, most_work)
    work = found.plan(plan, memories.bases, np.empty((0, 3), np.int64), "")
    if work > most_work:
        raise FormatError(f"the plan may take {work:.1g} operations; at most {most_work:.1g} are taken from a file")
    return work


class _Verified:
    """One verification: what was seen so far of a plan whose plans may stand in each other in many places."""

    def __init__(self, memories: Memories, most_work: float) -> None:
        self.blocks, self.most_work = memories.blocks, most_work
        self.n_steps = self.depth = 0

    def plan(self, plan: PlanWords, bases: Table, kept: Table, where: str) -> float:
        """The work of a plan that sees these bases; `kept`: tables of the loops around it."""
        self.n_steps += len(plan.steps) + _ENTER
        if self.n_steps > MOST_STEPS or self.depth > MOST_DEPTH:
            raise FormatError(f"plan {where or 'of a file'}: too many steps, or loops and branches in each other")
        try:
            found = _core.check_steps(plan.steps, bases, self.blocks, kept)
        except (TypeError, ValueError) as error:
            raise FormatError(f"plan {where}: {error}") from None
        if isinstance(found, tuple):
            index, field, what = found
            _refuse(where, index, plan.steps[index][0], f"{field} {what}")
        self.depth += 1
        for index in _controls(plan.steps):
            slot, words = plan.steps[index]
            inside = f"{where}step {index} ({slot}), "
            inner = words[: _core.control[slot]].tolist()
            if slot == "loop":
                found += self._loop(plan.nested, inner, words, bases, kept, inside)
            else:
                found += max((self._nested(plan.nested, n, bases, kept, inside) for n in inner if n != -1), default=0.0)
            if found > self.most_work:
                break  # that is what it is refused for
        self.depth -= 1
        return found

    def _nested(self, plans: Sequence[PlanWords], n: int, bases: Table, kept: Table, where: str) -> float:
        if not 0 <= n < len(plans):
            raise FormatError(f"plan, {where}plan {n} of {len(plans)} is meant")
        return self.plan(plans[n], bases, kept, where)

    def _loop(
        self, plans: Sequence[PlanWords], inner: list[int], words: Table, bases: Table, kept: Table, where: str
    ) -> float:
        limit, inside, table = _core.loop_inside(words, bases)
        return sum(limit * self._nested(plans, n, inside, np.concatenate([kept, table]), where) for n in inner)


def _controls(steps: Sequence[tuple[str, NDArray[np.int64]]] | _core.Steps) -> Sequence[int]:
    """The loops and branches."""
    if isinstance(steps, _core.Steps):
        return steps.controls
    return [index for index, (slot, _) in enumerate(steps) if slot in _core.control]


def _refuse(where: str, index: int, slot: str, what: str) -> NoReturn:
    raise FormatError(f"plan, {where}step {index} ({slot}): {what}")
