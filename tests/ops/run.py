"""Runs one-node models: folded by the walk, through a plan on one instruction set, and in onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from lstm_infer import _core
from lstm_infer.graph.fact import Fact
from lstm_infer.graph.ir import Array
from lstm_infer.graph.links import Link
from lstm_infer.importer import read
from lstm_infer.lower import builder, lower
from lstm_infer.ops import registry
from lstm_infer.program.assemble import assemble
from lstm_infer.program.store import ConstStore
from lstm_infer.walk.walk import walk
from sums_of_bytes import exact

ISAS = [name for name, runs in _core.list_isas() if runs]


def model(
    op: str,
    ins: list[Array | None],
    attrs: dict[str, Any],
    *,
    opset: int,
    consts: set[int],
    n_out: int = 1,
    domain: str = "",
) -> onnx.ModelProto:
    """A model of one node. `consts`: numbers of the inputs that are initializers."""
    names = ["" if a is None else f"x{i}" for i, a in enumerate(ins)]
    node = helper.make_node(op, names, [f"y{i}" for i in range(n_out)], name="node", domain=domain, **attrs)
    inputs, inits = [], []
    for i, array in enumerate(ins):
        if array is None:
            continue
        if i in consts:
            inits.append(numpy_helper.from_array(array, names[i]))
        else:
            inputs.append(
                helper.make_tensor_value_info(names[i], helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
            )
    outs = [onnx.ValueInfoProto(name=f"y{i}") for i in range(n_out)]
    graph = helper.make_graph([node], "graph", inputs, outs, inits)
    imports = [helper.make_opsetid(domain, opset), *([helper.make_opsetid("", 17)] if domain else [])]
    made = helper.make_model(graph, opset_imports=imports)
    made.ir_version = 8
    return onnx.shape_inference.infer_shapes(made)


def expected(made: onnx.ModelProto, feeds: dict[str, Array]) -> list[Array]:
    """What onnxruntime says, or the ONNX reference where onnxruntime has no kernel for the type."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1  # with more, DynamicQuantizeLSTM splits the batch and scales each part
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = exact(made.SerializeToString(), options)
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error) and "under development" not in str(error):
            raise
        from onnx.reference import ReferenceEvaluator

        return [np.asarray(a) for a in ReferenceEvaluator(made).run(None, feeds)]
    return [np.asarray(a) for a in session.run(None, feeds)]


def through_plan(made: onnx.ModelProto, feeds: dict[str, Array], isa: str) -> tuple[list[Array], tuple[str, ...]]:
    """The outputs, and the slots that made them."""
    graph = read(made)
    walked = walk(graph, {port.name: Fact(feeds[port.name].shape, feeds[port.name].dtype) for port in graph.inputs})
    store = ConstStore()
    b = builder(walked.facts, store, isa)
    for index, port in enumerate(graph.inputs):
        b.input(port.name, index)
    lower(walked, b)
    facts = [b.output(port.name, index) for index, port in enumerate(graph.outputs)]
    program = assemble(b, len(graph.inputs), facts)
    arena = _core.aligned_empty(program.arena_bytes + 64)
    arena[:] = 0xA5  # nothing may rely on zeroed memory
    ins = [np.ascontiguousarray(feeds[port.name]) for port in graph.inputs]
    outs = [np.zeros(fact.shape, fact.dtype) for fact in facts]
    program.run([store.anchor, None, arena, *ins, *outs])
    return outs, program.slots


def folded(made: onnx.ModelProto) -> list[Array]:
    """The outputs of a model without inputs, as the walk folds it."""
    graph = read(made)
    walked = walk(graph, {})
    assert not walked.nodes
    found = [walked.facts[port.name].const for port in graph.outputs]
    return [array for array in found if array is not None]


def close(got: Array, want: Array) -> None:
    """Exact for integers and booleans; |d| <= 1e-5 + 1e-4 |ref| for floats."""
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if want.dtype.kind == "f":
        np.testing.assert_allclose(got.astype(np.float64), want.astype(np.float64), rtol=1e-4, atol=1e-5)
    else:
        np.testing.assert_array_equal(got, want)


def reached(link: Link, n_in: int, n_out: int) -> dict[int, set[int]]:
    """For each position of an input axis: the positions of the output axis that may change with it."""
    if link.kind == "same":
        return {p: {p} for p in range(n_in)}
    if link.kind == "whole":
        return {p: set(range(n_out)) for p in range(n_in)}
    if link.kind == "scan":
        return {p: set(range(p, n_out)) for p in range(n_in)}
    if link.kind == "spread":
        return {p: set(range(p * link.info, (p + 1) * link.info)) for p in range(n_in)}
    if link.kind == "slice":
        taken = list(range(*link.info))
        return {p: {place for place, q in enumerate(taken) if q == p} for p in range(n_in)}
    assert link.kind == "window"
    w = link.info
    reads = [range(q * w.stride - w.pad_begin, q * w.stride - w.pad_begin + w.kernel * w.dilation, w.dilation)
             for q in range(n_out)]  # fmt: skip
    return {p: {q for q in range(n_out) if p in reads[q]} for p in range(n_in)}


def links_hold(made: onnx.ModelProto, feeds: dict[str, Array], most: int | None = None) -> None:
    """Changing one position of a linked axis changes nothing but what the link says. `most`: positions of an axis."""
    graph = read(made)
    walked = walk(graph, {port.name: Fact(feeds[port.name].shape, feeds[port.name].dtype) for port in graph.inputs})
    for node in walked.nodes:
        op = registry.find(node)
        if op.reshapes or op.stepwise:
            continue
        arrays: list[Any] = [feeds.get(name, walked.facts[name].const) if name else None for name in node.inputs]
        ins = [walked.facts[name] if name else None for name in node.inputs]
        with np.errstate(all="ignore"):
            before = op.evaluate(node, arrays)
        for link in op.flow(node, ins, op.infer(node, ins)):
            x = arrays[link.input]
            if link.kind == "last" or (link.input and node.op in INDICES):
                continue  # another index could lie outside
            if node.op in ("Div", "Mod") and link.input and x.dtype.kind in "iu":
                continue  # 0 is refused
            n = x.shape[link.axis]
            for p in range(n) if most is None or n <= most else sorted({*range(most - 1), n - 1}):
                changed = np.array(x)
                changed[(slice(None),) * link.axis + (p,)] = changed[(slice(None),) * link.axis + (p,)] == 0
                with np.errstate(all="ignore"):
                    after = op.evaluate(node, [changed if k == link.input else a for k, a in enumerate(arrays)])
                a, b = before[link.output], after[link.output]
                differ = ~((a == b) | ((a != a) & (b != b)))
                if link.kind == "pick":
                    assert p == link.info % n or not differ.any()
                    continue
                may = reached(link, n, a.shape[link.out_axis])[p]
                rest = [q for q in range(a.shape[link.out_axis]) if q not in may]
                assert not differ.take(rest, link.out_axis).any(), (link, p)


INDICES = ("Gather", "GatherElements", "GatherND", "ScatterND", "ReverseSequence", "CastLike")
