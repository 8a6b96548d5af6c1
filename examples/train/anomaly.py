"""A pump with five sensors, its faults, and how data/anomaly.onnx was trained on it. Run: python -m train.anomaly"""

import needs  # isort: skip  # noqa: F401

import numpy as np

SENSORS = ("flow", "pressure", "current", "temperature", "vibration")
UNITS = ("l/s", "bar", "A", "°C", "mm/s")
MEAN = np.array([6.0, 3.1, 9.5, 47.0, 2.0])
SPREAD = np.array([2.2, 1.3, 3.2, 6.0, 0.7])
FAULTS = ("filter clogs", "bearing rubs", "flow sensor sticks", "temperature sensor drifts")


def make_pump(seconds, seed, faults=()):
    """Return sensors [T, 5] and the fault at each second [T], 0 for none; `faults`: (second, length, number from 1)."""
    rng = np.random.default_rng(seed)
    speed, clog, rub = np.empty(seconds), np.zeros(seconds), np.zeros(seconds)
    at, now = 0, 0.7
    while at < seconds:  # the operator turns it up and down, the speed follows within seconds
        length, aim = rng.integers(20, 90), rng.uniform(0.35, 1.0)
        for t in range(at, min(at + length, seconds)):
            now += (aim - now) / 6
            speed[t] = now
        at += length
    fault = np.zeros(seconds, int)
    for begin, length, which in faults:
        fault[begin : begin + length] = which
        ramp = np.minimum(1, np.arange(length) / 20)
        clog[begin : begin + length] = 0.15 * ramp * (which == 1)
        rub[begin : begin + length] = 0.12 * ramp * (which == 2)
    valve = 1 + 0.12 * np.sin(
        np.cumsum(rng.normal(0, 0.01, seconds)) + rng.uniform(0, 6)
    )  # what the net behind it takes
    flow = 9 * speed * valve * (1 - clog)
    pressure = 6 * speed**2 * (1.25 - 0.5 * valve * (1 - clog)) - 0.2
    current = 4 + 9 * speed**2 * (0.6 + 0.4 * valve) * (1 + rub)
    vibration = 0.8 + 1.6 * speed**2 + 0.5 * np.exp(-(((speed - 0.62) / 0.05) ** 2)) + 3 * rub * speed
    heat, temperature = 45.0, np.empty(seconds)
    for t in range(seconds):
        heat += (32 + 1.9 * current[t] - heat) / 60
        temperature[t] = heat
    sensors = np.stack([flow, pressure, current, temperature, vibration], 1)
    sensors += rng.normal(0, 1, sensors.shape) * [0.06, 0.04, 0.08, 0.08, 0.06]
    for begin, length, which in faults:
        if which == 3:
            sensors[begin : begin + length, 0] = sensors[begin, 0] + rng.normal(0, 0.06, length)
        if which == 4:
            sensors[begin : begin + length, 3] += 3.0 * np.minimum(1, np.arange(length) / 40)
    return sensors, fault


def main(folder=None, share=1.0):
    """Train for a minute and write the file.

    The file goes into `folder`, or to where it ships. A small `share` of the training shows that this still works.
    """
    import torch

    from story import DATA

    torch.manual_seed(0)
    torch.set_num_threads(1)

    class Guess(torch.nn.Module):
        """Five sensors, of which one is covered, and which one that is; what all five should say."""

        def __init__(self):
            super().__init__()
            self.gru, self.head = torch.nn.GRU(10, 24, batch_first=True), torch.nn.Linear(24, 5)

        def forward(self, x):
            return self.head(self.gru(x)[0])

    runs = np.stack([make_pump(1200, seed)[0] for seed in range(100, 100 + max(5, int(48 * share)))])
    x = torch.from_numpy(((runs - MEAN) / SPREAD).astype(np.float32))
    net, T, updates, noise = Guess(), 150, max(2, int(700 * share)), torch.tensor([0.03, 0.03, 0.03, 0.02, 0.1])
    optimiser = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.5e-2, total_steps=updates)
    for update in range(updates):
        at, which = torch.randint(0, x.shape[1] - T, (1,)).item(), torch.arange(len(x)) % 5
        said, mask = x[:, at : at + T], torch.nn.functional.one_hot(which, 5).float()[:, None].expand(-1, T, -1)
        off = (net(torch.cat([said * (1 - mask), mask], -1)) - said) / noise
        loss = (off.abs() * mask)[:, 40:].sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if update % 100 == 99:
            print(f"{update + 1} updates: {loss.item():.5f}", flush=True)
    torch.onnx.export(
        net.eval(), (torch.zeros(2, 7, 10),), str((folder or DATA) / "anomaly.onnx"), dynamo=False, opset_version=17,
        input_names=["sensors"], output_names=["guess"], dynamic_axes={"sensors": {0: "B", 1: "T"}, "guess": {0: "B", 1: "T"}},
    )  # fmt: skip


if __name__ == "__main__":
    main()
