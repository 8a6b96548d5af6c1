"""Drawn shapes with their captions, and how data/captions.onnx was trained on them. Run: python -m train.captions"""

import needs  # isort: skip  # noqa: F401

import numpy as np

SIZE = 24
SHAPES, SIZES, PLACES = ("circle", "square", "triangle", "cross"), ("small", "large"), ("left of", "above")
WORDS = ("<begin>", "<end>", "a", *SIZES, *SHAPES, "left", "of", "above")


def draw(shape, size, x, y):
    """Return a picture [24, 24] of zeros and ones with the shape at a place."""
    r = (2.7 if size == "small" else 4.6) * np.ones(1)
    py, px = np.mgrid[:SIZE, :SIZE]
    dx, dy = np.abs(px - x), np.abs(py - y)
    inside = {
        "circle": dx**2 + dy**2 < r**2,
        "square": np.maximum(dx, dy) < 0.88 * r,
        "triangle": (dx < 0.62 * (py - y + r)) & (py - y < 0.9 * r),
        "cross": (np.minimum(dx, dy) < 0.3 * r) & (np.maximum(dx, dy) < r),
    }[shape]
    return inside.astype(np.float32)


def make_drawings(count, seed):
    """Return pictures, float32 [count, 1, 24, 24] with some noise, and captions such as `a small cross above a large circle`."""
    rng = np.random.default_rng(seed)
    pictures, captions = np.zeros((count, 1, SIZE, SIZE), np.float32), []
    for row in range(count):
        place = rng.choice(PLACES)
        first, second = ((rng.choice(SHAPES), rng.choice(SIZES)) for _ in range(2))
        near, far, across = rng.uniform(5.5, 6.5), rng.uniform(17, 18), rng.uniform(8, 16, 2)
        at = [(near, across[0]), (far, across[1])]
        if place == "above":
            at = [(x, y) for y, x in at]
        pictures[row, 0] = np.maximum(draw(*first, *at[0]), draw(*second, *at[1]))
        captions.append(f"a {first[1]} {first[0]} {place} a {second[1]} {second[0]}")
    return pictures + rng.normal(0, 0.15, pictures.shape).astype(np.float32), captions


def main(folder=None, share=1.0):
    """Train for some minutes and write the file.

    The file goes into `folder`, or to where it ships. A small `share` of the training shows that this still works.
    """
    import torch
    from torch import nn

    from story import DATA

    torch.manual_seed(0)
    torch.set_num_threads(1)

    class Captioner(nn.Module):
        """A convolutional net sees the picture once, its code is where the LSTM that writes begins."""

        def __init__(self):
            super().__init__()
            layers = []
            for before, after in ((1, 8), (8, 12), (12, 12)):
                layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
            self.see = nn.Sequential(*layers, nn.Flatten(), nn.Linear(108, 40), nn.Tanh())
            self.embed, self.lstm = nn.Embedding(len(WORDS), 8), nn.LSTM(8, 20, batch_first=True)
            self.head = nn.Linear(20, len(WORDS))

        def forward(self, words, picture):
            h, c = self.see(picture)[None].chunk(2, dim=-1)
            return self.head(self.lstm(self.embed(words), (h.contiguous(), c.contiguous()))[0])

    pictures, captions = make_drawings(max(64, int(6000 * share)), seed=1)
    x = torch.from_numpy(pictures)
    tokens = np.ones((len(captions), 10), int)  # <end> to the end
    for row, caption in enumerate(captions):
        numbers = [0, *(WORDS.index(word) for word in caption.split())]
        tokens[row, : len(numbers)] = numbers
    words, net, updates = torch.from_numpy(tokens), Captioner(), max(2, int(7000 * share))
    optimiser = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=updates)
    for update in range(updates):
        at = torch.randint(0, len(x), (64,))
        scores = net(words[at][:, :-1], x[at])
        loss = nn.functional.cross_entropy(scores.flatten(0, 1), words[at][:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if update % 500 == 499:
            print(f"{update + 1} updates: {loss.item():.4f} a word", flush=True)
    torch.onnx.export(
        net.eval(), (words[:2, :-1], x[:2]), str((folder or DATA) / "captions.onnx"), dynamo=False, opset_version=17,
        input_names=["word", "picture"], output_names=["scores"],
        dynamic_axes={"word": {0: "B", 1: "T"}, "picture": {0: "B"}, "scores": {0: "B", 1: "T"}},
    )  # fmt: skip


if __name__ == "__main__":
    main()
