"""Small recurrent modules as tutorials and repositories write them. Sizes are tiny, forms are real."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GruTagger(nn.Module):
    """Tokens to a label for each: embedding, two GRU layers, log_softmax."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.gru = nn.GRU(8, 10, num_layers=2, batch_first=True, dropout=0.2)
        self.head = nn.Linear(10, 5)

    def forward(self, tokens):
        y, _ = self.gru(self.embed(tokens))
        return F.log_softmax(self.head(y), dim=-1)


class CausalConvLstm(nn.Module):
    """Causal Conv1d front end on [B, C, T], BatchNorm, ReLU, LSTM."""

    def __init__(self):
        super().__init__()
        self.conv1, self.norm = nn.Conv1d(5, 8, 3), nn.BatchNorm1d(8)
        self.conv2 = nn.Conv1d(8, 8, 2)
        self.lstm, self.head = nn.LSTM(8, 10, batch_first=True), nn.Linear(10, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.conv1(F.pad(x, (2, 0)))))
        x = F.relu(self.conv2(F.pad(x, (1, 0))))
        y, _ = self.lstm(x.transpose(1, 2))
        return torch.sigmoid(self.head(y))


class SameConvGru(nn.Module):
    """Centred convolutions ('same'), then a GRU: looks 2 + 1 steps ahead."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(4, 8, 5, padding="same")
        self.conv2 = nn.Conv1d(8, 6, 3, padding=1)
        self.gru, self.head = nn.GRU(6, 9, batch_first=True), nn.Linear(9, 2)

    def forward(self, x):
        x = F.gelu(self.conv1(x.transpose(1, 2)))
        y, _ = self.gru(F.gelu(self.conv2(x)).transpose(1, 2))
        return self.head(y)


class StridedConvLstm(nn.Module):
    """Two strided convolutions halve the rate twice before the LSTM."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv1d(3, 8, 4, stride=2, padding=1)
        self.conv2 = nn.Conv1d(8, 8, 3, stride=2)
        self.lstm, self.head = nn.LSTM(8, 10), nn.Linear(10, 4)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        y, _ = self.lstm(x.permute(2, 0, 1))
        return self.head(y)


class Seq2Seq(nn.Module):
    """The encoder's last state starts the decoder, which reads the target (teacher forcing)."""

    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(15, 6), nn.Embedding(13, 6)
        self.encoder = nn.GRU(6, 10, batch_first=True)
        self.decoder = nn.GRU(6, 10, batch_first=True)
        self.head = nn.Linear(10, 13)

    def forward(self, src, tgt):
        _, h = self.encoder(self.source(src))
        y, _ = self.decoder(self.target(tgt), h)
        return self.head(y)


class RnntPredictor(nn.Module):
    """Prediction network of a transducer: embedding, LSTM, projection, states in and out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(17, 6)
        self.lstm, self.head = nn.LSTM(6, 10, num_layers=2, batch_first=True), nn.Linear(10, 8)

    def forward(self, y, h, c):
        out, (hn, cn) = self.lstm(self.embed(y), (h, c))
        return self.head(out), hn, cn


class RnntJoiner(nn.Module):
    """Joint network: every encoder step with every predictor step."""

    def __init__(self):
        super().__init__()
        self.enc, self.pred, self.out = nn.Linear(8, 10), nn.Linear(8, 10, bias=False), nn.Linear(10, 17)

    def forward(self, enc, pred):
        joint = self.enc(enc).unsqueeze(2) + self.pred(pred).unsqueeze(1)
        return F.log_softmax(self.out(torch.tanh(joint)), dim=-1)


class PpoActorCritic(nn.Module):
    """Recurrent PPO: episode_start zeroes the state before the LSTM step; policy and value heads."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 8), nn.Tanh())
        self.lstm = nn.LSTM(8, 10)
        self.policy, self.value = nn.Linear(10, 3), nn.Linear(10, 1)

    def forward(self, obs, episode_start, h, c):
        keep = (1.0 - episode_start).view(1, -1, 1)
        y, (hn, cn) = self.lstm(self.body(obs).unsqueeze(0), (keep * h, keep * c))
        y = y.squeeze(0)
        return torch.softmax(self.policy(y), dim=-1), self.value(y).flatten(), hn, cn


class DeepSpeech(nn.Module):
    """Clipped ReLU layers, a unidirectional RNN, a clipped ReLU layer, log_softmax."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(9, 12),
            nn.Hardtanh(0, 20),
            nn.Linear(12, 12),
            nn.Hardtanh(0, 20),
            nn.Linear(12, 10),
            nn.Hardtanh(0, 20),
        )
        self.rnn = nn.RNN(10, 12)
        self.after, self.out = nn.Linear(12, 12), nn.Linear(12, 7)

    def forward(self, x):
        y, _ = self.rnn(self.layers(x))
        return F.log_softmax(self.out(F.hardtanh(self.after(y), 0.0, 20.0)), dim=2)


class AnomalyAutoencoder(nn.Module):
    """The last code repeated over time and decoded; the reconstruction error is the score."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.LSTM(3, 8, batch_first=True), nn.LSTM(8, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        _, (h, _) = self.encoder(x)
        code = h[-1].unsqueeze(1).repeat(1, x.size(1), 1)
        y = self.head(self.decoder(code)[0])
        return y, (y - x).abs().mean(dim=(1, 2))


class CharLm(nn.Module):
    """Character model: forward(x, (h, c)) gives logits and (h, c)."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(30, 6)
        self.lstm, self.head = nn.LSTM(6, 12, num_layers=2), nn.Linear(12, 30)

    def forward(self, x, state: tuple[Tensor, Tensor]):
        y, state = self.lstm(self.embed(x), state)
        return self.head(y.reshape(-1, 12)).view(x.size(0), x.size(1), 30), state


class TiedLm(nn.Module):
    """Language model whose output layer is the embedding."""

    def __init__(self):
        super().__init__()
        self.embed, self.gru = nn.Embedding(25, 10), nn.GRU(10, 10, batch_first=True)
        self.bias = nn.Parameter(torch.randn(25))

    def forward(self, tokens, h):
        y, h = self.gru(self.embed(tokens), h)
        return F.linear(y, self.embed.weight, self.bias), h


class KeywordSpotter(nn.Module):
    """Valid convolution, GRU, one decision for the clip: from the last step or the mean over time."""

    def __init__(self, pool):
        super().__init__()
        self.pool = pool
        self.conv, self.gru = nn.Conv1d(6, 8, 3), nn.GRU(8, 10, batch_first=True)
        self.head = nn.Linear(10, 4)

    def forward(self, mel):
        y, _ = self.gru(F.relu(self.conv(mel)).transpose(1, 2))
        y = y[:, -1] if self.pool == "last" else y.mean(dim=1)
        return F.softmax(self.head(y), dim=1)


class BeatTracker(nn.Module):
    """Conv2d over mel patches, pooling over frequency, recurrent layer, beat and downbeat activations."""

    def __init__(self, bidirectional):
        super().__init__()
        self.bidirectional = bidirectional
        self.conv1 = nn.Conv2d(1, 4, 3, padding=1 if bidirectional else (0, 1))
        self.conv2 = nn.Conv2d(4, 6, (1, 3))
        self.pool = nn.MaxPool2d((1, 2))
        self.lstm = nn.LSTM(18, 8, batch_first=True, bidirectional=bidirectional)
        self.head = nn.Linear(16 if bidirectional else 8, 2)

    def forward(self, mel):
        x = mel.unsqueeze(1)
        if not self.bidirectional:
            x = F.pad(x, (0, 0, 2, 0))
        x = self.pool(F.elu(self.conv1(x)))
        x = self.pool(F.elu(self.conv2(x)))
        x = x.permute(0, 2, 1, 3).flatten(2)
        return torch.sigmoid(self.head(self.lstm(x)[0]))


class DilatedBlock(nn.Module):
    def __init__(self, channels, dilation):
        super().__init__()
        self.pad = 2 * dilation
        self.conv = nn.Conv1d(channels, channels, 3, dilation=dilation, padding=self.pad)

    def forward(self, x):
        return x + torch.tanh(self.conv(x)[:, :, : -self.pad])  # the tutorial's chomp


class TcnGru(nn.Module):
    """Dilated causal residual convolutions (padded on both sides, then chomped), then a GRU."""

    def __init__(self, chomp):
        super().__init__()
        self.chomp = chomp
        self.inp = nn.Conv1d(2, 8, 1)
        self.blocks = nn.ModuleList(DilatedBlock(8, d) for d in (1, 2, 4))
        self.gru, self.head = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, x):
        x = self.inp(x)
        for block in self.blocks:
            if self.chomp:
                x = block(x)
            else:
                conv = block.conv
                x = x + torch.tanh(F.conv1d(F.pad(x, (block.pad, 0)), conv.weight, conv.bias, dilation=conv.dilation))
        return self.head(self.gru(x.transpose(1, 2))[0])


class ResidualStack(nn.Module):
    """Pre-norm residual LSTM layers."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(5, 8)
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(3))
        self.lstms = nn.ModuleList(nn.LSTM(8, 8, batch_first=True) for _ in range(3))
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = F.silu(self.inp(x))
        for norm, lstm in zip(self.norms, self.lstms, strict=True):
            x = x + lstm(norm(x))[0]
        return self.head(x)


class LearnedState(nn.Module):
    """Initial state is a parameter, expanded to the batch."""

    def __init__(self):
        super().__init__()
        self.h0 = nn.Parameter(torch.randn(1, 1, 10))
        self.c0 = nn.Parameter(torch.randn(1, 1, 10))
        self.lstm, self.head = nn.LSTM(4, 10, batch_first=True), nn.Linear(10, 3)

    def forward(self, x):
        B = x.size(0)
        state = self.h0.expand(-1, B, -1).contiguous(), self.c0.expand(-1, B, -1).contiguous()
        return self.head(self.lstm(x, state)[0])


class SpeakerGru(nn.Module):
    """The first state is computed from a speaker embedding."""

    def __init__(self):
        super().__init__()
        self.start = nn.Linear(6, 10)
        self.gru, self.head = nn.GRU(5, 10, batch_first=True), nn.Linear(10, 5)

    def forward(self, x, speaker):
        y, _ = self.gru(x, torch.tanh(self.start(speaker)).unsqueeze(0))
        return self.head(y)


class AmpModel(nn.Module):
    """Guitar amplifier: one sample and the knobs per step into an LSTM, with a skip connection."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 12, batch_first=True), nn.Linear(12, 1)

    def forward(self, audio, knobs):
        control = knobs.unsqueeze(1).expand(-1, audio.size(1), -1)
        y, _ = self.lstm(torch.cat([audio, control], dim=-1))
        return self.head(y) + audio


class DualPath(nn.Module):
    """As in GTCRN and DPCRN: a bidirectional GRU over frequency inside each frame, a GRU over time for each band."""

    def __init__(self):
        super().__init__()
        self.intra, self.intra_fc = nn.GRU(4, 3, batch_first=True, bidirectional=True), nn.Linear(6, 4)
        self.inter, self.inter_fc = nn.GRU(4, 6, batch_first=True), nn.Linear(6, 4)
        self.norm1, self.norm2 = nn.LayerNorm(4), nn.LayerNorm(4)

    def forward(self, x):  # [B, C, T, F]
        x = x.permute(0, 2, 3, 1)
        B, T, Fr, C = x.shape
        y = self.intra(x.reshape(B * T, Fr, C))[0]
        x = x + self.norm1(self.intra_fc(y).view(B, T, Fr, C))
        y = x.permute(0, 2, 1, 3).reshape(B * Fr, T, C)
        y = self.inter_fc(self.inter(y)[0]).view(B, Fr, T, C).permute(0, 2, 1, 3)
        return (x + self.norm2(y)).permute(0, 3, 1, 2)


class MultiHead(nn.Module):
    """One trunk, several outputs: classes and a value per step, a decision at the end, the last state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(5, 10, batch_first=True)
        self.classes, self.value, self.final = nn.Linear(10, 4), nn.Linear(10, 1), nn.Linear(10, 2)

    def forward(self, x):
        y, (h, _) = self.lstm(x)
        return F.softmax(self.classes(y), -1), self.value(y).squeeze(-1), self.final(y[:, -1, :]), h


class UnrolledDecoder(nn.Module):
    """A Python loop over an LSTMCell: T copies of the cell in the file."""

    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.LSTMCell(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = c = x.new_zeros(x.size(0), 8)
        out = []
        for t in range(x.size(1)):
            h, c = self.cell(x[:, t], (h, c))
            out.append(self.head(h))
        return torch.stack(out, dim=1)


class GruCellStep(nn.Module):
    """One step of two stacked GRUCells; the caller carries both states."""

    def __init__(self):
        super().__init__()
        self.cell1, self.cell2, self.head = nn.GRUCell(4, 8), nn.GRUCell(8, 6), nn.Linear(6, 2)

    def forward(self, x, h1, h2):
        h1 = self.cell1(x, h1)
        h2 = self.cell2(h1, h2)
        return self.head(h2), h1, h2


class ReluRnn(nn.Module):
    """Stacked Elman RNN with ReLU, weights kept small."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 9, num_layers=2, nonlinearity="relu", batch_first=True)
        self.head = nn.Linear(9, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


class ProjectedLstm(nn.Module):
    """proj_size: ONNX has no such LSTM."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 8, proj_size=3, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


class Packed(nn.Module):
    """Padded batch with lengths through pack_padded_sequence."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, _ = self.lstm(packed)
        y, _ = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
        return self.head(y)


class StateOneTensor(nn.Module):
    """h and c of two layers in one tensor [2, L, B, H]."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8, num_layers=2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x, state):
        y, (h, c) = self.lstm(x, (state[0], state[1]))
        return self.head(y), torch.stack([h, c])


class StateFlat(nn.Module):
    """h and c of two layers side by side in one row [B, 2 L H]."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(5, 8, num_layers=2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x, state):
        h, c = state.view(-1, 2, 2, 8).permute(1, 2, 0, 3).contiguous().unbind(0)
        y, (h, c) = self.lstm(x, (h, c))
        packed = torch.stack([h, c]).permute(2, 0, 1, 3).reshape(-1, 32)
        return self.head(y), packed


class FlaggedNet(nn.Module):
    """Scripted: a flag input chooses between two ways, an If in the file."""

    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x, train: bool):
        y, _ = self.gru(x)
        if train:
            y = y * 0.5
        else:
            y = torch.tanh(y) + 1.0
        return self.head(y)


class BnPermutes(nn.Module):
    """Conv1d and BatchNorm1d over features between permutes, twice, around a GRU."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv1d(6, 8, 1), nn.BatchNorm1d(8)
        self.gru = nn.GRU(8, 8)
        self.bn2, self.conv2 = nn.BatchNorm1d(8), nn.Conv1d(8, 4, 1)

    def forward(self, x):  # [T, B, I]
        x = self.bn1(self.conv1(x.permute(1, 2, 0))).permute(2, 0, 1)
        y, _ = self.gru(F.leaky_relu(x))
        return self.conv2(self.bn2(y.permute(1, 2, 0))).permute(2, 0, 1)


class Lookahead(nn.Module):
    """DeepSpeech 2's row convolution behind the RNN: a depthwise look ahead of two steps."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(5, 8)
        self.row = nn.Conv1d(8, 8, 3, groups=8, bias=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        y, _ = self.gru(x)
        y = self.row(F.pad(y.permute(1, 2, 0), (0, 2))).permute(2, 0, 1)
        return self.head(F.hardtanh(y, 0.0, 20.0))


class MaskNet(nn.Module):
    """Speech enhancement: log magnitude, LSTM, sigmoid mask times the input, with a look-back skip."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(9)
        self.lstm, self.head = nn.LSTM(9, 12, num_layers=2, batch_first=True), nn.Linear(12, 9)

    def forward(self, spec):  # [B, F, T], magnitudes
        x = torch.log(spec.clamp(min=1e-4)).transpose(1, 2)
        y, _ = self.lstm(self.norm(x))
        return spec * torch.sigmoid(self.head(y)).transpose(1, 2)


class DeltaFeatures(nn.Module):
    """Features and their differences to the step before, then a GRU."""

    def __init__(self):
        super().__init__()
        self.gru, self.head = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        before = F.pad(x, (0, 0, 1, 0))[:, :-1]
        y, _ = self.gru(torch.cat([x, x - before], dim=-1))
        return self.head(y)


class LuongAttention(nn.Module):
    """Decoder step over given encoder outputs: attention over a side input, states in and out."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(13, 6)
        self.cell = nn.GRU(6, 8, batch_first=True)
        self.mix, self.head = nn.Linear(16, 8), nn.Linear(8, 13)

    def forward(self, token, memory, h):
        y, h = self.cell(self.embed(token), h)
        weights = torch.softmax(y @ memory.transpose(1, 2), dim=-1)
        y = torch.tanh(self.mix(torch.cat([y, weights @ memory], dim=-1)))
        return self.head(y), h


class MultiScale(nn.Module):
    """Two causal convolutions of different width joined, then an LSTM; frames by mean pooling of pairs."""

    def __init__(self):
        super().__init__()
        self.short, self.long = nn.Conv1d(4, 4, 2), nn.Conv1d(4, 4, 5)
        self.lstm, self.head = nn.LSTM(8, 8, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        x = torch.cat([self.short(F.pad(x, (1, 0))), self.long(F.pad(x, (4, 0)))], dim=1)
        x = F.avg_pool1d(F.relu(x), 2)
        return self.head(self.lstm(x.transpose(1, 2))[0])
