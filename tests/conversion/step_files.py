"""Drives an ONNX file of one step by onnxruntime, from what its metadata say: nothing of the engine takes part."""

from __future__ import annotations

import base64
import json

import numpy as np
import onnx

from sums_of_bytes import exact

ort = __import__("pytest").importorskip("onnxruntime")


def session(model):
    """Of a path or bytes."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return exact(model, options)


class StepFile:
    """A file of one step."""

    def __init__(self, path):
        self.proto = onnx.load(path)
        props = {prop.key: prop.value for prop in self.proto.metadata_props}
        self.stream, self.states = (json.loads(props[f"lstm_infer.{key}"]) for key in ("stream", "states"))
        self.session = session(path)

    def first(self, batch=1):
        """The states before the first step."""
        found = {}
        for state in self.states:
            shape = [batch if n == "batch" else n for n in state["shape"]]
            value = state.get("first")
            if value is None:
                value = np.frombuffer(base64.b64decode(state["data"]), state["dtype"]).reshape(state["data_shape"])
            found[state["input"]] = np.array(np.broadcast_to(np.asarray(value, state["dtype"]), shape))
        return found

    def run(self, signals, steps, *, batch=1, side=None, states=None):
        """All frames of each output of a signal, in chunks, flushed; or the last value of what has no frames."""
        chunk, state = self.stream["chunk"], states or self.first(batch)
        assert steps % chunk == 0
        made = []
        for start in range(0, steps + self.stream["flush"], chunk):
            if start == steps:
                state |= {s["input"]: np.array(steps) for s in self.states if s["kind"] == "end"}
            made.append(self.step(self._chunk(signals, start, start + chunk, steps), state, side or {}))
        self.last = state
        return {name: self._joined(name, [one[name] for one in made], steps) for name in self.stream["outputs"]}

    def step(self, frames, state, side):
        """One call; `state` is brought up to date."""
        names = [port.name for port in self.session.get_outputs()]
        out = dict(zip(names, self.session.run(names, {**frames, **side, **state}), strict=True))
        state.update({one["input"]: out[one["output"]] for one in self.states})
        return out

    def _chunk(self, signals, start, stop, steps):
        found = {}
        for name, axis in self.stream["inputs"].items():
            part = np.take(signals[name], np.minimum(range(start, stop), steps - 1), axis)
            found[name] = part if start < steps else np.zeros_like(part)
            if self.stream["mode"] == "frame" and not self.stream["rows"]:
                found[name] = found[name][0]
        return found

    def _joined(self, name, made, steps):
        said = self.stream["outputs"][name]
        if said["kind"] not in ("time", "frame"):
            return made[-1]
        whole = (
            np.stack(made)
            if said["kind"] == "frame" and not self.stream["rows"]
            else np.concatenate(made, said["axis"])
        )
        frames = (steps + said["more"]) // said["rate"]
        each = whole.shape[said["axis"]] // (len(made) * self.stream["chunk"] // said["rate"])
        return np.take(whole, range(said["drop"] * each, (said["drop"] + frames) * each), said["axis"])
