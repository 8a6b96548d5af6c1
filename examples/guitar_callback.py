"""
A guitar amplifier in an audio callback
=======================================

The demo's amplifier (an LSTM of 40 units, `train_amp.py`) in blocks of 64 samples at 48 kHz, as a sound card asks for them:
each has to be there within 1333 µs. What is as simple as an amplifier can be, a fixed curve from sample to sample fitted to the
same circuit, is the baseline; the circuit has memory, and a curve has none.

.. code-block:: sh

    python examples/guitar_callback.py
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import gc
import time

import numpy as np

import lstm_infer
from lstm_infer.cli.demo.pluck import riff
from lstm_infer.cli.demo.show import MODEL, RATE
from story import COLOURS, drawn
from train_amp import amplify, esr

BLOCK = 64
dry = riff(4.0, rate=RATE)[: 2900 * BLOCK]  # 3.9 s of a plucked riff
stream = lstm_infer.load(MODEL).stream(max_chunk=BLOCK)
wet = np.empty((len(dry), 1, 1), np.float32)


# %%
# The callback allocates nothing, takes no lock and makes no system call: `run` fills the block that it is given.
def callback(block, out):
    stream.run(block, out=out)


blocks = dry.reshape(-1, BLOCK, 1, 1)
took = np.empty(len(blocks))
gc.disable()  # as an audio thread does
for k, block in enumerate(blocks):
    began = time.perf_counter()
    callback(block, wet[k * BLOCK : (k + 1) * BLOCK])
    took[k] = 1e6 * (time.perf_counter() - began)
gc.enable()
deadline = 1e6 * BLOCK / RATE
middle, late, worst = np.quantile(took, [0.5, 0.99, 1.0])
print(
    f"a block of {deadline:.0f} µs took {middle:.0f} µs (median), {late:.0f} µs (p99), {worst:.0f} µs (worst of {len(took)})"
)

# %%
# Beside the circuit itself, a quarter of a second of it: the energy of the error over the energy of the target.
n = RATE // 4
target = amplify(dry[:n, None].astype(np.float64))[:, 0]
powers = dry[:n, None].astype(np.float64) ** np.arange(1, 10)
curve = powers @ np.linalg.lstsq(powers, target, rcond=None)[0]
score, baseline = esr(target, wet[:n, 0, 0]), esr(target, curve)
print(f"error of the LSTM: {score:.1%} of the energy; of the best curve of degree 9: {baseline:.1%}")


# %%
# Left: 12 ms of a chord. Right: how long the blocks took.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1.3, 1))
    span = np.arange(9600, 9600 + 576)
    milliseconds = 1e3 * (span - span[0]) / RATE
    left.plot(milliseconds, target[span], color=COLOURS["truth"], lw=3, alpha=0.6, label="circuit")
    left.plot(milliseconds, curve[span], color=COLOURS["baseline"], lw=1, label="fixed curve")
    left.plot(milliseconds, wet[span, 0, 0], color=COLOURS["ours"], lw=1, label="LSTM")
    left.set(
        xlabel="ms", ylabel="output", title=f"The LSTM's error is {score:.1%} of the energy, the curve's {baseline:.0%}"
    )
    left.legend(fontsize=8, ncols=3)
    right.hist(took, np.geomspace(took.min() * 0.9, max(deadline, worst) * 1.1, 80), color=COLOURS["ours"])
    right.axvline(deadline, color=COLOURS["bad"], lw=1)
    right.text(deadline, right.get_ylim()[1] / 2, "deadline ", color=COLOURS["bad"], fontsize=8, ha="right")
    right.set(xscale="log", yscale="log", xlabel="µs a block of 64 samples", ylabel="blocks")
    right.set_title(f"{middle:.0f} µs of {deadline:.0f}; 99 of 100 blocks in {late:.0f} µs")


# sphinx_gallery_end_ignore

# %%
# The circuit and the training: `examples/train_amp.py`.
