"""
Text, a letter at a time
========================

A GRU has read 4,000 weather reports for sailors and writes its own: each letter is drawn from what it gives for the next one
and fed back. The temperature says how daring the draw is. Its state is an input and an output of the file; which goes where the
stream finds by itself.

.. code-block:: sh

    python examples/text.py
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import numpy as np

import lstm_infer
from story import COLOURS, DATA, drawn
from train.text import LETTERS, make_reports

model = lstm_infer.load(DATA / "text.onnx")
read, unread = make_reports(4000, seed=1), make_reports(200, seed=2)


def numbers(text):
    """Return a text as the model takes it, int64 [1, T]."""
    return np.array([[LETTERS.index(letter) for letter in text]])


# %%
# How well does it know what comes next, in reports that it has not read? In bits a letter; beside it, the best that can
# be said from the two letters before, counted in what it has read.
scores = model.stream().run(numbers(unread))[0].astype(float)
chances = np.exp(scores - scores.max(axis=1, keepdims=True))
chances /= chances.sum(axis=1, keepdims=True)
score = -np.log2(chances[np.arange(1, len(unread) - 1), numbers(unread)[0, 2:]]).mean()
counts = np.full((len(LETTERS),) * 3, 0.01)
np.add.at(counts, tuple(numbers(read)[0, k : len(read) - 2 + k] for k in range(3)), 1)
counts /= counts.sum(axis=-1, keepdims=True)
baseline = -np.log2(counts[tuple(numbers(unread)[0, k : len(unread) - 2 + k] for k in range(3))]).mean()
print(f"GRU: {score:.2f} bits a letter; from the two letters before: {baseline:.2f}")


# %%
# Writing: eight signals in lockstep, each with its own draws.
def write(temperature, length, batch=8, seed=0):
    """Return texts of so many letters."""
    stream, rng = model.stream(batch=batch), np.random.default_rng(seed)
    letter, texts = numbers("\n").repeat(batch, axis=0), []
    for _ in range(length):
        scores = stream.step(letter)[:, 0] / temperature
        letter = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)[:, None]  # a draw from softmax(scores)
        texts.append(letter[:, 0])
    return ["".join(LETTERS[k] for k in row) for row in np.stack(texts, axis=1)]


for temperature in (0.3, 1.0, 1.5):
    print(f"\ntemperature {temperature}:\n" + "\n".join(write(temperature, 250)[0].split("\n")[1:4]))

# %%
# Low temperatures repeat themselves, high ones stop making words.
words = set(read.replace(",", " ").replace(".", " ").split())
temperatures, spelt, used = np.array([0.1, 0.3, 0.5, 0.7, 1.0, 1.2, 1.5, 2.0]), [], []
for temperature in temperatures:
    text = "\n".join(write(temperature, 300))
    written = text.replace(",", " ").replace(".", " ").split()
    spelt.append(np.mean([word in words for word in written]))
    used.append(len(words.intersection(written)) / len(words))


# %%
# Right: where it is surprised by a report that it has not read.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    _, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), width_ratios=(1, 1.5))
    left.plot(temperatures, spelt, "o-", color=COLOURS["ours"], label="of its words are words")
    left.plot(temperatures, used, "o-", color=COLOURS["baseline"], label="of its vocabulary used")
    left.set(xlabel="temperature", ylabel="share", ylim=(0, 1.03), title="Cold repeats itself, hot misspells")
    left.legend(fontsize=8)
    span = slice(1, 60)
    right.plot(-np.log2(chances[np.arange(60), numbers(unread)[0, 1:61]])[span], ".-", color=COLOURS["ours"], lw=1)
    right.set_xticks(np.arange(59), list(unread[2:61].replace("\n", "↵")), fontsize=7)
    right.set(xlabel="letter of a report that it has not read", ylabel="surprise (bits)")
    right.set_title(f"Surprised where something is chosen: {score:.2f} bits a letter instead of {baseline:.2f}")


# sphinx_gallery_end_ignore

# %%
# The reports and the training: `examples/train/text.py`.
