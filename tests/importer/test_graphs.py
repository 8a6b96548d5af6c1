"""Names, order, constants, subgraphs and functions: what a file may say, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from importer_models import model, node, port, to_onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from lstm_infer import importer
from lstm_infer.errors import OnnxImportError, UnsupportedOpError
from lstm_infer.graph.ir import Graph
from lstm_infer.importer.ports import UNKNOWN_DTYPE

F = TensorProto.FLOAT


def refused(made: onnx.ModelProto, match: str, error: type[Exception] = OnnxImportError) -> None:
    with pytest.raises(error, match=match):
        importer.read(made.SerializeToString())


# Order


def test_unsorted_files_are_sorted() -> None:
    graph = importer.read(model([node("Relu", "b", "y"), node("Tanh", "a", "b"), node("Abs", "x", "a")]))
    assert [item.op for item in graph.nodes] == ["Abs", "Tanh", "Relu"]


def test_captures_count_for_the_order() -> None:
    branch = helper.make_graph([node("Relu", "a", "r")], "b", [], [port("r", None)])
    nodes = [node("If", "c", "y", then_branch=branch, else_branch=branch), node("Abs", "x", "a")]
    graph = importer.read(model(nodes, inputs=[port("x"), port("c", [], TensorProto.BOOL)]))
    assert [item.op for item in graph.nodes] == ["Abs", "If"]


def test_a_circle_is_refused_by_name() -> None:
    refused(model([node("Add", "x b", "a", name="first"), node("Relu", "a", "b"), node("Relu", "b", "y")]), "'first'")


def test_an_input_nobody_makes() -> None:
    refused(model([node("Relu", "nope", "y", name="r")]), "node 'r' .*'nope'")
    branch = helper.make_graph([node("Relu", "nope", "r", name="inner")], "b", [], [port("r", None)])
    made = model(
        [node("If", "c", "y", then_branch=branch, else_branch=branch)], inputs=[port("c", [], TensorProto.BOOL)]
    )
    refused(made, "node 'inner' .*'nope'")


def test_an_output_nobody_makes() -> None:
    refused(model([node("Relu", "x", "z")]), "output 'y' is made by no node")


def test_values_made_twice() -> None:
    refused(model([node("Relu", "x", "y"), node("Abs", "x", "y")]), "'y' is made twice")
    refused(model([node("Relu", "x", "x"), node("Abs", "x", "y")]), "'x' is there twice, or is made twice")
    refused(model([node("Relu", "x", "y")], inputs=[port("x"), port("x")]), "'x' is there twice")
    refused(model([node("Relu", "x", "w"), node("Abs", "w", "y")], tensors={"w": np.zeros(1)}), "'w'")


def test_what_nobody_needs_is_dropped() -> None:
    nodes = [node("LSTM", "x w w", "h - c", hidden_size=3), node("Abs", "h", "y"), node("Exp", "c", "z")]
    graph = importer.read(model(nodes, tensors={"w": np.zeros(2, np.float32), "unused": np.zeros(9)}))
    assert [item.op for item in graph.nodes] == ["LSTM", "Abs"]
    assert graph.nodes[0].outputs == ["h", "", ""]
    assert list(graph.consts) == ["w"]


# Names


def test_node_names_are_made_and_unique() -> None:
    nodes = [node("Relu", "x", "a"), node("Relu", "a", "b", name="n"), node("Relu", "b", "y", name="n")]
    names = [item.name for item in importer.read(model(nodes)).nodes]
    assert names[0] == "Relu_0"
    assert len(set(names)) == 3


def test_subgraph_names_that_shadow_are_renamed() -> None:
    branch = helper.make_graph([node("Relu", "x", "a"), node("Abs", "a", "y")], "b", [], [port("y", None)])
    nodes = [
        node("Neg", "x", "a"),
        node("If", "c", "r", then_branch=branch, else_branch=branch),
        node("Add", "r a", "y"),
    ]
    graph = importer.read(model(nodes, inputs=[port("x"), port("c", [], TensorProto.BOOL)]))
    made = [name for item in graph.walk() for name in item.outputs]
    assert len(made) == len(set(made)) == 7
    then = graph.nodes[1].attrs["then_branch"]
    assert isinstance(then, Graph)
    assert then.nodes[0].inputs == ["x"]
    assert then.outputs[0].name == then.nodes[1].outputs[0]
    assert graph.nodes[2].inputs[1] == "a"


# Ports


def test_ports() -> None:
    made = model(
        [node("Relu", "x", "y")], inputs=[port("x", ["T", None, 4, -1])], outputs=[onnx.ValueInfoProto(name="y")]
    )
    graph = importer.read(made)
    assert graph.inputs[0].shape == ("T", None, 4, None)
    assert graph.outputs[0].dtype == UNKNOWN_DTYPE
    assert graph.outputs[0].shape is None
    assert (
        importer.read(model([node("Relu", "x", "y")], outputs=[port("y"), port("x"), port("y")])).outputs[1].name == "x"
    )


INT4 = 22  # onnx knows the name from 1.16 on


@pytest.mark.parametrize("code", [TensorProto.BFLOAT16, TensorProto.STRING, INT4, TensorProto.FLOAT8E5M2])
def test_inputs_of_other_dtypes_are_refused(code: int) -> None:
    refused(
        model([node("Relu", "x", "y")], inputs=[port("x", [1], code)]),
        f"input 'x'.*{TensorProto.DataType.Name(code).lower() if code in TensorProto.DataType.values() else code}",
    )


def test_sequences_do_not_go_in_or_out() -> None:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(F, [1]))
    info = helper.make_value_info("s", kind)
    refused(model([node("SequenceAt", "s x", "y")], inputs=[port("x"), info]), "input 's' is a sequence")
    refused(model([node("SequenceConstruct", "x", "s")], outputs=[info]), "output 's' is a sequence")
    inside = [node("SequenceConstruct", "x", "s"), node("ConcatFromSequence", "s", "y", axis=0)]
    assert len(importer.read(model(inside)).nodes) == 2


def test_initializers_that_are_inputs() -> None:
    made = model([node("Add", "x w", "y")], inputs=[port("x"), port("w", [3])], tensors={"w": np.ones(3, np.float32)})
    graph = importer.read(made)
    assert [item.name for item in graph.inputs] == ["x"]
    assert list(graph.consts) == list(graph.defaults) == ["w"]
    made.ir_version = 3
    assert importer.read(made).defaults == {}


# Constants


@pytest.mark.parametrize(
    ("attrs", "want"),
    [
        ({"value": numpy_helper.from_array(np.arange(3, dtype=np.int8))}, np.arange(3, dtype=np.int8)),
        ({"value_float": 1.5}, np.float32(1.5)),
        ({"value_floats": [1.5, 2.0]}, np.array([1.5, 2], np.float32)),
        ({"value_int": 7}, np.int64(7)),
        ({"value_ints": [7, 8]}, np.array([7, 8], np.int64)),
        (
            {"sparse_value": helper.make_sparse_tensor(
                helper.make_tensor("", F, [1], [5.0]), helper.make_tensor("", TensorProto.INT64, [1], [2]), [3])},
            np.array([0, 0, 5], np.float32),
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_constant_nodes(attrs: dict[str, object], want: np.ndarray) -> None:
    graph = importer.read(model([node("Constant", "", "k", **attrs), node("Add", "x k", "y")]))
    assert [item.op for item in graph.nodes] == ["Add"]
    assert graph.consts["k"].dtype == want.dtype
    np.testing.assert_array_equal(graph.consts["k"], want)


def test_constant_nodes_that_cannot_be_run() -> None:
    refused(model([node("Constant", "", "k", value_string="s"), node("Add", "x k", "y")]), "'k'.*value_string")
    refused(model([node("Constant", "", "k"), node("Add", "x k", "y")]), "exactly one value")
    refused(
        model([node("Constant", "", "k", value_int=1, value_float=2.0), node("Add", "x k", "y")]), "exactly one value"
    )
    text = helper.make_tensor("", TensorProto.STRING, [1], [b"s"])
    refused(model([node("Constant", "", "k", value=text), node("Add", "x k", "y")]), "string")


def test_constants_in_subgraphs() -> None:
    inner = [node("Constant", "", "k", value_float=2.0), node("Mul", "x k", "r")]
    branch = helper.make_graph(inner, "b", [], [port("r", None)], [numpy_helper.from_array(np.ones(1), "unused")])
    graph = importer.read(
        model([node("If", "c", "y", then_branch=branch, else_branch=branch)], inputs=[port("x"), port("c", [], 9)])
    )
    then = graph.nodes[0].attrs["then_branch"]
    assert isinstance(then, Graph)
    assert len(then.nodes) == len(then.consts) == 1


# Functions


def function(name: str, nodes: list[onnx.NodeProto], **more: object) -> onnx.FunctionProto:
    given = {"inputs": ["a"], "outputs": ["b"], "opset_imports": [helper.make_opsetid("", 17)], **more}
    return helper.make_function(
        "local",
        name,
        given["inputs"],
        given["outputs"],
        nodes,
        given["opset_imports"],
        given.get("attributes", []),
        given.get("attribute_protos", []),
    )


def local(*functions: onnx.FunctionProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    return model(nodes, functions=functions, domains=["local"])


def call(name: str, inputs: str, outputs: str, **attrs: object) -> onnx.NodeProto:
    return node(name, inputs, outputs, domain="local", **attrs)


def test_functions_are_inlined_in_each_other() -> None:
    inner = function("inner", [node("Constant", "", "k", value_float=2.0), node("Mul", "a k", "b")])
    outer = function("outer", [call("inner", "a", "t"), call("inner", "t", "u"), node("Add", "t u", "b")])
    made = local(inner, outer, nodes=[call("outer", "x", "m"), call("outer", "m", "y")])
    graph = importer.read(made)
    assert [item.op for item in graph.nodes] == ["Mul", "Mul", "Add"] * 2
    assert len({name for item in graph.nodes for name in item.outputs}) == 6
    assert graph.nodes[-1].outputs == ["y"]
    x = np.ones((2, 3), np.float32)
    import onnxruntime

    got = onnxruntime.InferenceSession(to_onnx(graph).SerializeToString()).run(None, {"x": x})[0]
    np.testing.assert_array_equal(got, x * 36)


def reference(op: str, inputs: str, outputs: str, key: str, kind: int) -> onnx.NodeProto:
    made = node(op, inputs, outputs)
    made.attribute.add(name=key, ref_attr_name=key, type=kind)
    return made


def test_attribute_references() -> None:
    leaky = reference("LeakyRelu", "a", "b", "alpha", AttributeProto.FLOAT)
    required = function("f", [leaky], attributes=["alpha"])
    default = function("g", [leaky], attribute_protos=[helper.make_attribute("alpha", 0.5)])
    chain = function("h", [reference("f", "a", "b", "alpha", AttributeProto.FLOAT)], attributes=["alpha"])
    chain.node[0].domain = "local"
    nodes = [call("f", "x", "p", alpha=0.25), call("f", "p", "q"), call("g", "q", "r"), call("g", "r", "s", alpha=2.0),
             call("h", "s", "y", alpha=3.0)]  # fmt: skip
    graph = importer.read(local(required, default, chain, nodes=nodes))
    assert [item.attrs.get("alpha") for item in graph.nodes] == [0.25, None, 0.5, 2.0, 3.0]
    constant = function("f", [reference("Constant", "", "k", "value_int", AttributeProto.INT), node("Add", "a k", "b")],
                        attributes=["value_int"])  # fmt: skip
    graph = importer.read(local(constant, nodes=[call("f", "x", "y", value_int=4)]))
    np.testing.assert_array_equal(next(iter(graph.consts.values())), 4)
    refused(model([reference("LeakyRelu", "x", "y", "alpha", AttributeProto.FLOAT)]), "outside of a function")


def test_functions_have_their_own_opset() -> None:
    old = function("f", [node("Softmax", "a", "b")], opset_imports=[helper.make_opsetid("", 11)])
    graph = importer.read(local(old, nodes=[call("f", "x", "m"), node("Softmax", "m", "y")]))
    assert [item.opset for item in graph.nodes] == [11, 17]
    assert [item.attrs.get("coerce_2d") for item in graph.nodes] == [1, None]


def test_function_outputs_that_are_inputs_or_constants() -> None:
    graph = importer.read(local(function("f", [], outputs=["a"]), nodes=[call("f", "x", "y")]))
    assert [(item.op, item.inputs, item.outputs) for item in graph.nodes] == [("Identity", ["x"], ["y"])]
    made = function("f", [node("Constant", "", "b", value_int=4)])
    assert importer.read(local(made, nodes=[call("f", "x", "y")])).consts == {"y": 4}
    optional = function("f", [node("Clip", "a lo hi", "b")], inputs=["a", "lo", "hi"])
    assert importer.read(local(optional, nodes=[call("f", "x", "y")])).nodes[0].inputs == ["x"]


def test_function_parts_nobody_needs_are_dropped() -> None:
    two = function("f", [node("Relu", "a", "b"), node("Abs", "z", "c")], inputs=["a", "z"], outputs=["b", "c"])
    graph = importer.read(local(two, nodes=[node("Exp", "x", "e"), call("f", "x e", "y unread")]))
    assert [item.op for item in graph.nodes] == ["Relu"]


def test_functions_with_subgraphs_see_their_inputs() -> None:
    branch = helper.make_graph(
        [reference("LeakyRelu", "a", "r", "alpha", AttributeProto.FLOAT)], "b", [], [port("r", None)]
    )
    made = function(
        "f", [node("If", "c", "b", then_branch=branch, else_branch=branch)], inputs=["a", "c"], attributes=["alpha"]
    )
    graph = importer.read(
        model(
            [call("f", "x c", "y", alpha=0.5)],
            inputs=[port("x"), port("c", [], 9)],
            functions=[made],
            domains=["local"],
        )
    )
    then = graph.nodes[0].attrs["then_branch"]
    assert isinstance(then, Graph)
    assert then.nodes[0].inputs == ["x"]
    assert then.nodes[0].attrs == {"alpha": 0.5}


def test_functions_that_cannot_end() -> None:
    refused(local(function("f", [call("f", "a", "b")]), nodes=[call("f", "x", "y")]), "calls itself")
    pair = function("f", [call("g", "a", "b")]), function("g", [call("f", "a", "b")])
    refused(local(*pair, nodes=[call("f", "x", "y")]), "calls itself")
    levels = [function(f"f{k}", [call(f"f{k + 1}", "a", "m"), call(f"f{k + 1}", "m", "b")]) for k in range(30)]
    refused(local(*levels, function("f30", [node("Relu", "a", "b")]), nodes=[call("f0", "x", "y")]), "inlined")
    deep = [function(f"f{k}", [call(f"f{k + 1}", "a", "b")]) for k in range(100)]
    refused(local(*deep, function("f100", [node("Relu", "a", "b")]), nodes=[call("f0", "x", "y")]), "deep")


def test_functions_called_wrongly() -> None:
    relu = function("f", [node("Relu", "a", "b")])
    refused(local(relu, nodes=[call("f", "x x", "y")]), "gives 2 inputs")
    refused(local(relu, nodes=[call("f", "x", "y", alpha=1.0)]), "no attribute 'alpha'")
    refused(local(function("f", [], outputs=["b"]), nodes=[call("f", "x", "y")]), "'b', which no node makes")
    refused(local(relu, relu, nodes=[call("f", "x", "y")]), "there twice")


# Attributes


def test_attributes_become_python_values() -> None:
    attrs = {"i": 3, "f": 0.5, "s": "text", "ints": [1, 2], "floats": [0.5], "strings": ["a", "b"]}
    got = importer.read(
        model([node("Nope", "x", "y", domain="d", t=numpy_helper.from_array(np.ones(2)), **attrs)])
    ).nodes[0]
    np.testing.assert_array_equal(got.attrs.pop("t"), np.ones(2))
    assert got.attrs == attrs


def test_attributes_that_cannot_be_read() -> None:
    refused(model([node("Nope", "x", "y", s=b"\xff")]), "attribute 's' is not UTF-8")
    twice = node("Relu", "x", "y", alpha=1.0)
    twice.attribute.append(twice.attribute[0])
    refused(model([twice]), "'alpha'")
    typed = node("Optional", "x", "y", type=helper.make_tensor_type_proto(F, [1]))
    refused(model([typed]), "attribute 'type' is of kind TYPE_PROTO", UnsupportedOpError)


def test_attributes_without_a_kind() -> None:
    made = node("LeakyRelu", "x", "y")
    made.attribute.add(name="alpha", f=0.5)
    assert importer.read(model([made])).nodes[0].attrs == {"alpha": 0.5}


# Depth


@pytest.mark.parametrize(("depth", "fine"), [(20, True), (60, False), (400, False)])
def test_subgraphs_to_a_bounded_depth(depth: int, fine: bool) -> None:
    made = model([node("Relu", "x", "y")], inputs=[port("x"), port("c", [], 9)])
    graph = made.graph
    for level in range(depth):
        graph.node.add(op_type="If", input=["c"], output=[f"n{level}"])
        attr = graph.node[-1].attribute.add(name="then_branch", type=AttributeProto.GRAPH)
        graph.output.add(name=f"n{level}")
        graph = attr.g
    graph.node.add(op_type="Relu", input=["x"], output=["last"])
    graph.output.add(name="last")
    if fine:
        assert len(list(importer.read(made).walk())) == depth + 2
    else:
        with pytest.raises(OnnxImportError):
            importer.read(made)
