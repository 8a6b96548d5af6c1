"""A scalar input that chooses between networks which take frames of other sizes."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import lstm_infer
import stream_models
from lstm_infer import LstmInferError, NotStreamableError
from lstm_infer.drive.inputs import settings


def frames(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (6, 1, n)).astype(np.float32)


def test_a_stream_of_the_other_network_is_refused_with_what_to_say() -> None:
    source = stream_models.switched_sizes()
    model, x = lstm_infer.load(source), frames(2 * stream_models.INPUTS)
    one = np.array(1)
    np.testing.assert_array_equal(
        model.stream(inputs={"which": one}).run(x[..., :5]), model.run({"x": x[..., :5], "which": one})["y"]
    )
    with pytest.raises(NotStreamableError, match=r"node 'a'.*load\(\.\.\., constants=\{'which': 0\}\)"):
        model.stream(inputs={"which": np.array(0)})
    chosen = lstm_infer.load(source, constants={"which": 0})
    np.testing.assert_array_equal(chosen.stream().run(x), model.run({"x": x, "which": np.array(0)})["y"])


def test_each_network_is_fed_at_its_own_sizes() -> None:
    model = lstm_infer.load(stream_models.switched_sizes())
    sizes = {
        int(one.chosen["which"]): one.draw(np.random.default_rng(0), 2, 1)["x"].shape[2] for one in settings(model)
    }
    assert sizes == {1: stream_models.INPUTS, 2: 2 * stream_models.INPUTS}


def test_a_conversion_tries_all_networks(tmp_path: Path) -> None:
    hidden = lstm_infer.convert(stream_models.switched_sizes(), tmp_path / "hidden.lsi")
    assert {check.case for check in hidden.checks} >= {"whole, which=1", "whole, which=2", "in pieces, which=1"}
    report = lstm_infer.convert(stream_models.switched(wider=2), tmp_path / "model.lsi")
    cases = {check.case for check in report.checks}
    assert {"whole, which=1", "whole, which=2", "in pieces, which=1", "in pieces, which=2"} <= cases


def wrong(call) -> str:
    with pytest.raises(LstmInferError) as caught:
        call()
    return str(caught.value)


def test_a_branch_that_does_not_fit_says_which_input_chose_it() -> None:
    """The switch is meant as 1 with narrow frames, as anything else with wide ones."""
    source = stream_models.switched_sizes()
    model, narrow = lstm_infer.load(source), frames(stream_models.INPUTS)
    chose = "input 'which' = 44100 (the graph compares it with 1) chose the else branch of node 'choice' (If-17)"
    decides = "the else branch, which does not fit.*input 'which' \\(the graph compares it with 1\\) decides: give another value"
    assert re.search(decides, wrong(lambda: model.run({"x": narrow, "which": np.array(44100)})))
    assert re.search(decides, wrong(lambda: model.stream().run({"x": narrow, "which": np.array(44100)})))
    by_constant = lstm_infer.load(source, constants={"which": 44100})
    for call in (
        lambda: by_constant.run({"x": narrow}),
        lambda: by_constant.stream().run(narrow),
        lambda: pickle.loads(pickle.dumps(by_constant)).run({"x": narrow}),
        lambda: lstm_infer.load(source, constants={"which": 44100}, inputs={"x": (None, None, stream_models.INPUTS)}),
    ):
        said = wrong(call)
        assert said.count(chose) == 1 and "give another value" in said, said
    bound = wrong(lambda: model.stream(inputs={"which": np.array(44100)}).run(narrow))
    assert "'which'" in bound, bound


@pytest.mark.parametrize("as_constant", [True, False])
def test_a_choice_inside_a_choice_that_sizes_make_is_not_blamed(as_constant: bool) -> None:
    """As Silero's file has it: inside of the branch that the sample rate chose, the shape of a frame decides."""
    make, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info

    def branch(nodes: list[onnx.NodeProto], name: str) -> onnx.GraphProto:
        return onnx.helper.make_graph(nodes, name, [], [value(nodes[-1].output[0], 1, None)])

    same = branch([make("Identity", ["x"], ["same"])], "same")
    narrow = branch([make("MatMul", ["x", "w"], ["wx"], name="narrow")], "narrow")
    inner = branch([make("If", ["flat"], ["chosen"], name="inner", then_branch=narrow, else_branch=same)], "outer")
    other = branch([make("Neg", ["x"], ["minus"])], "other")
    nodes = [
        make("Shape", ["x"], ["shape"]),
        make("Size", ["shape"], ["rank"]),
        make("Equal", ["rank", "two"], ["flat"]),
        make("Equal", ["sr", "rate"], ["high"]),
        make("If", ["high"], ["y"], name="by_rate", then_branch=other, else_branch=inner),
    ]
    weights = {"w": np.ones((3, 3), np.float32), "rate": np.array(16000), "two": np.array(2)}
    graph = onnx.helper.make_graph(
        nodes, "g", [value("x", 1, [None, None]), value("sr", 7, [])], [value("y", 1, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    feeds = {"x": np.ones((2, 4), np.float32), "sr": np.array(44100)}
    if as_constant:
        loaded = lstm_infer.load(model, constants={"sr": feeds.pop("sr")})
        said = wrong(lambda: loaded.run(feeds))
        assert said.startswith("node 'narrow'"), said
        assert "input 'sr' = 44100 (the graph compares it with 16000) chose the else branch of node 'by_rate'" in said
    else:
        said = wrong(lambda: lstm_infer.load(model).run(feeds))
        assert "input 'sr' (the graph compares it with 16000) decides" in said, said
