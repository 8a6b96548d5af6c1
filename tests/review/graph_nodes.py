"""What random graphs are made of: nodes and constants under names that count up, drawn from one number."""

from __future__ import annotations

import random

import numpy as np
from onnx import TensorProto, helper, numpy_helper

__all__ = ["BINARY", "END", "GATES", "Body", "Impossible", "Nodes"]

BINARY = ["Add", "Sub", "Mul", "Max", "Min"]
END = 2**63 - 1
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


class Impossible(Exception):
    """What was drawn does not fit."""


class Nodes:
    """Nodes and constants of a graph, and what is drawn for them."""

    def __init__(self, seed):
        self.pick, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.nodes, self.consts = [], {}

    def const(self, array):
        name = f"c{len(self.consts)}"
        self.consts[name] = np.asarray(array)
        return name

    def ints(self, *numbers):
        return self.const(np.array(numbers, np.int64))

    def floats(self, *shape):
        return self.const(self.rng.uniform(-0.9, 0.9, shape).astype(np.float32))

    def do(self, op, *inputs, n_out=1, **attrs):
        n = len(self.nodes)
        outs = [f"v{n}_{i}" for i in range(n_out)]
        self.nodes.append(helper.make_node(op, list(inputs), outs, name=f"n{n}_{op}", **attrs))
        return outs[0] if n_out == 1 else outs

    def model(self, name, nodes, inputs, outputs):
        """The bytes of a model of these nodes and ports, with all constants."""
        consts = [numpy_helper.from_array(array, name) for name, array in self.consts.items()]
        graph = helper.make_graph(nodes, name, inputs, outputs, consts)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return made.SerializeToString()


class Body:
    """The body of a Scan."""

    def __init__(self, nodes):
        self.nodes, self.number = [], len(nodes.nodes)

    def do(self, op, *inputs, n_out=1, **attrs):
        outs = [f"b{self.number}_{len(self.nodes)}_{i}" for i in range(n_out)]
        self.nodes.append(helper.make_node(op, list(inputs), outs, **attrs))
        return outs[0] if n_out == 1 else outs

    def graph(self, inputs, outputs):
        ports = [
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, None) for k in names] for names in (inputs, outputs)
        ]
        return helper.make_graph(self.nodes, "body", *ports)
