"""
Faults in a sensor stream
=========================

Five sensors of a pump; each in turn is covered up, and a GRU says what it should read, by the other four and all that was
before. Where a sensor is for half a minute not what the others say, something is wrong: with it, or with the pump. Most of
these faults keep every sensor inside of its usual range, where a limit on each sensor, the usual alarm, sees nothing.

.. code-block:: sh

    python examples/anomaly.py
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import numpy as np

import lstm_infer
from story import COLOURS, DATA, drawn
from train.anomaly import FAULTS, MEAN, SENSORS, SPREAD, UNITS, make_pump

rng, length = np.random.default_rng(3), 4 * 3600
faults = [(600 + 640 * k + int(rng.integers(200)), 200, 1 + k % len(FAULTS)) for k in range(20)]
sensors, fault = make_pump(length, seed=5, faults=faults)
healthy, _ = make_pump(2 * 3600, seed=6)

# %%
# A stream of five signals in lockstep: in each another sensor is covered.
model = lstm_infer.load(DATA / "anomaly.onnx")
cover = np.eye(5, dtype=np.float32)


def deviation(sensors):
    """Return [T, 5]: how far each sensor is from what the others say, in units of its usual range."""
    x = ((sensors - MEAN) / SPREAD).astype(np.float32)
    stream, off = model.stream(batch=5), np.zeros_like(x)
    for t, now in enumerate(x):
        guess = stream.step(np.concatenate([now * (1 - cover), cover], axis=1))  # [5, 10] in, [5, 5] out
        off[t] = now - guess.diagonal()
    return off


def level(x, seconds=30):
    """Return the mean over the last seconds, of the sensor where it is largest."""
    summed = np.cumsum(np.concatenate([np.zeros((seconds, 5)), x]), axis=0)
    return np.abs((summed[seconds:] - summed[:-seconds]) / seconds).max(axis=1)


new = deviation(healthy)
usual = new[60:].std(axis=0)
calm = {"GRU": level(new / usual), "limits": level((healthy - MEAN) / SPREAD)}
alarm = {"GRU": level(deviation(sensors) / usual), "limits": level((sensors - MEAN) / SPREAD)}

# %%
# Both may cry wolf in no more than one second of a thousand of the two healthy hours. How many faults do they find?
found, wolf = {}, {}
for name, values in alarm.items():
    values /= np.quantile(calm[name][60:], 0.999)
    found[name] = [bool((values[begin : begin + 200] > 1).any()) for begin, _, _ in faults]
    clear = np.convolve(fault > 0, np.ones(300))[: len(fault)] == 0  # five minutes after each are nobody's
    clear[:120] = False  # the first minutes are for getting to know the pump
    wolf[name] = (values[clear] > 1).mean()
score, baseline = sum(found["GRU"]), sum(found["limits"])
print(f"GRU: {score} of {len(faults)} faults found, false alarm in {wolf['GRU']:.1%} of the seconds without one")
print(f"a limit on each sensor: {baseline} of {len(faults)}, {wolf['limits']:.1%}")


# %%
# Four faults, one of each kind.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    span = np.arange(faults[0][0] - 250, faults[3][0] + 400)
    minutes = span / 60
    _, axes = plt.subplots(4, 1, figsize=(10, 7), sharex=True, height_ratios=(1, 1, 1, 1.5))
    for ax, k in zip(axes, (0, 2, 3), strict=False):
        ax.plot(minutes, sensors[span, k], color=COLOURS["truth"], lw=0.8)
        ax.set(ylabel=f"{SENSORS[k]} ({UNITS[k]})")
    axes[3].semilogy(minutes, alarm["limits"][span], color=COLOURS["baseline"], lw=1, label="limit on each sensor")
    axes[3].semilogy(minutes, alarm["GRU"][span], color=COLOURS["ours"], label="not what the other sensors say")
    axes[3].axhline(1, color=COLOURS["bad"], lw=0.8, ls="--")
    axes[3].set(xlabel="minutes", ylabel="alarm level (1: alarm)", ylim=0.04, xlim=(minutes[0], minutes[-1]))
    axes[3].legend(fontsize=8, loc="upper left", ncols=2)
    for ax in axes:
        for begin, lasts, which in faults[:4]:
            ax.axvspan(begin / 60, (begin + lasts) / 60, color=COLOURS["bad"], alpha=0.12, lw=0)
            if ax is axes[0]:
                ax.text(begin / 60, ax.get_ylim()[1], FAULTS[which - 1], color=COLOURS["bad"], fontsize=8, va="bottom")
    axes[0].set_title(f"The GRU finds {score} of {len(faults)} faults, limits on the sensors {baseline}\n")


# sphinx_gallery_end_ignore

# %%
# The pump and the training: `examples/train/anomaly.py`.
