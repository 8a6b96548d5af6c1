"""Carts that are shown for a moment where to go, and how data/policy.onnx learnt to drive them. Run: python -m train.policy"""

import needs  # isort: skip  # noqa: F401

import numpy as np

TICK, SHOWN = 0.05, 10  # seconds; ticks for which the light shows the place to go to


def move(place, speed, force, motor, gust):
    """Return place and speed a tick later, numpy or torch alike: metres, and metres a second."""
    speed = speed + TICK * (motor * force - 0.5 * speed) + gust
    return place + TICK * speed, speed


class Carts:
    """Carts side by side on rails. Each episode has its own aim, motor and length; the next begins where one ends."""

    def __init__(self, count, seed):
        self.rng = np.random.default_rng(seed)
        self.place, self.speed, self.aim, self.motor = np.zeros((4, count))
        self.tick, self.length, self.start = np.zeros(count, int), np.zeros(count, int), np.ones(count, bool)
        self._begin()

    def _begin(self):
        n, rng = int(self.start.sum()), self.rng
        self.place[self.start], self.speed[self.start] = rng.uniform(-1, 1, n), 0
        self.aim[self.start] = rng.uniform(-1, 1, n)
        self.motor[self.start] = rng.uniform(0.5, 2.0, n)
        self.tick[self.start], self.length[self.start] = 0, rng.integers(80, 160, n)

    def seen(self):
        """Return float32 [B, 3]: the place, with noise; where the light is; whether it is on."""
        on = self.tick < SHOWN
        return np.stack([self.place + self.rng.normal(0, 0.01, len(on)), self.aim * on, on], 1).astype(np.float32)

    def step(self, force):
        """Push each cart for a tick."""
        gust = np.where(self.rng.random(len(force)) < 0.03, self.rng.normal(0, 0.4, len(force)), 0)
        self.place, self.speed = move(self.place, self.speed, np.clip(force, -3, 3), self.motor, gust)
        self.tick += 1
        self.start = self.tick >= self.length
        self._begin()


def main(folder=None, share=1.0):
    """Train by following the gradient through the physics, for two minutes, and write the file.

    The file goes into `folder`, or to where it ships. A small `share` of the training shows that this still works.
    """
    import torch
    from torch import nn

    from story import DATA

    torch.manual_seed(0)
    torch.set_num_threads(1)

    class Policy(nn.Module):
        """What is seen, whether an episode begins here, and the state: a force, and the next state."""

        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.GRUCell(3, 28), nn.Linear(28, 1)

        def forward(self, seen, start, h):
            h = self.cell(seen, h * (1 - start))
            return 3 * torch.tanh(self.head(h)), h

    net, B, updates = Policy(), 96, max(2, int(400 * share))
    optimiser = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=updates)
    for update in range(updates):
        place, aim = torch.empty(2, B).uniform_(-1, 1)
        speed, h, loss = torch.zeros(B), torch.zeros(B, 28), 0.0
        motor = torch.empty(B).uniform_(0.5, 2.0)
        ticks = min(40 + update // 3, 120)  # longer and longer
        for tick in range(ticks):
            on = torch.full((B,), float(tick < SHOWN))
            seen = torch.stack([place + 0.01 * torch.randn(B), aim * on, on], 1)
            force, h = net(seen, torch.full((B, 1), float(tick == 0)), h)
            gust = torch.where(torch.rand(B) < 0.03, 0.4 * torch.randn(B), torch.zeros(B))
            place, speed = move(place, speed, force[:, 0], motor, gust)
            off = (place - aim).abs()
            loss = loss + (off.clamp(max=2) + 0.02 * off + 0.002 * force[:, 0] ** 2).mean() / ticks
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimiser.step()
        schedule.step()
        if update % 50 == 49:
            print(f"{update + 1} updates: off by {loss.item():.3f} m", flush=True)
    torch.onnx.export(
        net.eval(), (torch.zeros(3, 3), torch.zeros(3, 1), torch.zeros(3, 28)), str((folder or DATA) / "policy.onnx"), dynamo=False,
        opset_version=17, input_names=["seen", "start", "h"], output_names=["force", "h_next"],
        dynamic_axes={name: {0: "B"} for name in ("seen", "start", "h", "force", "h_next")},
    )  # fmt: skip


if __name__ == "__main__":
    main()
