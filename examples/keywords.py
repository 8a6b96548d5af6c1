"""
Spotting words while they are spoken
====================================

Four words among others, synthesised by formants, in noise. The sound comes in pieces of 100 ms, as from a microphone; a
centred convolution sees two frames ahead, so the stream has a lag of 20 ms and gives what is complete.

.. code-block:: sh

    python examples/keywords.py
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import numpy as np

import lstm_infer
from story import COLOURS, DATA, drawn
from train.keywords import OTHERS, WORDS, features, make_sound, say

rng = np.random.default_rng(11)
spoken = rng.choice(WORDS * 2 + OTHERS, 40)
audio, spans = make_sound(spoken, rng, noise=0.05)
bands = features(audio)  # [T, 20], a frame every 10 ms

# %%
# Ten frames a call. `run` gives as many as are complete, `flush` the last two.
stream = lstm_infer.load(DATA / "keywords.onnx").stream()
pieces = [stream.run(bands[None, at : at + 10]) for at in range(0, len(bands), 10)]
chance = np.concatenate([*pieces, stream.flush()], axis=1)[0]  # [T, 5]
print(f"lag: {stream.lag} frames; the first call of ten frames gave {pieces[0].shape[1]}")


# %%
# The baseline knows when somebody speaks (the ends of the words are given to it), and takes the word whose spectrum,
# averaged over the word, is nearest: of each of the nine words it has heard five.
def likeness(frames):
    """Return the average over a word, loudness taken out."""
    return frames.mean(axis=0) - frames.mean()


heard = {word: [likeness(features(say(word, rng))) for _ in range(5)] for word in WORDS + OTHERS}
nearest = [
    min(heard, key=lambda word: min(np.square(likeness(bands[begin:end]) - one).sum() for one in heard[word]))
    for begin, end in spans
]
spotted = [
    ("", *WORDS)[np.argmax(np.r_[0.5, chance[max(end - 12, 0) : end + 8, 1:].max(axis=0)])] for _, end in spans
]  # the surest of the four, if it is surer than a half
truth = [word if word in WORDS else "" for word in spoken]
score = np.mean([a == b for a, b in zip(spotted, truth, strict=True)])
baseline = np.mean([(a if a in WORDS else "") == b for a, b in zip(nearest, truth, strict=True)])
elsewhere = chance[:, 1:].max(axis=1) > 0.5
for _, end in spans:
    elsewhere[max(end - 12, 0) : end + 8] = False
print(f"GRU: {score:.0%} of {len(truth)} words right; nearest spectrum: {baseline:.0%}")
print(f"where no word ends, the GRU hears one in {elsewhere.mean():.1%} of the frames")


# %%
# Six seconds of it.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    span = np.arange(600)
    _, (above, below) = plt.subplots(2, 1, figsize=(10, 5), sharex=True)
    above.imshow(bands[span].T, origin="lower", aspect="auto", extent=(0, 6, 0, 20), cmap="Greys")
    above.set(
        ylabel="band (mel)",
        title=f"What was heard, and which word: {score:.0%} right, nearest spectrum {baseline:.0%}\n",
    )
    for word, shade in zip(WORDS, ("#1f6fb4", "#c9702a", "#2d8a4e", "#8a4fa3"), strict=True):
        below.plot(span / 100, chance[span, 1 + WORDS.index(word)], color=shade, label=word)
    for (begin, end), word in zip(spans, spoken, strict=True):
        if end < 600:
            above.text(begin / 100, 20.4, word, fontsize=9, weight="bold" if word in WORDS else "normal")
            below.axvspan(begin / 100, end / 100, color=COLOURS["truth"], alpha=0.3 if word in WORDS else 0.1, lw=0)
    below.axhline(0.5, color=COLOURS["truth"], lw=0.8, ls=":")
    below.set(
        xlabel="seconds",
        ylabel="probability",
        ylim=(0, 1.2),
        title="Grey: spoken (darker: one of the four). A word is known as it ends",
    )
    below.legend(ncols=4, fontsize=8, loc="upper right")


# sphinx_gallery_end_ignore

# %%
# The voice and the training: `examples/train/keywords.py`.
