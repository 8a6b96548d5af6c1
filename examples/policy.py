"""
A policy that remembers, and forgets in time
============================================

Carts on rails, each with a motor of unknown strength. A light shows for half a second where each shall go, then it is off: a
GRU has to remember, and to sense from places alone how fast the cart is. Sixteen drive side by side, their episodes end at
different times, and `start` is 1 in the row of a cart whose next begins: the graph wipes that row's state, as policies trained
by recurrent reinforcement learning are exported. The baseline has no memory: it drives at the light as long as it is on, then
brakes.

.. code-block:: sh

    python examples/policy.py
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import numpy as np

import lstm_infer
from story import COLOURS, DATA, drawn
from train.policy import SHOWN, TICK, Carts

model = lstm_infer.load(DATA / "policy.onnx")
COUNT, TICKS = 16, 2000


# %%
# Three ways to drive. In the second `start` is never told, so that each cart goes on from where the last episode left its state.
def recurrent(told=True):
    """Return a policy: a stream of sixteen in lockstep."""
    stream = model.stream(batch=COUNT)

    def force(carts):
        start = told * carts.start[:, None].astype(np.float32)
        return stream.step({"seen": carts.seen(), "start": start})["force"][:, 0]

    return force


def memoryless(carts):
    """Drive at the light while it is on, stay when it is off. It is even told how fast the cart is."""
    return np.where(carts.tick < SHOWN, 3 * np.sign(carts.aim - carts.place), 0) - 3 * carts.speed


def play(policy):
    """Return place, aim and start [T, B], and how far off the carts were when the light had been off for two seconds."""
    carts, log = Carts(COUNT, seed=5), []
    for _ in range(TICKS):
        log.append((carts.place.copy(), carts.aim.copy(), carts.start.copy(), carts.tick.copy()))
        carts.step(policy(carts))
    place, aim, start, tick = map(np.array, zip(*log, strict=True))
    return place, aim, start, np.abs(place - aim)[tick > SHOWN + 40]


# %%
# Within 10 cm of the aim is there.
ways = {"GRU": recurrent(), "GRU, start not told": recurrent(told=False), "no memory": memoryless}
played = {name: play(policy) for name, policy in ways.items()}
there = {name: np.mean(off < 0.1) for name, (*_, off) in played.items()}
print("where it shall be: " + ", ".join(f"{name} {share:.0%}" for name, share in there.items()) + " of the time")
score, baseline = there["GRU"], there["no memory"]


# %%
# Four of the carts, and how all did. Without `start` a cart drives to where the one before it had to go.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2), width_ratios=(1.8, 1))
    place, aim, start, _ = played["GRU"]
    span = slice(0, 400)
    seconds = np.arange(TICKS)[span] * TICK
    for row in range(4):
        left.plot(
            seconds, place[span, row] + 3 * row, color=COLOURS["ours"], lw=1.2, label="cart" if row == 0 else None
        )
        left.step(
            seconds, aim[span, row] + 3 * row, color=COLOURS["truth"], lw=1, ls="--", label="aim" if row == 0 else None
        )
        for at in seconds[start[span, row]]:
            left.plot([at, at], [3 * row - 1.3, 3 * row + 1.3], color=COLOURS["bad"], lw=0.8)
            left.axvspan(
                at, at + SHOWN * TICK, (3 * row + 0.7) / 12.5, (3 * row + 3.0) / 12.5, color="#f2c14e", alpha=0.6, lw=0
            )
    left.set(
        xlabel="seconds",
        ylabel="place (4 carts, each from -1 to 1 m)",
        yticks=[],
        ylim=(-2, 10.5),
        title="The light (yellow) shows an aim, then the GRU remembers it;\nred: an episode begins, its row is wiped",
    )
    left.legend(fontsize=8, loc="lower right", ncols=2)
    bars = right.bar(
        list(there), [100 * share for share in there.values()], color=[COLOURS["ours"], "#8db8dd", COLOURS["baseline"]]
    )
    right.bar_label(bars, fmt="%.0f %%", fontsize=9)
    right.set(
        ylabel="time within 10 cm of the aim (%)", ylim=(0, 105), title="Without the mask the past gets in the way"
    )
    right.tick_params(axis="x", labelsize=8)


# sphinx_gallery_end_ignore

# %%
# The carts and the training: `examples/train/policy.py`.
