"""One-node models around LSTM, GRU and RNN: every attribute and optional input, three homes for the weights."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
IR_VERSION = {7: 3, 14: 7, 22: 10}
FLOAT = TensorProto.FLOAT


@dataclass
class RecurrentCase:
    """A recurrent node and what it is fed. None: the optional input or attribute is absent."""

    op: str
    x: np.ndarray
    w: np.ndarray
    r: np.ndarray
    bias: np.ndarray | None = None
    lens: np.ndarray | None = None
    h0: np.ndarray | None = None
    c0: np.ndarray | None = None
    peephole: np.ndarray | None = None
    direction: str | None = None
    activations: list[str] | None = None
    alpha: list[float] | None = None
    beta: list[float] | None = None
    clip: float | None = None
    input_forget: int | None = None
    linear_before_reset: int | None = None
    layout: int | None = None
    hidden_size: bool = True
    opset: int = 14
    weights: str = "initializer"
    outputs: tuple[str, ...] = field(default=("Y", "Y_h", "Y_c"))

    def replace(self, **changes) -> RecurrentCase:
        return replace(self, **changes)

    def __repr__(self) -> str:
        shown = []
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            if isinstance(value, np.ndarray):
                value = value.tolist() if name == "lens" else f"[{', '.join(map(str, value.shape))}]"
            if value is not None:
                shown.append(f"{name}={value}")
        return f"RecurrentCase({', '.join(shown)})"


def output_names(case: RecurrentCase) -> list[str]:
    """All outputs of the node; those that nobody reads are named "" in the node."""
    return ["Y", "Y_h", "Y_c"] if case.op == "LSTM" else ["Y", "Y_h"]


def build(case: RecurrentCase) -> tuple[bytes, dict[str, np.ndarray]]:
    """The model of a case and its feeds."""
    slots = {"X": case.x, "W": case.w, "R": case.r, "B": case.bias, "sequence_lens": case.lens, "initial_h": case.h0}
    if case.op == "LSTM":
        slots |= {"initial_c": case.c0, "P": case.peephole}
    names = [name if value is not None else "" for name, value in slots.items()]
    while names[-1] == "":
        names.pop()
    attrs = {
        "direction": case.direction, "activations": case.activations, "activation_alpha": case.alpha,
        "activation_beta": case.beta, "clip": case.clip, "input_forget": case.input_forget, "layout": case.layout,
        "linear_before_reset": case.linear_before_reset, "hidden_size": case.r.shape[2] if case.hidden_size else None,
    }  # fmt: skip
    made = [name if name in case.outputs else "" for name in output_names(case)]
    while made[-1] == "":
        made.pop()
    node = helper.make_node(case.op, names, made, name="rec", **{k: v for k, v in attrs.items() if v is not None})
    nodes, inputs, inits, feeds = [node], [], [], {}
    for name, value in slots.items():
        if value is None:
            continue
        home = case.weights if name in ("W", "R", "B", "P") else "input"
        if home == "input":
            # W and R decide gate counts and H, so their shapes are declared; the others stay open in T and B
            shape = list(value.shape) if name in ("W", "R", "B", "P") else [None] * value.ndim
            inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape))
            feeds[name] = value
        elif home == "constant":
            nodes.insert(0, helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value, name)))
        else:
            inits.append(numpy_helper.from_array(value, name))
            if case.opset < 9:  # IR 3 wants initializers among the inputs
                inputs.append(helper.make_tensor_value_info(name, FLOAT, list(value.shape)))
    rank = {"Y": 4, "Y_h": 3, "Y_c": 3}
    outputs = [helper.make_tensor_value_info(name, FLOAT, [None] * rank[name]) for name in made if name]
    graph = helper.make_graph(nodes, "g", inputs, outputs, inits)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", case.opset)], ir_version=IR_VERSION[case.opset],
        producer_name="lstm_infer tests",
    )  # fmt: skip
    return model.SerializeToString(), feeds


def reference_arguments(case: RecurrentCase) -> tuple[list, dict]:
    """What tests/reference.py takes for a case."""
    args = [case.x, case.w, case.r, case.bias, case.lens, case.h0]
    more = {"direction": case.direction or "forward", "activations": case.activations, "alpha": case.alpha,
            "beta": case.beta, "clip": case.clip, "layout": case.layout or 0}  # fmt: skip
    if case.op == "LSTM":
        args += [case.c0, case.peephole]
        more["input_forget"] = case.input_forget or 0
    if case.op == "GRU":
        more["linear_before_reset"] = case.linear_before_reset or 0
    return args, more


def random_case(op: str, *, seed: int = 0, steps=5, batch=2, inputs=3, hidden=4, directions=1, **more) -> RecurrentCase:
    """A case with random weights; `more` overrides fields. True in an optional array field asks for a random one."""
    rng = np.random.default_rng(seed)
    g = GATES[op]

    def make(*shape, scale=1.0):
        return rng.uniform(-scale, scale, shape).astype(np.float32)

    layout = more.get("layout") or 0
    state = (batch, directions, hidden) if layout else (directions, batch, hidden)
    shapes = {"bias": (directions, 2 * g * hidden), "h0": state, "c0": state, "peephole": (directions, 3 * hidden)}
    base = {
        "x": make(*((batch, steps) if layout else (steps, batch)), inputs),
        "w": make(directions, g * hidden, inputs, scale=1.5 / np.sqrt(inputs)),
        "r": make(directions, g * hidden, hidden, scale=1.5 / np.sqrt(hidden)),
    }
    for name, shape in shapes.items():
        drawn = make(*shape)
        if more.get(name) is True:
            more[name] = drawn
    if more.get("lens") is True:
        more["lens"] = rng.integers(0, steps + 1, batch).astype(np.int32)
    return RecurrentCase(op, **(base | more))


def load(data: bytes) -> onnx.ModelProto:
    return onnx.load_from_string(data)
