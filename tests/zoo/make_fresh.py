"""The modules behind the recurrent dyn_ and ts_ files of the shared exports, written from their descriptions.

`export(name, kind, T, B)` exports one anew at any example size: what was repaired in the shared files (example T=6,
B=2) has to be repaired in these as well.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

I, H = 5, 8


@dataclass
class Module:
    """How a module is exported. `ports`: input to shape with "T" and "B"; `axes`: output to {axis: "T" or "B"}."""

    make: Callable[[], nn.Module]
    ports: dict[str, tuple]
    axes: dict[str, dict[int, str]]
    kinds: tuple[str, ...] = ("ts", "dyn")
    dtype: torch.dtype = torch.float32
    static: bool = False
    streams: bool = True


class Layer(nn.Module):
    """A recurrent layer; `give`: which of (y, h, c) it returns; states fed where the call has them."""

    def __init__(self, layer, give=1):
        super().__init__()
        self.rnn, self.give = layer, give

    def forward(self, x, *states):
        state = None if not states else states[0] if len(states) == 1 else states
        y, last = self.rnn(x, state)
        flat = (y, *last) if isinstance(last, tuple) else (y, last)
        return flat[: self.give] if self.give > 1 else y


class Learned(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(I, H, batch_first=True)
        self.h, self.c = nn.Parameter(torch.randn(1, 1, H)), nn.Parameter(torch.randn(1, 1, H))

    def forward(self, x):
        state = self.h.expand(1, x.size(0), H).contiguous(), self.c.expand(1, x.size(0), H).contiguous()
        return self.rnn(x, state)[0]


class Zeros(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.LSTM(I, H, 2, batch_first=True), nn.Linear(H, 3)

    def forward(self, x):
        zero = torch.zeros(2, x.size(0), H)
        return self.fc(self.rnn(x, (zero, zero))[0][:, -1])


class Last(nn.Module):
    def __init__(self, of):
        super().__init__()
        self.rnn, self.fc, self.of = nn.LSTM(I, H, 2, batch_first=True), nn.Linear(H, 3), of

    def forward(self, x):
        y, (h, _) = self.rnn(x)
        return torch.log_softmax(self.fc(y[:, -1] if self.of == "y" else h[-1]), dim=1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.score, self.fc = nn.LSTM(I, H, batch_first=True), nn.Linear(H, 1), nn.Linear(H, 3)

    def forward(self, x):
        y, _ = self.rnn(x)
        return self.fc((torch.softmax(self.score(y), dim=1).transpose(1, 2) @ y).squeeze(1))


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp, self.norm, self.out = nn.Linear(I, H), nn.LayerNorm(H), nn.Linear(H, 4)
        self.rnn1, self.rnn2 = nn.LSTM(H, H, batch_first=True), nn.LSTM(H, H, batch_first=True)

    def forward(self, x):
        x = self.inp(x)
        x = x + self.rnn1(self.norm(x))[0]
        return self.out(self.rnn2(torch.nn.functional.gelu(x))[0])


class ConvLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv1d(I, H, 3), nn.BatchNorm1d(H)
        self.rnn, self.fc = nn.LSTM(H, H, batch_first=True), nn.Linear(H, 2)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(nn.functional.pad(x, (2, 0)))))
        return self.fc(self.rnn(x.transpose(1, 2))[0])


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.dec = nn.LSTM(I, H, batch_first=True), nn.LSTM(3, H, batch_first=True)

    def forward(self, src, tgt):
        return self.dec(tgt, self.enc(src)[1])[0]


BF, SF = ("B", "T", I), ("T", "B", I)
Y_BF, Y_SF = {"y": {0: "B", 1: "T"}}, {"y": {0: "T", 1: "B"}}
LAYER = {1: "B"}


def _normed():
    layer = nn.LSTM(I, H)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Layer(nn.utils.weight_norm(layer, "weight_hh_l0"))


MODULES = {
    "lstm1": Module(lambda: Layer(nn.LSTM(I, H)), {"x": SF}, Y_SF),
    "gru1": Module(lambda: Layer(nn.GRU(I, H)), {"x": SF}, Y_SF),
    "rnn_tanh": Module(lambda: Layer(nn.RNN(I, H)), {"x": SF}, Y_SF, kinds=("ts",)),
    "lstm1_bf_states_out": Module(lambda: Layer(nn.LSTM(I, H, batch_first=True), 3), {"x": BF}, Y_BF | {"hn": LAYER, "cn": LAYER}, kinds=("dyn",)),
    "lstm1_state_io": Module(lambda: Layer(nn.LSTM(I, H), 3), {"x": SF, "h0": (1, "B", H), "c0": (1, "B", H)}, Y_SF | {"hn": LAYER, "cn": LAYER}, kinds=("ts",)),
    "lstm2_state_io_bf": Module(lambda: Layer(nn.LSTM(I, H, 2, batch_first=True), 3), {"x": BF, "h0": (2, "B", H), "c0": (2, "B", H)}, Y_BF | {"hn": LAYER, "cn": LAYER}),
    "gru2_state_io_bf": Module(lambda: Layer(nn.GRU(I, H, 2, batch_first=True), 2), {"x": BF, "h0": (2, "B", H)}, Y_BF | {"hn": LAYER}, kinds=("dyn",)),
    "lstm2_dropout": Module(lambda: Layer(nn.LSTM(I, H, 2, batch_first=True, dropout=0.3)), {"x": BF}, Y_BF, kinds=("ts",)),
    "lstm_bi": Module(lambda: Layer(nn.LSTM(I, H, batch_first=True, bidirectional=True), 3), {"x": BF}, Y_BF | {"hn": LAYER, "cn": LAYER}, streams=False),
    "lstm2_bi": Module(lambda: Layer(nn.LSTM(I, H, 2, bidirectional=True)), {"x": SF}, Y_SF, kinds=("dyn",), streams=False),
    "gru_bi_nobias": Module(lambda: Layer(nn.GRU(I, H, bidirectional=True, bias=False)), {"x": SF}, Y_SF, kinds=("ts",), streams=False),
    "lstm_nobias": Module(lambda: Layer(nn.LSTM(I, H, bias=False)), {"x": SF}, Y_SF, kinds=("dyn",)),
    "lstm_double": Module(lambda: Layer(nn.LSTM(I, H)).double(), {"x": SF}, Y_SF, kinds=("dyn",), dtype=torch.float64),
    "lstm_learned_h0": Module(Learned, {"x": BF}, Y_BF, kinds=("dyn",)),
    "lstm_static": Module(lambda: Layer(nn.LSTM(I, H, 2, batch_first=True)), {"x": BF}, Y_BF, static=True),
    "lstm_unbatched": Module(lambda: Layer(nn.LSTM(I, H)), {"x": ("T", I)}, {"y": {0: "T"}}),
    "lstm_weight_norm": Module(_normed, {"x": SF}, Y_SF),
    "lstm_zeros_in_forward": Module(Zeros, {"x": BF}, {"y": {0: "B"}}, kinds=("ts",)),
    "net_last_step": Module(lambda: Last("y"), {"x": BF}, {"y": {0: "B"}}, kinds=("ts",)),
    "net_hn_fc": Module(lambda: Last("h"), {"x": BF}, {"y": {0: "B"}}, kinds=("dyn",)),
    "net_attention_pool": Module(Attention, {"x": BF}, {"y": {0: "B"}}, streams=False),
    "net_residual_tagger": Module(Tagger, {"x": BF}, Y_BF),
    "net_conv_lstm": Module(ConvLstm, {"x": ("B", I, "T")}, Y_BF, kinds=("ts",)),
    "net_seq2seq": Module(Seq2Seq, {"src": ("B", "S", I), "tgt": ("B", "T", 3)}, Y_BF, kinds=("dyn",)),
}  # fmt: skip


def build(name: str) -> nn.Module:
    torch.manual_seed(len(name))
    return MODULES[name].make().eval()


def feeds(name: str, T: int, B: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng, sizes = np.random.default_rng(seed), {"T": T, "B": B, "S": T + 2}
    module = MODULES[name]
    kind = np.float64 if module.dtype == torch.float64 else np.float32
    return {
        key: rng.uniform(-1, 1, [sizes.get(n, n) for n in shape]).astype(kind) for key, shape in module.ports.items()
    }


def eager(name: str, module: nn.Module, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    with torch.no_grad():
        made = module(*(torch.from_numpy(v) for v in values.values()))
    return dict(
        zip(MODULES[name].axes, (v.numpy() for v in (made if isinstance(made, tuple) else (made,))), strict=True)
    )


def export(name: str, kind: str, module: nn.Module, T: int, B: int) -> bytes:
    """The bytes of an .onnx made from an example of T steps and B signals."""
    told = MODULES[name]
    values = tuple(torch.from_numpy(v) for v in feeds(name, T, B).values())
    inside = {key: {a: n for a, n in enumerate(shape) if isinstance(n, str)} for key, shape in told.ports.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "ts":
            buffer = io.BytesIO()
            torch.onnx.export(
                module, values, buffer, dynamo=False, opset_version=17, input_names=list(told.ports),
                output_names=list(told.axes), dynamic_axes={} if told.static else inside | told.axes,
            )  # fmt: skip
            return buffer.getvalue()
        auto = torch.export.Dim.AUTO
        shapes = tuple(dict.fromkeys(axes, auto) for axes in inside.values())
        if len(shapes) > 1 and isinstance(module, Layer):  # forward(x, *states)
            shapes = (shapes[0], shapes[1:])
        program = torch.onnx.export(
            module, values, dynamo=True, verbose=False, input_names=list(told.ports), output_names=list(told.axes),
            dynamic_shapes=None if told.static else shapes,
        )  # fmt: skip
        return program.model_proto.SerializeToString()
