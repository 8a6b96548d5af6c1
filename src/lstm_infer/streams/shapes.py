"""What a call of a stream was given, checked before anything runs: inputs, their shapes, and `out`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import given, views
from ..errors import DtypeError, FeedError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .block import Block
    from .plan import StreamPlan

    Arrays = Mapping[str, NDArray[Any]]
    Shapes = Mapping[str, tuple[int, ...] | None]
    """By output; None: it does not exist yet."""

__all__ = ["check_out", "checked_feeds", "chunk_length", "no_fit", "other_sizes", "run_shapes", "step_arrays",
           "time_axis"]  # fmt: skip


def time_axis(plan: StreamPlan, name: str) -> int | None:
    """The time axis of an input, None where it has none."""
    return None if plan.spec.mode == "frame" else plan.spec.roles.time.get(name)


def checked_feeds(plan: StreamPlan, x: Any) -> dict[str, NDArray[Any]]:
    """The inputs of a call by name, in their declared dtypes."""
    names = plan.fed.names
    if not isinstance(x, Mapping):
        if len(names) != 1:
            once = next((name for name in names if name in plan.fed.per_step), None)
            hint = (
                f"; {once!r} has no time: bind it with stream(inputs={{{once!r}: ...}}) or load(constants=...)"
                if once
                else ""
            )
            raise FeedError(f"this stream takes {len(names)} inputs; feed a dict with {names}{hint}")
        x = {names[0]: x}
    x = given.once(x)
    for name in x:
        if name not in names:
            why = _why_not(plan, name)
            raise FeedError(f"there is no input {name!r} to feed; the stream takes {names}{why}")
    for name in names:
        if name not in x:
            bind = f" (or bind it once with stream(inputs={{{name!r}: ...}}))"
            hint = bind if name in plan.fed.per_step else ""
            raise FeedError(f"input {name!r} is missing{hint}; the stream takes {names}")
    found: dict[str, NDArray[Any]] = {}
    for name in names:
        want = plan.step_facts[name].dtype
        array = views.view(f"input {name!r}", want, x[name])
        given.refuse_masked(f"input {name!r}", array)
        mine = np.ndarray.view(array, np.ndarray)  # nobody else can give this one another shape or dtype
        if mine.dtype != want:
            raise views.wrong_dtype(f"input {name!r}", want, mine.dtype)
        found[name] = mine
    return found


def _why_not(plan: StreamPlan, name: str) -> str:
    if name in plan.states:
        begins = f"stream(initial={{{name!r}: ...}})"
        return f"; {name!r} is a state: leave it out, the stream feeds it back itself, and begins at {begins}"
    if name in plan.spec.roles.constants and not (name in plan.fed.bound or name in plan.fed.known):
        return f"; {name!r} was made a constant by load(): leave it out"
    bound = name in plan.fed.bound or name in plan.fed.known
    return f"; {name!r} was bound when the stream was made" if bound else ""


def step_arrays(plan: StreamPlan, feeds: Arrays) -> tuple[dict[str, NDArray[Any]], bool]:
    """The inputs of one step with their time axis, and whether it was dropped."""
    ready: dict[str, NDArray[Any]] = {}
    dropped = False
    for name, array in feeds.items():
        want = plan.step_facts[name].shape
        axis = time_axis(plan, name)
        if axis is not None and array.ndim == len(want) - 1:
            if array.shape != want[:axis] + want[axis + 1 :]:
                raise _wrong_shape(plan, name, array, "step")
            array = np.expand_dims(array, axis)
            dropped = True
        elif array.shape != want:
            raise _wrong_shape(plan, name, array, "step")
        ready[name] = np.ascontiguousarray(array)
    return ready, dropped


def chunk_length(plan: StreamPlan, feeds: Arrays) -> int:
    """How many steps are fed; all streamed inputs say the same."""
    spec = plan.spec
    lengths: dict[str, int] = {}
    for name, array in feeds.items():
        want = plan.step_facts[name].shape
        if spec.mode == "frame" and name in spec.streamed:
            if array.shape[1:] != want or array.ndim != len(want) + 1:
                raise _wrong_shape(plan, name, array, "run")
            lengths[name] = array.shape[0]
            continue
        axis = time_axis(plan, name)
        shape = array.shape if axis is None else (*array.shape[:axis], 1, *array.shape[axis + 1 :])
        if shape != want or array.ndim != len(want):
            raise _wrong_shape(plan, name, array, "run")
        if axis is not None:
            lengths[name] = array.shape[axis]
    if len(set(lengths.values())) > 1:
        raise ShapeError(f"the streamed inputs have different numbers of steps: {lengths}")
    return next(iter(lengths.values()), 1)


def other_sizes(plan: StreamPlan, feeds: Arrays, lead: int) -> dict[tuple[str, int], int]:
    """Extents of open axes that differ from the plan's; `lead`: axes in front of a streamed input's own. The time axis of a step
    may be dropped."""
    found = {}
    for name, array in feeds.items():
        own = [*enumerate(plan.step_facts[name].shape)]
        skip, time = lead if name in plan.spec.streamed else 0, time_axis(plan, name)
        if time is not None and array.ndim == len(own) - 1:
            del own[time]
        if array.ndim != len(own) + skip:
            continue
        for size, (axis, known) in zip(array.shape[skip:], own, strict=True):
            if plan.fed.is_open(name, axis) and size != known:
                found[name, axis] = size
    return found


def no_fit(plan: StreamPlan, sizes: dict[tuple[str, int], int], what: str) -> ShapeError:
    """The error of states that were made before any frame showed these sizes, with what makes them in time."""
    shapes = {port.name: port.shape or () for port in plan.spec.roles.inputs if any(port.name == n for n, _ in sizes)}
    said = {
        name: tuple(sizes.get((name, a), n if isinstance(n, int) else None) for a, n in enumerate(shape))
        for name, shape in shapes.items()
    }
    return ShapeError(
        f"the states of this {what} were made for another size than the {', '.join(map(str, sizes.values()))} of "
        f"{', '.join(repr(name) for name in said)}, which the file leaves open; say it with load(..., inputs={said})"
    )


def _wrong_shape(plan: StreamPlan, name: str, array: NDArray[Any], call: str) -> ShapeError:
    axis = time_axis(plan, name)
    want: list[Any] = [
        "N" if a != axis and plan.fed.is_open(name, a) and (name, a) not in plan.spec.roles.known_sizes else n
        for a, n in enumerate(plan.step_facts[name].shape)
    ]
    if plan.spec.mode == "frame" and name in plan.spec.streamed:
        takes = str(want) if call == "step" else str(["T", *want])
    elif axis is None:
        takes = str(want)
    elif call == "step":
        takes = f"{want} or {want[:axis] + want[axis + 1 :]}"
    else:
        takes = str([*want[:axis], "T", *want[axis + 1 :]])
    open_text = "; the file leaves N open" if "N" in want else ""
    return ShapeError(
        f"{call}: input {name!r} takes {takes}, got {list(array.shape)}".replace("'T'", "T").replace("'N'", "N")
        + open_text
        + _hint(plan, name, array.shape, call)
    )


def _hint(plan: StreamPlan, name: str, shape: tuple[int, ...], call: str) -> str:
    """What was probably meant by an array of the wrong shape; "" where nothing looks like it."""
    want, axis, batch = plan.step_facts[name].shape, time_axis(plan, name), plan.spec.roles.batch.get(name)
    lead = int(plan.spec.mode == "frame" and name in plan.spec.streamed)
    if not lead and axis is None:
        return ""
    at = axis or 0
    step = want if lead else want[:at] + want[at + 1 :]
    chunk: tuple[int | None, ...] = (None, *want) if lead else (*want[:at], None, *want[at + 1 :])
    found = []
    if call == "step" and _like(shape, chunk):
        found.append(f"run() takes these {shape[at]} steps at once")
    if batch is not None:
        forms = [(chunk, batch + lead)]
        if call == "step":
            forms += [(want, batch), (step, batch - int(not lead and at < batch))]
        for form, place in forms:
            if _like(shape, (*form[:place], None, *form[place + 1 :])) and shape[place] > 1:
                found.append(f"{shape[place]} signals in lockstep take stream(batch={shape[place]})")
                break
        without = chunk[: batch + lead] + chunk[batch + lead + 1 :]
        if want[batch] == 1 and _like(shape, without):
            found.append(f"steps of one signal go into run(np.expand_dims(x, {batch + lead}))")
    opened = tuple(None if plan.fed.is_open(name, a) else n for a, n in enumerate(want))
    if call == "run" and lead and _like(shape, opened):
        found.append("one frame, whatever its N, goes into step()" if None in opened else "one frame goes into step()")
    swap = _swapped(shape, chunk if call == "run" else want) or (_swapped(shape, step) if call == "step" else None)
    if swap:
        found.append(f"another order of the axes is np.swapaxes(x, {swap[0]}, {swap[1]})")
    if batch is not None and want[batch] > 1 and not found:
        one = [(chunk, batch + lead)]
        if call == "step":
            one = [(want, batch), (step, batch - int(not lead and at < batch))]
        if any(_like(shape, (*form[:place], 1, *form[place + 1 :])) for form, place in one):
            found.append(f"the stream was made for {want[batch]} signals, one takes model.stream()")
    if not found and call == "step" and math.prod(shape) == math.prod(step):
        found.append(f"write x.reshape({', '.join(map(str, step))})")
    if not found and call == "step" and opened.count(None) == 1 and len(shape) == 1:
        known = math.prod(n for n in opened if n is not None)
        if known == 1:
            found.append(f"write x.reshape({', '.join('-1' if n is None else str(n) for n in opened)})")
    if not found and call == "run" and len(shape) == 1 and math.prod(step) == 1:  # samples of a signal
        found.append(f"write x.reshape({', '.join('-1' if n is None else str(n) for n in chunk)})")
    return "; " + ", ".join(found) if found else ""


def _swapped(shape: tuple[int, ...], form: tuple[int | None, ...]) -> tuple[int, int] | None:
    """Two axes that are changed for each other in a shape that else is of this form."""
    for a, b in itertools.combinations(range(len(shape)), 2):
        other = list(shape)
        other[a], other[b] = shape[b], shape[a]
        if shape[a] != shape[b] and _like(tuple(other), form):
            return a, b
    return None


def _like(shape: tuple[int, ...], form: tuple[int | None, ...]) -> bool:
    """Is a shape of this form; None: any extent."""
    return len(shape) == len(form) and all(n is None or n == m for n, m in zip(form, shape, strict=True))


def run_shapes(plan: StreamPlan, blocks: Sequence[Block]) -> Shapes:
    """Shapes of what a run over these blocks returns."""
    shapes: dict[str, tuple[int, ...] | None] = {}
    for o in plan.spec.outputs:
        shape = plan.out_facts[o.name].shape
        if plan.spec.mode == "frame":
            shapes[o.name] = (len(blocks), *shape)
        elif o.kind == "time":
            steps = sum(
                f.shape[o.axis]
                for b in blocks
                for name, f in zip(b.present, b.program.outputs, strict=True)
                if name == o.name
            )
            shapes[o.name] = (*shape[: o.axis], steps, *shape[o.axis + 1 :])
        else:
            shapes[o.name] = shape if any(o.name in b.present for b in blocks) else None
    return shapes


def check_out(plan: StreamPlan, out: Any, shapes: Shapes, feeds: Arrays) -> dict[str, NDArray[Any]] | None:
    """What is written to, by output; refused where it cannot be filled. None: nothing was given.

    They are views that nobody else has: whatever becomes of `out` meanwhile, what was looked at is what is written to.
    """
    if out is None:
        return None
    if len(shapes) > 1 and not isinstance(out, Mapping):
        raise FeedError(f"out: the stream returns {len(shapes)} outputs; give a dict with {sorted(shapes)}")
    before: dict[str, NDArray[Any]] = {}
    for name, target in (given.once(out) if isinstance(out, Mapping) else {plan.spec.outputs[0].name: out}).items():
        if name not in shapes:
            raise FeedError(f"out: there is no output {name!r}; the stream returns {sorted(shapes)}")
        shape, dtype = shapes[name], plan.out_facts[name].dtype
        new = f"give np.empty({'...' if shape is None else shape}, np.{dtype})"
        if not isinstance(views.viewed(target), np.ndarray) and not hasattr(type(target), "__dlpack__"):
            shown = given.shown(target)
            raise DtypeError(f"out: an array to write output {name!r} into expected, got {shown}; {new}")
        target = views.view(f"out: output {name!r}", dtype, target)
        given.refuse_masked(f"out: output {name!r}", target, "give an array without one")
        target = np.ndarray.view(target, np.ndarray)
        if target.dtype != dtype or not target.dtype.isnative:
            raise DtypeError(f"out: output {name!r} takes an array of {dtype}, got {target.dtype}; {new}")
        if shape is None:
            raise ShapeError(f"out: output {name!r} does not exist before the first step")
        if target.shape != shape:
            raise ShapeError(f"out: output {name!r} has shape {list(shape)}, got {list(target.shape)}")
        if not target.flags.writeable:
            raise FeedError(f"out: the array for output {name!r} is read-only; give one that may be written to")
        if not target.flags.c_contiguous or not target.flags.aligned:
            raise FeedError(
                f"out: the array for output {name!r} is not C-contiguous and aligned; fill a new one and copy"
            )
        if any(np.may_share_memory(target, array) for array in feeds.values()):
            raise FeedError(f"out: the array for output {name!r} shares memory with an input; give it its own")
        for other, array in before.items():
            if np.may_share_memory(target, array):
                raise FeedError(f"out: the arrays for the outputs {other!r} and {name!r} share memory")
        before[name] = target
    return before
