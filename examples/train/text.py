"""Sea weather reports by the thousand, and how data/text.onnx learnt to write them. Run: python -m train.text"""

import needs  # isort: skip  # noqa: F401

import numpy as np

SEAS = "Viking Forties Dogger Fisher Humber Thames Dover Wight Portland Plymouth Lundy Fastnet".split()
SEAS += ["Shannon", "Rockall", "Malin", "Hebrides"]
WINDS = "north northeast east southeast south southwest west northwest".split()
LETTERS = "\n ,.0123456789" + "".join(sorted({c for word in SEAS for c in word} | set("abcdefghijklmnopqrstuvwxyz")))


def make_report(rng):
    """Return a line such as `Dogger, southwest 5 to 7, later west 4. Rain, moderate.` Force and sight go together."""
    wind, force = rng.integers(8), rng.integers(2, 9)
    text = f"{rng.choice(SEAS)}, {WINDS[wind]} {force}"
    if rng.random() < 0.6:
        text += f" to {force + rng.integers(1, 3)}"
    if rng.random() < 0.4:
        text += f", later {WINDS[(wind + rng.choice([-1, 1])) % 8]} {max(1, force - rng.integers(1, 3))}"
    rain = rng.choice(["fair", "rain", "showers", "drizzle", "thundery showers"])
    sight = (
        "good"
        if rain == "fair"
        else rng.choice(["moderate", "poor"])
        if force > 5
        else rng.choice(["good", "moderate"])
    )
    return f"{text}. {rain.capitalize()}, {sight}.\n"


def make_reports(lines, seed):
    """Return so many lines as one text."""
    rng = np.random.default_rng(seed)
    return "".join(make_report(rng) for _ in range(lines))


def main(folder=None, share=1.0):
    """Train for two minutes and write the file.

    The file goes into `folder`, or to where it ships. A small `share` of the training shows that this still works.
    """
    import torch

    from story import DATA

    torch.manual_seed(0)
    torch.set_num_threads(1)

    class Writer(torch.nn.Module):
        """One letter in, a score for each that may come next; the state goes in and out, as writers are often exported."""

        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(len(LETTERS), 12)
            self.gru, self.head = torch.nn.GRU(12, 40, batch_first=True), torch.nn.Linear(40, len(LETTERS))

        def forward(self, letter, h):
            out, h = self.gru(self.embed(letter), h)
            return self.head(out), h

    text = torch.tensor([LETTERS.index(c) for c in make_reports(max(20, int(4000 * share)), seed=1)])
    net, T, B, updates = Writer(), 100, 48, max(2, int(1200 * share))
    optimiser = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=updates)
    for update in range(updates):
        at = torch.randint(0, len(text) - T - 1, (B, 1)) + torch.arange(T)
        scores, _ = net(text[at], torch.zeros(1, B, 40))
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), text[at + 1].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if update % 200 == 199:
            print(f"{update + 1} updates: {loss.item() / np.log(2):.3f} bits a letter", flush=True)
    torch.onnx.export(
        net.eval(), (torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, 1, 40)), str((folder or DATA) / "text.onnx"), dynamo=False,
        opset_version=17, input_names=["letter", "h"], output_names=["scores", "h_next"],
        dynamic_axes={"letter": {0: "B", 1: "T"}, "h": {1: "B"}, "scores": {0: "B", 1: "T"}, "h_next": {1: "B"}},
    )  # fmt: skip


if __name__ == "__main__":
    main()
