"""
A forecast that is revised every hour
=====================================

Each hour the load of a town is known for one hour more, and the next 24 are forecast anew: one `step` an hour, the LSTM
keeps what it has made of the months before. The usual rules of thumb are "as yesterday" and "as a week ago".
PyTorch's exporter of the day wrote the length of its example into the file; `load` opens it, and warns that it did.

.. code-block:: sh

    python examples/forecast.py
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import numpy as np

import lstm_infer
from story import COLOURS, DATA, drawn
from train.forecast import AHEAD, MEAN, SPREAD, make_features, make_load

load = make_load(days=150, seed=7)  # a winter that training never saw
stream = lstm_infer.load(DATA / "forecast.onnx").stream()

# %%
# One hour after the other, as it would come in. What is forecast at hour `t` is for `t + 1` to `t + 24`.
forecast = np.stack([stream.step(hour[None])[0] for hour in make_features(load)]) * SPREAD + MEAN  # [T, 24]

# %%
# How far off, in the last 120 days, by how many hours ahead.
known = np.arange(30 * 24, len(load) - AHEAD)
ahead = np.arange(1, AHEAD + 1)
truth = load[known[:, None] + ahead]
by_hour = np.abs(forecast[known] - truth).mean(axis=0)
yesterday = np.abs(load[known[:, None] + ahead - 24] - truth).mean(axis=0)
last_week = np.abs(load[known[:, None] + ahead - 168] - truth).mean(axis=0)
score, baseline = by_hour.mean(), min(yesterday.mean(), last_week.mean())
print(
    f"off by {score:.2f} MW on average; as yesterday {yesterday.mean():.2f} MW, as last week {last_week.mean():.2f} MW"
)


# %%
# A cold front comes in. The forecast made before it cannot know; those made while it comes in rise to what follows.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    missed = np.abs(forecast[known] - truth)
    front = known[np.argmax(missed[:, 12:].mean(axis=1) - np.roll(missed, -9, axis=0)[:, 3:15].mean(axis=1))]
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), width_ratios=(1.6, 1))
    hours = np.arange(-24, 36)
    left.plot(hours, load[front + hours], color=COLOURS["truth"], lw=2, label="load")
    left.plot(hours, load[front + hours - 24], color=COLOURS["baseline"], lw=1, ls=":", label="as yesterday")
    for made, shade in ((0, 0.35), (4, 0.65), (9, 1.0)):
        left.plot(
            made + ahead, forecast[front + made], color=COLOURS["ours"], alpha=shade, label=f"forecast at hour {made}"
        )
        left.plot(made, load[front + made], "o", color=COLOURS["ours"], alpha=shade, ms=5)
    left.set(
        xlabel="hours since the front began",
        ylabel="load (MW)",
        title="A front comes in: each hour's news moves the forecast",
        xlim=(-24, 34),
    )
    left.legend(fontsize=8)
    for errors, colour, style, name in (
        (yesterday, "baseline", ":", "as yesterday"), (last_week, "baseline", "--", "as last week"), (by_hour, "ours", "-", "LSTM"),
    ):  # fmt: skip
        right.plot(ahead, errors, style, color=COLOURS[colour], label=name)
    right.set(
        xlabel="hours ahead",
        ylabel="mean absolute error (MW)",
        ylim=0,
        title=f"Off by {score:.1f} MW instead of {baseline:.1f}",
    )
    right.legend(fontsize=8)


# sphinx_gallery_end_ignore

# %%
# The load and the training: `examples/train/forecast.py`.
