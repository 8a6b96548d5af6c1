"""Sentences whose words have more than one reading, and how data/tagger_*.onnx were trained. Run: python -m train.tagging"""

import needs  # isort: skip  # noqa: F401

import numpy as np

TAGS = ("DET", "ADJ", "NOUN", "VERB", "PRON", "ADV", "PREP", "STOP")
LEXICON = {
    "DET": "the a every this".split(),
    "PRON": "they we you".split(),
    "ADV": "often slowly never again".split(),
    "PREP": "near behind with under".split(),
    "STOP": ["."],
    "ADJ": "old young poor light cold green tall wide small".split(),  # the first five may be nouns
    "NOUN": "old young poor light cold man fish plant water guard cook sail watch dog house tree river child".split(),
    "VERB": "man fish plant water guard cook sail watch see find paint follow".split(),  # the first eight may be nouns
}
WORDS = sorted({word for words in LEXICON.values() for word in words})


def make_sentence(rng):
    """Return words and tags of a sentence such as `the old man the house .` or `the old man often sail a fish .`"""

    def pick(tag, choices=None):
        words.append(rng.choice(LEXICON[tag] if choices is None else choices))
        tags.append(tag)

    def noun_phrase():
        pick("DET")
        if rng.random() < 0.4:
            pick("NOUN", LEXICON["NOUN"][:5])  # the old: a noun of its own
            return
        while rng.random() < 0.4:
            pick("ADJ")
        pick("NOUN", LEXICON["NOUN"][5:])

    words, tags = [], []
    kind = rng.random()
    if kind < 0.7:
        noun_phrase()
    elif kind < 0.9:
        pick("PRON")
    if rng.random() < 0.3:
        pick("ADV")
    pick("VERB")
    noun_phrase()
    if rng.random() < 0.3:
        pick("PREP")
        noun_phrase()
    pick("STOP")
    return words, tags


def make_text(sentences, seed):
    """Return word numbers and tag numbers, int64 [sentences, 16] padded with -1, of sentences that fit."""
    rng = np.random.default_rng(seed)
    ids, tags = np.full((2, sentences, 16), -1)
    for row in range(sentences):
        words, names = make_sentence(rng)
        while len(words) > 16:
            words, names = make_sentence(rng)
        ids[row, : len(words)] = [WORDS.index(word) for word in words]
        tags[row, : len(names)] = [TAGS.index(name) for name in names]
    return ids, tags


def main(folder=None, share=1.0):
    """Train both for half a minute and write the files.

    The file goes into `folder`, or to where it ships. A small `share` of the training shows that this still works.
    """
    import torch
    from torch import nn

    from story import DATA

    torch.set_num_threads(1)

    class Tagger(nn.Module):
        """Words, a sentence a row, to a score for each tag."""

        def __init__(self, units, both):
            super().__init__()
            self.embed = nn.Embedding(len(WORDS), 8)
            self.lstm = nn.LSTM(8, units, batch_first=True, bidirectional=both)
            self.head = nn.Linear(units * (1 + both), len(TAGS))

        def forward(self, words):
            return self.head(self.lstm(self.embed(words))[0])

    ids, tags = (torch.from_numpy(part.astype(np.int64)) for part in make_text(max(64, int(6000 * share)), seed=1))
    for name, net in (("whole", Tagger(12, True)), ("causal", Tagger(20, False))):
        torch.manual_seed(0)
        optimiser, updates = torch.optim.Adam(net.parameters(), 1e-2), max(2, int(900 * share))
        for update in range(updates):
            rows = torch.randint(0, len(ids), (64,))
            scores = net(ids[rows].clamp(min=0))
            loss = nn.functional.cross_entropy(scores.flatten(0, 1), tags[rows].flatten(), ignore_index=-1)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if update % 100 == 99:
                print(f"{name}, {update + 1} updates: {loss.item():.4f}", flush=True)
        torch.onnx.export(
            net.eval(), (ids[:2, :7].clamp(min=0),), str((folder or DATA) / f"tagger_{name}.onnx"), dynamo=False, opset_version=17,
            input_names=["words"], output_names=["tags"], dynamic_axes={"words": {0: "B", 1: "T"}, "tags": {0: "B", 1: "T"}},
        )  # fmt: skip


if __name__ == "__main__":
    main()
