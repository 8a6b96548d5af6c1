"""Signals from and to files, for `lstm-infer run`: .npy, .npz, .csv and .wav, brought into the model's own layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

from ..analysis.spec import StreamSpec
from ..drive.inputs import Feeds, stream_spec
from ..drive.through import Outcome
from ..errors import FeedError, FormatError, NotStreamableError, ShapeError
from ..model import Model
from ..records import InputInfo
from .wav import read_wav, write_wav

__all__ = ["Signal", "check_output", "read_array", "read_arrays", "read_signal", "write_outcome"]

KINDS = ".npy, .npz, .csv, .wav"
RATES = (8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
"""Numbers that are probably meant as samples a second."""


@dataclass
class Signal:
    """What was read: arrays by input name, in the model's layout and dtypes."""

    feeds: Feeds
    rate: int | None = None
    samples: int | None = None
    """Samples of one channel, where a frame of the model takes several of them."""
    notes: list[str] = field(default_factory=list)


def read_arrays(path: Path) -> Feeds:
    """All arrays of an .npz file.

    Raises
    ------
    FormatError
        It is no .npz file, or holds pickled objects.
    OSError
        It cannot be read.
    """
    file = _loaded(path)
    if isinstance(file, np.ndarray):
        raise FormatError(f"{path}: holds one array, expected an .npz file with arrays by name")
    with file:
        arrays: Feeds = _numbers(path, lambda: {name: file[name] for name in file.files})
    return arrays


def read_array(path: Path) -> NDArray[Any]:
    """The array of a .npy file.

    Raises
    ------
    FormatError
        It is no .npy file, or holds pickled objects.
    OSError
        It cannot be read.
    """
    file = _loaded(path)
    if not isinstance(file, np.ndarray):
        raise FormatError(f"{path}: holds arrays by name, expected a .npy file with one (an .npz is read by its name)")
    return file


def _loaded(path: Path) -> Any:
    """What NumPy wrote into a file."""
    if path.stat().st_size == 0:
        raise FormatError(f"{path}: the file is empty; write it again")
    return _numbers(path, lambda: np.load(path, allow_pickle=False))


def _numbers(path: Path, read: Callable[[], Any]) -> Any:
    """What `read` reads, unless it is broken, or no numbers."""
    try:
        return read()
    except (ValueError, EOFError, KeyError, BadZipFile) as error:
        wrong = str(error)
        if "allow_pickle" in wrong:  # NumPy takes for pickled what it does not know
            wrong = "holds objects of Python; save numbers: np.save(path, np.asarray(x, np.float32))"
            if not (is_zipfile(path) or path.read_bytes()[:6] == b"\x93NUMPY"):
                wrong = "is not written by NumPy; np.save(path, array) writes such a file"
        raise FormatError(f"{path}: {wrong}") from error


def read_signal(path: Path, model: Model, *, whole: bool = False) -> Signal:
    """Read the model's inputs.

    Parameters
    ----------
    path : .npz with arrays by input name; .npy, .csv or .wav for the one input that is streamed
        .npy in the model's layout; .csv with one step a row; .wav with one sample a step, or cut into frames where a
        step takes several, or one channel a feature where the counts agree.
    whole : bool
        The model is going to be run whole.

    Raises
    ------
    FeedError, ShapeError, FormatError
        The file does not fit the model, or is broken.
    OSError
        It cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".npz":
        signal = Signal(read_arrays(path))
    elif suffix == ".npy":
        signal = Signal({_only_input(model, path, whole).name: read_array(path)})
    elif suffix == ".csv":
        signal = _from_rows(_read_csv(path), _only_input(model, path, whole), model, path)
    elif suffix == ".wav":
        signal = _from_wav(path, _only_input(model, path, whole), model)
    else:
        raise FormatError(_no_kind(path))
    infos = {info.name: info for info in model.inputs}
    for name, array in signal.feeds.items():
        if not array.size:
            signal.notes.append(f"{path}: input {name!r} is empty, {list(array.shape)}: there is no step to stream")
        if name in infos and array.dtype != infos[name].dtype:
            signal.feeds[name] = _converted(array, infos[name], None if suffix in (".csv", ".wav") else signal.notes)
    return signal


def _no_kind(path: Path) -> str:
    """What is wrong with a file of no kind that is known."""
    pipe = "; files are read and written by their name, not through pipes" * (
        str(path) in ("-", "/dev/stdin", "/dev/stdout")
    )
    return f"{path}: expected one of {KINDS}{pipe}"


def _only_input(model: Model, path: Path, whole: bool) -> InputInfo:
    spec = stream_spec(model)
    states = {s.name for s in model.states if s.kind == "input"}
    streams = not whole and not isinstance(spec, NotStreamableError)
    names = list(spec.streamed) if streams and isinstance(spec, StreamSpec) else []
    names = names or [info.name for info in model.inputs if info.name not in states]
    if len(names) != 1:
        why = "" if whole or streams else f"; it does not stream: {spec}"
        raise FeedError(f"{path}: the model takes {len(names)} inputs, {names}; give them by name in an .npz file{why}")
    return next(info for info in model.inputs if info.name == names[0])


def _converted(array: NDArray[Any], info: InputInfo, notes: list[str] | None) -> NDArray[Any]:
    if array.dtype.kind == "f" and info.dtype.kind == "f":
        if notes is not None:
            notes.append(f"input {info.name!r} converted from {array.dtype} to {info.dtype}")
        return array.astype(info.dtype)
    cast = array.astype(info.dtype)
    if not np.array_equal(cast, array):
        raise FormatError(
            f"input {info.name!r} takes {info.dtype}; the file holds {array.dtype} values that do not fit it"
        )
    return cast


def _read_csv(path: Path) -> NDArray[np.float64]:
    with path.open(encoding="utf-8-sig") as file:
        lines = file.read().splitlines()
    try:
        [float(cell) for cell in lines[0].split(",")]
    except (ValueError, IndexError):
        lines = lines[1:]  # a header
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise FormatError(f"{path}: no row of numbers is in it; a row of them is expected for each step")
    empty = [n for n, line in enumerate(lines) if not line.strip()]
    if empty:  # a missing value in a table of one column: without it all later steps come too early
        raise FormatError(
            f"{path}: data row {empty[0] + 1} is empty; give a number for each step, nan where there is none"
        )
    try:
        rows = [[float(cell) for cell in line.split(",")] for line in lines]
        return np.array(rows, np.float64).reshape(len(rows), -1)
    except ValueError as error:
        raise FormatError(
            f"{path}: expected numbers in columns separated by commas, as many in every row: {error}"
        ) from error


def _step_shape(info: InputInfo, model: Model) -> tuple[int | None, int | None, list[int]]:
    """Time axis, batch axis, and the extents of the other axes."""
    others = [
        model._roles.open_sizes.get((info.name, a), 1) if n is None else n
        for a, n in enumerate(info.shape)
        if a not in (info.time_axis, info.batch_axis)
    ]
    return info.time_axis, info.batch_axis, others


def _from_rows(rows: NDArray[Any], info: InputInfo, model: Model, path: Path) -> Signal:
    """[steps, features] to the layout of the input, one signal."""
    time, batch, others = _step_shape(info, model)
    size = prod(others)
    if time is None and rows.size == size and isinstance(stream_spec(model), NotStreamableError):  # one whole input
        return Signal({info.name: rows.reshape([1 if a == batch else n or 1 for a, n in enumerate(info.shape)])})
    if rows.shape[1] != size:
        raise ShapeError(f"{path}: {rows.shape[1]} columns; a step of input {info.name!r} has {size} values {others}")
    return Signal({info.name: _laid_out(rows[:, None, :], time, batch, others)})


def _laid_out(values: NDArray[Any], time: int | None, batch: int | None, others: list[int]) -> NDArray[Any]:
    """[steps, batch, features] to the model's axes; steps lead where there is no time axis."""
    n, B = values.shape[:2]
    array = values.reshape(n, B, *others)
    if batch is None:
        array = array[:, 0]
    elif time is not None:
        return np.moveaxis(array, (0, 1), (time, batch))
    else:
        return np.moveaxis(array, 1, 1 + batch)
    return array if time is None else np.moveaxis(array, 0, time)


def _from_wav(path: Path, info: InputInfo, model: Model) -> Signal:
    samples, rate = read_wav(path)
    time, batch, others = _step_shape(info, model)
    frame = [n for a, n in enumerate(info.shape) if a not in (time, batch)]
    n, channels = samples.shape
    size = prod(others)
    if size == channels and channels > 1:
        return Signal({info.name: _laid_out(samples[:, None, :], time, batch, others)}, rate)
    many = channels > 1 and batch is not None and model._roles.batch_size is None
    notes = []
    if many:
        notes.append(f"{channels} channels become a batch of {channels} signals")
    elif channels > 1:
        notes.append(f"the first of {channels} channels is taken: the model takes one signal")
        samples = samples[:, :1]
    for name, value in model._options.constants.items():
        if np.size(value) == 1 and np.ravel(value)[0] in RATES and np.ravel(value)[0] != rate:
            notes.append(
                f"{path} has {rate} samples a second, {name!r} is {np.ravel(value)[0]}; resample the file where that is a rate"
            )
    if size > 1:
        missing = -n % size
        notes.append(
            f"cut into frames of {size} samples"
            + (f", the last one filled up with {missing} zeros" if missing else "")
            + ("; the file leaves it open how many: --shape says it" if None in frame else "")
        )
        samples = np.concatenate([samples, np.zeros((missing, samples.shape[1]), np.float32)])
    frames = samples.reshape(-1, size, samples.shape[1]).transpose(0, 2, 1)
    return Signal({info.name: _laid_out(frames, time, batch, others)}, rate, n if size > 1 else None, notes)


def write_outcome(
    path: Path, outcome: Outcome, signal: Signal, *, output: str | None = None, rate: int | None = None
) -> list[str]:
    """Write outputs: all of them by name to .npz, one of them to .npy, .csv (a row a step) or .wav. Returns notes.

    Raises
    ------
    FeedError
        There are several outputs and none was chosen, or the one chosen does not exist.
    FormatError, ShapeError
        The file cannot hold it.
    OSError
        It cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (".npy", ".npz", ".csv", ".wav"):
        raise FormatError(_no_kind(path))
    if output is not None and output not in outcome.arrays:
        raise FeedError(f"there is no output {output!r}; there are {sorted(outcome.arrays)}")
    if suffix == ".npz":
        arrays: Any = outcome.arrays if output is None else {output: outcome.arrays[output]}
        np.savez(path, **arrays)
        return []
    if not outcome.arrays:
        raise FormatError(f"{path}: not written: nothing came out, since there is no step to stream")
    names = [output] if output is not None else list(outcome.arrays)
    if len(names) != 1:
        raise FeedError(
            f"{path}: there are {len(names)} outputs, {names}; choose one with --select, or write an .npz file"
        )
    array, axis = outcome.arrays[names[0]], outcome.time[names[0]]
    if suffix == ".npy":
        np.save(path, array)
        return []
    rows = array[None] if axis is None else np.moveaxis(array, axis, 0)
    rows = rows.reshape(len(rows), prod(rows.shape[1:]))
    if suffix == ".csv":
        np.savetxt(path, rows, fmt="%d" if array.dtype.kind in "iub" else "%.9g", delimiter=",")
        return []
    rate = rate or signal.rate
    if rate is None:
        raise FormatError(f"{path}: the input has no sample rate; give one with --rate 48000")
    if signal.samples is not None and axis is not None and rows.size >= signal.samples:
        rows = rows.reshape(-1, 1)[: signal.samples]
    if array.dtype.kind != "f":
        raise FormatError(f"{path}: output {names[0]!r} is {array.dtype}, which is no sound")
    over = float(np.abs(rows).max(initial=0))
    write_wav(path, rows, rate)
    return [f"clipped: the loudest sample is {over:.2f} times full scale"] if over > 1 else []


def check_output(path: Path, *read: Path | None) -> None:
    """Refuse before the work what could only fail behind it, and a file that is read as well."""
    if path.suffix.lower() not in (".npy", ".npz", ".csv", ".wav"):
        raise FormatError(_no_kind(path))
    check_folder(path)
    if any(other is not None and path.exists() and other.exists() and path.samefile(other) for other in read):
        raise FormatError(f"{path}: it is read in this very call, and would be overwritten: name another file")


def check_folder(path: Path) -> None:
    """Refuse, before the work, a file in a folder that is not there."""
    if not path.parent.is_dir():
        raise FormatError(f"{path}: the folder {path.parent} is not there")
