"""
A stateful ONNX file without this package
=========================================

The demo's amplifier, converted once into a file whose states go in and out, then streamed by onnxruntime alone.

.. code-block:: sh

    python examples/stateful_onnx.py              # converts the demo's model into a temporary folder
    python examples/stateful_onnx.py step.onnx    # a file that `lstm-infer convert` wrote: onnxruntime and numpy are enough
"""

# sphinx_gallery_start_ignore
import contextlib

with contextlib.suppress(ImportError):  # of this folder: says what to install
    import needs  # noqa: F401
# sphinx_gallery_end_ignore

import base64
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime


class Live:
    """One live signal through a file of one step: what `lstm_infer.stream` does, in twenty lines of anybody's."""

    def __init__(self, path, batch=1):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        props = self.session.get_modelmeta().custom_metadata_map
        if "lstm_infer.stream" not in props:
            sys.exit(f"{path}: says nothing of its states; `lstm-infer convert` writes such a file")
        self.info = json.loads(props["lstm_infer.stream"])
        self.states = json.loads(props["lstm_infer.states"])
        self.names = [port.name for port in self.session.get_outputs()]
        self.held = {state["input"]: first_value(state, batch) for state in self.states}

    def step(self, **frames):
        """One call: `chunk` frames in, every output of the model by name; the states are fed back."""
        out = dict(zip(self.names, self.session.run(self.names, frames | self.held), strict=True))
        self.held = {state["input"]: out.pop(state["output"]) for state in self.states}
        return out


def first_value(state, batch):
    """What a state holds before the first step: one number, or the bytes of one signal."""
    shape = [batch if size == "batch" else size for size in state["shape"]]
    if "first" in state:
        return np.full(shape, state["first"], state["dtype"])
    one = np.frombuffer(base64.b64decode(state["data"]), state["dtype"]).reshape(state["data_shape"])
    return np.array(np.broadcast_to(one, shape))


def amplifier(folder):
    """The demo's model as a file of 64 samples a step; and what the package itself makes of a riff."""
    import lstm_infer
    from lstm_infer.cli.demo.pluck import riff
    from lstm_infer.cli.demo.show import MODEL

    path = Path(folder) / "step.onnx"
    report = str(lstm_infer.convert(MODEL, path, chunk=64))
    print(f"amp.onnx -> {path.name}", report.partition("\n")[2], sep="\n")
    guitar = riff(1.0)[: 700 * 64].reshape(-1, 1, 1)
    return path, guitar, lstm_infer.load(MODEL).stream().run(guitar)


def show(path, guitar=None, want=None):
    """Stream a signal, print what came out."""
    live = Live(path)
    chunk, axes = live.info["chunk"], live.info["inputs"]
    print(f"\n{Path(path).name}: {chunk} frames a call; states {', '.join(live.held) or 'none'}")
    if guitar is None:
        shapes = {p.name: [n if isinstance(n, int) else 1 for n in p.shape] for p in live.session.get_inputs()}
        rng = np.random.default_rng(0)
        for call in range(3):
            out = live.step(**{name: rng.normal(size=shapes[name]).astype(np.float32) for name in axes})
            print(f"call {call}:", {name: value.shape for name, value in out.items() if name in live.info["outputs"]})
        return
    (name,), (output,) = axes, live.info["outputs"]
    made = [live.step(**{name: guitar[at : at + chunk]})[output] for at in range(0, len(guitar), chunk)]
    got = np.concatenate(made)
    print(f"{len(guitar):,} samples of guitar, {len(made)} calls of onnxruntime")
    print(f"largest difference from lstm_infer: {np.abs(got - want).max():.1e}")


if len(sys.argv) > 1:
    show(sys.argv[1])
else:
    with tempfile.TemporaryDirectory() as folder:
        show(*amplifier(folder))
