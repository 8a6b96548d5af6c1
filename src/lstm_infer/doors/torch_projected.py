"""nn.LSTM with proj_size, written out: torch's own exporters refuse it, or leave the projection out."""

# TorchScript reads these annotations as they are evaluated, so they are not put off here.
# ruff: noqa: UP006, UP035
from typing import List, Tuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["write_out"]


def _direction(gates_x: Tensor, h: Tensor, c: Tensor, w_hh: Tensor, w_hr: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    """One direction of one layer. gates_x: [T, B, 4 H], what the input adds to the gates, biases with it."""
    out: List[Tensor] = []
    for t in range(gates_x.size(0)):
        i, f, g, o = (gates_x[t] + linear(h, w_hh)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = linear(torch.sigmoid(o) * torch.tanh(c), w_hr)
        out.append(h)
    return torch.stack(out), h, c


class _Projected(nn.Module):
    """The module in the words that exporters know, on the same parameters."""

    def __init__(self, of: nn.LSTM) -> None:
        super().__init__()
        self.of = of
        self.direction = torch.jit.script(_direction)

    def forward(self, x: Tensor, hx: Tuple[Tensor, Tensor] | None = None) -> Tuple[Tensor, Tuple[Tensor, Tensor]]:
        of = self.of
        alone = x.dim() == 2
        turned = of.batch_first and not alone
        x = x.unsqueeze(1) if alone else x.transpose(0, 1) if turned else x
        n = of.num_layers * (1 + of.bidirectional)
        if hx is None:
            h0, c0 = x.new_zeros(n, x.size(1), of.proj_size), x.new_zeros(n, x.size(1), of.hidden_size)
        else:
            h0, c0 = (state.unsqueeze(1) for state in hx) if alone else hx
        last_h, last_c = [], []
        for layer in range(of.num_layers):
            made = []
            for back in range(1 + of.bidirectional):
                index = layer * (1 + of.bidirectional) + back
                y, h, c = self._one(x.flip(0) if back else x, h0[index], c0[index], f"l{layer}{'_reverse' * back}")
                made.append(y.flip(0) if back else y)
                last_h.append(h)
                last_c.append(c)
            x = torch.cat(made, 2) if of.bidirectional else made[0]
        h, c = torch.stack(last_h), torch.stack(last_c)
        if alone:
            return x.squeeze(1), (h.squeeze(1), c.squeeze(1))
        return (x.transpose(0, 1) if turned else x), (h, c)

    def _one(self, x: Tensor, h: Tensor, c: Tensor, ends: str) -> Tuple[Tensor, Tensor, Tensor]:
        of = self.of
        bias = getattr(of, f"bias_ih_{ends}") + getattr(of, f"bias_hh_{ends}") if of.bias else None
        gates = linear(x, getattr(of, f"weight_ih_{ends}"), bias)
        found: Tuple[Tensor, Tensor, Tensor] = self.direction(
            gates, h, c, getattr(of, f"weight_hh_{ends}"), getattr(of, f"weight_hr_{ends}")
        )
        return found


def write_out(module: nn.Module) -> nn.Module:
    """The module with every LSTM that has a projection written out; those it holds are replaced."""
    if isinstance(module, nn.LSTM):
        return _Projected(module) if module.proj_size else module
    for name, child in module.named_children():
        other = write_out(child)
        if other is not child:
            setattr(module, name, other)
    return module
