"""More modules of the zoo: loops over hand-written cells, vision, control, attention and handwriting, all tiny."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PeepholeCell(nn.Module):
    """One product for all gates, in the order o f i g, and peepholes."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + units, 4 * units)
        self.peep = nn.Parameter(torch.randn(3, units))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        o, f, i, g = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
        c = torch.sigmoid(f + self.peep[0] * c) * c + torch.sigmoid(i + self.peep[1] * c) * torch.tanh(g)
        return torch.sigmoid(o + self.peep[2] * c) * torch.tanh(c), c


class CoupledCell(nn.Module):
    """An LSTM that writes what it forgets: i = 1 - f."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + units, 3 * units)

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        f, o, g = self.gates(torch.cat([h, x], 1)).chunk(3, 1)
        f = torch.sigmoid(f)
        c = f * c + (1 - f) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class ResetBeforeCell(nn.Module):
    """The GRU of the paper: r before the product, h = z * h + (1 - z) * n."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.zr, self.x, self.h = (
            nn.Linear(inputs + units, 2 * units),
            nn.Linear(inputs, units),
            nn.Linear(units, units),
        )

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        z, r = torch.sigmoid(self.zr(torch.cat([x, h], 1))).chunk(2, 1)
        return z * h + (1 - z) * torch.tanh(self.x(x) + self.h(r * h))


class ScriptedLstm(nn.Module):
    """A loop over `x[:, t]`."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 7)
        c = torch.zeros(x.size(0), 7)
        made: list[Tensor] = []
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t], (h, c))
            made.append(h)
        return torch.stack(made, 1)


class ScriptedPeephole(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = PeepholeCell(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 7)
        c = torch.zeros(x.size(0), 7)
        made: list[Tensor] = []
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t], h, c)
            made.append(h)
        return torch.stack(made, 1)


class ScriptedGru(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = ResetBeforeCell(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 7)
        made: list[Tensor] = []
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
            made.append(h)
        return torch.stack(made, 1)


class ScriptedIndRnn(nn.Module):
    """Every unit sees its own past only."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.u = nn.Linear(5, 7), nn.Parameter(torch.rand(7))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 7)
        made: list[Tensor] = []
        for t in range(x.size(1)):
            h = torch.relu(self.x(x[:, t]) + self.u * h)
            made.append(h)
        return torch.stack(made, 1)


class Mamba(nn.Module):
    """A selective state space: causal convolution, then a linear recurrence whose rates depend on the input."""

    def __init__(self, width: int = 6, states: int = 4) -> None:
        super().__init__()
        self.inp, self.out = nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.conv = nn.Conv1d(width, width, 3, groups=width, padding=2)
        self.rates, self.dt = nn.Linear(width, 1 + 2 * states), nn.Linear(1, width)
        self.a, self.d, self.n = nn.Parameter(torch.rand(width, states)), nn.Parameter(torch.ones(width)), states

    def forward(self, x: Tensor) -> Tensor:
        u, z = self.inp(x).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[:, :, : x.size(1)].transpose(1, 2))
        rates = self.rates(u)
        dt = F.softplus(self.dt(rates[:, :, :1])).unsqueeze(-1)
        keep = torch.exp(-dt * torch.exp(self.a))
        write = dt * rates[:, :, 1 : 1 + self.n].unsqueeze(2) * u.unsqueeze(-1)
        h = torch.zeros(x.size(0), u.size(2), self.n)
        made: list[Tensor] = []
        for t in range(x.size(1)):
            h = keep[:, t] * h + write[:, t]
            made.append((h * rates[:, t, 1 + self.n :].unsqueeze(1)).sum(-1))
        return self.out((torch.stack(made, 1) + u * self.d) * F.silu(z))


class ConvLstmCell(nn.Module):
    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.conv, self.units = nn.Conv2d(inputs + units, 4 * units, 3, padding=1), units

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        i, f, o, g = torch.split(self.conv(torch.cat([x, h], 1)), self.units, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class Nowcast(nn.Module):
    """ConvLSTM over the frames of a radar: [B, T, C, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = ConvLstmCell(2, 3), nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(x.size(0), 3, x.size(3), x.size(4))
        c = torch.zeros_like(h)
        made: list[Tensor] = []
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t], h, c)
            made.append(self.out(h))
        return torch.stack(made, 1)


class PeepholeStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = PeepholeCell(5, 7), nn.Linear(7, 2)

    def forward(self, x, h, c):
        h, c = self.cell(x, h, c)
        return self.out(h), h, c


class CoupledStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = CoupledCell(5, 7), nn.Linear(7, 2)

    def forward(self, x, h, c):
        h, c = self.cell(x, h, c)
        return self.out(h), h, c


class OpenUnrolled(nn.Module):
    """A Python loop, exported as if its length were free."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(4, 6), nn.Linear(6, 2)

    def forward(self, x):
        h = x.new_zeros(x.size(0), 6)
        made = []
        for t in range(x.size(1)):
            h = self.cell(x[:, t], h)
            made.append(h)
        return self.out(torch.stack(made, 1))


class Impala(nn.Module):
    """An actor over T steps: `done` masks the state that goes in, once a call."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(2, 4, 3, 2), nn.Linear(36, 8)
        self.rnn, self.policy, self.value = nn.LSTM(8 + 3 + 1, 7), nn.Linear(7, 3), nn.Linear(7, 1)

    def forward(self, frame, reward, action, done, h, c):
        T, B = frame.shape[:2]
        x = F.relu(self.fc(F.relu(self.conv(frame.flatten(0, 1))).flatten(1)))
        extra = [reward.clamp(-1, 1).view(T * B, 1), F.one_hot(action.view(T * B), 3).float()]
        keep = (1 - done).view(1, B, 1)
        y, (h, c) = self.rnn(torch.cat([x, *extra], -1).view(T, B, -1), (h * keep, c * keep))
        return self.policy(y), self.value(y).squeeze(-1), h, c


class SacStep(nn.Module):
    """One step of an actor that is told its last action: of the shape of an answer, but no state."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.mean, self.log_std = nn.LSTM(6 + 2, 7), nn.Linear(7, 2), nn.Linear(7, 2)

    def forward(self, obs, last, h, c):
        y, (h, c) = self.rnn(torch.cat([obs, last], -1).unsqueeze(0), (h, c))
        return torch.tanh(self.mean(y[0])), self.log_std(y[0]).clamp(-20, 2), h, c


class ConvGru(nn.Module):
    def __init__(self, units: int) -> None:
        super().__init__()
        self.gates, self.new = nn.Conv2d(2 * units, 2 * units, 3, padding=1), nn.Conv2d(2 * units, units, 3, padding=1)

    def forward(self, x, h):
        r, z = torch.sigmoid(self.gates(torch.cat([x, h], 1))).chunk(2, 1)
        return (1 - z) * h + z * torch.tanh(self.new(torch.cat([x, r * h], 1)))


class Matting(nn.Module):
    """Video matting: recurrent states at two scales, one frame a call."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)
        self.gru1, self.gru2 = ConvGru(2), ConvGru(3)
        self.up1, self.up2 = nn.ConvTranspose2d(6, 4, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2)
        self.out = nn.Conv2d(7, 4, 1)

    def forward(self, src, r1, r2):
        x = F.relu(self.down2(F.relu(self.down1(src))))
        a, b = x.split(3, 1)
        r2 = self.gru2(b, r2)
        a, b = F.relu(self.up1(torch.cat([a, r2], 1))).split(2, 1)
        r1 = self.gru1(b, r1)
        foreground, alpha = self.out(torch.cat([self.up2(torch.cat([a, r1], 1)), src], 1)).split([3, 1], 1)
        return (foreground + src).clamp(0.0, 1.0), alpha.clamp(0.0, 1.0), r1, r2


class Handwriting(nn.Module):
    """A window that moves along a text, between two LSTM cells; mixture density outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.window, self.two = nn.LSTMCell(3 + 5, 7), nn.Linear(7, 9), nn.LSTMCell(3 + 7 + 5, 7)
        self.out = nn.Linear(14, 13)

    def forward(self, x, text, h1, c1, h2, c2, kappa, w):
        h1, c1 = self.one(torch.cat([x, w], -1), (h1, c1))
        a, b, k = torch.exp(self.window(h1)).chunk(3, -1)
        kappa = kappa + k
        u = torch.arange(text.size(1), dtype=torch.float32)
        phi = (a.unsqueeze(-1) * torch.exp(-b.unsqueeze(-1) * (kappa.unsqueeze(-1) - u) ** 2)).sum(1, keepdim=True)
        w = torch.bmm(phi, text).squeeze(1)
        h2, c2 = self.two(torch.cat([x, h1, w], -1), (h2, c2))
        end, pi, mean, std, rho = self.out(torch.cat([h1, h2], -1)).split([1, 2, 4, 4, 2], -1)
        mixture = torch.cat([torch.sigmoid(end), F.softmax(pi, -1), mean, torch.exp(std), torch.tanh(rho)], -1)
        return mixture, h1, c1, h2, c2, kappa, w


class LineReader(nn.Module):
    """Text in pictures: convolutions squeeze the height, LSTM layers read the columns. Steps are columns by four."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.norm, self.conv3 = nn.BatchNorm2d(6), nn.Conv2d(6, 8, (2, 1))
        self.rnn, self.fc = nn.LSTM(8, 6, 2, batch_first=True), nn.Linear(6, 9)

    def forward(self, image):
        x = F.max_pool2d(F.relu(self.conv1(image)), 2, 2)
        x = F.max_pool2d(F.relu(self.norm(self.conv2(x))), 2, 2)
        x = F.relu(self.conv3(x)).squeeze(2).permute(0, 2, 1)
        return F.softmax(self.fc(self.rnn(x)[0]), 2)


class LaggingLoop(nn.Module):
    """A scripted loop over two sequences, one of which looks a step ahead."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate = nn.Conv1d(4, 6, 3, padding=1), nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        new = self.conv(x.transpose(1, 2)).transpose(1, 2)
        z = torch.sigmoid(self.gate(x))
        h = torch.zeros(x.size(0), 6)
        made: list[Tensor] = []
        for t in range(x.size(1)):
            h = z[:, t] * h + (1 - z[:, t]) * torch.tanh(new[:, t])
            made.append(h)
        return torch.stack(made, 1)


class PaperGruStep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = ResetBeforeCell(5, 7), nn.Linear(7, 2)

    def forward(self, x, h):
        h = self.cell(x, h)
        return torch.relu(self.out(h)), h


class LayerNormLoop(nn.Module):
    """A Python loop over a layer-normalised LSTM cell: copies in the file, and no cell that has an operator."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(5, 28, bias=False), nn.Linear(7, 28, bias=False)
        self.norm_x, self.norm_h, self.norm_c = nn.LayerNorm(28), nn.LayerNorm(28), nn.LayerNorm(7)

    def forward(self, x):
        h = c = torch.zeros(x.size(0), 7)
        made = []
        for t in range(x.size(1)):
            i, f, g, o = (self.norm_x(self.x(x[:, t])) + self.norm_h(self.h(h))).chunk(4, 1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(self.norm_c(c))
            made.append(h)
        return torch.stack(made, 1), h
