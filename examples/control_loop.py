"""
A control loop of 1 kHz
=======================

An arm on a motor: how heavy it is and how much it rubs, nobody has told. A PD controller follows a course but not quite; an
LSTM that watches it finds out within a fraction of a second what is lacking, and gives that torque on top. The loop runs in
real time, a thousand ticks a second, and keeps a record of how late each began and how long it took.

.. code-block:: sh

    python examples/control_loop.py
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import gc
import time

import numpy as np

import lstm_infer
from story import COLOURS, DATA, drawn
from train.control import LIMIT, TICK, Encoder, features, feedback, make_course, make_load, motor

seconds = 1.5
course = make_course(seconds, 6, seed=7)
course_speed = np.gradient(course, TICK, axis=0)
course_turn = np.gradient(course_speed, TICK, axis=0)
loads = make_load(6, seed=8)
model = lstm_infer.load(DATA / "control.onnx")


class Loop:
    """Six arms, with or without the LSTM. A stream in lockstep of six keeps what it knows of each."""

    def __init__(self, helped):
        self.stream = model.stream(batch=6) if helped else None
        self.angle, self.speed, self.torque = course[0], course_speed[0], np.zeros(6)
        self.lacking, self.errors, self.took, self.encoder = np.zeros((6, 1), np.float32), [], [], Encoder(self.angle)

    def tick(self, t):
        """Read the encoders, find the torques, let the motors turn for a millisecond."""
        (seen, fast), aim = self.encoder.read(self.angle), (course[t], course_speed[t], course_turn[t])
        if self.stream:
            told = features(seen, fast, self.torque, *aim).astype(np.float32)
            began = time.perf_counter()
            self.stream.step(told, out=self.lacking)
            self.took.append(time.perf_counter() - began)
        self.torque = np.clip(feedback(seen, fast, *aim) + self.lacking[:, 0], -LIMIT, LIMIT)
        self.angle, self.speed = motor(self.angle, self.speed, self.torque, loads)
        self.errors.append(self.angle - course[t])


# %%
# In real time: sleep until shortly before the tick, then look at the clock until it is there. How late a tick begins is the
# operating system's doing, and that of whatever else runs on the machine; what is ours is how long it takes.
loop, late, took = Loop(helped=True), np.zeros(len(course)), np.zeros(len(course))
gc.disable()
began = time.perf_counter()
for t in range(len(course)):
    due = began + t * TICK
    time.sleep(max(0.0, due - time.perf_counter() - 2e-4))
    while (now := time.perf_counter()) < due:
        pass
    loop.tick(t)
    late[t], took[t] = now - due, time.perf_counter() - now
    began += late[t] if late[t] > TICK else 0  # what was missed is missed: the next tick is due a millisecond later
gc.enable()
for name, values in (("began late by", late), ("took", took), ("took for the LSTM", np.array(loop.took))):
    middle, most, worst = 1e6 * np.quantile(values, [0.5, 0.99, 1])
    print(f"a tick of 1000 µs {name} {middle:.1f} µs (median), {most:.1f} µs (p99), {worst:.0f} µs (worst)")

# %%
# The same course without the LSTM.
alone = Loop(helped=False)
for t in range(len(course)):
    alone.tick(t)
ours, theirs = (np.degrees(np.array(one.errors)) for one in (loop, alone))
score, baseline = (np.sqrt(np.square(errors[200:]).mean()) for errors in (ours, theirs))
print(f"off the course by {score:.2f}° (rms) with the LSTM, {baseline:.2f}° without")


# %%
# Six arms with and without the LSTM, and how punctual the loop was on the machine that made this page.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1.4, 1))
    times = np.arange(len(course)) * TICK
    for k in range(6):
        left.plot(times, theirs[:, k], color=COLOURS["baseline"], lw=0.7, label="PD alone" if k == 0 else None)
        left.plot(times, ours[:, k], color=COLOURS["ours"], lw=0.7, label="PD and LSTM" if k == 0 else None)
    left.set(
        xlabel="seconds",
        ylabel="error of the angle (degrees)",
        title=f"Six unknown loads: {score:.2f}° off instead of {baseline:.2f}°",
    )
    left.legend(fontsize=8)
    bins = np.geomspace(0.1, max(2000, 1.1e6 * took.max(), 1.1e6 * late.max()), 80)
    right.hist(np.maximum(1e6 * late, 0.1), bins, color=COLOURS["truth"], alpha=0.7, label="began late by")
    right.hist(1e6 * took, bins, color=COLOURS["ours"], alpha=0.7, label="took")
    right.hist(1e6 * np.array(loop.took), bins, color="#8db8dd", alpha=0.9, label="of that the LSTM")
    right.axvline(1000, color=COLOURS["bad"], lw=1)
    right.text(900, right.get_ylim()[1], "next tick", color=COLOURS["bad"], fontsize=8, ha="right")
    right.set(
        xscale="log",
        yscale="log",
        xlabel="µs",
        ylabel="ticks",
        ylim=(0.7, 30 * right.get_ylim()[1]),  # above the bars: what they are
        title=f"{np.mean(late + took < TICK):.1%} of the ticks in time",
    )
    right.legend(fontsize=8, loc="upper left")


# sphinx_gallery_end_ignore

# %%
# The motor and the training: `examples/train/control.py`.
