"""Changing a graph: taken back unless kept, whatever was touched; fresh names; live nodes; order."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_infer.graph.edit import Names, drop_dead, live, ordered, transaction
from lstm_infer.graph.ir import Graph, Node, Port


def port(name):
    return Port(name, np.dtype(np.float32), (1,))


def graph():
    inner = Graph("body", [port("i")], [port("o")], [Node("Add", "in", ["i", "x"], ["o"])], {"k": np.ones(1)})
    nodes = [
        Node("Neg", "a", ["x"], ["u"], {"n": 1}),
        Node("Scan", "b", ["u"], ["v"], {"body": inner}),
        Node("Abs", "c", ["x"], ["unread"]),
    ]
    return Graph("g", [port("x")], [port("v")], nodes, {"w": np.zeros(2)})


def look(g):
    return [
        (
            p.name,
            list(p.inputs),
            list(p.outputs),
            [(n.op, n.name, n.inputs, n.outputs, [(k, v) for k, v in n.attrs.items() if k == "n"]) for n in p.nodes],
            sorted(p.consts),
        )
        for p in g.graphs()
    ]


def spoil(g, names):
    body = g.nodes[1].attrs["body"]
    body.nodes[0].inputs[1] = "k"
    body.consts["more"] = np.ones(3)
    del g.consts["w"]
    g.nodes[0].op, g.nodes[0].attrs["n"] = "Abs", 2
    g.nodes.insert(0, Node("Neg", names.fresh("a"), ["x"], [names.fresh("u")]))
    g.outputs[:] = [port("u")]


def test_what_is_not_kept_is_taken_back_in_bodies_too():
    g, want = graph(), look(graph())
    names = Names.of(g)
    with transaction(g, names):
        spoil(g, names)
        assert look(g) != want
    assert look(g) == want
    assert names.fresh("a") == "a_1"  # free again
    with transaction(g) as change:
        spoil(g, Names.of(g))
        change.keep()
    assert look(g) != want


def test_an_error_takes_back_what_was_kept_before_it():
    g, want = graph(), look(graph())

    def fails():
        with transaction(g) as change:
            spoil(g, Names.of(g))
            change.keep()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert look(g) == want


def test_a_transaction_goes_on_behind_an_undo():
    g, want = graph(), look(graph())
    with transaction(g) as change:
        spoil(g, Names.of(g))
        change.undo()
        assert look(g) == want
        g.nodes.pop()
        change.keep()
    assert [n.name for n in g.nodes] == ["a", "b"]


def test_names_are_new_in_bodies_too():
    names = Names.of(graph())
    assert [names.fresh(n) for n in ("i", "in", "k", "v", "new", "new")] == [
        "i_1",
        "in_1",
        "k_1",
        "v_1",
        "new",
        "new_1",
    ]


def test_live_nodes_in_order():
    g = graph()
    assert [n.name for n in live(g.nodes, ["v"])] == ["a", "b"]
    assert [n.name for n in live(g.nodes, ["unread"])] == ["c"]
    g.nodes[1].attrs["body"].nodes[0].inputs[1] = "unread"  # a body reads it
    assert [n.name for n in live(g.nodes, ["v"])] == ["a", "b", "c"]
    assert [n.name for n in ordered(g.nodes)] == ["a", "c", "b"]
    g.nodes[1].attrs["body"].nodes[0].inputs[1] = "x"
    drop_dead(g)
    assert [n.name for n in g.nodes] == ["a", "b"]
