"""
Tagging words, whole sentences beside word by word
==================================================

`the old man the boats`: old people sail. Which part of speech a word is depends on words before it and on words behind it.
A bidirectional LSTM reads the whole sentence, so it cannot stream, and says why; a causal one tags each word as it is spoken.
The baseline gives each word the tag that it has most often.

.. code-block:: sh

    python examples/tagging.py
"""

# sphinx_gallery_start_ignore
import needs  # isort: skip  # noqa: F401  (says what to install; leave it out where you paste this)
# sphinx_gallery_end_ignore

import numpy as np

import lstm_infer
from story import COLOURS, DATA, drawn
from train.tagging import LEXICON, TAGS, WORDS, make_text

whole, causal = (lstm_infer.load(DATA / f"tagger_{name}.onnx") for name in ("whole", "causal"))
try:
    whole.stream()
except lstm_infer.NotStreamableError as error:
    print(f"the whole one: {str(error).splitlines()[0]}\n")

# %%
# The causal one hears all sentences at once, a word of each at a time.
words, tags = make_text(500, seed=7)  # int64 [500, 16], -1 behind the end
stream = causal.stream(batch=len(words))
spoken = np.stack([stream.step(word) for word in words.clip(0).T], axis=1).argmax(axis=-1)

# %%
# The whole one takes each sentence by its own length: what stands behind the end would be read backwards first.
read = np.full_like(tags, -1)
for row, sentence in enumerate(words):
    n = (sentence >= 0).sum()
    read[row, :n] = whole.run({"words": sentence[None, :n]})["tags"][0].argmax(axis=-1)

# %%
# What a word is most often, counted in other sentences.
seen_words, seen_tags = make_text(2000, seed=8)
counts = np.zeros((len(WORDS), len(TAGS)), int)
np.add.at(counts, (seen_words[seen_words >= 0], seen_tags[seen_words >= 0]), 1)
usual = counts.argmax(axis=1)[words]

# %%
# All words, those with two readings, and those of them that only the words behind can settle.
there = words >= 0
twofold = there & np.array([sum(word in choices for choices in LEXICON.values()) > 1 for word in WORDS])[words]
behind = twofold & (np.roll(tags, 1, axis=1) == TAGS.index("DET"))  # `the old ...`: a noun, or does one follow?
right = {"most often": usual == tags, "causal LSTM": spoken == tags, "bidirectional LSTM": read == tags}
asked = {"all words": there, "two readings": twofold, "of these, behind `the`": behind}
share = {name: [hit[which].mean() for which in asked.values()] for name, hit in right.items()}
for name, values in share.items():
    print(f"{name:20}" + ", ".join(f"{what} {value:.1%}" for what, value in zip(asked, values, strict=True)))
score, live, baseline = (share[name][1] for name in ("bidirectional LSTM", "causal LSTM", "most often"))


# %%
# Three sentences in which the causal one was wrong, before the word came that tells.


# sphinx_gallery_start_ignore
@drawn
def draw(plt):
    _, (left, below) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(1, 1.3))
    for k, (name, colour) in enumerate(zip(share, (COLOURS["baseline"], "#8db8dd", COLOURS["ours"]), strict=True)):
        left.bar(np.arange(3) + 0.27 * (k - 1), np.multiply(100, share[name]), 0.25, color=colour, label=name)
    left.set_xticks(range(3), [name.replace(", ", ",\n") for name in asked])
    left.set(ylabel="words tagged right (%)", ylim=(0, 125), yticks=range(0, 101, 20))
    left.set_title("Only both directions tell what stands behind 'the'")
    left.legend(fontsize=8, ncols=2)
    tricky = np.flatnonzero((right["bidirectional LSTM"] | ~there).all(axis=1) & ((spoken != tags) & there).any(axis=1))
    table = []
    for row in tricky[np.argsort(there[tricky].sum(axis=1))][:3]:
        n = there[row].sum() - 1
        table += [[WORDS[k] for k in words[row, :n]]] + [
            [TAGS[k].lower() for k in tag[row, :n]] for tag in (spoken, read)
        ]
    for y, cells in enumerate(table):
        for x, cell in enumerate(cells):
            wrong = y % 3 == 1 and cell != table[y + 1][x]
            below.text(
                x,
                -y - y // 3,
                cell,
                fontsize=9,
                weight="bold" if y % 3 == 0 else "normal",
                color=COLOURS["bad"] if wrong else "black",
            )
        below.text(
            -0.4, -y - y // 3, ("", "causal", "bidirectional")[y % 3], ha="right", fontsize=8, color=COLOURS["truth"]
        )
    below.set(xlim=(-1.6, max(map(len, table))), ylim=(-11, 1))
    below.set_title("Word by word, the causal one has to guess (red)")
    below.axis("off")


# sphinx_gallery_end_ignore

# %%
# The sentences and the training: `examples/train/tagging.py`.
