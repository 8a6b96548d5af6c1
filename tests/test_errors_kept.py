"""Errors that are kept, to be raised again: they hold nothing of the calls that they came through, and can be sent on."""

from __future__ import annotations

import gc
import pickle
import weakref

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
from lstm_infer.errors import LstmInferError
from lstm_infer.walk.walk import Walk

FLOAT = TensorProto.FLOAT


def build(nodes, inputs, outputs, consts=()):
    ports = [helper.make_tensor_value_info(*one) for one in inputs]
    ends = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs]
    arrays = [numpy_helper.from_array(np.asarray(value), name) for name, value in dict(consts).items()]
    graph = helper.make_graph(nodes, "g", ports, ends, arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def no_time():
    """Nothing is carried: refused."""
    return build([helper.make_node("Tanh", ["x"], ["y"])], [("x", FLOAT, ["A", "B"])], ["y"])


def open_states():
    """What depends on itself alone is asked for."""
    nodes = [helper.make_node("Tanh", ["p"], ["q"]), helper.make_node("Add", ["x", "q"], ["y"])]
    return build(nodes, [("x", FLOAT, [1, 4]), ("p", FLOAT, [1, 1])], ["y", "q"])


def misfit():
    """A choice at run time, one branch of which does not fit; a constant of a megabyte in each."""
    branches = []
    for name, rows in (("a", 4), ("b", 5)):
        nodes = [
            helper.make_node("ConstantOfShape", [f"{name}s"], [f"{name}1"]),
            helper.make_node("ReduceSum", [f"{name}1", "axes"], [f"{name}2"], keepdims=0),
            helper.make_node("Add", ["x", f"{name}2"], [f"{name}3"]),
        ]
        consts = [
            numpy_helper.from_array(np.array([1 << 16, rows]), f"{name}s"),
            numpy_helper.from_array(np.array([0]), "axes"),
        ]
        ends = [helper.make_tensor_value_info(f"{name}3", FLOAT, None)]
        branches.append(helper.make_graph(nodes, name, [], ends, consts))
    chosen = helper.make_node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])
    return build([chosen], [("x", FLOAT, ["A", 4]), ("c", TensorProto.BOOL, [])], ["y"])


def refused(model):
    """The error with which the model says how it streams."""
    with pytest.raises(LstmInferError) as caught:
        model.stream()
    return caught.value


@pytest.mark.parametrize("make", [no_time, open_states])
def test_a_refusal_can_be_pickled(make):
    error = refused(lstm_infer.load(make()))
    twin = pickle.loads(pickle.dumps(error))
    assert type(twin) is type(error) and str(twin) == str(error) and vars(twin) == vars(error)


@pytest.mark.parametrize("kind", [k for k in vars(lstm_infer.errors).values() if isinstance(k, type)])
def test_every_kind_can_be_pickled(kind):
    if issubclass(kind, LstmInferError):
        twin = pickle.loads(pickle.dumps(kind("what it says")))
        assert type(twin) is kind and str(twin) == "what it says"


@pytest.mark.parametrize("make", [no_time, open_states])
def test_a_refusal_that_is_asked_for_again_and_again_holds_no_caller(make):
    model = lstm_infer.load(make())
    seen, depths = [], []

    def ask():
        mine = np.zeros(3)
        seen.append(weakref.ref(mine))
        at, n = refused(model).__traceback__, 0
        while at is not None:
            at, n = at.tb_next, n + 1
        depths.append(n)

    for _ in range(3):
        ask()
    gc.collect()
    assert depths[0] == depths[1] == depths[2]
    assert not any(ref() is not None for ref in seen)


@pytest.mark.parametrize("make", [no_time, open_states, misfit])
def test_what_was_tried_in_vain_is_let_go_at_once(make):
    """No walk waits for the collector, with all the constants that it computed."""
    data = make()
    gc.collect()
    gc.disable()
    try:
        model = lstm_infer.load(data)
        model.summary()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        held = [one for one in gc.garbage if isinstance(one, Walk)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not held
