"""A motor whose load nobody knows, and how data/control.onnx learnt to follow with it. Run: python -m train.control"""

import needs  # isort: skip  # noqa: F401

import numpy as np

TICK, LIMIT = 0.001, 3.0  # 1 kHz; N m that the motor can do
STEP = 2 * np.pi / 4096
MIDDLING = 0.022  # kg m², the inertia that the controller believes in


def make_course(seconds, count, seed):
    """Return where the arm shall be, radians [T, count]: a smooth course with turns of about a second."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds / TICK))[:, None] * TICK
    course = np.zeros((len(t), count))
    for _ in range(4):
        course += rng.uniform(0.1, 0.4, count) * np.sin(
            2 * np.pi * rng.uniform(0.3, 1.8, count) * t + rng.uniform(0, 6.3, count)
        )
    return course


def make_load(count, seed):
    """Return inertia (kg m²), weight of the arm (N m) and dry friction (N m) [3, count]; it was not told to the controller."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(0.01, 0.04, count), rng.uniform(0.0, 1.2, count), rng.uniform(0.05, 0.35, count)])


def motor(angle, speed, torque, load):
    """Return angle and speed a millisecond later."""
    inertia, weight, friction = load
    taken = weight * np.sin(angle) + friction * np.tanh(speed / 0.05) + 0.02 * speed
    speed = speed + TICK * (torque - taken) / inertia
    return angle + TICK * speed, speed


def lacking(course, course_speed, course_turn, load):
    """Return the torque that would follow the course, less what `feedback` gives for it: what there is to be learnt."""
    inertia, weight, friction = load
    return (
        (inertia - MIDDLING) * course_turn
        + weight * np.sin(course)
        + friction * np.tanh(course_speed / 0.05)
        + 0.02 * course_speed
    )


class Encoder:
    """4,096 steps a turn: what the controller sees of the arm. Speed is a difference over 8 ms."""

    def __init__(self, angle):
        self.last = [np.round(angle / STEP) * STEP] * 9

    def read(self, angle):
        """Return angle and speed as the encoder tells them."""
        self.last = [*self.last[1:], np.round(angle / STEP) * STEP]
        return self.last[-1], (self.last[-1] - self.last[0]) / (8 * TICK)


def feedback(seen, speed, aim, aim_speed, aim_turn):
    """Return a torque, N m: proportional, differential, and what a middling inertia needs for the course itself."""
    return 12.0 * (aim - seen) + 0.35 * (aim_speed - speed) + MIDDLING * aim_turn


def features(seen, speed, torque, aim, aim_speed, aim_turn):
    """Return what the net is told in a tick: the arm, the torque that was applied, the course; about 1 in size."""
    return np.stack([10 * (aim - seen), speed / 4, torque / LIMIT, aim, aim_speed / 4, aim_turn / 40], -1)


def main(folder=None, share=1.0):
    """Drive 240 arms and learn to tell what each lacks, from the second round on with the net itself driving.

    The file goes into `folder`, or to where it ships. A small `share` of the training shows that this still works.
    """
    import torch

    from story import DATA

    torch.manual_seed(0)
    torch.set_num_threads(1)
    count, seconds = max(4, int(240 * share)), 3.0 if share == 1 else 0.6
    course, load = make_course(seconds, count, seed=1), make_load(count, seed=1)
    speeds = np.gradient(course, TICK, axis=0)
    turns = np.gradient(speeds, TICK, axis=0)
    lacks = lacking(course, speeds, turns, load)

    class Observer(torch.nn.Module):
        """The torque that is lacking, N m, from what is told in every tick."""

        def __init__(self):
            super().__init__()
            self.lstm, self.head = torch.nn.LSTM(6, 20), torch.nn.Linear(20, 1)

        def forward(self, x):
            return self.head(self.lstm(x)[0])

    def drive(net, seed):
        """Return what was told, [T, B, 6]. In half of the ticks' half seconds the net helps, else a share of the truth does."""
        rng, encoder, told, state = np.random.default_rng(seed), Encoder(course[0]), [], None
        angle, speed, torque = course[0], speeds[0], np.zeros(count)
        for t in range(len(course)):
            if t % 500 == 0:
                share, own = rng.uniform(0, 1.1, count), rng.random(count) < (0.8 if net else 0)
            seen, fast = encoder.read(angle)
            told.append(torch.tensor(features(seen, fast, torque, course[t], speeds[t], turns[t]), dtype=torch.float32))
            help = share * lacks[t]
            if net:
                with torch.no_grad():
                    hidden, state = net.lstm(told[-1][None], state)
                    help = np.where(own, net.head(hidden)[0, :, 0].numpy(), help)
            torque = np.clip(feedback(seen, fast, course[t], speeds[t], turns[t]) + help, -LIMIT, LIMIT)
            angle, speed = motor(angle, speed, torque, load)
        return torch.stack(told)

    net, T, updates, rounds, x, y = (
        Observer(),
        500,
        max(2, int(250 * share)),
        4 if share == 1 else 2,
        [],
        torch.tensor(lacks[..., None], dtype=torch.float32),
    )
    for round in range(rounds):
        x.append(drive(net if round else None, seed=round))
        optimiser = torch.optim.Adam(net.parameters())
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=updates)
        for update in range(updates):
            at, rows = int(torch.randint(0, len(y) - T, (1,))) * (update % 4 > 0), torch.randint(0, count, (40,))
            told = x[int(torch.randint(0, len(x), (1,)))] if update % 2 else x[-1]
            loss = (net(told[at : at + T, rows])[50:] - y[at : at + T, rows][50:]).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        print(f"round {round + 1}: {loss.item():.3f} N m", flush=True)
    torch.onnx.export(
        net.eval(), (x[0][:7, :2],), str((folder or DATA) / "control.onnx"), dynamo=False, opset_version=17, input_names=["told"],
        output_names=["lacking"], dynamic_axes={"told": {0: "T", 1: "B"}, "lacking": {0: "T", 1: "B"}},
    )  # fmt: skip


if __name__ == "__main__":
    main()
