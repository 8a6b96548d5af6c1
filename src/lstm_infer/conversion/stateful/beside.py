"""A file of one step driven by hand beside the stream of its source: only what the file itself says is used."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..proof import Live
from .runner import Run, runner

__all__ = ["StepFile", "drive", "first_value"]


@dataclass(frozen=True)
class StepFile:
    """What a caller reads of the file."""

    run: Run
    by: str
    stream: Mapping[str, Any]
    states: tuple[Mapping[str, Any], ...]
    rounds: bool
    """Does it round values to 8 bits."""

    @classmethod
    def open(cls, path: Path) -> StepFile:
        """A file that was written."""
        import onnx

        model = onnx.load(path, load_external_data=False)
        props = {p.key: p.value for p in model.metadata_props}  # the source's own among them
        eight = (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
        rounds = any(tensor.data_type in eight for tensor in model.graph.initializer)
        run, by = runner(path)
        stream, states = (json.loads(props[f"lstm_infer.{key}"]) for key in ("stream", "states"))
        return cls(run, by, stream, tuple(states), rounds)

    def first(self, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The states before the first step, at the sizes of what is fed with it."""
        sizes = {n: feeds[name].shape[axis] for n, (name, axis) in self.stream["sizes"].items() if name in feeds}
        return {record["input"]: first_value(record, sizes) for record in self.states}


def first_value(record: Mapping[str, Any], sizes: Mapping[str, int]) -> NDArray[Any]:
    """The first value of a state; 1 for an open size that is not said."""
    shape = [sizes.get(size, 1) if isinstance(size, str) else size for size in record["shape"]]
    if "data" not in record:
        return np.full(shape, record["first"], record["dtype"])
    data = np.frombuffer(base64.b64decode(record["data"]), np.dtype(record["dtype"]).newbyteorder("<"))
    return np.array(np.broadcast_to(data.reshape(record["data_shape"]), shape)).astype(record["dtype"])


def drive(file: StepFile, live: Live) -> tuple[dict[str, NDArray[Any] | None], dict[str, NDArray[Any]]]:
    """What the file makes of a signal: all frames of each output, or the last value of one that has no frames; and the
    states behind its last frame, before it is flushed, by what they are to the source."""
    made: list[dict[str, NDArray[Any]]] = []
    at, state, last = 0, dict[str, NDArray[Any]](), dict[str, NDArray[Any]]()
    for feeds, n in _chunks(file, live):
        state = state or _begin(file, live, {**live.side, **feeds})
        if at + n >= live.steps or n == 0:
            state |= {r["input"]: np.array(live.steps, np.int64) for r in file.states if r["kind"] == "end"}
        out = file.run({**live.side, **feeds, **state})
        state = {record["input"]: out[record["output"]] for record in file.states}
        made.append(out)
        at += n
        if at == live.steps and n:
            last = {r["of"]: state[r["input"]] for r in file.states if r["kind"] == "state"}
    return {
        said.get("of", name): _joined(file.stream, name, [out[name] for out in made], live)
        for name, said in file.stream["outputs"].items()
    }, last


def _begin(file: StepFile, live: Live, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The states before the first step: the file's own, or those that the signal begins with."""
    state = file.first(feeds)
    for record in file.states:
        value = live.initial.get(record["of"]) if record["kind"] == "state" else None
        if value is not None:
            state[record["input"]] = np.asarray(value, state[record["input"]].dtype).reshape(
                state[record["input"]].shape
            )
        elif record["kind"] == "started" and live.initial:
            state[record["input"]] = np.array(True)
    return state


def _chunks(file: StepFile, live: Live) -> Iterator[tuple[dict[str, NDArray[Any]], int]]:
    """The chunks of a signal, the last one filled up, and those that flush it; with the frames in each."""
    chunk, axes = file.stream["chunk"], file.stream["inputs"]
    last: dict[str, NDArray[Any]] = {}
    rows = file.stream["rows"]
    for feeds in live.pieces(chunk):
        n = next(iter(feeds.values())).shape[0 if live.drive.frames else next(iter(axes.values()))]
        last = {name: _filled(value, axes[name], chunk) for name, value in feeds.items()}
        yield {name: value if rows or not live.drive.frames else value[0] for name, value in last.items()}, n
    for _ in range(file.stream["flush"] // chunk):
        yield {name: np.zeros_like(value) for name, value in last.items()}, 0


def _filled(value: NDArray[Any], axis: int, n: int) -> NDArray[Any]:
    """A chunk with zeros behind it."""
    missing = n - value.shape[axis]
    if not missing:
        return value
    pads = [(0, missing if a == axis else 0) for a in range(value.ndim)]
    return np.pad(value, pads)


def _joined(stream: Mapping[str, Any], name: str, made: list[NDArray[Any]], live: Live) -> NDArray[Any]:
    """The frames of an output that belong to the signal."""
    said = stream["outputs"][name]
    if said["kind"] not in ("time", "frame"):
        return made[-1]
    axis = said["axis"]
    whole = np.stack(made) if said["kind"] == "frame" and not stream["rows"] else np.concatenate(made, axis)
    n = max((live.steps + said["more"]) // said["rate"], 0)
    each = made[0].shape[axis] * said["rate"] // stream["chunk"] if said["kind"] == "time" else 1
    found: NDArray[Any] = whole[(slice(None),) * axis + (slice(said["drop"] * each, (said["drop"] + n) * each),)]
    return found
