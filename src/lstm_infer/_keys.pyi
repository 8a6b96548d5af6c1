"""Keys of rows, numbered in the order in which they are first seen."""

from typing import final

import numpy as np
from numpy.typing import NDArray

def hashes(data: NDArray[np.uint8], starts: NDArray[np.int64] | None, width: int) -> NDArray[np.uint64]:
    """A number for each key that is the same in every process and release.

    Raises
    ------
    ValueError
        The keys do not lie in `data`.
    """

@final
class KeyTable:
    """Which key has which number, from 0 on.

    Parameters
    ----------
    width : int
        Bytes of a key; 0: keys of any length.
    """

    def __init__(self, width: int) -> None: ...
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def number(self, data: NDArray[np.uint8], starts: NDArray[np.int64] | None, add: bool) -> NDArray[np.int64]:
        """The numbers of keys that lie one after the other, int64 [n]; -1: it is none, and `add` does not make it one.

        Parameters
        ----------
        data : uint8 [n * width], or all that `starts` points to
        starts : int64 [n + 1]
            Of keys of any length: where each begins, and where the last one ends.

        Raises
        ------
        ValueError
            They do not lie in `data`.
        MemoryError
            There is no room; some may have been added.
        """

    def forget(self, n: int) -> None:
        """All but the first n."""
    def values(self) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
        """All keys in the order of their numbers, as `number` takes them."""
    def grouped(
        self, numbers: NDArray[np.int64], order: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The rows of a table key by key: the keys, where the rows of each begin and the last ones end, the rows.

        Parameters
        ----------
        numbers : int64 [n]
            Of the keys of the rows; below 0: the row is left out.
        order : int64 [m], optional
            The rows in the order that those of a key keep; None: as they stand.

        Raises
        ------
        ValueError
            There is no such key or row.
        """
