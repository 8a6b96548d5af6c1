"""Sequences of equal sizes through a model that does not stream: one batch, and the bits of each alone."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
import pytest

import lstm_infer
import shared_files
import stream_models
from lstm_infer import ShapeError, progress
from lstm_infer.pools import packed

I = stream_models.INPUTS


def drawn(lengths: Any) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, (int(n), 1, I)).astype(np.float32) for n in lengths]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch of each call of `Model.run`."""
    seen = list[int]()
    run = lstm_infer.Model.run

    def counted(self: Any, feeds: Any, outputs: Any = None) -> Any:
        seen.append(next(iter(feeds.values())).shape[1])
        return run(self, feeds, outputs)

    monkeypatch.setattr(lstm_infer.Model, "run", counted)
    return seen


def test_each_has_the_bits_that_it_has_alone(runs: list[int]) -> None:
    model = lstm_infer.load(stream_models.both_ways())
    sequences = drawn(np.random.default_rng(1).integers(1, 6, 200))
    want = [model.run({"x": x})["y"] for x in sequences]
    runs.clear()
    found = model.run_many(sequences)
    assert [y.tobytes() for y in found] == [y.tobytes() for y in want]
    assert [y.shape for y in found] == [y.shape for y in want]
    assert sum(runs) == 201 and len(runs) <= 16 and max(runs) == packed.MOST  # one is also run alone
    come = list(model.iter_many([{"x": x} for x in sequences]))
    assert sorted(index for index, _ in come) == list(range(200))
    assert all(made["y"].tobytes() == want[index].tobytes() for index, made in come)


def test_against_onnxruntime() -> None:
    ort = pytest.importorskip("onnxruntime")
    source = stream_models.both_ways()
    session = ort.InferenceSession(source if isinstance(source, bytes) else source.SerializeToString())
    for x, y in zip(seqs := drawn([7] * 9), lstm_infer.load(source).run_many(seqs), strict=True):
        assert np.abs(session.run(None, {"x": x})[0] - y).max() < 1e-5


def test_models_whose_signals_meet_are_run_alone(runs: list[int]) -> None:
    """A mean over the batch, a scale over all that is fed, an output without a batch."""
    from onnx import TensorProto, helper

    mean = helper.make_node("ReduceMean", ["x"], ["m"], axes=[1], keepdims=1)
    whole = helper.make_node("ReduceMean", ["x"], ["t"], axes=[0], keepdims=1)
    for nodes, shape in (
        ([mean, whole, helper.make_node("Add", ["m", "t"], ["y"])], [1, "B", I]),
        ([whole, helper.make_node("ReduceSum", ["t"], ["y"], keepdims=0)], []),
    ):
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", I])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        )  # fmt: skip
        model = lstm_infer.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))
        sequences = drawn([5] * 4)
        want = [model.run({"x": x})["y"].tobytes() for x in sequences]
        runs.clear()
        assert [np.asarray(y).tobytes() for y in model.run_many(sequences)] == want
        assert runs == [1] * 4


def test_a_side_input_that_is_mixed_over_the_batch(runs: list[int]) -> None:
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("ReduceSum", ["s"], ["m"], axes=[0, 1], keepdims=1),
        helper.make_node("ReduceMean", ["x"], ["t"], axes=[0], keepdims=1),
        helper.make_node("Add", ["m", "t"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", I]),
         helper.make_tensor_value_info("s", TensorProto.FLOAT, ["B", I - 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, "B", I])],
    )  # fmt: skip
    model = lstm_infer.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8))
    sequences = [{"x": x, "s": s[0, :, 1:]} for x, s in zip(drawn([5] * 6), drawn([1] * 6), strict=True)]
    want = [model.run(feeds)["y"].tobytes() for feeds in sequences]
    assert [made["y"].tobytes() for made in model.run_many(sequences)] == want


def test_what_is_wrong_names_the_sequence() -> None:
    model = lstm_infer.load(stream_models.both_ways())
    x = drawn([5] * 4)
    with pytest.raises(ShapeError, match="sequence 2: "):
        model.run_many([x[0], x[1], x[2][..., :2], x[3]])
    with pytest.raises(ShapeError, match="sequence 3: "):
        model.run_many([*x[:3], x[3][..., :1], x[3][..., :1]])


@pytest.mark.files
@pytest.mark.parametrize("name", ["sat_captcha_bilstm"])
def test_real_models(name: str) -> None:
    path = shared_files.MODELS / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    model = lstm_infer.load(path)
    info = model.inputs[0]
    shape = [n or 1 for n in info.shape]
    rng = np.random.default_rng(0)
    fed = [{info.name: rng.uniform(0, 1, shape).astype(info.dtype)} for _ in range(3)]
    for feeds, made in zip(fed, model.run_many(fed), strict=True):
        want = model.run(feeds)
        assert {n: a.tobytes() for n, a in made.items()} == {n: a.tobytes() for n, a in want.items()}


# ---- threads by default, and how far it is


def test_load_says_how_many_threads() -> None:
    model = lstm_infer.load(stream_models.hidden_state(), threads=3)
    assert model.pool()._threads == 3 and model.pool(threads=1)._threads == 1
    assert pickle.loads(pickle.dumps(model)).pool()._threads == 3
    assert lstm_infer.load(stream_models.hidden_state()).pool()._threads == 1
    x = drawn([4, 9])
    assert [y.tobytes() for y in model.run_many(x)] == [y.tobytes() for y in model.run_many(x, threads=1)]
    with pytest.raises(lstm_infer.ArgumentError, match="threads: a whole number from 1 on"):
        lstm_infer.load(stream_models.hidden_state(), threads=0)


def test_a_native_file_says_it_too(tmp_path: Any) -> None:
    lstm_infer.convert(stream_models.hidden_state(), tmp_path / "m.lsi")
    model = lstm_infer.load(tmp_path / "m.lsi", threads=2)
    assert model.pool()._threads == 2 == pickle.loads(pickle.dumps(model)).pool()._threads


def test_progress_is_a_bar_where_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    said = Terminal()
    monkeypatch.setattr("sys.stderr", said)
    assert list(progress.told(iter("abc"), 3, "sequences")) == ["a", "b", "c"]
    assert "3/3" in said.getvalue() and "sequences" in said.getvalue()
