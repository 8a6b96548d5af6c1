"""from_torch: what a module gives, at sizes that its example did not have, whole and in pieces."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="from_torch needs PyTorch")
pytest.importorskip("onnxscript", reason="the exporters of PyTorch need onnxscript")

import shared_files  # noqa: E402

sys.path.insert(0, str(shared_files.ROOT / "tests" / "zoo"))

import torch_modules as zoo  # noqa: E402
from make_torch import CASES  # noqa: E402

import lstm_infer  # noqa: E402
import tolerances  # noqa: E402
from lstm_infer import ArgumentError, ConvertError, from_torch  # noqa: E402
from lstm_infer.doors.open_axes import find_groups  # noqa: E402

NAMES = [
    "gru_tagger", "causal_conv_lstm", "same_conv_gru", "strided_conv_lstm", "rnnt_predictor", "ppo_actor_critic", "char_lm",
    "tied_lm", "beat_tracker", "tcn_chomp_gru", "learned_state", "speaker_gru", "projected_lstm", "packed", "state_one_tensor",
    "gru_cell_step", "relu_rnn", "unrolled_decoder", "open_unrolled", "multi_head", "lookahead", "rnnoise",
]  # fmt: skip
BY_NAME = {case.name: case for case in CASES}
STREAM = set(NAMES) - {"beat_tracker"}
"""beat_tracker is bidirectional."""


def flat(results):
    return [leaf.numpy() for leaf in torch.utils._pytree.tree_leaves(results)]


def module_of(case):
    torch.manual_seed(3)
    return case.make()


@pytest.mark.parametrize("name", NAMES)
def test_it_gives_what_the_module_gives(name):
    case = BY_NAME[name]
    module = module_of(case).train()
    T, B = case.example
    model = from_torch(module, case.arguments(case.feeds(T, B)))
    assert module.training, "the module was left in another mode"
    module.eval()
    T = 1 if case.runs[0][0] == 1 else 2 * T + 5
    for B in (1, 4):
        feeds = case.feeds(T, B)
        with torch.no_grad():
            want = flat(module(*case.arguments(feeds)))
        got = model.run(dict(zip((i.name for i in model.inputs), feeds.values(), strict=True)))
        for (key, value), theirs in zip(got.items(), want, strict=True):
            tolerances.like_onnxruntime(value, theirs, f"{name}, {key}")
    if name in STREAM:
        stream_in_pieces(model, case, T)


def stream_in_pieces(model, case, T):
    """Time models: pieces are the whole; frame models step."""
    assert model.streaming.mode in ("time", "frame")
    feeds = dict(zip((i.name for i in model.inputs), case.feeds(T, 1).values(), strict=True))
    states = {s.name for s in model.states}
    spec = model.streaming
    stream = model.stream(
        initial={k: v for k, v in feeds.items() if k in states}, inputs={k: feeds[k] for k in spec.side}
    )
    whole = model.run(feeds)
    if spec.mode == "frame":
        got = stream.step({k: feeds[k] for k in spec.inputs} if len(spec.inputs) > 1 else feeds[spec.inputs[0]])
        got = got if isinstance(got, dict) else {spec_output(model): got}
        for key, value in got.items():
            tolerances.exact(value, whole[key], key)
        return
    axes = {i.name: i.time_axis for i in model.inputs}
    pieces = []
    for a, b in ((0, 1), (1, T // 2), (T // 2, T)):
        cut = {k: np.ascontiguousarray(feeds[k].take(range(a, b), axes[k])) for k in spec.inputs}
        pieces.append(stream.run(cut if len(cut) > 1 else next(iter(cut.values()))))
    pieces.append(stream.flush())
    for output in model.outputs:
        parts = [p.get(output.name) if isinstance(p, dict) else p for p in pieces]
        parts = [p for p in parts if p is not None]
        if output.time_axis is not None and parts:
            tolerances.exact(np.concatenate(parts, output.time_axis), whole[output.name], output.name)


def spec_output(model):
    return model.outputs[0].name


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("states", [False, True])
def test_a_projection_is_read_from_the_module(bidirectional, batch_first, states):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(
                5, 8, num_layers=2, proj_size=3, batch_first=batch_first, bidirectional=bidirectional, bias=not states
            )

        def forward(self, x, h=None, c=None):
            y, (h, c) = self.lstm(x, None if h is None else (h, c))
            return y, h, c

    torch.manual_seed(0)
    net, n = Net(), 4 if bidirectional else 2

    def example(T, B):
        x = torch.randn(*((B, T) if batch_first else (T, B)), 5)
        return (x, torch.randn(n, B, 3), torch.randn(n, B, 8)) if states else (x,)

    model = from_torch(net, example(6, 1))
    for T, B in ((6, 1), (1, 3), (17, 2)):
        args = example(T, B)
        with torch.no_grad():
            want = flat(net.eval()(*args))
        got = model.run(dict(zip((i.name for i in model.inputs), (a.numpy() for a in args), strict=True)))
        for value, theirs in zip(got.values(), want, strict=True):
            tolerances.like_onnxruntime(value, theirs)
    assert isinstance(net.lstm, torch.nn.LSTM), "the module is as it was"
    if not bidirectional:
        assert model.streaming.mode == "time"


def test_names_are_those_of_forward():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = torch.nn.GRU(4, 6)

        def forward(self, x, state, *, scale: float = 1.0):
            y, h = self.gru(x * scale, state)
            return {"y": y, "state": h}

    model = from_torch(Net(), {"x": torch.zeros(1, 1, 4), "state": torch.zeros(1, 1, 6), "scale": 2.0})
    assert [i.name for i in model.inputs] == ["x", "state"]
    assert [o.name for o in model.outputs] == ["y", "state_out"]
    assert model.streaming.pairs == {"state": "state_out"}
    named = from_torch(
        Net(), (torch.zeros(3, 1, 4), torch.zeros(1, 1, 6)), input_names=["a", "b"], output_names=["c", "d"]
    )
    assert [i.name for i in named.inputs] == ["a", "b"] and named.streaming.pairs == {"b": "d"}
    assert [i.shape for i in model.inputs] == [(None, None, 4), (1, None, 6)]


def test_dynamic_says_what_is_open():
    net, x = zoo.GruTagger(), torch.randint(0, 20, (2, 6))
    fixed = from_torch(net, x, dynamic={"tokens": {1: torch.export.Dim("T")}})
    assert fixed._graph.inputs[0].shape == (2, "size_0")
    both = from_torch(net, x, dynamic=({0: torch.export.Dim.AUTO, 1: "T"},))
    assert both._graph.inputs[0].shape == ("size_0", "size_1")


def test_what_it_says_instead():
    with pytest.raises(ArgumentError, match=r"a torch\.nn\.Module expected"):
        from_torch("model.pt", torch.zeros(1))
    with pytest.raises(ArgumentError, match="do not fit forward"):
        from_torch(torch.nn.Linear(3, 2), (torch.zeros(1, 3), torch.zeros(1, 3)))
    with pytest.raises(ConvertError, match="does not run on its example"):
        from_torch(torch.nn.Linear(3, 2), torch.zeros(1, 4))
    with pytest.raises(ArgumentError, match="no argument 'y'"):
        from_torch(torch.nn.Linear(3, 2), torch.zeros(1, 3), dynamic={"y": {0: "B"}})
    with pytest.raises(ArgumentError, match="input_names: 1 different names"):
        from_torch(torch.nn.Linear(3, 2), torch.zeros(1, 3), input_names=["a", "b"])

    class Aside(torch.nn.Module):
        def forward(self, x):
            return x + float(repr(x.sum().item()))  # a number to an exporter, or nothing that it knows

    with pytest.raises(ConvertError, match=r"no export of the module gives what it gives itself: tracing: fed \[5\]"):
        from_torch(Aside(), torch.zeros(5), dynamic=())


def test_load_names_the_call():
    with pytest.raises(lstm_infer.OnnxImportError, match=r"not Linear; call lstm_infer.from_torch\(module"):
        lstm_infer.load(torch.nn.Linear(3, 2))


def test_load_takes_a_program_of_the_exporter():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(torch.nn.Linear(3, 2), (torch.zeros(1, 3),), dynamo=True, verbose=False)
    assert [i.shape for i in lstm_infer.load(program).inputs] == [(None, 3)]


def test_a_file_of_torch_is_told(tmp_path):
    path = Path(tmp_path) / "net.pt"
    torch.save(torch.nn.Linear(3, 2), path)
    with pytest.raises(lstm_infer.OnnxImportError, match=r"a PyTorch file; load it with torch"):
        lstm_infer.load(path)


def test_axes_that_hang_together():
    """x [B, T], lengths [B], state [1, B, 4]: the batch is one group, T another."""

    def shapes(arrays):
        x, lengths, state = arrays
        fits = x.shape[0] == state.shape[1] and state.shape[0] == 1 and state.shape[2] == 4
        return [(len(lengths), x.shape[1])] if fits and len(lengths) <= len(x) else None

    arrays = [np.zeros((2, 7)), np.zeros(2), np.zeros((1, 2, 4))]
    assert find_groups(shapes, arrays) == [((0, 0), (1, 0), (2, 1)), ((0, 1),)]


def test_the_example_runs():
    import runpy

    runpy.run_path(str(shared_files.ROOT / "examples" / "torch_to_live.py"))


class Scripted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = torch.nn.LSTM(5, 7, batch_first=True), torch.nn.Linear(7, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_module():
    module = Scripted().eval()
    model = from_torch(torch.jit.script(module), torch.zeros(2, 6, 5))
    x = np.random.default_rng(0).normal(size=(1, 9, 5)).astype(np.float32)
    with torch.no_grad():
        tolerances.like_onnxruntime(model.stream().run(x), module(torch.from_numpy(x)).numpy())
    with pytest.raises(ArgumentError, match="give the module that was scripted"):
        from_torch(torch.jit.script(torch.nn.LSTM(5, 7)), torch.zeros(2, 6, 5))


@pytest.mark.parametrize("inputs", [torch.bfloat16, torch.int64])
def test_a_type_that_numpy_has_not(inputs):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.rnn = torch.nn.Embedding(9, 4), torch.nn.GRU(4, 4)

        def forward(self, x):
            return self.rnn(self.table(x) if x.dtype == torch.int64 else x)[0]

    with pytest.raises(ConvertError, match=r"of torch\.bfloat16 .*; give module\.float\(\)"):
        from_torch(
            Net().bfloat16(),
            torch.zeros(3, 2, 4).to(inputs) if inputs != torch.int64 else torch.ones(3, 2, dtype=inputs),
        )


class Voice(torch.nn.Module):
    """Weights that are computed before each call, and the last state kept aside."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.utils.weight_norm(torch.nn.Conv1d(3, 4, 3))
        self.rnn = torch.nn.GRU(4, 4, batch_first=True)

    def forward(self, x):
        y, self.last = self.rnn(self.conv(torch.nn.functional.pad(x, (2, 0))).transpose(1, 2))
        return y


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_what_was_computed_with_a_gradient_is_copied():
    module = Voice().eval()
    module(torch.zeros(1, 3, 5))
    assert not module.last.is_leaf and not module.conv.weight.is_leaf
    last = module.last
    model = from_torch(module, torch.zeros(2, 3, 6))
    assert module.last is last and module.last.requires_grad
    x = np.random.default_rng(0).normal(size=(1, 3, 9)).astype(np.float32)
    with torch.no_grad():
        tolerances.like_onnxruntime(model.stream().run(x), module(torch.from_numpy(x)).numpy())


def test_a_compiled_module_has_the_names_of_its_own_forward():
    compiled = torch.compile(torch.nn.GRU(3, 4))
    assert [port.name for port in from_torch(compiled, torch.zeros(5, 2, 3)).inputs] == ["input"]


class Keeping(torch.nn.Module):
    """Keeps its state in itself, or draws numbers."""

    def __init__(self, draws):
        super().__init__()
        self.cell, self.draws = torch.nn.GRUCell(3, 4), draws
        self.register_buffer("h", torch.zeros(1, 4))

    def forward(self, x):
        if self.draws:
            return self.cell(x + torch.rand_like(x))
        self.h = self.cell(x, self.h)
        return self.h


@pytest.mark.parametrize("draws", [False, True])
def test_a_module_that_gives_something_else_each_time(draws):
    module = Keeping(draws)
    with pytest.raises(ConvertError, match=r"something else for the same inputs .* take the state as an input"):
        from_torch(module, torch.ones(1, 3))
    assert not module.h.any()


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        (torch.nn.LSTM, "make one: LSTM(...)"),
        (torch.nn.LSTM(3, 4).state_dict(), "module.load_state_dict"),
        ("net.pt", "torch.load(path, weights_only=False)"),
    ],
)
def test_what_is_no_module_says_how_to_make_one(given, remedy):
    with pytest.raises(lstm_infer.ArgumentError) as caught:
        lstm_infer.from_torch(given, torch.zeros(5, 1, 3))
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    ("example", "remedy"),
    [(np.zeros((5, 1, 3), np.float32), "torch.from_numpy(x)"), ((5, 1, 3), "torch.zeros(5, 1, 3)")],
)
def test_what_is_no_example_says_how_to_make_one(example, remedy):
    with pytest.raises(lstm_infer.ArgumentError) as caught:
        lstm_infer.from_torch(torch.nn.LSTM(3, 4), example)
    assert remedy in str(caught.value)
