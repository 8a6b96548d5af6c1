"""The analysis reads: what was asked of a model before never changes what it answers."""

import itertools

import numpy as np
import pytest

import lstm_infer
import shared_files

FILE = shared_files.ROOT / "tests" / "zoo" / "files" / "dyn_decoder_step.onnx"
FEEDS = {"y": np.ones((1, 3), np.int64), "h": np.zeros((2, 1, 8), np.float32), "c": np.zeros((2, 1, 8), np.float32)}


def answer(model, what):
    try:
        if what == "run":
            return {name: array.shape for name, array in model.run(FEEDS).items()}
        if what == "summary":
            return model.summary()
        if what == "stream":
            return model.stream().batch
        return repr(getattr(model, what))
    except lstm_infer.LstmInferError as error:
        return str(error)


ASKED = ["run", "inputs", "outputs", "streaming", "states", "stream", "summary"]


@pytest.fixture(scope="module")
def alone():
    return {what: answer(lstm_infer.load(FILE), what) for what in ASKED}


@pytest.mark.parametrize("first", ASKED)
def test_the_order_of_questions_does_not_matter(first, alone):
    model = lstm_infer.load(FILE)
    assert answer(model, first) == alone[first]
    assert {what: answer(model, what) for what in ASKED} == alone


def test_a_file_of_one_step_refuses_several():
    assert "was not found open" in answer(lstm_infer.load(FILE), "run")


def test_a_model_takes_no_new_attributes():
    model = lstm_infer.load(FILE)
    for name, value in itertools.product(("remember", "streaming"), (None, 1)):
        with pytest.raises(AttributeError):
            setattr(model, name, value)
