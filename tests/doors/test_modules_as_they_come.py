"""from_torch on modules as people have them: wrapped, scripted, not loaded yet, with caches, giving what is no tensor."""

from __future__ import annotations

import dataclasses
from typing import Optional

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="from_torch needs PyTorch")
pytest.importorskip("onnxscript", reason="the exporters of PyTorch need onnxscript")

from lstm_infer import ArgumentError, ConvertError, from_torch  # noqa: E402
from lstm_infer.doors.from_torch import _copied, _Exports  # noqa: E402
from lstm_infer.doors.open_axes import find_groups, find_lasting  # noqa: E402

nn = torch.nn


class Tagger(nn.Module):
    """Gives what `around` makes of an array of outputs and one of states."""

    def __init__(self, around=lambda y, h: y):
        super().__init__()
        self.gru, self.around = nn.GRU(4, 5, batch_first=True), around

    def forward(self, x):
        return self.around(*self.gru(x))


class Scripted(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 5, 2, batch_first=True)

    def forward(self, x, hx: Optional[tuple[torch.Tensor, torch.Tensor]] = None):  # noqa: UP045 - scripted
        return self.lstm(x, hx)[0]


@dataclasses.dataclass
class Result:
    y: object
    inner: object


class ConvCache(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 3, 6)

    def forward(self, x, cache):
        longer = torch.cat([cache, x], 2)
        return self.conv(longer), longer[:, :, -5:]


class Attention(nn.Module):
    """One frame attends to the last six."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x, k, v):
        k, v = torch.cat([k[:, 1:], self.k(x)], 1), torch.cat([v[:, 1:], self.v(x)], 1)
        return torch.softmax(self.q(x) @ k.transpose(1, 2), -1) @ v, k, v


@pytest.mark.parametrize("module, example, pairs", [
    (ConvCache(), (torch.randn(1, 4, 3), torch.randn(1, 4, 5)), {"cache": "output_1"}),
    (Attention(), (torch.randn(1, 1, 4), torch.randn(1, 6, 4), torch.randn(1, 6, 4)), {"k": "output_1", "v": "output_2"}),
], ids=["conv", "attention"])  # fmt: skip
@pytest.mark.parametrize("said", [False, True])
def test_a_cache_keeps_its_length(module, example, pairs, said):
    """It streams, though the module itself takes a longer cache too, and gives a longer one then."""
    model = from_torch(module, example, states=pairs if said else None)
    assert model.streaming.pairs == pairs
    assert model.inputs[0].shape[0] is None, "the batch stays open"
    stream, frames = model.stream(), torch.randn(20, *example[0].shape)
    held = [torch.zeros(cache.shape) for cache in example[1:]]
    for frame in frames:
        with torch.no_grad():
            want, *held = module(frame, *held)
        np.testing.assert_allclose(stream.step(frame.numpy()), want.numpy(), rtol=1e-4, atol=1e-5)


def test_axes_that_a_signal_has_stay_open():
    """A state has the shape of an output by chance: nothing of it is a cache."""
    module = nn.GRU(5, 5, batch_first=True)
    example = [np.ones((1, 7, 5), np.float32), np.ones((1, 1, 5), np.float32)]

    def shapes(arrays):
        try:
            return [tuple(leaf.shape) for leaf in module(*map(torch.from_numpy, arrays))]
        except RuntimeError:
            return None

    groups = find_groups(shapes, example)
    assert groups == [((0, 0), (1, 1)), ((0, 1),)]
    assert find_lasting(shapes, example, groups) == groups


def test_a_scripted_module_with_an_optional_argument():
    module = torch.jit.script(Scripted().eval())
    model, x = from_torch(module, torch.randn(1, 6, 4)), torch.randn(2, 9, 4)
    with torch.no_grad():
        np.testing.assert_allclose(model.run({"x": x.numpy()})["output"], module(x).numpy(), rtol=1e-4, atol=1e-5)
    assert model.streaming.mode == "time" and len(model.states) == 4


def test_dataclasses_are_read_by_their_fields():
    model = from_torch(Tagger(lambda y, h: Result(y, [Result(h, "no tensor")])), torch.randn(1, 6, 4))
    assert [port.name for port in model.outputs] == ["y", "inner"]


@pytest.mark.parametrize("result", [None, "text", 3, object()], ids=["None", "text", "number", "object"])
def test_what_gives_no_tensor_is_told(result):
    with pytest.raises(ConvertError, match=r"the module gives .* in which there is no tensor"):
        from_torch(Tagger(lambda y, h: result), torch.randn(1, 6, 4))


@pytest.mark.parametrize("names", [None, ["y"]])
def test_what_fails_on_its_example_is_told(names):
    def fail(y, h):
        raise KeyError("no such thing")

    with pytest.raises(ConvertError, match="does not run on its example: KeyError: 'no such thing'"):
        from_torch(Tagger(fail), torch.randn(1, 6, 4), output_names=names)


@pytest.mark.parametrize("module, text", [
    (nn.GRU(4, 5, device="meta"), "weight_ih_l0.*on the device meta"),
    (nn.Sequential(nn.LazyLinear(3)), "0.weight.*a lazy module"),
], ids=["meta", "lazy"])  # fmt: skip
def test_weights_without_values_are_told(module, text):
    with pytest.raises(ConvertError, match=f"{text}.*load its weights, or call the module once"):
        from_torch(module, torch.randn(1, 6, 4))


@pytest.mark.parametrize("example, error, text", [
    (torch.empty(1, 6, 4, device="meta"), ArgumentError, "on the device meta holds no numbers"),
    (torch.zeros(1, 6, 4, dtype=torch.complex64), ConvertError, "torch.complex64 .*view_as_real"),
], ids=["meta", "complex"])  # fmt: skip
def test_examples_that_hold_no_real_numbers_are_told(example, error, text):
    with pytest.raises(error, match=text):
        from_torch(Tagger(), example)


def test_an_example_stays_as_it_is():
    """Of a module that writes to what it is fed."""
    example = torch.ones(1, 6, 4)
    from_torch(InPlace(), example)
    assert bool((example == 1).all())


class InPlace(Tagger):
    def forward(self, x):
        x -= 0.5
        return self.gru(x)[0]


def test_wrappers_have_the_names_of_the_module_inside():
    model = from_torch(nn.DataParallel(Tagger()), torch.randn(1, 6, 4))
    assert [port.name for port in model.inputs] == ["x"]


def test_a_copy_goes_on_with_nothing():
    """A spectral norm takes a step of its iteration whenever its weight is read in training: also where it is moved."""
    module = torch.nn.utils.parametrizations.spectral_norm(nn.GRU(4, 5), "weight_hh_l0").train()
    before = module.parametrizations.weight_hh_l0[0]._u.clone()
    copied = _copied(torch, module)
    assert torch.equal(copied.parametrizations.weight_hh_l0[0]._u, before)
    assert torch.equal(module.parametrizations.weight_hh_l0[0]._u, before) and module.training


class Deciding(torch.nn.Module):
    """Chooses what it computes by what it is fed."""

    def __init__(self, choose):
        super().__init__()
        self.lstm, self.choose = torch.nn.LSTM(4, 6, batch_first=True), choose

    def forward(self, x):
        return self.lstm(x)[0] * self.choose(x)


class Signed(Deciding):
    def forward(self, x):  # of operators that TorchScript knows, so that the choice is exported
        return self.lstm(x)[0] * (2.0 if bool(x.sum() > 0) else 1.0)


CHOICES = {
    "a sign": lambda x: 2.0 if x.sum() > 0 else 1.0,
    "loud": lambda x: 1 / max(float(x.abs().max()), 4.0),
    "quiet": lambda x: 1 / max(x.abs().max().item(), 0.25),
    "silence": lambda x: 3.0 if not x.any() else 1.0,
}


def not_here(exports):
    """In place of torch.export, which takes seconds, and has some of these choices."""
    raise ConvertError("not here")


@pytest.mark.parametrize("name", CHOICES)
def test_what_a_module_decides_in_python_is_no_constant(name, monkeypatch):
    """Tracing writes down what the example chose; with numbers like the example's nothing shows it."""
    monkeypatch.setattr(_Exports, "through_export", not_here)
    with pytest.raises(ConvertError, match=r"chosen in Python by the numbers that it is fed .* say it by torch\.where"):
        from_torch(Deciding(CHOICES[name]).eval(), torch.rand(1, 7, 4))


def test_a_choice_that_can_be_exported_is():
    module = Signed(None).eval()
    model = from_torch(module, torch.rand(1, 7, 4))
    for x in (torch.rand(1, 9, 4), -torch.rand(2, 5, 4)):
        with torch.no_grad():
            want = module(x).numpy()
        assert np.abs(model.run({"x": x.numpy()})["output"] - want).max() < 1e-5


def test_one_signal_is_tried_where_an_example_has_one(monkeypatch):
    """What a module does with one signal alone is checked; the batch is as it was in the example where no export has both."""
    monkeypatch.setattr(_Exports, "through_export", not_here)
    module = Deciding(lambda x: 2.0 if len(x) == 1 else 1.0).eval()
    x = torch.rand(1, 7, 4)
    with torch.no_grad():
        want = module(x).numpy()
    assert np.abs(from_torch(module, x).run({"x": x.numpy()})["output"] - want).max() < 1e-5


class Padded(nn.Module):
    """Leaves out the words that are 0, where there are any."""

    def __init__(self):
        super().__init__()
        self.table, self.gru = nn.Embedding(9, 4), nn.GRU(4, 5, batch_first=True)

    def forward(self, words):
        y = self.gru(self.table(words))[0]
        return y * 2 if not (words == 0).any() else y


def test_whole_numbers_are_varied_too(monkeypatch):
    monkeypatch.setattr(_Exports, "through_export", not_here)
    monkeypatch.setattr(_Exports, "scripted", not_here)  # which has the choice
    words = torch.tensor([[1, 0, 8, 3, 0, 2, 5]])
    module = Padded().eval()
    with pytest.raises(ConvertError, match=r"whole numbers all like the largest.*chosen in Python"):
        from_torch(module, words)
