"""
A sample at a time, in chunks, two at once
==========================================

Stream a recurrent model: the demo's guitar amplifier, a sample at a time, then in chunks, then two signals in lockstep; with
the same bits each time.

.. code-block:: sh

    python examples/stream.py
    python examples/stream.py model.onnx            # any model that takes float32 [T, B, 1]
"""

# sphinx_gallery_start_ignore
import contextlib

with contextlib.suppress(ImportError):  # of this folder: says what to install
    import needs  # noqa: F401
# sphinx_gallery_end_ignore

import sys

import numpy as np

import lstm_infer
from lstm_infer.cli.demo.pluck import riff
from lstm_infer.cli.demo.show import MODEL

if len(sys.argv) > 2 or sys.argv[1:] in (["-h"], ["--help"]):
    sys.exit(__doc__)

model = lstm_infer.load(sys.argv[1] if len(sys.argv) > 1 else MODEL)
print(model.summary())
x = riff(1.0).reshape(-1, 1, 1)  # one second of guitar at 48 kHz, [T, B, 1]

stream = model.stream()  # owns the state of one live signal
one_by_one = np.concatenate([stream.step(frame)[None] for frame in x])  # a frame is x[t], [B, 1]

stream.reset()
chunked = np.concatenate([stream.run(x[at : at + 64]) for at in range(0, len(x), 64)])
print("same bits either way:", np.array_equal(one_by_one, chunked))

snap = stream.snapshot()  # bytes: keep them, send them, go on from here later
going_on = stream.run(x[:480])
stream.restore(snap)
print("same bits after restore:", np.array_equal(stream.run(x[:480]), going_on))

pair = model.stream(batch=2)  # two signals in lockstep
both = pair.run(np.concatenate([x, 0.1 * x], axis=1))
print(f"peaks of a loud and a quiet guitar: {np.abs(both).max(axis=(0, 2))}")
