"""
Captions for drawings
=====================

A small convolutional net looks at a picture once; its code is the state in which an LSTM begins to write, a word a step,
always the likeliest. In the file that is one graph with two inputs. The stream finds that `picture` has no time: it is given
when the stream is opened, the first state is computed from it, and from then on a step costs what the LSTM costs.

.. code-block:: sh

    python examples/captions.py
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import numpy as np

import lstm_infer
from story import DATA, drawn
from train.captions import WORDS, make_drawings

model = lstm_infer.load(DATA / "captions.onnx")
pictures, captions = make_drawings(300, seed=7)


# %%
# All pictures at once: a batch of streams in lockstep, fed with the word that each wrote before, until all have ended.
def write(pictures):
    """Return a caption for each picture."""
    stream = model.stream(batch=len(pictures), inputs={"picture": pictures})
    written, word = [], np.full((len(pictures), 1), WORDS.index("<begin>"))
    while len(written) < 10 and (word != WORDS.index("<end>")).any():
        word = stream.step(word).argmax(axis=-1)
        written.append(word)
    return [" ".join(WORDS[k] for k in row).partition(" <end>")[0] for row in np.concatenate(written, axis=1)]


ours = write(pictures)

# %%
# The baseline copies the caption of the most similar of 1,500 drawings, pixel by pixel.
known, known_captions = make_drawings(1500, seed=8)
flat, known_flat = pictures.reshape(len(pictures), -1), known.reshape(len(known), -1)
distance = np.square(known_flat).sum(axis=1) - 2 * flat @ known_flat.T
copied = [known_captions[k] for k in distance.argmin(axis=1)]
score, baseline = (np.mean([a == b for a, b in zip(told, captions, strict=True)]) for told in (ours, copied))
print(f"captions right in every word: {score:.1%}; of the most similar known drawing: {baseline:.1%}")


# %%
# Eight drawings, the last two of those that it got wrong, if there are any.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    right = [a == b for a, b in zip(ours, captions, strict=True)]
    shown = np.flatnonzero(right)[:6].tolist() + np.flatnonzero(np.logical_not(right))[:2].tolist()
    shown += np.flatnonzero(right)[6 : 14 - len(shown)].tolist()
    fig, axes = plt.subplots(2, 4, figsize=(10, 5.4))
    for ax, k in zip(axes.flat, shown, strict=False):
        ax.imshow(pictures[k, 0], cmap="Greys")
        ax.set(xticks=[], yticks=[])
        first, _, second = ours[k].partition(" a ")
        ax.set_title(f"{first}\na {second}", color="black" if right[k] else "#c0392b", fontsize=9)
    fig.suptitle(
        f"{score:.0%} of the captions right in every word (red: wrong); copied from the most similar drawing: {baseline:.0%}"
    )


# sphinx_gallery_end_ignore

# %%
# The drawings and the training: `examples/train/captions.py`.
