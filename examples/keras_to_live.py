"""
A Keras file, live
==================

A model saved by Keras is loaded as Keras loads it, exported in memory, checked against itself, and fed frame by frame: two
rooms in lockstep, each with its state. Needs keras, torch and onnxscript.

.. code-block:: sh

    python examples/keras_to_live.py              # makes a small model first
    python examples/keras_to_live.py model.keras  # any that takes [B, T, F] and gives [B, T, ...]
"""

# sphinx_gallery_start_ignore
import contextlib

with contextlib.suppress(ImportError):  # of this folder: says what to install
    import needs  # noqa: F401
# sphinx_gallery_end_ignore

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras
import numpy as np

import lstm_infer


def saved(folder):
    """A file such as training leaves: the chance of rain in each hour, from four readings."""
    layers = [
        keras.Input((None, 4)),
        keras.layers.GRU(24, return_sequences=True),
        keras.layers.TimeDistributed(keras.layers.Dense(1, activation="sigmoid")),
    ]
    path = Path(folder) / "rain.keras"
    keras.Sequential(layers).save(path)  # trained, in your case
    return path


with tempfile.TemporaryDirectory() as folder:
    net = keras.saving.load_model(sys.argv[1] if len(sys.argv) > 1 else saved(folder))
model = lstm_infer.from_keras(net)
size = model.inputs[0].shape[-1]

readings = np.random.default_rng(0).standard_normal((2, 100, size)).astype(np.float32)  # [B, T, F]: two rooms
stream = model.stream(batch=2)
live = np.stack([stream.step(readings[:, t]) for t in range(100)], axis=1)  # one hour after the other

whole = keras.ops.convert_to_numpy(net(readings, training=False))
print(f"100 hours live, largest difference from Keras over the whole: {np.abs(live - whole).max():.1e}")
assert np.abs(live - whole).max() < 1e-5
