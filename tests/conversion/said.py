"""A whole graph said in another opset: what the writer of stateful ONNX makes of operators, without a stream."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import onnx

from lstm_infer import LstmInferError
from lstm_infer.conversion.stateful.build import Built  # registers how operators are said
from lstm_infer.conversion.stateful.emit import Emitter
from lstm_infer.conversion.stateful.proto import model_of, tidied
from lstm_infer.conversion.stateful.step import Pace
from lstm_infer.graph.fact import Fact
from lstm_infer.importer import read
from lstm_infer.ops.registry import is_built
from lstm_infer.walk.walk import walk
from sums_of_bytes import exact

assert Built


class _Still:
    """A step of a graph that has no time."""

    def __init__(self, graph, walked):
        ports = [port for port in graph.inputs if walked.facts[port.name].const is None]
        outputs = tuple(SimpleNamespace(name=port.name, kind="side", axis=-1) for port in graph.outputs)
        spec = SimpleNamespace(
            roles=SimpleNamespace(inputs=ports), pairs={}, outputs=outputs, draws={}, windows={}, pad_nodes=frozenset(),
            carried=(), time_axes={}, lens={}, cropped={}, states=(),
        )  # fmt: skip
        self.fed, self.walked, self.paces, self.placed = SimpleNamespace(spec=spec), walked, {}, {}
        self.reference, self.n, self.looks_ahead = SimpleNamespace(repeated={}), 1, False

    def pace(self, name):
        return Pace()

    def pace_of(self, node):
        return Pace()


def said(made, feeds, opset):
    """The model at the sizes of these feeds, and the feeds that are left: integers that decide about sizes are known."""
    graph = read(made, is_built)
    known = {}
    try:
        walked = walk(graph, {name: Fact(array.shape, array.dtype) for name, array in feeds.items()})
    except LstmInferError:
        known = {name: array for name, array in feeds.items() if array.dtype.kind in "iub" and array.ndim < 2}
        facts = {name: Fact.of(a) if name in known else Fact(a.shape, a.dtype) for name, a in feeds.items()}
        walked = walk(graph, facts)
    draft = tidied(Emitter(_Still(graph, walked), graph.outputs, opset, 1).run())
    proto = model_of(draft, "said", {}, {})
    onnx.checker.check_model(proto, full_check=True)
    return proto, {name: array for name, array in feeds.items() if name not in known}


def run(proto, feeds):
    """onnxruntime, or the reference evaluator where it has no kernel."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    taken = {port.name for port in proto.graph.input}
    feeds = {name: np.array(array, order="C") for name, array in feeds.items() if name in taken}
    try:
        session = exact(proto.SerializeToString(), options)
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error) and "under development" not in str(error):
            raise
        from onnx.reference import ReferenceEvaluator

        return ReferenceEvaluator(proto).run(None, feeds)
    return session.run(None, feeds)
