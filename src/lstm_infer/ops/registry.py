"""What an operator is to the engine, and the list of those that are built.

Each operator brings, side by side in one file: a shape rule (`infer`), a NumPy meaning (`evaluate`: it folds
constants and is the test oracle), what it does to axes (`flow`: how time passes through), and its steps (`lower`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import OnnxImportError, OpenSizeError, ShapeError, UnsupportedOpError
from ..frozen import frozen
from ..graph.fact import Fact
from ..graph.ir import Array, Graph, Node
from ..graph.links import Link
from ..program.builder import Builder

__all__ = [
    "Op",
    "attr",
    "find",
    "get",
    "moves",
    "need",
    "register",
    "registered",
    "unsupported",
]


Infer = Callable[[Node, list["Fact | None"]], list[Fact]]
Evaluate = Callable[[Node, list["Array | None"]], Sequence[Array]]
Flow = Callable[[Node, list["Fact | None"], list[Fact]], list[Link]]
Work = Callable[[Node, list["Fact | None"], list[Fact]], int]
Lower = Callable[[Node, "Builder"], None]
Holds = Callable[[Node, list["Fact | None"]], dict[int, tuple[int, "int | None"]]]
"""By input: the lowest and the highest integer it takes; None for the length of the sequence."""


def opaque(node: Node, ins: list[Fact | None], outs: list[Fact]) -> list[Link]:
    """No axis passes: everything is needed whole."""
    return []


@frozen
class Op:
    """One operator. `opsets`: first and last version of its domain it is right for (last None: open)."""

    name: str
    infer: Infer
    evaluate: Evaluate
    flow: Flow = opaque
    lower: Lower | None = None
    """None: runs on the host through `evaluate`, where it is not known when the plan is made."""
    domain: str = ""
    opsets: tuple[int, int | None] = (1, None)
    inputs: tuple[int, int | None] | None = None
    """Fewest and most inputs (None: any number) of an operator that has no schema in ONNX, which would say."""
    reshapes: bool = False
    """The output holds the input's elements in the same order under other sizes (Reshape, Squeeze, Flatten ...)."""
    extents: int | None = None
    """Input that holds the extents of the output, aligned to its last axis (Reshape, Expand), or how often
    it is repeated (Tile): where an exporter may leave those of its example."""
    stepwise: bool = False
    """Its result depends on how a sequence is cut (scales over a whole tensor): a stream runs one step at a time."""
    work: Work | None = None
    """What `evaluate` costs, in nanoseconds or so; None: in proportion to the elements that go in and out."""
    random: bool = False
    """Draws from the model's generator: never folded."""
    moves: str = ""
    """What it does where it computes nothing: "axes" moves whole axes about, every value and every step stays as it is;
    "order" regroups the elements under other sizes; "part" takes a part; "join" joins its inputs; "repeat" repeats;
    "cast" changes the element type. Empty: it computes."""
    mixes: str = ""
    """How it makes its output of its inputs where that is simple: "sum" adds or subtracts them; "scale" multiplies or
    divides, or brings to a norm; "larger" takes the largest or the smallest; "choose" takes each element from one of the
    inputs behind the first; "write" replaces elements of the first by those of the third. Empty: in another way."""
    exact: bool = False
    """`evaluate` has the bits of its kernel: what is known of padding in front of it is known behind it."""
    sizes: tuple[int, ...] = ()
    """Inputs that give sizes or positions: a length in them is resolved when the graph is walked."""
    holds: Holds | None = None
    """What integers its inputs may hold where not every one will do; None: any."""
    why: str = ""
    """Why a sequence cannot be streamed through it where time does not pass: "sums over time"."""
    weights: tuple[int, ...] = ()
    """Inputs whose values are packed, and held as `load(precision=)` asks, where they are known."""
    note: str = ""
    """What is refused or restricted, for docs/ops.md."""
    dtypes: str = "float"
    """Element types of the data it takes, for docs/ops.md."""
    runs: str = ""
    """How it runs, for docs/ops.md: kernel slots, "view", "host", "known" (when the plan is made)."""


_OPS: dict[tuple[str, str], Op] = {}


_REMEDIES = {
    "com.microsoft.nchwc": "it belongs to a layout of onnxruntime that fits the machine which saved the file: save it at "
    "graph_optimization_level ORT_ENABLE_EXTENDED, or load the file that was optimised",
}
"""What to do about operators of a domain that is not built."""


def register(*ops: Op) -> None:
    """Add operators to the list; a second one of the same name is a mistake of ours."""
    for op in ops:
        key = (op.domain, op.name)
        if key in _OPS:
            raise AssertionError(f"operator {key} registered twice")
        _OPS[key] = op


def registered() -> list[Op]:
    """All operators that are built, by domain and name."""
    return [_OPS[key] for key in sorted(_OPS)]


def is_built(domain: str, name: str, opset: int) -> bool:
    """Is an operator built, in the version of this opset."""
    op = _OPS.get((domain, name))
    return op is not None and op.opsets[0] <= opset <= (op.opsets[1] or opset)


def find(node: Node) -> Op:
    """The operator of a node; `UnsupportedOpError` names the node where it is not built."""
    op = _OPS.get((node.domain, node.op))
    if op is None:
        remedy = _REMEDIES.get(node.domain, "docs/ops.md lists those that are")
        raise UnsupportedOpError(f"{node}: operator {node.op} is not supported; {remedy}")
    low, high = op.opsets
    if node.opset and (node.opset < low or (high is not None and node.opset > high)):
        raise UnsupportedOpError(
            f"{node}: operator {node.op} is supported for opsets {low} to {high or 'newest'}, "
            f"the file has {node.opset}; convert the model with onnx.version_converter, or see docs/ops.md"
        )
    return op


def is_stepwise(node: Node) -> bool:
    """Does its result depend on how a sequence is cut."""
    op = _OPS.get((node.domain, node.op))
    return op is not None and op.stepwise


def weights(node: Node) -> tuple[int, ...]:
    """The inputs of a node that are packed where they are known."""
    op = _OPS.get((node.domain, node.op))
    return () if op is None else op.weights


def check_inputs(node: Node, op: Op) -> None:
    """As many inputs as an operator without a schema takes; the importer asks the schemas of the others."""
    if op.inputs is None:
        return
    low, high = op.inputs
    if not low <= len(node.inputs) <= (high or len(node.inputs)):
        takes = f"{low} or more" if high is None else str(low) if low == high else f"{low} to {high}"
        raise OnnxImportError(f"{node}: has {len(node.inputs)} inputs, {node.op} takes {takes}; the file is broken")


def is_random(node: Node) -> bool:
    """Does a node draw from the model's generator."""
    op = _OPS.get((node.domain, node.op))
    return op is not None and op.random


def moves(node: Node) -> str:
    """What a node does that computes nothing (`Op.moves`); empty where it computes, or is not built."""
    op = _OPS.get((node.domain, node.op))
    return op.moves if op is not None else ""


def mixes(node: Node) -> str:
    """How a node makes its output of its inputs (`Op.mixes`); empty where that is not simple, or it is not built."""
    op = _OPS.get((node.domain, node.op))
    return op.mixes if op is not None else ""


def unsupported(node: Node, what: str) -> UnsupportedOpError:
    """The error for an attribute or a use of an operator that cannot be run faithfully."""
    return UnsupportedOpError(f"{node}: {what} is not supported; see docs/ops.md")


_MISSING = object()


def attr(node: Node, name: str, default: Any = _MISSING) -> Any:
    """An attribute, or its default; `OnnxImportError` where a required one is missing."""
    value = node.attrs.get(name, default)
    if value is _MISSING:
        raise OnnxImportError(f"{node}: required attribute {name!r} is missing; the file is broken")
    return value


def need(node: Node, ins: Sequence[Any], index: int) -> Any:
    """A required input; `OnnxImportError` where it is absent."""
    if index >= len(ins) or ins[index] is None:
        raise OnnxImportError(f"{node}: required input {index} is missing; the file is broken")
    return ins[index]


def get(ins: Sequence[Any], index: int) -> Any:
    """An optional input, or None."""
    return ins[index] if index < len(ins) else None


def known(node: Node, fact: Fact | None, what: str) -> Array:
    """The content of an input that must be constant (sizes, axes, shapes)."""
    if fact is None or fact.const is None:
        raise OpenSizeError(
            f"{node}: {what} that depends on the data is not supported; see docs/ops.md. Where it comes from an input, "
            "load(..., constants=) can fix it"
        )
    return fact.const


MOST_NUMBERS = 4096


def numbers(node: Node, fact: Fact | None, what: str) -> list[int]:
    """The integers of a constant input that says sizes, axes or places: a few."""
    found = known(node, fact, what)
    if found.size > MOST_NUMBERS:
        raise ShapeError(f"{node}: {what} of {found.size} numbers; the file is broken")
    listed: list[Any] = found.ravel().tolist()
    return listed if found.dtype.kind in "iu" else [int(n) for n in listed]


def subgraph(node: Node, name: str) -> Graph:
    """A graph attribute."""
    value = attr(node, name)
    if not isinstance(value, Graph):
        raise OnnxImportError(f"{node}: attribute {name!r} is not a graph; the file is broken")
    return value
