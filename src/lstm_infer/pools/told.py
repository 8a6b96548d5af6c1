"""What a call of a pool is given: ids, and frames in the array form or the dict form, checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import given, views
from ..errors import ArgumentError, FeedError, LstmInferError, ShapeError, StateError
from ..streams import shapes
from ..streams.plan import StreamPlan

if TYPE_CHECKING:
    from ..streams.shapes import Arrays

__all__ = [
    "Ids", "behind_ids", "check_frame", "id_array", "named", "no_such", "one_id", "one_or_more", "own_feeds",
    "shared_feeds", "twice",
]  # fmt: skip

Ids = NDArray[np.int64]


def one_id(value: Any) -> int:
    """A single id."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ArgumentError(f"id: the number that open() returned expected, got {given.shown(value)}")
    return int(value) if -(1 << 63) <= value < 1 << 63 else -1


def id_array(value: Any) -> Ids:
    """Several, as int64 [N]."""
    if isinstance(value, Mapping):
        raise ArgumentError("ids: a dict of ids is the other form: step({id: frame}), without frames beside it")
    value = views.viewed(value)
    if isinstance(value, np.ndarray):
        given.refuse_masked("ids", value)
        if value.dtype.kind not in "iu" and value.size:
            raise ArgumentError(
                f"ids: whole numbers expected, got {given.shown(value)}; ids come first: step(ids, frames)"
            )
        if value.ndim != 1:
            raise ArgumentError(f"ids: [N] expected, got an array of {list(value.shape)}")
        return np.ascontiguousarray(value, np.int64)
    if isinstance(value, (int, np.integer)) or not hasattr(value, "__iter__"):
        one = f"; of one signal: [{value}]" if isinstance(value, (int, np.integer)) else ""
        raise ArgumentError(f"ids: a sequence of ids expected, got {given.shown(value)}{one}")
    found = given.items("ids", value)
    if all(type(id) is int for id in found):
        try:
            return np.array(found, np.int64)
        except OverflowError:
            pass
    return np.array([one_id(id) for id in found], np.int64)


def one_or_more(value: Any) -> Ids:
    """A single id, or several, as int64 [N]."""
    return np.array([one_id(value)]) if isinstance(value, (int, np.integer)) else id_array(value)


def no_such(id: int) -> StateError:
    """The error for an id that is not open."""
    return StateError(f"there is no signal {id} in this pool; it was closed, or open() did not return it")


def twice(id: int) -> FeedError:
    """The error for an id that a call names twice."""
    return FeedError(f"ids: {id} is named twice; a signal takes one step after the other, not two in one call")


def behind_ids(error: ShapeError, frame: str) -> ShapeError:
    """The error of a frame of the array form, with where its frames stand."""
    said = str(error).split("; ")[0]  # remedies there are of a stream
    return ShapeError(
        f"{said} for the first id; {frame}s stand along a first axis, np.stack({frame}s) in the order of ids"
    )


def named(id: int, error: LstmInferError) -> LstmInferError:
    """The same error, with the signal that it is about."""
    return error.with_text(f"signal {id}: {error}")


def shared_feeds(plan: StreamPlan, x: Any, n: int) -> dict[str, NDArray[Any]]:
    """The arrays of the array form by input, each [N, *frame]: names, dtypes, and the leading axis."""
    feeds = shapes.checked_feeds(plan, x)
    for name, array in feeds.items():
        if array.ndim == 0 or array.shape[0] != n:
            raise ShapeError(f"input {name!r} takes [{n}, ...], a frame for each id, got {list(array.shape)}")
    return feeds


def own_feeds(
    plan: Callable[[Arrays], StreamPlan], frames: Mapping[Any, Any], chunk: bool
) -> list[tuple[int, dict[str, NDArray[Any]], bool]]:
    """The dict form: for each signal its id, its arrays by input, and whether they came in a dict of their own. `plan`: the one
    for the sizes that are fed."""
    found = []
    for key, frame in frames.items():
        id = one_id(key)
        try:
            feeds = shapes.checked_feeds(plan({}), frame)
            check_frame(plan(feeds), feeds, chunk)
        except LstmInferError as error:
            raise named(id, error) from None
        found.append((id, feeds, isinstance(frame, Mapping)))
    return found


def check_frame(plan: StreamPlan, feeds: Arrays, chunk: bool) -> None:
    """The shapes of the frame, or the chunk, of one signal."""
    if chunk:
        shapes.chunk_length(plan, feeds)
    else:
        shapes.step_arrays(plan, feeds)
