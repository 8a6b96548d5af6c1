"""What LSTM, GRU and RNN share: attributes, packed weights, states, axes and the NumPy meaning's frame.

Sources: ONNX LSTM-22, GRU-22, RNN-22 (7 and 14 say the same without layout or with fewer types).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from .. import _core
from ..errors import OnnxImportError, ShapeError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Node
from ..graph.links import Link
from ..graph.weights import mark
from ..program.arguments import Activation, Recur
from ..program.builder import Builder
from ..program.packing import layout, panels
from ..program.precision import SLOT
from ..program.store import Panels
from ..program.unpacking import Piece
from ..program.views import View
from .activation import Kind, by_name
from .panels import Packed, copy_panels, grouped, pad16, peepholes
from .registry import attr, need, unsupported

__all__ = [
    "Cell",
    "activations",
    "axes",
    "both_ways",
    "direction_axis",
    "directions",
    "infer",
    "is_recurrent",
    "states",
]

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


def is_recurrent(node: Node) -> bool:
    """LSTM, GRU or RNN of ai.onnx, or DynamicQuantizeLSTM of com.microsoft."""
    return (node.domain == "" and node.op in GATES) or (node.domain, node.op) == (
        "com.microsoft",
        "DynamicQuantizeLSTM",
    )


def both_ways(node: Node) -> bool:
    """Does it run backwards too, so that its first step needs the last one."""
    return is_recurrent(node) and str(node.attrs.get("direction", "forward")).lower() != "forward"


def hidden(node: Node, r_shape: Sequence[int]) -> int:
    """Hidden units, from the shape of R (which DynamicQuantizeLSTM holds transposed)."""
    return r_shape[-1] if node.domain == "" else r_shape[-2]


def axes(node: Node) -> tuple[int, int]:
    """Time and batch axis of X."""
    return (1, 0) if attr(node, "layout", 0) else (0, 1)


def direction_axis(node: Node) -> int:
    """The direction axis of initial_h, initial_c, Y_h and Y_c."""
    return 1 if attr(node, "layout", 0) else 0


def states(node: Node) -> list[tuple[str, int, int]]:
    """(what, input that seeds it, output that holds its last value)."""
    return [("h", 5, 1), ("c", 6, 2)] if node.op.endswith("LSTM") else [("h", 5, 1)]


def directions(node: Node) -> list[bool]:
    """For each direction: does it run backwards."""
    direction = str(attr(node, "direction", "forward")).lower()
    known = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    if direction not in known:
        raise OnnxImportError(f"{node}: direction {direction!r} is none of {', '.join(known)}")
    return known[direction]


def defaults(node: Node) -> list[str]:
    """The activations of one direction where a node names none."""
    return DEFAULTS[node.op.removeprefix("DynamicQuantize")]


def activations(node: Node) -> list[list[Activation]]:
    """Per direction, in the operator's order. alpha and beta lists are consumed by the activations that take them."""
    usual = defaults(node)
    n = len(usual)
    names = list(attr(node, "activations", None) or usual * len(directions(node)))
    if len(names) != n * len(directions(node)):
        raise OnnxImportError(f"{node}: {len(names)} activations for {len(directions(node))} directions of {n}")
    alphas, betas = list(attr(node, "activation_alpha", [])), list(attr(node, "activation_beta", []))
    made = []
    for name in names:
        kind = by_name(str(name))
        if kind is None:
            raise unsupported(node, f"activation {name!r}")
        alpha = None if kind.alpha is None else _coefficient(node, kind, "alpha", alphas)
        beta = None if kind.beta is None else _coefficient(node, kind, "beta", betas)
        made.append(kind.made(alpha, beta))
    return [made[i * n : (i + 1) * n] for i in range(len(directions(node)))]


def _coefficient(node: Node, kind: Kind, which: str, given: list[float]) -> float | None:
    """The next alpha or beta of the list; None: the default, where there is one."""
    if given:
        return float(given.pop(0))
    if which in kind.unsettled:
        raise unsupported(
            node, f"activation {kind.name!r} without activation_{which} (onnxruntime and ONNX differ about its default)"
        )
    return None


def holds(node: Node, ins: list[Fact | None]) -> dict[int, tuple[int, int | None]]:
    """sequence_lens."""
    return {4: (0, None)}


def clip(node: Node) -> float:
    """The limit of the gate pre-activations, 0 for none."""
    value = attr(node, "clip", None)
    if value is None:
        return 0.0
    if not value > 0:
        raise OnnxImportError(f"{node}: clip is {value}, it must be above 0")
    return float(value)


def check_attributes(nodes: Iterable[Node]) -> None:
    """Refuse what no size of the inputs mends: a direction, an activation or a clip that cannot be."""
    for node in nodes:
        if is_recurrent(node):
            activations(node)
            clip(node)


@frozen
class Sizes:
    """Extents of one node."""

    T: int
    B: int
    I: int
    H: int
    D: int


def sizes(node: Node, ins: Sequence[Fact | None]) -> Sizes:
    """Extents, with every input checked against them."""
    x, w, r = need(node, ins, 0).shape, need(node, ins, 1).shape, need(node, ins, 2).shape
    gates, D = GATES[node.op], len(directions(node))
    if len(x) != 3 or len(w) != 3 or len(r) != 3:
        raise ShapeError(f"{node}: X, W and R take 3 axes, got {list(x)}, {list(w)}, {list(r)}")
    if need(node, ins, 0).dtype.kind != "f":
        raise OnnxImportError(f"{node}: X holds {need(node, ins, 0).dtype}; the file is broken")
    t, b = axes(node)
    s = Sizes(x[t], x[b], w[2], r[2], D)
    if x[2] != s.I:
        raise ShapeError(f"{node}: X has {x[2]} features, its weights take {s.I}")
    hidden = attr(node, "hidden_size", s.H)
    if hidden != s.H and ins[2] is not None and ins[2].const is None:
        raise ShapeError(f"{node}: hidden_size is {hidden}, R has the shape {list(r)}")
    if hidden != s.H:
        raise OnnxImportError(f"{node}: hidden_size is {hidden}, R has the shape {list(r)}; the file is broken")
    state = (s.B, D, s.H) if attr(node, "layout", 0) else (D, s.B, s.H)
    wanted: list[tuple[int, str, tuple[int, ...]]] = [
        (1, "W", (D, gates * s.H, s.I)), (2, "R", (D, gates * s.H, s.H)), (3, "B", (D, 2 * gates * s.H)),
        (4, "sequence_lens", (s.B,)), (5, "initial_h", state), (6, "initial_c", state), (7, "P", (D, 3 * s.H)),
    ]  # fmt: skip
    for index, name, shape in wanted[: 7 if node.op == "LSTM" else 5]:
        fact = ins[index] if index < len(ins) else None
        if fact is not None and fact.dtype.kind != ("i" if index == 4 else "f"):
            raise OnnxImportError(f"{node}: {name} holds {fact.dtype}; the file is broken")
        if fact is None or fact.shape == shape:
            continue
        text = f"{node}: {name} takes {list(shape)}, got {list(fact.shape)}"
        h = ins[5] if len(ins) > 5 else None
        if index == 6 and h is not None and h.shape == state and fact.shape[:2] == state[:2]:
            raise OnnxImportError(
                f"{text}; states of two sizes belong to an LSTM with a projection (proj_size), which the ONNX operator "
                "cannot express: the exporter dropped the projection, the file is broken"
            )
        if fact.const is not None and index in (1, 2, 3, 7):
            raise OnnxImportError(f"{text}; the file is broken")
        raise ShapeError(text)
    return s


def infer(node: Node, ins: list[Fact | None]) -> list[Fact]:
    s = sizes(node, ins)
    activations(node)
    clip(node)
    dtype = need(node, ins, 0).dtype
    if attr(node, "layout", 0):
        y, last = (s.B, s.T, s.D, s.H), (s.B, s.D, s.H)
    else:
        y, last = (s.T, s.D, s.B, s.H), (s.D, s.B, s.H)
    return [Fact(y, dtype), *(Fact(last, dtype) for _ in states(node))]


def flow(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    t, b = axes(node)
    layout = attr(node, "layout", 0)
    y_t, y_b, last_b = (1, 0, 0) if layout else (0, 2, 1)
    links = [Link(0, b, 0, y_b)] + [Link(0, b, o, last_b) for _, _, o in states(node)]
    forward = directions(node) == [False]
    links.append(Link(0, t, 0, y_t, "scan" if forward else "whole"))
    if forward:
        links += [Link(0, t, o, -1, "last") for _, _, o in states(node)]
    for _, index, _ in states(node):
        if index < len(ins) and ins[index] is not None:
            links += [Link(index, last_b, 0, y_b)] + [Link(index, last_b, o, last_b) for _, _, o in states(node)]
    if len(ins) > 4 and ins[4] is not None:
        links += [Link(4, 0, 0, y_b)] + [Link(4, 0, o, last_b) for _, _, o in states(node)]
    return [link for link in links if link.output < len(outs)]


def pack(node: Node, b: Builder, s: Sizes, d: int) -> Packed:
    """W and R of one direction, panel by panel one behind the other; packed once per model where they are constant."""
    gates = GATES[node.op]
    names = [b.optional(node, i) for i in (1, 2, 3, *([7] if node.op == "LSTM" else []))]
    split = node.op == "GRU" and not attr(node, "linear_before_reset", 0)
    r_gates = 2 if split else gates
    if any(name and b.const_of(name) is None for name in names):
        return _pack_fed(node, b, s, d, split)
    W, R, bias, P = (b.const_of(name) if name else None for name in (*names, "")[:4])
    assert W is not None and R is not None
    kind = b.kind(node, max(s.I, s.H), W, R)
    panel, (_, r_at) = layout(kind, [(gates, s.I), (r_gates, s.H)])
    h_panel, _ = layout(kind, [(1, s.H)])
    key = (node.op, split, d, id(W), id(R), id(bias), id(P))

    def biases() -> Array:
        both_b = np.zeros(2 * gates * s.H, np.float32) if bias is None else np.asarray(bias[d], np.float32)
        wb, rb = both_b.reshape(2, gates, s.H)
        rows = wb + rb
        if node.op == "GRU":
            last = np.zeros_like(rb[2:]) if split else rb[2:]
            rows = np.concatenate([rows[:2], rows[2:] if split else wb[2:], last])
        return grouped(rows)

    keep = (W, R, bias, P)
    whole, r_h = _panels(node, b, s, d, kind, (W, R), split)
    after = replace(whole, offset=whole.offset + r_at)
    peephole = None
    if P is not None:
        peephole = b.packed((*key, "p"), lambda: peepholes(P[d], s.H), keep)
    if d == s.D - 1:
        both = [_panels(node, b, s, e, kind, (W, R), split) for e in range(s.D)]
        b.store.stands(node, W, kind, [Piece(wr, gates, s.H, s.I, panel) for wr, _ in both])
        pieces = []
        for wr, rh in both:
            pieces.append(Piece(wr, r_gates, s.H, s.H, panel, r_at))
            pieces += [] if rh is None else [Piece(rh, 1, s.H, s.H, h_panel)]
        b.store.stands(node, R, kind, pieces)
    return Packed(kind, whole, after, r_h, b.packed((*key, "b"), biases, keep), peephole, panel, h_panel)


def _panels(
    node: Node, b: Builder, s: Sizes, d: int, kind: str, weights: tuple[Array, Array], split: bool
) -> tuple[View, View | None]:
    """W and R of one direction, packed; of a GRU whose reset gate is applied before the product the last gate of R apart."""
    W, R = weights
    gates = GATES[node.op]
    r_gates, n = 2 if split else gates, pad16(s.H) // 16

    def units(m: Array, k: int) -> Array:
        unit: Array = m[d].reshape(gates, s.H, k)
        return unit

    of = (node.op, split, d, mark(W), mark(R))
    size, _ = layout(kind, [(gates, s.I), (r_gates, s.H)])
    whole = b.packed(
        Panels(kind, n * size, ("wr", *of)), lambda: panels(kind, [units(W, s.I), units(R, s.H)[:r_gates]]), weights
    )
    if not split:
        return whole, None
    size, _ = layout(kind, [(1, s.H)])
    return whole, b.packed(Panels(kind, n * size, ("rh", *of)), lambda: panels(kind, [units(R, s.H)[2:]]), weights)


def _pack_fed(node: Node, b: Builder, s: Sizes, d: int, split: bool) -> Packed:
    """Weights known only when the plan runs (graph inputs): packed by copies in every call."""
    gates, H, I = GATES[node.op], s.H, s.I
    n_panels = pad16(H) // 16
    w, r = (b.f32(b.view(node.inputs[i])).part(0, d, 1).drop(0) for i in (1, 2))
    r_gates = 2 if split else gates
    panel, (_, r_at) = layout("f32", [(gates, I), (r_gates, H)])
    whole = b.alloc((n_panels * panel,))
    copy_panels(b, whole, 0, panel, w.reshape((gates, H, I)), gates)
    copy_panels(b, whole, r_at, panel, b.reshape(r, (gates, H, H)).part(0, 0, r_gates), r_gates)
    r_h = None
    if split:
        r_h = b.alloc((n_panels * H * 16,))
        copy_panels(b, r_h, 0, H * 16, b.reshape(r, (gates, H, H)).part(0, 2, 1), 1)
    bias, peephole = fed_bias(node, b, s, d, gates, split), fed_peephole(node, b, s, d)
    return Packed("f32", whole, replace(whole, offset=r_at), r_h, bias, peephole, panel, H * 16)


def fed_bias(node: Node, b: Builder, s: Sizes, d: int, gates: int, split: bool = False) -> View:
    """Both biases of one direction, added and packed by copies in every call."""
    bias_gates, H = 4 if gates == 3 else gates, s.H
    bias = b.alloc((pad16(H) // 16 * bias_gates * 16,))
    if not b.optional(node, 3):
        b.copy(bias, b.scalar(0.0))
        return bias
    both = b.reshape(b.f32(b.view(node.inputs[3])).part(0, d, 1).drop(0), (2, gates, H))
    rows = b.alloc((bias_gates, H))
    n_sum = gates if gates != 3 or split else 2
    ends = [both.part(0, i, 1).drop(0).part(0, 0, n_sum) for i in (0, 1)]
    b.map(ends, [("ADD", 0, 1)], rows.part(0, 0, n_sum))
    if gates == 3 and split:
        b.copy(rows.part(0, 3, 1), b.scalar(0.0))
    elif gates == 3:
        b.copy(rows.part(0, 2, 2), both.part(1, 2, 1).drop(1))
    copy_panels(b, bias, 0, bias_gates * 16, rows.add_axis(2), bias_gates)
    return bias


def fed_peephole(node: Node, b: Builder, s: Sizes, d: int) -> View | None:
    """The peepholes of one direction, packed by copies in every call."""
    if not b.optional(node, 7):
        return None
    peephole = b.alloc((3, pad16(s.H)))
    b.copy(peephole, b.scalar(0.0))
    b.copy(peephole.part(1, 0, s.H), b.reshape(b.f32(b.view(node.inputs[7])).part(0, d, 1).drop(0), (3, s.H)))
    return peephole


def lower(node: Node, b: Builder) -> None:
    """One kernel call per direction, over views of X and Y."""
    s = sizes(node, [b.fact(name) if name else None for name in node.inputs])
    layer(node, b, s, node.op, lambda d: pack(node, b, s, d))


def layer(node: Node, b: Builder, s: Sizes, op: str, packed: Callable[[int], Packed]) -> None:
    """The same of any layer whose cell is that of `op`. packed: the weights of a direction."""
    t_axis, b_axis = axes(node)
    d_axis = direction_axis(node)
    x = b.rows(b.f32(b.view(node.inputs[0])))
    lens = now = None
    if b.optional(node, 4):
        lens = b.dense(b.view(node.inputs[4]))
        now = b.lens.get(node.name, lens)
    y = b.new(node.outputs[0]) if b.wanted(node, 0) else None
    if y is not None and attr(node, "layout", 0):
        y_t, y_b, y_d = y.strides[1], y.strides[0], 2
    elif y is not None:
        y_t, y_b, y_d = y.strides[0], y.strides[2], 1
    else:
        y_t = y_b = y_d = 0
    finals: dict[int, list[View]] = {output: [] for _, _, output in states(node)}
    for d, backwards in enumerate(directions(node)):
        weights = packed(d)
        memory = {}
        for what, index, output in states(node):
            name = b.optional(node, index)
            init = b.f32(b.view(name)).part(d_axis, d, 1).drop(d_axis) if name else None
            memory[what] = b.carry(node, f"{what}{d}", init, (s.B, s.H))
            finals[output].append(memory[what])
        h, c = memory["h"], memory.get("c")
        out = y.part(y_d, d, 1) if y is not None else None
        need_bytes = _core.recur_i8_scratch if weights.kind == "int8" else _core.recur_scratch
        scratch = b.scratch(need_bytes(GATES[op], s.T, s.B, s.I, s.H))
        f, g, last, *_ = *activations(node)[d], Activation(), Activation()
        args = Recur(
            x=x, w=weights.w, r=weights.r, r_h=weights.r_h, bias=weights.bias, peephole=weights.peephole,
            lens=now, h=h, c=c, y=out, scratch=scratch, T=s.T, B=s.B, I=s.I, H=s.H,
            x_t=x.strides[t_axis], x_b=x.strides[b_axis], y_t=y_t, y_b=y_b, h_b=s.H, c_b=0 if c is None else s.H,
            w_panel=weights.panel, r_panel=weights.panel, r_h_panel=weights.r_h_panel, reverse=int(backwards),
            input_forget=int(attr(node, "input_forget", 0)),
            linear_before_reset=int(attr(node, "linear_before_reset", 0)), clip=clip(node), act=(f, g, last),
        )  # fmt: skip
        for call in weights.calls(args):
            b.emit(f"{op.lower()}_{SLOT[weights.kind]}", call)
    for output, parts in finals.items():
        if not b.wanted(node, output):
            continue
        if lens is not None:
            parts = [ended(b, part, lens) for part in parts]
        if len(parts) == 1:
            b.bind(node.outputs[output], parts[0].add_axis(d_axis))
        else:
            whole = b.new(node.outputs[output])
            for d, part in enumerate(parts):
                b.copy(whole.part(d_axis, d, 1).drop(d_axis), part)


def ended(b: Builder, state: View, lens: View) -> View:
    """A last state as an output: zero for a row of length 0, as onnxruntime gives it."""
    out = b.alloc(state.shape, np.float32)
    b.map([lens.add_axis(1), state, b.scalar(0.0)], [("SELECT", 0, 1, 2)], out)
    return out


# ---- NumPy meaning --------------------------------------------------------------------------------------------

Cell = Callable[[Node, dict[str, Array], dict[str, Array], Array, list[Activation]], None]
"""Advances the states of one direction by one step: (node, states, weights, x [B, I], activations)."""


def meaning(cell: Cell) -> Callable[[Node, list[Array | None]], list[Array]]:
    """The whole operator in NumPy float32 around one cell."""

    def evaluate(node: Node, ins: list[Array | None]) -> list[Array]:
        facts = [None if a is None else Fact.of(a) for a in ins]
        s = sizes(node, facts)
        gates, layout = GATES[node.op], attr(node, "layout", 0)

        def get(index: int) -> Array | None:
            return ins[index] if index < len(ins) else None

        X: Array = need(node, ins, 0)
        dtype = X.dtype
        X = np.asarray(X.swapaxes(0, 1) if layout else X, np.float32)
        lens = get(4)
        lens = np.full(s.B, s.T) if lens is None else lens
        if lens.size and (lens.min() < 0 or lens.max() > s.T):
            raise ShapeError(f"{node}: a sequence length lies outside 0..{s.T}")
        Y = np.zeros((s.T, s.D, s.B, s.H), np.float32)
        lasts = {what: np.zeros((s.D, s.B, s.H), np.float32) for what, _, _ in states(node)}
        for d, (backwards, acts) in enumerate(zip(directions(node), activations(node), strict=True)):
            bias = get(3)
            both = np.zeros(2 * gates * s.H, np.float32) if bias is None else np.asarray(bias[d], np.float32)
            P = get(7) if node.op == "LSTM" else None
            weights = {
                "W": np.asarray(need(node, ins, 1)[d], np.float32), "R": np.asarray(need(node, ins, 2)[d], np.float32),
                "Wb": both[: gates * s.H], "Rb": both[gates * s.H :],
                "P": np.zeros(3 * s.H, np.float32) if P is None else np.asarray(P[d], np.float32),
            }  # fmt: skip
            state = {}
            for what, index, _ in states(node):
                init = get(index)
                part = None if init is None else (init[:, d] if layout else init[d])
                state[what] = np.zeros((s.B, s.H), np.float32) if part is None else np.asarray(part, np.float32).copy()
            for step in range(s.T):
                t = lens - 1 - step if backwards else np.full(s.B, step)
                live = step < lens
                now = {what: value.copy() for what, value in state.items()}
                cell(node, now, weights, X[np.maximum(t, 0), np.arange(s.B)], acts)
                for what in state:
                    state[what] = np.where(live[:, None], now[what], state[what])
                rows = np.flatnonzero(live)
                Y[t[rows], d, rows] = state["h"][rows]
            for what in state:
                lasts[what][d] = np.where(lens[:, None] > 0, state[what], 0)
        out: list[Array] = [Y.transpose(2, 0, 1, 3) if layout else Y]
        out += [lasts[what].swapaxes(0, 1) if layout else lasts[what] for what, _, _ in states(node)]
        return [np.ascontiguousarray(a, dtype) for a in out]

    return evaluate


def work(node: Node, ins: list[Fact | None], outs: list[Fact]) -> int:
    """Some calls of NumPy for each step and gate, and an activation for each unit."""
    x: tuple[int, ...] = need(node, ins, 0).shape
    r: tuple[int, ...] = need(node, ins, 2).shape
    calls = x[1 if attr(node, "layout", 0) else 0] * r[0] * (2 + r[1] // max(r[2], 1))
    return calls * 16_000 + x[0] * x[1] * r[0] * r[1] * (60 + x[2] + r[2]) // 4


def limited(node: Node, z: Array) -> Array:
    """The clip attribute."""
    limit = clip(node)
    return np.clip(z, -limit, limit) if limit else z
