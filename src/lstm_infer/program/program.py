"""A Program: what runs for one set of input sizes, C plans (and NumPy between them) over a table of base addresses.

The bases are: 0 constants, 1 state, 2 arena, then the inputs, then the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from .. import _core
from ..errors import LstmInferError, ShapeError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array
from .calls import HostCall
from .draws import Seeded
from .views import View

__all__ = ["BASE_ARENA", "BASE_CONST", "BASE_FIRST", "BASE_STATE", "Program", "step_failed"]

BASE_CONST, BASE_STATE, BASE_ARENA, BASE_FIRST = 0, 1, 2, 3


@frozen
class Program:
    """Runs over bases that the caller supplies. `outputs`: shape and dtype of each output."""

    segments: tuple[_core.Plan | HostCall, ...]
    arena_bytes: int
    outputs: tuple[Fact, ...]
    nodes: tuple[tuple[str, ...], ...]
    """Which node each call of each segment came from, for error messages."""
    consts: tuple[View, ...] = ()
    """The constants whose addresses are in the plans: alive as long as the program."""
    seeded: tuple[Seeded, ...] = ()
    """The states of random nodes in a run."""
    state_bytes: int = 0
    """Of a run: what its random nodes count. A stream has its own."""
    can_fail: bool = False
    """May a call refuse what it finds in its data: the states may then be halfway."""

    @property
    def plan(self) -> _core.Plan | None:
        """The one C plan, where nothing runs on the host."""
        only = self.segments[0] if len(self.segments) == 1 else None
        return only if isinstance(only, _core.Plan) else None

    @property
    def n_calls(self) -> int:
        """How many calls it has."""
        return sum(map(len, self.nodes))

    @property
    def slots(self) -> tuple[str, ...]:
        """The kernel slots in the order they are called; "host:<Op>" for calls of NumPy."""
        names: list[str] = []
        for segment in self.segments:
            names += segment.slots if isinstance(segment, _core.Plan) else [f"host:{segment.node.op}"]
        return tuple(names)

    def run(self, bases: Sequence[Array | int | None]) -> None:
        """Run all calls; the error of a failing call names its node."""
        for segment, names in zip(self.segments, self.nodes, strict=True):
            try:
                segment.run(bases)
            except _core.StepError as error:
                raise step_failed(error, names) from None
            except _NUMPY_ERRORS as error:
                if isinstance(segment, _core.Plan) or isinstance(error, LstmInferError):
                    raise
                raise ShapeError(f"{names[0]}: {error}; check the values that were fed") from error


_NUMPY_ERRORS = (ValueError, TypeError, ArithmeticError, LookupError)
"""What NumPy says of values that an operator does not take."""

_FAILURES = {
    1: "an index lies outside its axis",
    2: "a sequence length lies outside 0..T",
    3: "an integer was divided by zero, or a value is not allowed",
    4: "the loop ran past its limit: its condition stays true for too long, or for ever",
}


def step_failed(error: _core.StepError, names: Sequence[str]) -> LstmInferError:
    """The public error for a call that failed on its data."""
    where = names[error.step] if error.step < len(names) else "?"
    if error.status == _core.status_codes["BRANCH"]:
        return ShapeError(where)
    what = _FAILURES.get(error.status, f"failed with status {error.status}")
    return ShapeError(f"{where}: {what}; check the values that were fed")
