"""What a user writes: mypy --strict takes it without a cast, and reveals what stands behind each `reveal_type`."""

from __future__ import annotations

import array

import numpy as np
from numpy.typing import NDArray

import lstm_infer
from lstm_infer.typing import ArrayIn, Feeds, Isa, Precision


def smooth(path: str, frames: NDArray[np.float32], isa: Isa | None = None, precision: Precision = "f32") -> float:
    """One live signal."""
    model = lstm_infer.load(path, isa=isa, precision=precision, constants={"sr": 16000}, time_axis={"x": 1})
    stream = model.stream(batch=2, initial={"h0": np.zeros(3)})
    total = 0.0
    for at in range(len(frames)):  # iterating over an array gives Any, of which a checker says nothing
        y = stream.step(frames[at : at + 1])
        reveal_type(y)  # E: ndarray | dict
        if isinstance(y, np.ndarray):
            total += float(y.sum())
    buffer: NDArray[np.float32] = np.empty((1, 4), np.float32)
    reveal_type(stream.step(frames[:1], out=buffer))  # E: float32 array
    total += float(stream.run(frames, out=buffer)[0, 0])
    named = stream.step({"x": frames[:1], "gain": np.ones(1, np.float32)})
    reveal_type(named)  # E: dict
    for name, value in named.items():
        if value is not None:
            print(name, value.shape, value.dtype)
    reveal_type(stream.run({"x": frames}))  # E: dict
    outs = {"y": buffer}
    reveal_type(stream.run({"x": frames}, out=outs))  # E: dict of float32 arrays
    reveal_type(stream.flush())  # E: ndarray | dict
    reveal_type(stream.state["h0"])  # E: ndarray
    stream.state["h0"] = np.zeros(3)
    twin = stream.fork()
    twin.restore(stream.snapshot())
    reveal_type(twin.lag)  # E: int
    return total


def whole(model: lstm_infer.Model, feeds: Feeds) -> list[NDArray[np.float32]]:
    """Without a stream."""
    results = model.run(feeds, ["y"])
    reveal_type(results)  # E: dict of arrays
    reveal_type(model.isa)  # E: isa
    reveal_type(model.inputs[0].shape)  # E: shape
    for state in model.states:
        print(state.name, state.output, state.shape)
    many = model.run_many([results["y"], results["y"]], threads=2)
    reveal_type(many)  # E: list of ndarray | dict
    reveal_type(model.run_many([{"x": results["y"]}]))  # E: list of dict
    return [results["y"].astype(np.float32)]


def others(stream: lstm_infer.Stream, x: ArrayIn) -> None:
    """Arrays of others."""
    stream.step(memoryview(b"1234"))
    stream.run(array.array("f", [1.0, 2.0]))
    out = memoryview(bytearray(8))
    reveal_type(stream.step(x, out=out))  # E: memoryview
    stream.step({"x": x, "y": memoryview(b"1234")}, out={"y": out})


def many(model: lstm_infer.Model, frames: NDArray[np.float32]) -> None:
    """A pool."""
    with model.pool(reserve=10, threads=2) as pool:
        ids = [pool.open(), pool.open()]
        reveal_type(ids)  # E: ids
        reveal_type(pool.step(ids, frames))  # E: ndarray | dict of arrays
        reveal_type(pool.step(np.array(ids), {"x": frames}))  # E: dict of arrays
        reveal_type(pool.run(ids, frames, frames.copy()))  # E: float32 array
        reveal_type(pool.step({ids[0]: frames[:1]}))  # E: by id
        reveal_type(pool.step({ids[0]: {"x": frames[:1]}}))  # E: dicts by id
        pool.reset(ids)
        pool.close(ids[0])


def convert(model: lstm_infer.Model, path: str) -> bool:
    """Other forms."""
    with open(path, "rb") as file:
        lstm_infer.load(file)
    try:
        report = lstm_infer.convert(model, "model.lsi", to="native", precision="int8")
    except lstm_infer.ConvertError:
        return False
    found = lstm_infer.compare_precision(path, {"x": np.zeros((4, 1, 2), np.float32)}, precisions=("f16",))
    reveal_type(found.rows[0].precision)  # E: str
    return report.ok
