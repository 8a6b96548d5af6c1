"""Four spoken words out of formants, and how data/keywords.onnx learnt to spot them. Run: python -m train.keywords"""

import needs  # isort: skip  # noqa: F401

import numpy as np

RATE, HOP, BANDS = 8000, 80, 20  # a frame every 10 ms
WORDS = ("up", "down", "left", "stop")
OTHERS = ("mama", "hello", "yes", "two", "rowing")
SOUNDS = {  # three formants in Hz, how voiced, how loud; what speech is made of, roughly
    "a": (730, 1090, 2440, 1.0, 1.0), "e": (530, 1840, 2480, 1.0, 0.9), "i": (300, 2290, 3010, 1.0, 0.8),
    "o": (570, 840, 2410, 1.0, 1.0), "u": (320, 870, 2240, 1.0, 0.8), "m": (250, 1100, 2200, 1.0, 0.35),
    "n": (270, 1500, 2500, 1.0, 0.35), "l": (360, 1300, 2700, 1.0, 0.5), "w": (300, 650, 2200, 1.0, 0.5),
    "r": (400, 1200, 1600, 1.0, 0.6), "d": (300, 1700, 2600, 0.6, 0.3), "s": (2500, 3300, 3700, 0.0, 0.4),
    "f": (1200, 2400, 3500, 0.0, 0.2), "h": (700, 1500, 2500, 0.0, 0.25), "t": (1900, 2900, 3600, 0.0, 0.5),
    "p": (500, 1000, 2000, 0.0, 0.4), "y": (280, 2200, 2900, 1.0, 0.6), "-": (500, 1500, 2500, 0.0, 0.0),
}  # fmt: skip
SPELT = {
    "up": "aa-p", "down": "daaun", "left": "leef-t", "stop": "st-oo-p", "mama": "maamaa", "hello": "heeloo", "yes": "yees",
    "two": "t-uu", "rowing": "roowiin",
}  # fmt: skip


def say(word, rng):
    """Return samples of a word, about 0.4 s: a voice of its own, formants that glide from sound to sound."""
    sounds = np.array([SOUNDS[c] for c in SPELT[word]])
    lengths = 0.065 * rng.uniform(0.75, 1.3) * rng.uniform(0.8, 1.2, len(sounds))
    n = int(RATE * lengths.sum())
    middle = (np.cumsum(lengths) - lengths / 2) * RATE
    tracks = np.stack([np.interp(np.arange(n), middle, sounds[:, k]) for k in range(5)])
    tracks[:3] *= rng.uniform(0.88, 1.14) * rng.uniform(0.96, 1.04, (3, 1))  # the length of a throat
    pitch = rng.uniform(90, 220) * (1 + 0.1 * np.sin(np.linspace(0, rng.uniform(1, 4), n)))
    pulses = np.diff(np.floor(np.cumsum(pitch) / RATE), prepend=0.0) * 8
    source = pulses * tracks[3] + rng.normal(0, 1, n) * (1.1 - tracks[3]) * 0.5
    out = np.zeros(n)
    for k, width in enumerate((80, 110, 160)):  # resonators in parallel: y[t] = x + b y[t-1] - c y[t-2]
        c = np.exp(-2 * np.pi * width / RATE)
        b, y1, y2 = 2 * np.sqrt(c) * np.cos(2 * np.pi * np.minimum(tracks[k], 3900) / RATE), 0.0, 0.0
        for t in range(n):
            y1, y2 = source[t] + b[t] * y1 - c * y2, y1
            out[t] += y1 / (1 + k)
    out *= tracks[4] * np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / 100)
    return out / (np.abs(out).max() + 1e-9)


def make_sound(words, rng, *, noise=0.05, gap=(0.15, 0.5)):
    """Return samples of words with pauses between them in noise, and where each begins and ends, in frames."""
    pieces, spans, at = [], [], 0
    for word in words:
        pause = np.zeros(int(RATE * rng.uniform(*gap)))
        sound = say(word, rng) * rng.uniform(0.4, 1.0)
        pieces += [pause, sound]
        spans.append(((at + len(pause)) // HOP, (at + len(pause) + len(sound)) // HOP))
        at += len(pause) + len(sound)
    audio = np.concatenate([*pieces, np.zeros(int(RATE * 0.2))])
    hum = np.cumsum(rng.normal(0, 1, len(audio)))
    hum -= np.convolve(hum, np.ones(64) / 64, "same")
    return audio + noise * (0.5 * hum / hum.std() + 0.5 * rng.normal(0, 1, len(audio))), spans


def _filters():
    mel = np.linspace(*(2595 * np.log10(1 + np.array([80, 3900]) / 700)), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    hertz = np.fft.rfftfreq(256, 1 / RATE)
    up, down = ((hertz - edges[k : k + BANDS, None]) for k in (0, 2))
    return np.clip(np.minimum(up / np.diff(edges)[:-1, None], -down / np.diff(edges)[1:, None]), 0, None)


FILTERS = _filters()


def features(audio):
    """Return float32 [T, 20]: the log of the energy in 20 bands, every 10 ms, of what was heard until then."""
    padded = np.concatenate([np.zeros(256 - HOP), audio])
    frames = np.lib.stride_tricks.sliding_window_view(padded, 256)[::HOP] * np.hanning(256)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    return (np.log(power @ FILTERS.T + 1e-3) / 3).astype(np.float32)


def main(folder=None, share=1.0):
    """Train for two minutes and write the file.

    The file goes into `folder`, or to where it ships. A small `share` of the training shows that this still works.
    """
    import torch
    from torch import nn

    from story import DATA

    torch.manual_seed(0)
    torch.set_num_threads(1)

    class Spotter(nn.Module):
        """Frames to five scores: none of the words, or which; a centred convolution sees two frames ahead."""

        def __init__(self):
            super().__init__()
            self.conv = nn.Conv1d(BANDS, 20, 5, padding=2)
            self.gru, self.head = nn.GRU(20, 28, batch_first=True), nn.Linear(28, 1 + len(WORDS))

        def forward(self, x):
            seen = torch.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
            return torch.softmax(self.head(self.gru(seen)[0]), -1)

    rng, T, rows = np.random.default_rng(1), 600, max(1, int(240 * share))
    x, labels = np.zeros((rows, T, BANDS), np.float32), np.zeros((rows, T), int)
    for row in range(len(x)):
        words = rng.choice(WORDS * 2 + OTHERS, 12)
        audio, spans = make_sound(words, rng, noise=rng.choice([0.01, 0.05, 0.1]))
        heard = features(audio)[:T]
        x[row, : len(heard)], x[row, len(heard) :] = heard, heard[-1]
        for word, (_, end) in zip(words, spans, strict=True):
            if word in WORDS and end + 4 < T:
                labels[row, end - 6 : end + 5] = 1 + WORDS.index(word)  # the word is known when it has been heard
    x, labels, net, updates = torch.from_numpy(x), torch.from_numpy(labels), Spotter(), max(2, int(500 * share))
    optimiser = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=updates)
    for update in range(updates):
        rows, at = torch.randint(0, len(x), (24,)), int(torch.randint(0, T - 300, (1,)))
        p = net(x[rows, at : at + 300])
        loss = nn.functional.nll_loss(torch.log(p + 1e-6).flatten(0, 1), labels[rows, at : at + 300].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if update % 100 == 99:
            print(f"{update + 1} updates: {loss.item():.4f}", flush=True)
    torch.onnx.export(
        net.eval(), (x[:2, :40],), str((folder or DATA) / "keywords.onnx"), dynamo=False, opset_version=17, input_names=["bands"],
        output_names=["words"], dynamic_axes={"bands": {0: "B", 1: "T"}, "words": {0: "B", 1: "T"}},
    )  # fmt: skip


if __name__ == "__main__":
    main()
