"""Random graphs over time: `run` is onnxruntime's, what streams gives the whole's bits in any split, the rest is refused.

LSTM_INFER_SEEDS=1000:2000 draws others. A failure names the seed: time_graphs.draw(seed) is the model.
"""

from __future__ import annotations

import os
import random
import warnings
from itertools import pairwise

import graph_nodes
import numpy as np
import onnx
import pytest
import time_graphs
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

import lstm_infer
import tolerances
from engine import onnxruntime_run
from lstm_infer.graph.fact import Fact
from lstm_infer.walk.walk import walk

FIRST, LAST = (int(n) for n in os.environ.get("LSTM_INFER_SEEDS", "0:300").split(":"))
CHUNK = 25


def load(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lstm_infer.load(case.data)


def sizes(pick):
    return [(1, pick.choice([11, 16, 24])), (2, pick.choice([1, 2, 3, 5, 8])), (1, pick.choice([40, 70]))]


def oracle(case, model, feeds):
    """What onnxruntime gives; None where it refuses, or where a recurrence has no step: a GRU would abort the process, an
    LSTM returns memory that nobody wrote."""
    try:
        facts = walk(model._graph, {k: Fact(a.shape, a.dtype) for k, a in feeds.items()}).facts
    except lstm_infer.LstmInferError:
        return None
    made = [node for node in model._graph.nodes if node.op in graph_nodes.GATES]
    if any(0 in facts[node.inputs[0]].shape for node in made):
        return None
    return onnxruntime_run(case.data, feeds)


def in_double(case, feeds):
    """The outputs in float64, by the reference evaluator; None where it has no answer."""
    model = onnx.load_from_string(case.data)
    for tensor in [n for graph in graphs_of(model.graph) for n in graph.initializer]:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for node in [n for graph in graphs_of(model.graph) for n in graph.node if n.op_type == "Cast"]:
        for attribute in node.attribute:
            attribute.i = TensorProto.DOUBLE if attribute.i == TensorProto.FLOAT else attribute.i
    for port in [*model.graph.input, *model.graph.output]:
        port.type.tensor_type.elem_type = TensorProto.DOUBLE
    try:
        with np.errstate(all="ignore"):
            found = ReferenceEvaluator(model).run(None, {k: x.astype(np.float64) for k, x in feeds.items()})
    except Exception:  # it has no answer to some graphs, in many ways
        return None
    return dict(zip([port.name for port in model.graph.output], found, strict=True))


def graphs_of(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs_of(attribute.g)


def compare(case, model, seed, pick):
    """Feeds and results of the whole, checked, for every size that is run."""
    wholes = []
    for batch, steps in sizes(pick):
        feeds = case.feeds(seed, batch, steps)
        try:
            got = model.run(feeds)
        except lstm_infer.LstmInferError:
            continue
        want = oracle(case, model, feeds)
        for name, value in (want or {}).items():
            where = f"seed {seed}, {case.moves}, {(batch, steps)}, {name}"
            try:
                tolerances.like_onnxruntime(got[name], value, where)
            except AssertionError:  # some drawn weights multiply every rounding: then numbers of 64 bits decide
                exact = in_double(case, feeds)
                if exact is None or exact[name].shape != got[name].shape:
                    raise
                tolerances.no_worse_than_twice_onnxruntime(got[name], value, exact[name], where)
        wholes.append((batch, steps, feeds, got))
    return wholes


def cut(feeds, names, axis, cuts):
    for a, b in pairwise(cuts):
        part = {name: np.ascontiguousarray(np.take(feeds[name], range(a, b), axis)) for name in names}
        yield part if len(part) > 1 else part[names[0]]


def join(parts, axis, axes, batch, whole):
    """Pieces of an output behind each other, along time as a factor of their axis where it is merged with others.

    A piece is what the whole run gives of it: rows of a batch of signals stand signal by signal where the file puts them
    so, and the pieces of each signal belong behind each other."""
    merged = axes[axis] if axes and axis < len(axes) else None
    if not isinstance(merged, tuple):
        return np.concatenate(parts, axis)
    before, size = [], 1
    for factor in merged:
        if isinstance(factor, str) and factor.startswith("T"):
            break
        before.append(batch if factor == "B" else factor)
    size = int(np.prod(before))
    split = [
        part.reshape(*part.shape[:axis], size, part.shape[axis] // size, *part.shape[axis + 1 :]) for part in parts
    ]
    return np.concatenate(split, axis + 1).reshape(whole)


def pieces(case, model, stream, feeds, cuts, batch, whole):
    """Every output, from a stream that is fed piece by piece; None where it gave nothing."""
    info, time = model.streaming, {port.name: port.time_axis for port in model.inputs + model.outputs}
    parts = [stream.run(part) for part in cut(feeds, info.inputs, time[info.inputs[0]], cuts)]
    parts += [] if info.steady else [stream.flush()]
    parts = [part if isinstance(part, dict) else {next(iter(info.outputs)): part} for part in parts]
    found = {}
    for name, kind in info.outputs.items():
        there = [part[name] for part in parts if part[name] is not None]
        if not there or kind != "time":
            found[name] = there[-1] if there else None
        else:
            found[name] = join(there, time[name], case.merged.get(name), batch, whole[name].shape)
    return found


def streamed(case, model):
    """Does the model stream the inputs and states that were drawn as such. Never with other states than those."""
    try:
        info = model.streaming
    except (lstm_infer.NotStreamableError, lstm_infer.StateError) as refused:
        error = refused
    else:
        error = None
    if error is not None:
        assert getattr(error, "node", "") in str(error)
        return False
    assert info.pairs == case.pairs, f"{case.moves}: paired {info.pairs}, drawn were {case.pairs}"
    timed = {name for name in case.inputs if name in ("x", "u")}
    return info.mode == "time" and set(info.inputs) == timed


def check_stream(case, model, seed, pick, wholes):
    for batch, steps, feeds, whole in wholes:
        bound = {"side": feeds["side"]} if "side" in feeds else None
        try:
            stream = model.stream(batch, inputs=bound)
        except lstm_infer.LstmInferError:
            assert batch > 1, f"seed {seed}, {case.moves}: one signal is refused though the model says that it streams"
            continue  # signals that meet, say: one at a time
        drawn = sorted(pick.sample(range(1, steps), min(steps - 1, 3)))
        for cuts in ([0, steps], range(steps + 1), [0, *drawn, steps]):
            stream.reset()
            got = pieces(case, model, stream, feeds, cuts, batch, whole)
            for name, value in got.items():
                if value is not None:  # None: the sequence was too short to begin
                    where = f"seed {seed}, {case.moves}, batch {batch}, cut at {list(cuts)}, {name}"
                    tolerances.exact(value, whole[name], where)
                else:
                    assert model.streaming.outputs[name] == "last" or 0 in whole[name].shape, f"seed {seed}, {name}"


@pytest.mark.parametrize("first", range(FIRST, LAST, CHUNK))
def test_right_or_refused(first):
    for seed in range(first, min(first + CHUNK, LAST)):
        case, pick = time_graphs.draw(seed), random.Random(seed)
        try:
            model = load(case)
        except lstm_infer.LstmInferError:
            continue
        wholes = compare(case, model, seed, pick)
        if streamed(case, model):
            check_stream(case, model, seed, pick, wholes)


def test_enough_of_them_stream():
    models = [(case, load(case)) for case in (time_graphs.draw(seed) for seed in range(60))]
    assert sum(streamed(case, model) for case, model in models) >= 6
