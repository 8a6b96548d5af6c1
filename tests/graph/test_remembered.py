"""Walks are remembered for a graph as it is, at given sizes, and for no other."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_infer.errors import ShapeError
from lstm_infer.graph.edit import transaction
from lstm_infer.graph.fact import Fact
from lstm_infer.graph.ir import Graph, Node, Port
from lstm_infer.walk import walk as walking
from lstm_infer.walk.remembered import FORMS, remembering
from lstm_infer.walk.walk import walk

F = np.dtype(np.float32)


def adding(body: Graph | None = None) -> Graph:
    """y = x + w, and through an If where a body is given."""
    nodes = [Node("Add", "add", ["x", "w"], ["s"], opset=14)]
    if body is not None:
        branch = {"then_branch": body, "else_branch": body}
        nodes.append(Node("If", "if", ["cond"], ["y"], branch, opset=16))
    else:
        nodes.append(Node("Tanh", "tanh", ["s"], ["y"], opset=13))
    ports = [Port("x", F, (None, 4))]
    return Graph("g", ports, [Port("y", F, None)], nodes, {"w": np.ones(4, np.float32), "cond": np.array(True)})


def at(n: int, width: int = 4) -> dict[str, Fact]:
    return {"x": Fact((n, width), F)}


def test_one_walk_for_one_size():
    graph = adding()
    with remembering(graph):
        first = walk(graph, at(3))
        assert walk(graph, at(3)) is first
        assert walk(graph, at(5)).facts["y"].shape == (5, 4)
        assert walk(graph, at(3), on_node=lambda node, ins: None) is not first
    assert walk(graph, at(3)) is not first


def change_inputs(graph):
    graph.nodes[1].inputs[:] = ["x"]


def change_attributes(graph):
    graph.nodes[1].attrs = {"alpha": 1.0}


def change_operator(graph):
    graph.nodes[1].op = "Neg"


def change_constant(graph):
    graph.consts["w"] = np.ones(4, np.float32)


def change_nodes(graph):
    graph.nodes.append(Node("Neg", "more", ["y"], ["z"], opset=13))


def change_outputs(graph):
    graph.outputs[:] = [Port("s", F, None)]


@pytest.mark.parametrize(
    "change",
    [change_inputs, change_attributes, change_operator, change_constant, change_nodes, change_outputs],
)
def test_a_changed_graph_is_walked_anew(change):
    graph = adding()
    with remembering(graph):
        first = walk(graph, at(3))
        change(graph)
        assert walk(graph, at(3)) is not first


def test_a_changed_body_is_walked_anew():
    body = Graph("b", [], [Port("t", F, None)], [Node("Tanh", "t", ["s"], ["t"], opset=13)])
    graph = adding(body)
    with remembering(graph):
        first = walk(graph, at(3))
        body.nodes[0] = Node("Neg", "t", ["s"], ["t"], opset=13)
        assert [node.op for node in walk(graph, at(3)).nodes] != [node.op for node in first.nodes]


def test_what_is_taken_back_is_known_still():
    graph = adding()
    with remembering(graph):
        first = walk(graph, at(3))
        with transaction(graph):
            graph.nodes[1] = Node("Neg", "neg", ["s"], ["y"], opset=13)
            assert walk(graph, at(3)) is not first
        assert walk(graph, at(3)) is first


def test_an_error_is_remembered(monkeypatch):
    graph, made = adding(), []
    infer = walking.node_facts
    monkeypatch.setattr(walking, "node_facts", lambda *args: made.append(args) or infer(*args))
    with remembering(graph):
        for _ in range(2):
            with pytest.raises(ShapeError, match="'add'"):
                walk(graph, at(3, 7))
    assert len(made) == 1


def test_few_forms_and_no_large_constants():
    graph = adding()
    with remembering(graph) as walks:
        first = walk(graph, at(3))
        for i in range(FORMS):
            graph.consts["w"] = np.full(4, i, np.float32)
            walk(graph, at(3))
        graph.consts["w"] = first.facts["w"].const
        assert walk(graph, at(3)) is not first
        walks._room = 0
        graph.nodes[:0] = [Node("Expand", "expand", ["one", "size"], ["big"], opset=13)]
        graph.nodes[1].inputs[1] = "big"
        graph.consts |= {"one": np.ones((1, 1), np.float32), "size": np.array([3000, 4])}
        assert walk(graph, at(3000)) is not walk(graph, at(3000))


def test_at_rest_only_what_is_asked_for_is_given():
    graph = adding()
    with remembering(graph) as walks:
        kept, gone = walk(graph, at(3)), walk(graph, at(5))
        walks.rest(graph, [at(3)])
    assert walk(graph, at(3)) is kept
    assert walk(graph, at(5)) is not gone
    assert walk(graph, at(5)) is not walk(graph, at(5))  # nothing is added by runs
    with remembering(graph):
        assert walk(graph, at(3)) is kept
    assert graph.walks is None
