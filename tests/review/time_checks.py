"""Random graphs over time, checked: `run` is onnxruntime's, what streams gives the whole's bits in any split."""

from __future__ import annotations

import random
import warnings
from itertools import pairwise

import graph_nodes
import numpy as np
import onnx
import time_graphs
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

import lstm_infer
import tolerances
from engine import onnxruntime_run
from lstm_infer.graph.fact import Fact
from lstm_infer.walk.walk import walk

__all__ = ["load", "streamed", "try_time"]


def try_time(seed, *, prefixes=False, against_onnxruntime=True):
    """What becomes of the graph of a number: not loaded, refused, or streams. Raises where something is wrong.

    prefixes: also a stream over every beginning of the signal."""
    case, pick = time_graphs.draw(seed), random.Random(seed)
    try:
        model = load(case)
    except lstm_infer.LstmInferError:
        return "not loaded"
    wholes = compare(case, model, seed, pick, against_onnxruntime)
    if not streamed(case, model):
        return "refused"
    check_stream(case, model, seed, pick, wholes)
    if prefixes:
        check_prefixes(case, model, seed, wholes)
    return "streams"


def load(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lstm_infer.load(case.data)


def sizes(pick):
    return [(1, pick.choice([11, 16, 24])), (2, pick.choice([1, 2, 3, 5, 8])), (1, pick.choice([40, 70]))]


def oracle(case, model, feeds):
    """What onnxruntime gives; None where it refuses, or where a recurrence or an Einsum has no step: a GRU and an Einsum
    would abort the process, an LSTM returns memory that nobody wrote."""
    try:
        facts = walk(model._graph, {k: Fact(a.shape, a.dtype) for k, a in feeds.items()}).facts
    except lstm_infer.LstmInferError:
        return None
    made = [node for node in model._graph.nodes if node.op in (*graph_nodes.GATES, "Einsum")]
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


def compare(case, model, seed, pick, against_onnxruntime):
    """Feeds and results of the whole, checked, for every size that is run."""
    wholes = []
    for batch, steps in sizes(pick):
        feeds = case.feeds(seed, batch, steps)
        try:
            got = model.run(feeds)
        except lstm_infer.LstmInferError:
            continue
        want = oracle(case, model, feeds) if against_onnxruntime else None
        for name, value in (want or {}).items():
            where = f"seed {seed}, {case.moves}, {(batch, steps)}, {name}"
            try:
                tolerances.like_onnxruntime(got[name], value, where)
            except AssertionError:  # some drawn weights multiply every rounding: then numbers of 64 bits decide
                exact = in_double(case, feeds)
                if exact is None or exact[name].shape != got[name].shape:
                    raise
                tolerances.one_draw_like_onnxruntime(got[name], value, exact[name], where)
        wholes.append((batch, steps, feeds, got))
    return wholes


def cut(feeds, names, axis, cuts):
    for a, b in pairwise(cuts):
        part = {name: np.ascontiguousarray(np.take(feeds[name], range(a, b), axis)) for name in names}
        yield part if len(part) > 1 else part[names[0]]


def pieces(model, stream, feeds, cuts):
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
            found[name] = np.concatenate(there, time[name])
    return found


def streamed(case, model):
    """Does the model stream the inputs and states that were drawn as such. Never with other states than those; of two
    outputs that hold one value either may be the next one (`check_stream` compares it)."""
    try:
        info = model.streaming
    except (lstm_infer.NotStreamableError, lstm_infer.StateError) as refused:
        error = refused
    else:
        error = None
    if error is not None:
        assert getattr(error, "node", "") in str(error)
        return False
    drawn = {**case.pairs, **{name: out for name, out in case.seeded.items() if name in info.pairs}}
    said = f"{case.moves}: paired {info.pairs}, drawn were {drawn}"
    assert info.pairs.keys() == drawn.keys(), said
    assert all(info.pairs[name] == out or holds(case, info.pairs[name], out) for name, out in drawn.items()), said
    timed = {name for name in case.inputs if name in ("x", "u")}
    return info.mode == "time" and set(info.inputs) == timed


def holds(case, output, other):
    """Does an output hold what another one is: itself, or joined with something else; by moves alone."""
    makers = {name: node for node in onnx.load_from_string(case.data).graph.node for name in node.output}
    todo = [output]
    while todo:
        name = todo.pop()
        if name == other:
            return True
        if name in makers and makers[name].op_type == "Concat":
            todo += makers[name].input
        elif name in makers and makers[name].op_type in ("Identity", "Squeeze", "Unsqueeze", "Reshape", "Transpose"):
            todo.append(makers[name].input[0])
    return False


def opened(model, batch, feeds):
    """A stream with what is bound, and states that begin as they are fed to a run."""
    info = model.streaming
    bound = {name: feeds[name] for name in info.side}
    return model.stream(batch, inputs=bound or None, initial={name: feeds[name] for name in info.pairs})


def check_stream(case, model, seed, pick, wholes):
    for batch, steps, feeds, whole in wholes:
        try:
            stream = opened(model, batch, feeds)
        except lstm_infer.LstmInferError:
            assert batch > 1, f"seed {seed}, {case.moves}: one signal is refused though the model says that it streams"
            continue  # signals that meet, say: one at a time
        drawn = sorted(pick.sample(range(1, steps), min(steps - 1, 3)))
        for cuts in ([0, steps], range(steps + 1), [0, *drawn, steps]):
            stream.reset()
            got = pieces(model, stream, feeds, cuts)
            for name, value in got.items():
                if value is not None:  # None: the sequence was too short to begin
                    where = f"seed {seed}, {case.moves}, batch {batch}, cut at {list(cuts)}, {name}"
                    tolerances.exact(value, whole[name], where)
                else:
                    assert model.streaming.outputs[name] == "last" or 0 in whole[name].shape, f"seed {seed}, {name}"
            for name, out in {**case.seeded, **case.pairs}.items():
                if name in model.streaming.pairs:
                    left = whole[out].reshape(stream.state[name].shape)
                    tolerances.exact(
                        stream.state[name], left, f"seed {seed}, {case.moves}, cut at {list(cuts)}, {name}"
                    )


def check_prefixes(case, model, seed, wholes):
    """What a stream gave for the first n steps and a flush is what the whole run gives for them, for every n."""
    axes = {port.name: port.time_axis for port in model.inputs}
    for batch, steps, feeds, _ in wholes:
        if batch > 1:
            continue
        stream = opened(model, batch, feeds)
        for n in range(1, min(steps, 24)):
            part = {k: x if axes[k] is None else np.take(x, range(n), axes[k]) for k, x in feeds.items()}
            try:
                whole = model.run(part)
            except lstm_infer.LstmInferError:
                continue  # shorter than the whole run takes
            stream.reset()
            got = pieces(model, stream, part, [0, n])
            for name, value in got.items():
                if value is not None:
                    np.testing.assert_array_equal(value, whole[name], f"seed {seed}, {case.moves}, first {n}, {name}")
