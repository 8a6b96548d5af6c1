"""More modules of the zoo: sensors, forecasts, world models and pointers, all tiny."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Battery(nn.Module):
    """State of charge: the power that an LSTM reads off each sample, added up over time."""

    def __init__(self):
        super().__init__()
        self.lstm, self.out = nn.LSTM(3, 7, batch_first=True), nn.Linear(7, 1)

    def forward(self, x):
        power = self.out(self.lstm((x - 0.2) / 0.7)[0])
        return torch.cumsum(power, 1), torch.sigmoid(power).squeeze(-1)


class PointerStep(nn.Module):
    """One step of a pointer network: what was visited is masked out of the softmax over the source."""

    def __init__(self):
        super().__init__()
        self.cell, self.source = nn.LSTMCell(2, 7), nn.Linear(7, 7)
        self.query, self.score = nn.Linear(7, 7), nn.Linear(7, 1)

    def forward(self, x, h, c, source, visited):
        h, c = self.cell(x, (h, c))
        u = self.score(torch.tanh(self.source(source) + self.query(h).unsqueeze(1))).squeeze(-1)
        return F.log_softmax(u.masked_fill(visited > 0.5, -1e9), -1), h, c


class GatedResidual(nn.Module):
    def __init__(self, inputs, units):
        super().__init__()
        self.first, self.second, self.gate = (
            nn.Linear(inputs, units),
            nn.Linear(units, units),
            nn.Linear(units, 2 * units),
        )
        self.skip, self.norm = nn.Linear(inputs, units), nn.LayerNorm(units)

    def forward(self, x):
        return self.norm(self.skip(x) + F.glu(self.gate(self.second(F.elu(self.first(x)))), -1))


class GatedForecast(nn.Module):
    """Temporal fusion: each variable has a gated residual network, their weighted sum goes through an LSTM."""

    def __init__(self):
        super().__init__()
        self.variables = nn.ModuleList([GatedResidual(1, 5) for _ in range(3)])
        self.weights, self.lstm, self.last = GatedResidual(3, 3), nn.LSTM(5, 5, batch_first=True), GatedResidual(5, 5)
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        weights = torch.softmax(self.weights(x), -1).unsqueeze(-2)
        made = torch.stack([net(x[..., i : i + 1]) for i, net in enumerate(self.variables)], -1)
        mixed = (made * weights).sum(-1)
        return self.out(self.last(mixed + self.lstm(mixed)[0]))


class WorldModelStep(nn.Module):
    """One step of a recurrent state-space model: GRU with one LayerNorm over its gates, mean and deviation."""

    def __init__(self):
        super().__init__()
        self.enter, self.gates, self.norm = nn.Linear(4 + 2, 6), nn.Linear(6 + 7, 21, bias=False), nn.LayerNorm(21)
        self.after = nn.Linear(7 + 5, 8)

    def forward(self, embed, action, deter, stoch, first):
        keep = (1 - first).unsqueeze(-1)
        deter, stoch, action = deter * keep, stoch * keep, action * keep
        x = F.silu(self.enter(torch.cat([stoch, action], -1)))
        r, c, u = self.norm(self.gates(torch.cat([x, deter], -1))).chunk(3, -1)
        u = torch.sigmoid(u - 1)
        deter = u * torch.tanh(torch.sigmoid(r) * c) + (1 - u) * deter
        mean, deviation = self.after(torch.cat([deter, embed], -1)).chunk(2, -1)
        return F.softplus(deviation) + 0.1, deter, mean


class DeepAr(nn.Module):
    """A forecast's distribution from the last states of two layers; the series' embedding is read at every step."""

    def __init__(self):
        super().__init__()
        self.series, self.lstm = nn.Embedding(6, 2), nn.LSTM(3 + 2, 7, 2, batch_first=True)
        self.mean, self.deviation = nn.Linear(14, 1), nn.Linear(14, 1)

    def forward(self, x, series):
        known = self.series(series).unsqueeze(1).expand(-1, x.size(1), -1)
        y, (h, _) = self.lstm(torch.cat([x, known], -1))
        last = h.permute(1, 2, 0).reshape(h.size(1), -1)
        return y, self.mean(last).squeeze(-1), F.softplus(self.deviation(last)).squeeze(-1)


class VideoTagger(nn.Module):
    """Each picture through a small CNN with the steps folded into the batch, then an LSTM over the steps."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, 2, 1)
        self.lstm, self.out = nn.LSTM(5, 7, batch_first=True), nn.Linear(7, 3)

    def forward(self, x):
        b, t = x.shape[:2]
        made = F.relu(self.second(F.relu(self.norm(self.first(x.flatten(0, 1))))))
        return self.out(self.lstm(F.adaptive_avg_pool2d(made, 1).flatten(1).view(b, t, -1))[0])
