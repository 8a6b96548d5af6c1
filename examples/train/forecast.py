"""The load of a town, hour by hour, and how data/forecast.onnx was trained on it. Run: python -m train.forecast"""

import needs  # isort: skip  # noqa: F401

import numpy as np

PER_DAY, AHEAD = 24, 24
MEAN, SPREAD = 52.0, 14.0  # megawatts: what the features are scaled by


def make_load(days, seed):
    """Return hourly load in MW [24 * days]: workdays and weekends, weather of a few days, and what nobody can foresee."""
    rng = np.random.default_rng(seed)
    hours = np.arange(days * PER_DAY)
    of_day, weekend = hours % PER_DAY, hours // PER_DAY % 7 >= 5
    work = (
        38
        + 16 * np.exp(-(((of_day - 9) / 3.0) ** 2))
        + 22 * np.exp(-(((of_day - 18.5) / 2.6) ** 2))
        + 6 * (np.abs(of_day - 13) < 5)
    )
    rest = 36 + 12 * np.exp(-(((of_day - 12) / 3.5) ** 2)) + 17 * np.exp(-(((of_day - 19.5) / 2.8) ** 2))
    cold = np.zeros(len(hours))  # fronts come at random, within hours, and stay for days
    for day in np.flatnonzero(rng.random(days) < 0.3):
        at = day * PER_DAY + rng.integers(PER_DAY)
        cold[at:] += (
            rng.normal(0, 0.14)
            * np.exp(-(hours[at:] - at) / rng.uniform(40, 120))
            * np.minimum(1, (hours[at:] - at) / 5)
        )
    noise = np.convolve(rng.normal(0, 0.011, len(hours)), 0.8 ** np.arange(24))[: len(hours)]
    return np.where(weekend, rest, work) * (1 + cold + noise)


def make_features(load):
    """Return float32 [T, 6] of a load [T]: its value, where in the day it is, whether today and tomorrow are free."""
    hours = np.arange(len(load))
    angle = 2 * np.pi * (hours % PER_DAY) / PER_DAY
    free = [(hours // PER_DAY + ahead) % 7 >= 5 for ahead in (0, 1)]
    return np.stack([(load - MEAN) / SPREAD, np.sin(angle), np.cos(angle), np.cos(2 * angle), *free], 1).astype(
        np.float32
    )


def main(folder=None, share=1.0):
    """Train for a minute and write the file.

    The file goes into `folder`, or to where it ships. A small `share` of the training shows that this still works.
    """
    import torch

    from story import DATA

    torch.manual_seed(0)
    torch.set_num_threads(1)

    class Forecaster(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = torch.nn.LSTM(6, 28), torch.nn.Linear(28, AHEAD)

        def forward(self, x):
            return self.head(self.lstm(x)[0])

    load = make_load(max(30, int(1400 * share)), seed=1)
    x, y = torch.from_numpy(make_features(load)), torch.from_numpy(((load - MEAN) / SPREAD).astype(np.float32))
    targets = y.unfold(0, AHEAD, 1)[1:]  # [T, 24]: the hours after each
    net, T, warm, updates = Forecaster(), 240, 72, max(2, int(700 * share))
    optimiser = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=updates)
    for update in range(updates):
        at = torch.randint(0, len(targets) - T, (48,)) + torch.arange(T)[:, None]
        loss = (net(x[at])[warm:] - targets[at][warm:]).abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if update % 100 == 99:
            print(f"{update + 1} updates: {loss.item() * SPREAD:.2f} MW", flush=True)
    size = {0: torch.export.Dim("T"), 1: torch.export.Dim("B")}
    torch.onnx.export(  # the exporter of the day; T and B are dynamic
        net.eval(), (torch.zeros(5, 2, 6),), str((folder or DATA) / "forecast.onnx"), dynamo=True, external_data=False,
        input_names=["hour"], output_names=["day_ahead"], dynamic_shapes={"x": size},
    )  # fmt: skip


if __name__ == "__main__":
    main()
