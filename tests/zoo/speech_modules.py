"""Small modules with the structure of published speech and audio networks. Sizes are tiny, forms are real."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F


class GroupedLinear(nn.Module):
    """A block-diagonal matrix, by einsum."""

    def __init__(self, n_in, n_out, groups):
        super().__init__()
        self.groups, self.ws = groups, n_in // groups
        self.weight = nn.Parameter(torch.randn(groups, n_in // groups, n_out // groups) * 0.3)

    def forward(self, x):
        b, t, _ = x.shape
        x = x.view(b, t, self.groups, self.ws)
        x = torch.einsum("btgi,gih->btgh", x, self.weight)
        return x.flatten(2, 3)


class SqueezedGru(nn.Module):
    """A GRU between two grouped linear layers, with a skip."""

    def __init__(self, n_in, hidden, n_out=None, layers=1, groups=2, skip=None):
        super().__init__()
        self.inp = nn.Sequential(GroupedLinear(n_in, hidden, groups), nn.ReLU())
        self.gru = nn.GRU(hidden, hidden, num_layers=layers, batch_first=True)
        self.skip = skip
        self.out = nn.Sequential(GroupedLinear(hidden, n_out, groups), nn.ReLU()) if n_out else nn.Identity()

    def forward(self, x, h=None):
        inp = self.inp(x)
        x, h = self.gru(inp, h)
        x = self.out(x)
        if self.skip is not None:
            x = x + self.skip(inp)
        return x, h


def conv_norm_act(cin, cout, kernel, fstride=1, look=0, sep=False, act=nn.ReLU, norm=True):
    kt, kf = kernel
    parts = []
    if kt > 1:
        parts.append(nn.ConstantPad2d((0, 0, kt - 1 - look, look), 0.0))
    groups = math.gcd(cin, cout) if sep else 1
    if groups == 1 or max(kernel) == 1:
        sep = False
    parts.append(nn.Conv2d(cin, cout, kernel, padding=(0, kf // 2), stride=(1, fstride), groups=groups, bias=False))
    if sep:
        parts.append(nn.Conv2d(cout, cout, 1, bias=False))
    if norm:
        parts.append(nn.BatchNorm2d(cout))
    parts.append(act())
    return nn.Sequential(*parts)


def convt_norm_act(cin, cout, kernel, fstride):
    kt, kf = kernel
    return nn.Sequential(
        nn.ConvTranspose2d(
            cin,
            cout,
            kernel,
            padding=(kt - 1, kf // 2),
            output_padding=(0, kf // 2),
            stride=(1, fstride),
            groups=math.gcd(cin, cout),
            bias=False,
        ),
        nn.Conv2d(cout, cout, 1, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU(),
    )


class DfnEncoder(nn.Module):
    """DeepFilterNet: features of bands and of the low spectrum, two frames ahead by a negative pad."""

    def __init__(self, look=2):
        super().__init__()
        self.erb0 = conv_norm_act(1, 4, (3, 3), look=0)
        self.erb1 = conv_norm_act(4, 4, (1, 3), 2, sep=True)
        self.erb2 = conv_norm_act(4, 4, (1, 3), 2, sep=True)
        self.erb3 = conv_norm_act(4, 4, (1, 3), 1, sep=True)
        self.df0 = conv_norm_act(2, 4, (3, 3), sep=True)
        self.df1 = conv_norm_act(4, 4, (1, 3), 2, sep=True)
        self.fc = nn.Sequential(GroupedLinear(4 * 6, 16, 2), nn.ReLU())
        self.gru = SqueezedGru(16, 12, 16, groups=2)
        self.lsnr = nn.Sequential(nn.Linear(16, 1), nn.Sigmoid())
        self.look = look

    def forward(self, erb, spec):
        if self.look:
            erb = F.pad(erb, (0, 0, -self.look, self.look))
            spec = F.pad(spec, (0, 0, -self.look, self.look))
        e0 = self.erb0(erb)
        e1 = self.erb1(e0)
        e2 = self.erb2(e1)
        e3 = self.erb3(e2)
        c0 = self.df0(spec)
        c1 = self.df1(c0)
        cemb = self.fc(c1.permute(0, 2, 3, 1).flatten(2))
        emb = e3.permute(0, 2, 3, 1).flatten(2) + cemb
        emb, _ = self.gru(emb)
        return e0, e1, e2, e3, emb, c0, self.lsnr(emb) * 50.0 - 15.0


class DfnErbDecoder(nn.Module):
    """Band gains from the embedding and the encoder's skips; transposed convolutions over frequency."""

    def __init__(self):
        super().__init__()
        self.gru = SqueezedGru(16, 12, 16, groups=2, layers=2)
        self.p3, self.c3 = conv_norm_act(4, 4, (1, 1)), conv_norm_act(4, 4, (1, 3), sep=True)
        self.p2, self.c2 = conv_norm_act(4, 4, (1, 1)), convt_norm_act(4, 4, (1, 3), 2)
        self.p1, self.c1 = conv_norm_act(4, 4, (1, 1)), convt_norm_act(4, 4, (1, 3), 2)
        self.p0, self.c0 = conv_norm_act(4, 4, (1, 1)), conv_norm_act(4, 1, (1, 3), act=nn.Sigmoid)

    def forward(self, emb, e3, e2, e1, e0):
        b, _, t, f8 = e3.shape
        emb, _ = self.gru(emb)
        emb = emb.view(b, t, f8, -1).permute(0, 3, 1, 2)
        e3 = self.c3(self.p3(e3) + emb)
        e2 = self.c2(self.p2(e2) + e3)
        e1 = self.c1(self.p1(e1) + e2)
        return self.c0(self.p0(e0) + e1)


class RnNoise(nn.Module):
    """RNNoise: two valid convolutions, three GRUs with states, all concatenated."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(9, 8, 3, padding="valid"), nn.Conv1d(8, 10, 3, padding="valid")
        self.gru1, self.gru2, self.gru3 = (nn.GRU(10, 10, batch_first=True) for _ in range(3))
        self.gain, self.vad = nn.Linear(40, 7), nn.Linear(40, 1)

    def forward(self, x, s1, s2, s3):
        tmp = x.permute(0, 2, 1)
        tmp = torch.tanh(self.conv1(tmp))
        tmp = torch.tanh(self.conv2(tmp)).permute(0, 2, 1)
        g1, s1 = self.gru1(tmp, s1)
        g2, s2 = self.gru2(g1, s2)
        g3, s3 = self.gru3(g2, s3)
        cat = torch.cat([tmp, g1, g2, g3], dim=-1)
        return torch.sigmoid(self.gain(cat)), torch.sigmoid(self.vad(cat)), s1, s2, s3


class Crn(nn.Module):
    """Convolutional recurrent network: kernel 2 over time, chomped; transposed convolutions with skips; LSTM between."""

    def __init__(self):
        super().__init__()
        self.e1, self.b1 = nn.Conv2d(1, 4, (2, 3), (1, 2), (1, 0)), nn.BatchNorm2d(4)
        self.e2, self.b2 = nn.Conv2d(4, 6, (2, 3), (1, 2), (1, 0)), nn.BatchNorm2d(6)
        self.lstm = nn.LSTM(6 * 2, 6 * 2, 2, batch_first=True)
        self.d2, self.b3 = nn.ConvTranspose2d(12, 4, (2, 3), (1, 2)), nn.BatchNorm2d(4)
        self.d1 = nn.ConvTranspose2d(8, 1, (2, 3), (1, 2))

    def forward(self, x):  # [B, T, F]
        x = x.unsqueeze(1)
        e1 = F.elu(self.b1(self.e1(x)[:, :, :-1, :].contiguous()))
        e2 = F.elu(self.b2(self.e2(e1)[:, :, :-1, :].contiguous()))
        y = e2.contiguous().transpose(1, 2)
        n, t = y.size(0), y.size(1)
        y = y.contiguous().view(n, t, -1)
        y, _ = self.lstm(y)
        y = y.contiguous().view(n, t, 6, 2).transpose(1, 2)
        y = self.d2(torch.cat([y, e2], 1))
        y = y[:, :, :-1, :]
        y = F.elu(self.b3(y))
        y = self.d1(torch.cat([y, e1], 1))
        y = y[:, :, :-1, :]
        return F.softplus(y).squeeze(1)


class Dprnn2d(nn.Module):
    """A bidirectional GRU over frequency, a GRU over time for every band."""

    def __init__(self, width, c):
        super().__init__()
        self.intra, self.intra_fc, self.intra_ln = (
            nn.GRU(c, c // 2, batch_first=True, bidirectional=True),
            nn.Linear(c, c),
            nn.LayerNorm((width, c)),
        )
        self.inter, self.inter_fc, self.inter_ln = (
            nn.GRU(c, c, batch_first=True),
            nn.Linear(c, c),
            nn.LayerNorm((width, c)),
        )
        self.width, self.c = width, c

    def forward(self, x):  # [B,C,T,F]
        x = x.permute(0, 2, 3, 1).contiguous()
        i = x.view(x.shape[0] * x.shape[1], x.shape[2], x.shape[3])
        i = self.intra_fc(self.intra(i)[0])
        i = self.intra_ln(i.view(x.shape[0], -1, self.width, self.c))
        x = x + i
        j = x.permute(0, 2, 1, 3).contiguous()
        y = j.view(j.shape[0] * j.shape[1], j.shape[2], j.shape[3])
        y = self.inter_fc(self.inter(y)[0]).view(x.shape[0], self.width, -1, self.c)
        y = self.inter_ln(y.permute(0, 2, 1, 3))
        return (x + y).permute(0, 3, 1, 2).contiguous()


class Dpcrn(nn.Module):
    """Dual-path network: transposed convolutions over time, padded in front or cut behind."""

    def __init__(self):
        super().__init__()
        self.e1 = nn.Sequential(
            nn.ZeroPad2d((1, 1, 1, 0)), nn.Conv2d(2, 6, (2, 3), (1, 2)), nn.BatchNorm2d(6), nn.PReLU()
        )
        self.e2 = nn.Sequential(
            nn.ZeroPad2d((1, 1, 1, 0)), nn.Conv2d(6, 8, (2, 3), (1, 2)), nn.BatchNorm2d(8), nn.PReLU()
        )
        self.dp1, self.dp2 = Dprnn2d(5, 8), Dprnn2d(5, 8)
        self.d2 = nn.Sequential(
            nn.ConvTranspose2d(16, 6, (2, 3), (1, 2), padding=(1, 1)), nn.BatchNorm2d(6), nn.PReLU()
        )
        self.d1 = nn.ConvTranspose2d(12, 2, (2, 3), (1, 2), padding=(0, 1))

    def forward(self, x):  # [B,2,T,17]
        e1 = self.e1(x)
        e2 = self.e2(e1)
        y = self.dp2(self.dp1(e2))
        y = self.d2(F.pad(torch.cat([y, e2], 1), (0, 0, 1, 0)))
        y = self.d1(torch.cat([y, e1], 1))[:, :, :-1]
        mr, mi = y[:, 0], y[:, 1]
        re = x[:, 0] * mr - x[:, 1] * mi
        im = x[:, 0] * mi + x[:, 1] * mr
        return torch.stack([re, im], 1)


class ComplexConv(nn.Module):
    """A complex convolution of two real ones."""

    def __init__(self, cin, cout, k, s, trans=False):
        super().__init__()
        self.trans = trans
        make = nn.ConvTranspose2d if trans else nn.Conv2d
        pad = (1, 0)
        self.re, self.im = make(cin // 2, cout // 2, k, s, pad), make(cin // 2, cout // 2, k, s, pad)

    def forward(self, x):  # [B,2C,F,T]
        if not self.trans:
            x = F.pad(x, (1, 0, 0, 0))
        r, i = torch.chunk(x, 2, 1)
        return torch.cat([self.re(r) - self.im(i), self.re(i) + self.im(r)], 1)


class ComplexLstm(nn.Module):
    """A complex LSTM: two LSTMs, each run twice."""

    def __init__(self, n, h):
        super().__init__()
        self.re, self.im = nn.LSTM(n, h), nn.LSTM(n, h)

    def forward(self, real, imag):
        r2r, _ = self.re(real)
        r2i, _ = self.im(real)
        i2r, _ = self.re(imag)
        i2i, _ = self.im(imag)
        return r2r - i2i, i2r + r2i


class Dccrn(nn.Module):
    """Complex convolutions and a complex LSTM; the mask is a magnitude and a phase."""

    def __init__(self):
        super().__init__()
        self.e1, self.b1, self.p1 = ComplexConv(2, 4, (3, 2), (2, 1)), nn.BatchNorm2d(4), nn.PReLU()
        self.e2, self.b2, self.p2 = ComplexConv(4, 8, (3, 2), (2, 1)), nn.BatchNorm2d(8), nn.PReLU()
        self.rnn = ComplexLstm(4 * 5, 10)
        self.tr, self.ti = nn.Linear(10, 20), nn.Linear(10, 20)
        self.d2, self.b3, self.p3 = ComplexConv(16, 4, (3, 2), (2, 1), True), nn.BatchNorm2d(4), nn.PReLU()
        self.d1 = ComplexConv(8, 2, (3, 2), (2, 1), True)

    def cat(self, a, b):
        ar, ai = torch.chunk(a, 2, 1)
        br, bi = torch.chunk(b, 2, 1)
        return torch.cat([ar, br, ai, bi], 1)

    def forward(self, x):  # [B,2,17,T]
        e1 = self.p1(self.b1(self.e1(x)))
        e2 = self.p2(self.b2(self.e2(e1)))
        b, c, d, t = e2.size()
        y = e2.permute(3, 0, 1, 2)
        r = torch.reshape(y[:, :, : c // 2], [t, b, c // 2 * d])
        i = torch.reshape(y[:, :, c // 2 :], [t, b, c // 2 * d])
        r, i = self.rnn(r, i)
        r = torch.reshape(self.tr(r), [t, b, c // 2, d])
        i = torch.reshape(self.ti(i), [t, b, c // 2, d])
        y = torch.cat([r, i], 2).permute(1, 2, 3, 0)
        y = self.p3(self.b3(self.d2(self.cat(y, e2))[..., 1:]))
        y = self.d1(self.cat(y, e1))[..., 1:]
        mr, mi = y[:, 0], y[:, 1]
        sr, si = x[:, 0], x[:, 1]
        magnitude, phase = torch.sqrt(sr**2 + si**2 + 1e-8), torch.atan2(si, sr)
        size = (mr**2 + mi**2) ** 0.5
        turn = torch.atan2(mi / (size + 1e-8), mr / (size + 1e-8))
        size = torch.tanh(size) * magnitude
        return torch.stack([size * torch.cos(phase + turn), size * torch.sin(phase + turn)], 1)


class Sfe(nn.Module):
    """Neighbouring bands side by side, by unfold."""

    def __init__(self):
        super().__init__()
        self.unfold = nn.Unfold(kernel_size=(1, 3), stride=(1, 1), padding=(0, 1))

    def forward(self, x):
        return self.unfold(x).reshape(x.shape[0], x.shape[1] * 3, x.shape[2], x.shape[3])


class Tra(nn.Module):
    """Attention over time: a GRU over the energy of a frame."""

    def __init__(self, c):
        super().__init__()
        self.gru, self.fc = nn.GRU(c, c * 2, 1, batch_first=True), nn.Linear(c * 2, c)

    def forward(self, x):
        zt = torch.mean(x.pow(2), dim=-1)
        at = torch.sigmoid(self.fc(self.gru(zt.transpose(1, 2))[0])).transpose(1, 2)
        return x * at[..., None]


class GtBlock(nn.Module):
    """Half of the channels through a dilated causal block, then shuffled."""

    def __init__(self, c, dil, deconv=False):
        super().__init__()
        self.deconv, self.pad = deconv, 2 * dil
        conv = nn.ConvTranspose2d if deconv else nn.Conv2d
        self.sfe = Sfe()
        self.p1, self.b1, self.a1 = conv(c // 2 * 3, c, 1), nn.BatchNorm2d(c), nn.PReLU()
        self.d, self.b2, self.a2 = (
            conv(c, c, (3, 3), padding=(2 * dil if deconv else 0, 1), dilation=(dil, 1), groups=c),
            nn.BatchNorm2d(c),
            nn.PReLU(),
        )
        self.p2, self.b3 = conv(c, c // 2, 1), nn.BatchNorm2d(c // 2)
        self.tra = Tra(c // 2)

    def forward(self, x):
        x1, x2 = torch.chunk(x, 2, 1)
        h = self.a1(self.b1(self.p1(self.sfe(x1))))
        h = F.pad(h, [0, 0, self.pad, 0])
        h = self.a2(self.b2(self.d(h)))
        h = self.tra(self.b3(self.p2(h)))
        y = torch.stack([h, x2], dim=1)
        y = y.transpose(1, 2).contiguous()
        return y.view(y.shape[0], -1, y.shape[3], y.shape[4])


class GroupedRnn(nn.Module):
    """Two GRUs of half the size."""

    def __init__(self, n, h, bi):
        super().__init__()
        self.h, self.bi = h, bi
        self.r1, self.r2 = (
            nn.GRU(n // 2, h // 2, batch_first=True, bidirectional=bi),
            nn.GRU(n // 2, h // 2, batch_first=True, bidirectional=bi),
        )

    def forward(self, x, h=None):
        if h is None:
            h = torch.zeros(2 if self.bi else 1, x.shape[0], self.h, device=x.device)
        x1, x2 = torch.chunk(x, 2, -1)
        h1, h2 = torch.chunk(h, 2, -1)
        y1, h1 = self.r1(x1, h1.contiguous())
        y2, h2 = self.r2(x2, h2.contiguous())
        return torch.cat([y1, y2], -1), torch.cat([h1, h2], -1)


class Dpgrnn(nn.Module):
    """Dual path with grouped GRUs."""

    def __init__(self, c, width):
        super().__init__()
        self.c, self.width = c, width
        self.intra, self.f1, self.l1 = GroupedRnn(c, c // 2, True), nn.Linear(c, c), nn.LayerNorm((width, c), eps=1e-8)
        self.inter, self.f2, self.l2 = GroupedRnn(c, c, False), nn.Linear(c, c), nn.LayerNorm((width, c), eps=1e-8)

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        i = x.reshape(x.shape[0] * x.shape[1], x.shape[2], x.shape[3])
        i = self.f1(self.intra(i)[0]).reshape(x.shape[0], -1, self.width, self.c)
        x = x + self.l1(i)
        j = x.permute(0, 2, 1, 3)
        y = j.reshape(j.shape[0] * j.shape[1], j.shape[2], j.shape[3])
        y = self.f2(self.inter(y)[0]).reshape(x.shape[0], self.width, -1, self.c).permute(0, 2, 1, 3)
        return (x + self.l2(y)).permute(0, 3, 1, 2)


class Gtcrn(nn.Module):
    """Grouped temporal convolutional recurrent network."""

    def __init__(self):
        super().__init__()
        self.erb, self.ierb = nn.Linear(8, 5, bias=False), nn.Linear(5, 8, bias=False)
        self.sfe = Sfe()
        self.e1 = nn.Sequential(nn.Conv2d(9, 8, (1, 3), (1, 2), (0, 1)), nn.BatchNorm2d(8), nn.PReLU())
        self.g1, self.g2 = GtBlock(8, 1), GtBlock(8, 2)
        self.dp = Dpgrnn(8, 5)
        self.g3 = GtBlock(8, 2, True)
        self.d1 = nn.Sequential(nn.ConvTranspose2d(8, 2, (1, 3), (1, 2), (0, 1)), nn.BatchNorm2d(2), nn.Tanh())

    def forward(self, spec):  # [B,F=12,T,2]
        x = spec.permute(0, 3, 2, 1)
        mag = torch.sqrt(x[:, 0] ** 2 + x[:, 1] ** 2 + 1e-12)
        f = torch.stack([mag, x[:, 0], x[:, 1]], 1)
        f = torch.cat([f[..., :4], self.erb(f[..., 4:])], -1)
        e = self.e1(self.sfe(f))
        a = self.g1(e)
        b = self.g2(a)
        y = self.dp(b)
        y = self.g3(y + b)
        m = self.d1(y + e)
        m = torch.cat([m[..., :4], self.ierb(m[..., 4:])], -1)
        r = x[:, 0] * m[:, 0] - x[:, 1] * m[:, 1]
        i = x[:, 1] * m[:, 0] + x[:, 0] * m[:, 1]
        return torch.stack([r, i], 1).permute(0, 3, 2, 1)


class GtcrnStream(nn.Module):
    """One frame with caches of convolutions, of attention over time and of the bands' GRU."""

    def __init__(self):
        super().__init__()
        self.c1, self.c2 = (
            nn.Conv2d(4, 4, (3, 3), padding=(0, 1)),
            nn.Conv2d(4, 4, (3, 3), padding=(0, 1), dilation=(2, 1)),
        )
        self.inp = nn.Conv2d(2, 4, 1)
        self.tra1, self.tra2 = nn.GRU(4, 4, batch_first=True), nn.GRU(4, 4, batch_first=True)
        self.inter = nn.GRU(4, 4, batch_first=True)
        self.out = nn.Conv2d(4, 2, 1)

    def forward(self, mix, conv_cache, tra_cache, inter_cache):  # mix [1,6,1,2]
        x = self.inp(mix.permute(0, 3, 2, 1))
        new_c, new_t = [], []
        off = 0
        for conv, tra, k, n in ((self.c1, self.tra1, 2, 0), (self.c2, self.tra2, 4, 1)):
            y = torch.cat([conv_cache[:, :, off : off + k], x], 2)
            new_c.append(y[:, :, 1:])
            off += k
            h = torch.relu(conv(y))
            at, ht = tra((h**2).mean(-1).transpose(1, 2), tra_cache[n])
            new_t.append(ht)
            x = x + h * torch.sigmoid(at).transpose(1, 2)[..., None]
        z = x.permute(0, 3, 2, 1).reshape(-1, 1, 4)
        z, inter_cache = self.inter(z, inter_cache)
        x = x + z.reshape(1, 6, 1, 4).permute(0, 3, 2, 1)
        return self.out(x).permute(0, 3, 2, 1), torch.cat(new_c, 2), torch.stack(new_t), inter_cache


class FullSubNet(nn.Module):
    """Full-band LSTM, unfold over bands, sub-band LSTM over B*F, look-ahead pad and cut."""

    def __init__(self, look=2):
        super().__init__()
        self.look = look
        self.fb, self.fb_out = nn.LSTM(7, 8, 2, batch_first=True), nn.Linear(8, 7)
        self.sb, self.sb_out = nn.LSTM(4, 6, 2, batch_first=True), nn.Linear(6, 2)

    def forward(self, mag):  # [B,1,F,T]
        x = F.pad(mag, [0, self.look])
        b, c, f, t = x.size()
        fb = x.reshape(b, c * f, t)
        fb = torch.relu(self.fb_out(self.fb(fb.transpose(1, 2))[0])).transpose(1, 2).reshape(b, 1, f, t)
        u = F.pad(x.reshape(b * c, 1, f, t), [0, 0, 1, 1], mode="reflect")
        u = torch.stack([u[:, 0, i : i + f] for i in range(3)], dim=2)  # [B, F, 3, T]
        s = torch.cat([u, fb.reshape(b, f, 1, t)], dim=2)
        s = s.reshape(b * f, 4, t)
        m = self.sb_out(self.sb(s.transpose(1, 2))[0]).transpose(1, 2)
        m = m.reshape(b, f, 2, t).permute(0, 2, 1, 3).contiguous()
        return m[:, :, :, self.look :]


class Denoiser(nn.Module):
    """Demucs denoiser: strided conv encoder, GLU, LSTM, transposed decoder, skips."""

    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.ModuleList(), nn.ModuleList()
        cin, h = 1, 4
        for i in range(2):
            self.enc.append(nn.Sequential(nn.Conv1d(cin, h, 8, 4), nn.ReLU(), nn.Conv1d(h, h * 2, 1), nn.GLU(1)))
            dec = [nn.Conv1d(h, h * 2, 1), nn.GLU(1), nn.ConvTranspose1d(h, cin, 8, 4)] + ([nn.ReLU()] if i else [])
            self.dec.insert(0, nn.Sequential(*dec))
            cin, h = h, h * 2
        self.lstm = nn.LSTM(8, 8, 2)

    def forward(self, mix):  # [B,1,T]
        length = mix.shape[-1]
        x = F.pad(mix, (0, 20))
        skips = []
        for e in self.enc:
            x = e(x)
            skips.append(x)
        x = self.lstm(x.permute(2, 0, 1))[0].permute(1, 2, 0)
        for d in self.dec:
            skip = skips.pop(-1)
            x = d(x + skip[..., : x.shape[-1]])
        return x[..., :length]


class OpenUnmix(nn.Module):
    """Batch norm over [T * B, C], three LSTM layers, skips."""

    def __init__(self):
        super().__init__()
        h = 8
        self.fc1, self.bn1 = nn.Linear(2 * 6, h, bias=False), nn.BatchNorm1d(h)
        self.lstm = nn.LSTM(h, h, 3, dropout=0.4)
        self.fc2, self.bn2 = nn.Linear(2 * h, h, bias=False), nn.BatchNorm1d(h)
        self.fc3, self.bn3 = nn.Linear(h, 2 * 9, bias=False), nn.BatchNorm1d(18)
        self.im, self.isc, self.os, self.om = (nn.Parameter(torch.rand(n) + 0.5) for n in (6, 6, 9, 9))

    def forward(self, x):  # [B,C,F=9,T]
        x = x.permute(3, 0, 1, 2)
        frames, samples, channels, _ = x.shape
        mix = x.detach().clone()
        x = x[..., :6]
        x = (x + self.im) * self.isc
        x = self.bn1(self.fc1(x.reshape(-1, channels * 6)))
        x = torch.tanh(x.reshape(frames, samples, 8))
        y = self.lstm(x)
        x = torch.cat([x, y[0]], -1)
        x = F.relu(self.bn2(self.fc2(x.reshape(-1, x.shape[-1]))))
        x = self.bn3(self.fc3(x)).reshape(frames, samples, channels, 9)
        x = F.relu(x * self.os + self.om) * mix
        return x.permute(1, 2, 3, 0)


class Silero(nn.Module):
    """Voice activity: STFT by convolution, strided encoder, LSTMCell, one state tensor [2, B, H]."""

    def __init__(self):
        super().__init__()
        self.register_buffer("basis", torch.randn(10, 1, 8) * 0.3)
        self.e1, self.e2, self.e3 = nn.Conv1d(5, 8, 3, padding=1), nn.Conv1d(8, 6, 3, 2, 1), nn.Conv1d(6, 8, 3, 2, 1)
        self.cell = nn.LSTMCell(8, 8)
        self.out = nn.Conv1d(8, 1, 1)

    def forward(self, x, state):  # [B, 4+28]
        x = F.pad(x.unsqueeze(1), (0, 4), mode="reflect")
        s = F.conv1d(x, self.basis, stride=4)
        mag = torch.sqrt(s[:, :5] ** 2 + s[:, 5:] ** 2)
        x = F.relu(self.e3(F.relu(self.e2(F.relu(self.e1(mag))))))
        x = x.mean(-1)
        h, c = self.cell(x, (state[0], state[1]))
        y = torch.sigmoid(self.out(F.relu(h).unsqueeze(-1)))
        return y.mean(2), torch.stack([h, c])


class SileroContext(nn.Module):
    """The same with the samples before the chunk as a state too."""

    def __init__(self):
        super().__init__()
        self.net = Silero()

    def forward(self, x, state, context):
        x = torch.cat([context, x], 1)
        y, state = self.net(x, state)
        return y, state, x[:, -4:]


class FsmnVad(nn.Module):
    """FSMN: depthwise memory over cache + input, caches in and out (no recurrent op)."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 10), nn.ReLU())
        self.lin = nn.ModuleList(nn.Linear(10, 5, bias=False) for _ in range(3))
        self.mem = nn.ModuleList(nn.Conv2d(5, 5, (4, 1), groups=5, bias=False) for _ in range(3))
        self.aff = nn.ModuleList(nn.Linear(5, 10) for _ in range(3))
        self.out = nn.Sequential(nn.Linear(10, 6), nn.Linear(6, 4))

    def forward(self, speech, c0, c1, c2):  # caches [B,5,3,1]
        x = self.inp(speech)
        caches = []
        for lin, mem, aff, cache in zip(self.lin, self.mem, self.aff, (c0, c1, c2), strict=True):
            x1 = lin(x)
            p = x1.unsqueeze(1).permute(0, 3, 2, 1)
            y = torch.cat((cache, p), dim=2)
            caches.append(y[:, :, -3:, :])
            p = p + mem(y)
            x = F.relu(aff(p.permute(0, 3, 2, 1).squeeze(1)))
        return (F.softmax(self.out(x), -1), *caches)


class MarbleGru(nn.Module):
    """Separable 1d convs with residual, GRU, last step."""

    def __init__(self):
        super().__init__()
        self.d, self.p, self.n = nn.Conv1d(6, 6, 5, padding=2, groups=6), nn.Conv1d(6, 8, 1), nn.BatchNorm1d(8)
        self.r, self.rn = nn.Conv1d(6, 8, 1), nn.BatchNorm1d(8)
        self.gru, self.out = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        y = F.relu(self.n(self.p(self.d(x))) + self.rn(self.r(x)))
        y, h = self.gru(y.transpose(1, 2))
        return F.softmax(self.out(h[-1]), -1)


class KwsCrnn(nn.Module):
    """Hello Edge CRNN: Conv2d with stride over time and frequency, GRU, last state."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, (4, 5), (2, 2))
        self.gru, self.fc, self.out = nn.GRU(16, 8, 2, batch_first=True), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):  # [B,T,F=11]
        x = F.relu(self.conv(x.unsqueeze(1)))
        x = x.transpose(1, 2).flatten(2)
        _, h = self.gru(x)
        return torch.softmax(self.out(F.relu(self.fc(h[-1]))), -1)


class HeySnips(nn.Module):
    """WaveNet-like gated dilated convs then GRU."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Conv1d(6, 8, 1)
        self.f = nn.ModuleList(nn.Conv1d(8, 8, 3, dilation=2**i) for i in range(3))
        self.g = nn.ModuleList(nn.Conv1d(8, 8, 3, dilation=2**i) for i in range(3))
        self.r, self.s = (
            nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(3)),
            nn.ModuleList(nn.Conv1d(8, 8, 1) for _ in range(3)),
        )
        self.gru, self.out = nn.GRU(8, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        x = self.inp(x)
        skip = torch.zeros_like(x)
        for i, (f, g, r, s) in enumerate(zip(self.f, self.g, self.r, self.s, strict=True)):
            p = F.pad(x, (2 * 2**i, 0))
            y = torch.tanh(f(p)) * torch.sigmoid(g(p))
            skip = skip + s(y)
            x = x + r(y)
        return self.out(self.gru(F.relu(skip).permute(0, 2, 1))[0])


class LnLstm(nn.Module):
    """RNN-T encoder: LSTM, LayerNorm, projection, time reduction by stacking two frames."""

    def __init__(self):
        super().__init__()
        self.l1, self.n1 = nn.LSTM(5, 8, batch_first=True), nn.LayerNorm(8)
        self.l2, self.n2 = nn.LSTM(16, 8, batch_first=True), nn.LayerNorm(8)
        self.out = nn.Linear(8, 6)

    def forward(self, x):
        x = self.n1(self.l1(x)[0])
        x = torch.cat([x[:, ::2], x[:, 1::2]], -1)
        return self.out(self.n2(self.l2(x)[0]))


class DecoderStep(nn.Module):
    """Prediction network for one token: what it gives is its first step, right at one step only."""

    def __init__(self):
        super().__init__()
        self.embed, self.lstm, self.proj = nn.Embedding(12, 6), nn.LSTM(6, 8, 2, batch_first=True), nn.Linear(8, 5)

    def forward(self, y, h, c):
        e = F.relu(self.embed(y))
        o, (hn, cn) = self.lstm(e, (h, c))
        return self.proj(o[:, 0]), hn, cn


class Tacotron(nn.Module):
    """Decoder step with location-sensitive attention."""

    def __init__(self):
        super().__init__()
        self.p1, self.p2 = nn.Linear(5, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.att, self.dec = nn.LSTMCell(6 + 8, 9), nn.LSTMCell(9 + 8, 10)
        self.q, self.v = nn.Linear(9, 7, bias=False), nn.Linear(7, 1, bias=False)
        self.loc, self.locd = nn.Conv1d(2, 4, 5, padding=2, bias=False), nn.Linear(4, 7, bias=False)
        self.proj, self.gate = nn.Linear(18, 5), nn.Linear(18, 1)

    def forward(self, frame, ah, ac, dh, dc, w, wc, ctx, memory, processed):
        x = F.relu(self.p2(F.relu(self.p1(frame))))
        ah, ac = self.att(torch.cat([x, ctx], -1), (ah, ac))
        cat = torch.cat([w.unsqueeze(1), wc.unsqueeze(1)], 1)
        loc = self.locd(self.loc(cat).transpose(1, 2))
        e = self.v(torch.tanh(self.q(ah.unsqueeze(1)) + loc + processed)).squeeze(-1)
        w = F.softmax(e, 1)
        ctx = torch.bmm(w.unsqueeze(1), memory).squeeze(1)
        wc = wc + w
        dh, dc = self.dec(torch.cat([ah, ctx], -1), (dh, dc))
        hc = torch.cat([dh, ctx], 1)
        return self.proj(hc), self.gate(hc), ah, ac, dh, dc, w, wc, ctx


class OnsetsFrames(nn.Module):
    """Two convolutional stacks of 'same' padding, onsets fed to the frames' LSTM."""

    def __init__(self):
        super().__init__()

        def stack():
            return nn.Sequential(
                nn.Conv2d(1, 3, 3, padding=1),
                nn.BatchNorm2d(3),
                nn.ReLU(),
                nn.Conv2d(3, 3, 3, padding=1),
                nn.BatchNorm2d(3),
                nn.ReLU(),
                nn.MaxPool2d((1, 2)),
                nn.Dropout(0.25),
            )

        self.s1, self.s3 = stack(), stack()
        self.f1, self.f3 = nn.Linear(12, 6), nn.Linear(12, 4)
        self.r1, self.r3 = nn.LSTM(6, 6, batch_first=True), nn.LSTM(8, 6, batch_first=True)
        self.o1, self.o3 = nn.Linear(6, 4), nn.Linear(6, 4)

    def trunk(self, stack, fc, mel):
        x = mel.view(mel.size(0), 1, mel.size(1), mel.size(2))
        x = stack(x)
        return fc(x.transpose(1, 2).flatten(-2))

    def forward(self, mel):
        on = torch.sigmoid(self.o1(self.r1(self.trunk(self.s1, self.f1, mel))[0]))
        act = torch.sigmoid(self.trunk(self.s3, self.f3, mel))
        fr = torch.sigmoid(self.o3(self.r3(torch.cat([on.detach(), act.detach()], -1))[0]))
        return on, fr


class KnobStep(nn.Module):
    """One frame of a mask estimator with a knob: what comes out has the shape of what goes in, and is no state of it."""

    def __init__(self):
        super().__init__()
        self.cell, self.out = nn.LSTMCell(7, 8), nn.Linear(8, 5)

    def forward(self, frame, knob, h, c):
        h, c = self.cell(torch.cat([frame, knob], -1), (h, c))
        return frame * torch.sigmoid(self.out(h)), h, c
