"""Signals that lie row by row in slabs, and calls over any of them in one crossing into C."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn, TypeVar, final, overload

import numpy as np
from numpy.typing import NDArray

from ._core import StepError
from ._rig import Layout, Rig
from .typing import Array, ArrayIn, Feeds, Out

Result = TypeVar("Result")
Ids = Iterable[int] | ArrayIn
"""int64 [N], or any sequence of ids."""

@final
class Share:
    """A call in parts, for a thread each. Made by a pool."""

    @property
    def n_parts(self) -> int: ...
    def run(self, part: int) -> None:
        """Do one part."""
    def stop(self) -> None:
        """No part goes on for long."""

class PoolCore:
    """Rows of states by id, and the calls over them. One call at a time; others wait."""

    def _begin(self, row_bytes: int) -> None:
        """Say how large a row is: before anything else."""
    def _equip(self, rig: Rig | None) -> None:
        """Say what a call is; None: all go through `_slow`."""
    def _alone(self, body: Callable[[], Result]) -> Result:
        """Call body() while no other call is in the pool.

        Raises
        ------
        StateError
            This thread is in a call of the pool.
        """
    def _forked(self) -> bool:
        """In the child of a fork: was nobody in the pool."""
    def _add(self, layout: Layout, state: NDArray[np.uint8]) -> int:
        """A new signal with the state that stands first in a state block; its id."""
    def _add_many(self, layout: Layout, state: NDArray[np.uint8], n: int) -> NDArray[np.int64]:
        """So many with this state, or none; their ids."""
    def _remove(self, slot: int) -> None:
        """The slot is free, its id is none any more."""
    def _slot(self, id: int) -> int:
        """The slot of an id; -1: there is none."""
    def _slots(self, ids: NDArray[np.int64]) -> tuple[Any, Any]:
        """(slots, None), or (the place of a wrong one, -1 there is none or -2 named twice)."""
    def _ids(self) -> NDArray[np.int64]:
        """Those that are open."""
    def _load(self, layout: Layout, slots: NDArray[np.int64], state: NDArray[np.uint8]) -> None:
        """States of signals into a state block."""
    def _store(self, layout: Layout, slots: NDArray[np.int64], state: NDArray[np.uint8]) -> None:
        """And back."""
    def _rows(self, slots: NDArray[np.int64], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
        """Copies of rows, in the memory of `out` where that is given."""
    def _put_rows(self, slots: NDArray[np.int64], rows: NDArray[np.uint8]) -> None:
        """And back."""
    @property
    def n_open(self) -> int: ...
    @property
    def _row_bytes(self) -> int: ...
    @property
    def _table_bytes(self) -> int: ...
    def _fast(self, rig: Rig, ids: Any, x: Any, out: Any, chunk: bool) -> Any:
        """A call inside `_alone`; None: not for this road, and nothing was done."""
    @overload
    def step(self, ids: Ids, frames: ArrayIn, out: None = None) -> Array | dict[str, Array]: ...
    @overload
    def step(self, ids: Ids, frames: Feeds, out: None = None) -> dict[str, Array]: ...
    @overload
    def step(self, ids: Ids, frames: ArrayIn | Feeds, out: Out) -> Out: ...
    @overload
    def step(self, ids: Mapping[int, Feeds]) -> dict[int, dict[str, Array | None]]: ...
    @overload
    def step(self, ids: Mapping[int, ArrayIn]) -> dict[int, Array | dict[str, Array | None] | None]: ...
    @overload
    def step(self, ids: Mapping[int, ArrayIn | Feeds]) -> dict[int, Array | dict[str, Array | None] | None]:
        """Feed one time step to each of some signals: see the compiled method."""
    @overload
    def run(self, ids: Ids, chunks: ArrayIn, out: None = None) -> Array | dict[str, Array]: ...
    @overload
    def run(self, ids: Ids, chunks: Feeds, out: None = None) -> dict[str, Array]: ...
    @overload
    def run(self, ids: Ids, chunks: ArrayIn | Feeds, out: Out) -> Out: ...
    @overload
    def run(self, ids: Mapping[int, Feeds]) -> dict[int, dict[str, Array | None]]: ...
    @overload
    def run(self, ids: Mapping[int, ArrayIn]) -> dict[int, Array | dict[str, Array | None] | None]: ...
    @overload
    def run(self, ids: Mapping[int, ArrayIn | Feeds]) -> dict[int, Array | dict[str, Array | None] | None]:
        """Feed T time steps to each of some signals: see the compiled method."""
    def _use_threads(self, threads: int) -> None:
        """So many threads do a call that is large enough, that of the caller among them."""
    def _spread(self, share: Share) -> None:
        """Hook: run all parts of a call."""
    def _slow(self, ids: Any, frames: Any, out: Any, chunk: bool) -> Any:
        """Hook: a call that is not for the fast road."""
    def _failed(self, error: StepError, ids: Any, frames: Any, chunk: bool) -> NoReturn:
        """Hook: raise the public error for a call that failed on its data."""
