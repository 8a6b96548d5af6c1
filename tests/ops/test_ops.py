"""Element-wise, shape, movement and reduction operators against onnxruntime: folded, and on every instruction set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from run import ISAS, close, expected, folded, links_hold, model, through_plan

from lstm_infer.errors import LstmInferError, OnnxImportError, ShapeError, UnsupportedOpError
from lstm_infer.graph.fact import Fact
from lstm_infer.graph.ir import Array
from lstm_infer.graph.links import Window
from lstm_infer.importer import read
from lstm_infer.ops import registry
from lstm_infer.walk.walk import walk

NEWEST = 21
"""An opset that onnxruntime runs without warnings about newer operators."""


@dataclass
class Case:
    """One model: inputs by number, which of them are constants of the file, and the slots a plan may use."""

    op: str
    ins: list[Array | None]
    attrs: dict[str, Any] = field(default_factory=dict)
    opset: int = NEWEST
    consts: tuple[int, ...] = ()
    n_out: int = 1
    host: bool = False

    def __str__(self) -> str:
        kinds = "_".join("none" if a is None else f"{a.dtype.name}{list(a.shape)}".replace(" ", "") for a in self.ins)
        attrs = "_".join(f"{key}={value}" for key, value in self.attrs.items() if not isinstance(value, np.ndarray))
        return f"{self.op}-{self.opset}_{kinds}_{attrs}"


RNG = np.random.default_rng(7)


def f(*shape: int, dtype: Any = np.float32, low: float = -3.0, high: float = 3.0) -> Array:
    return np.asarray(RNG.uniform(low, high, shape)).astype(dtype)


def i(*shape: int, dtype: Any = np.int64, low: int = -9, high: int = 10) -> Array:
    return RNG.integers(0 if np.dtype(dtype).kind in "ub" else low, 2 if dtype is bool else high, shape).astype(dtype)


def one(value: Any, dtype: Any = np.float32) -> Array:
    return np.array(value, dtype)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


FLOATS = (np.float32, np.float64)
INTS = (np.int32, np.int64, np.uint8, np.int8)
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-30, 1e30, 80.0, -80.0], np.float32
)


def unary() -> Iterator[Case]:
    ranges = {
        "Sqrt": (0, 9),
        "Log": (0.01, 9),
        "Acosh": (1, 9),
        "Asin": (-1, 1),
        "Acos": (-1, 1),
        "Atanh": (-0.99, 0.99),
    }
    names = (
        "Neg Abs Sign Reciprocal Sqrt Exp Log Sin Cos Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh Erf Sigmoid Tanh "
        "Softplus Softsign Relu LeakyRelu Elu Selu Celu ThresholdedRelu HardSigmoid HardSwish "
        "Mish Round Floor Ceil Shrink"
    )
    for name in names.split():
        low, high = ranges.get(name, (-3, 3))
        for shape in ((), (5,), (3, 17), (2, 3, 5)):
            yield Case(name, [f(*shape, low=low, high=high)])
        x = f(2, 7, low=low, high=high)
        if name == "Tan":  # away from the poles, where one ulp of x is large
            x = f(2, 7, low=-1.4, high=1.4)
        if name != "Celu":
            yield Case(name, [x.astype(np.float64)])
    special = (
        "Neg Abs Sign Sqrt Exp Sigmoid Tanh Relu Softsign Floor Ceil Round Reciprocal LeakyRelu HardSigmoid Softplus"
    )
    for name in special.split():
        yield Case(name, [SPECIAL if name != "Softsign" else SPECIAL[np.isfinite(SPECIAL)]])
    for name in ("Asinh", "Atan", "Tanh", "Erf", "Sinh", "Cosh"):
        yield Case(
            name,
            [np.array([1e-6, -1e-4, 0.1, -0.9, 20, -30, 60, 1e5 if name in ("Asinh", "Atan") else 80], np.float32)],
        )
    for dtype in (np.int32, np.int64, np.int8):
        for name in ("Neg", "Abs", "Sign", "Relu"):
            yield Case(name, [i(3, 5, dtype=dtype)], opset=14)
    for alpha in (0.3, 2.0):
        for name in ("LeakyRelu", "Elu", "Celu", "ThresholdedRelu"):
            yield Case(name, [f(3, 4)], {"alpha": alpha})
    yield Case("HardSigmoid", [f(3, 4)], {"alpha": 0.4, "beta": 0.1})
    yield Case("Selu", [f(3, 4)], {"alpha": 1.1, "gamma": 0.7})
    yield Case("Shrink", [f(3, 9)], {"lambd": 1.0, "bias": 0.25})
    yield Case("Shrink", [SPECIAL], {"lambd": 1.0, "bias": 0.25})
    yield Case("Swish", [f(3, 4)], {"alpha": 1.5}, opset=24)
    yield Case("IsNaN", [SPECIAL])
    for negative in (0, 1):
        for positive in (0, 1):
            yield Case("IsInf", [SPECIAL], {"detect_negative": negative, "detect_positive": positive})
    yield Case("Not", [i(3, 4, dtype=bool)])
    yield Case("BitwiseNot", [i(3, 4, dtype=np.int32)])
    for opset in (7, 13):
        yield Case("Exp", [f(3)], opset=opset)
        yield Case("Sigmoid", [f(3)], opset=opset)


def binary() -> Iterator[Case]:
    shapes = [((3, 4), (3, 4)), ((2, 3, 4), (4,)), ((3, 1), (1, 4)), ((), (2, 2)), ((5, 1, 4), (3, 1))]
    for name in ("Add", "Sub", "Mul", "Div"):
        for a, b in shapes:
            for dtype in FLOATS:
                yield Case(name, [f(*a, dtype=dtype), f(*b, dtype=dtype)])
            for kind in INTS:
                y = i(*b, dtype=kind)
                y = np.where(y == 0, 3, y).astype(kind)
                yield Case(name, [i(*a, dtype=kind), y], opset=14)
                yield Case(name, [i(*a, dtype=kind), y], opset=14, consts=(1,))
    for name in ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
        for a, b in shapes:
            yield Case(name, [np.asarray(np.round(f(*a))), np.asarray(np.round(f(*b)))])
            yield Case(name, [i(*a), i(*b)])
            yield Case(name, [i(*a, dtype=np.int32), i(*b, dtype=np.int32)])
    many = np.arange(16, dtype=np.float32)
    yield Case("Add", [many.reshape((2, 1) * 4), many.reshape((1, 2) * 4)])
    yield Case("Equal", [i(6, dtype=bool), i(6, dtype=bool)])
    yield Case("Equal", [ints(2**53, 2**53 + 1, -(2**62)), ints(2**53 + 1, 2**53 + 1, -(2**62))])
    yield Case("Less", [np.array([1, 2**63 + 5], np.uint64), np.array([2**63 + 4, 3], np.uint64)])
    for name in ("And", "Or", "Xor"):
        yield Case(name, [i(3, 4, dtype=bool), i(4, dtype=bool)])
    for name in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
        for kind in (np.int32, np.int64, np.uint8):
            yield Case(name, [i(3, 4, dtype=kind), i(4, dtype=kind)])
    for direction in ("LEFT", "RIGHT"):
        yield Case("BitShift", [i(5, dtype=np.uint8, high=200), i(5, dtype=np.uint8, high=7)], {"direction": direction})
        yield Case("BitShift", [i(5, dtype=np.uint32), i(5, dtype=np.uint32)], {"direction": direction})
    for fmod in (0, 1):
        yield Case("Mod", [ints(7, -7, 7, -7), ints(3, 3, -3, -3)], {"fmod": fmod})
    yield Case("Mod", [f(3, 4), f(4)], {"fmod": 1})
    for power in (2.0, 3.0, 0.5, -1.0, 1.7, 0.0, 1.0):
        yield Case("Pow", [f(3, 4, low=0.1), one(power, np.float32)], consts=(1,))
        yield Case("Pow", [f(3, 4, low=0.1), np.float32([power])])
    yield Case("Pow", [f(3, 4), one(2, np.int64)])
    yield Case("Pow", [f(3, 4), np.int64([3])], consts=(1,))
    yield Case("Pow", [i(3, 4), one(3, np.int64)])
    yield Case("Pow", [i(3, 4), one(2, np.float32)], consts=(1,))
    yield Case("Pow", [i(3, 4), one(2, np.float32)], host=True)
    yield Case("Pow", [f(3, 4, low=0.1), f(4)])
    yield Case("PRelu", [f(2, 3, 4), f(3, 1)])
    yield Case("PRelu", [f(2, 3), f(1)], opset=9)


def several() -> Iterator[Case]:
    for name in ("Min", "Max", "Sum", "Mean"):
        for n in (1, 2, 3, 9, 20):
            yield Case(name, [f(3, 4) for _ in range(n)])
        yield Case(name, [f(3, 1), f(4), f(2, 1, 1)])
    for name in ("Min", "Max"):
        yield Case(name, [i(3, 1, dtype=np.int32), i(4, dtype=np.int32)])
        yield Case(name, [ints(2**60, 3), ints(2**60 + 1, -3)])
        yield Case(name, [np.array([np.nan, 1, 2], np.float32), np.array([0, np.nan, 3], np.float32)])
    low, high = one(-1, np.float32), one(1, np.float32)
    for opset in (11, 13):
        for pair in ([low, high], [low], [None, high], []):
            yield Case("Clip", [f(3, 4), *pair], opset=opset)
            yield Case("Clip", [f(3, 4), *pair], opset=opset, consts=(1, 2))
    yield Case("Clip", [f(3, 4)], {"min": -0.5, "max": 0.25}, opset=6)
    yield Case("Clip", [f(3, 4), high, low])
    yield Case("Clip", [i(3, 4), one(-2, np.int64), one(2, np.int64)])
    yield Case("Where", [i(3, 4, dtype=bool), f(3, 4), f(4)])
    yield Case("Where", [i(3, 1, dtype=bool), f(1, 4, dtype=np.float64), f(1, dtype=np.float64)])
    yield Case("Where", [i(4, dtype=bool), i(3, 4) + 2**60, i(1) + 2**61])
    yield Case("Where", [i(4, dtype=bool), i(3, 4, dtype=np.uint8), i(1, dtype=np.uint8)])
    yield Case("Where", [i(4, dtype=bool), i(3, 4, dtype=bool), i(1, dtype=bool)])


def casts() -> Iterator[Case]:
    codes = {np.float32: 1, np.uint8: 2, np.int8: 3, np.int32: 6, np.int64: 7, bool: 9, np.float64: 11}
    for source in codes:
        for code in codes.values():
            kind = np.dtype(source).kind
            x = f(3, 4, dtype=source, low=0 if code == 2 else -3) if kind == "f" else i(3, 4, dtype=source)
            if code == 2 and kind == "i":
                x = np.abs(x)
            for opset in (9, 13, 19):
                yield Case("Cast", [x], {"to": code}, opset=opset)
    yield Case("Cast", [ints(2**62, 2**32, 0)], {"to": 9})
    yield Case("CastLike", [f(3, 4), i(2)], opset=19)
    yield Case("Cast", [f(5, dtype=np.float16)], {"to": 1})


def shapes() -> Iterator[Case]:
    x = f(2, 3, 4)
    for value in (x, i(2, 3, 4), i(2, 3, 4, dtype=bool), i(2, 3, 4, dtype=np.uint8), f(2, 3, 4, dtype=np.float64)):
        yield Case("Identity", [value])
        for target in ((6, 4), (-1,), (0, -1), (2, 0, 2, 2), (4, 3, 2), (1, 2, 12)):
            yield Case("Reshape", [value, ints(*target)], consts=(1,))
        yield Case("Transpose", [value], {"perm": [2, 0, 1]})
        yield Case("Concat", [value, value], {"axis": 1})
        yield Case("Expand", [value, ints(5, 1, 1, 1)], consts=(1,))
    yield Case("Reshape", [x, ints(24)], consts=(1,), opset=5)
    yield Case("Reshape", [f(0, 3), ints(3, 0)], {"allowzero": 1}, consts=(1,), opset=14)
    yield Case("Shape", [x])
    yield Case("Shape", [x], {"start": -2, "end": -1}, opset=15)
    yield Case("Shape", [x], {"start": 1}, opset=19)
    yield Case("Size", [x])
    y = f(1, 3, 1, 4)
    yield Case("Squeeze", [y])
    yield Case("Squeeze", [y, ints(0, -2)], consts=(1,))
    yield Case("Squeeze", [y], {"axes": [2]}, opset=11)
    yield Case("Unsqueeze", [x, ints(0, -1)], consts=(1,))
    yield Case("Unsqueeze", [x], {"axes": [1, 3]}, opset=11)
    for axis in (0, 1, 2, 3, -1):
        yield Case("Flatten", [x], {"axis": axis}, opset=11)
    yield Case("Expand", [f(3, 1), ints(2, 1, 6)], consts=(1,))
    yield Case("Expand", [f(3, 1), ints(1)], consts=(1,))
    for repeats in ((1, 1, 1), (2, 1, 3), (1, 4, 1), (3, 1, 1), (0, 1, 1)):
        yield Case("Tile", [x, ints(*repeats)], consts=(1,))
    yield Case("Tile", [f(3, 1), ints(1, 5)], consts=(1,))
    for axis in (0, 2, -2):
        parts = [f(*(2 if a != axis % 3 else n for a in range(3))) for n in (1, 3, 0, 2)]
        yield Case("Concat", list(parts), {"axis": axis})
    yield Case("Split", [f(6, 4)], {"axis": 0}, opset=11, n_out=3)
    yield Case("Split", [f(6, 4)], {"axis": 0, "split": [1, 2, 3]}, opset=11, n_out=3)
    yield Case("Split", [f(6, 4), ints(4, 0, 2)], {"axis": 0}, opset=13, n_out=3, consts=(1,))
    yield Case("Split", [f(2, 7)], {"axis": -1, "num_outputs": 3}, opset=18, n_out=3)
    yield Case("DepthToSpace", [f(2, 8, 2, 3)], {"blocksize": 2})
    yield Case("DepthToSpace", [f(2, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"})
    yield Case("SpaceToDepth", [f(2, 3, 4, 6)], {"blocksize": 2})


def slices() -> Iterator[Case]:
    big = 2**63 - 1
    rows = [
        ([1], [3], [0], [1]), ([-2], [big], [1], None), ([0, 1], [2, 5], None, None), ([5], [0], [1], [-2]),
        ([-1], [-big - 1], [2], [-1]), ([-100], [100], [0], [1]), ([3], [1], [1], [1]),
        ([1, -1], [-1, -6], [-1, 1], [2, -3]),
        ([big], [-big], [0], [-1]), ([0], [-1], [1], None), ([-100], [-3], [1], [-1]),
    ]  # fmt: skip
    for starts, ends, axes, steps in rows:
        for value in (f(4, 5, 6), i(4, 5, 6)):
            extra: list[Array | None] = [None if a is None else ints(*a) for a in (axes, steps)]
            while extra and extra[-1] is None:
                extra.pop()
            yield Case("Slice", [value, ints(*starts), ints(*ends), *extra], consts=(1, 2, 3, 4))
    yield Case("Slice", [f(4, 5)], {"starts": [1, -3], "ends": [9, -1], "axes": [0, 1]}, opset=9)
    small = np.array([1], np.int32)
    yield Case("Slice", [f(4, 5), small, small + 1, small], consts=(1, 2, 3), opset=11)


def pads() -> Iterator[Case]:
    x = f(3, 4, 5)
    for mode in ("constant", "reflect", "edge", "wrap"):
        for pad in ((0, 1, 2, 0, 2, 1), (1, 0, 3, 2, 0, 0), (0, 0, 0, 0, 3, 0)):
            yield Case("Pad", [x, ints(*pad)], {"mode": mode}, consts=(1,), opset=19)
    for value in (x, i(3, 4, 5), i(3, 4, 5, dtype=np.int32), i(3, 4, 5, dtype=bool), f(3, 4, 5, dtype=np.float64)):
        for consts in ((1,), (1, 2)):
            yield Case("Pad", [value, ints(1, 0, 2, 0, 0, 1), np.array(1, value.dtype)], consts=consts)
    yield Case("Pad", [x, ints(-1, 0, 1, 0, -2, 0)], consts=(1,))
    yield Case("Pad", [x, ints(2, 1), one(0.5, np.float32), ints(-1)], consts=(1, 3), opset=18)
    yield Case("Pad", [x], {"pads": [0, 0, 1, 0, 2, 0], "value": 2.5}, opset=2)
    yield Case("Pad", [x], {"pads": [0, 0, 1, 0, 2, 0], "mode": "reflect"}, opset=10)


def gathers() -> Iterator[Case]:
    x = f(4, 5, 6)
    for axis in (0, 1, -1):
        for index in (
            np.array(2),
            np.array(-1),
            ints(1, 2, 3),
            ints(3, 1),
            ints(-2),
            ints(0, 3, 3, 1),
            i(2, 3, low=-4, high=4),
        ):
            for kind in (np.int64, np.int32):
                for consts in ((), (1,)):
                    yield Case("Gather", [x, index.astype(kind)], {"axis": axis}, consts=consts)
    for value in (i(4, 5), i(4, 5, dtype=np.uint8), i(4, 5, dtype=bool), f(4, 5, dtype=np.float64)):
        yield Case("Gather", [value, ints(3, 0, 1)], {"axis": 1})
    yield Case("Gather", [x, ints(1)], opset=1, consts=(1,))
    for axis in (0, 1, -1):
        yield Case("GatherElements", [x, i(*x.shape, low=-4, high=4)], {"axis": axis})
    yield Case("GatherElements", [x, i(2, 3, 6, low=0, high=4, dtype=np.int32)], {"axis": 0})
    yield Case("GatherND", [x, i(3, 2, low=-4, high=4)])
    yield Case("GatherND", [x, i(4, 3, 1, low=-4, high=4)], {"batch_dims": 1})
    yield Case("GatherND", [x, i(2, 1, 3, low=-4, high=4)])


def scatters() -> Iterator[Case]:
    x = f(4, 5, 6)

    def grid(*axes: Any) -> Array:
        return np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.int64)

    boxes = [
        grid(range(4), range(1, 5)), grid(range(1, 3)), grid(range(0, 4, 2), range(5), range(6)), grid(range(4)),
        grid([2], [0], [1]), ints(3, 1).reshape(2, 1), grid([-1], range(5)), ints(0, 1, 1, 0).reshape(4, 1),
        grid([3, 0, 2], [1, 2]),
    ]  # fmt: skip
    for index in boxes:
        for value in (x, i(4, 5, 6)):
            shape = (*index.shape[:-1], *x.shape[index.shape[-1] :])
            updates = np.round(f(*shape)).astype(value.dtype)
            yield Case("ScatterND", [value, index, updates], consts=(1,))
            yield Case("ScatterND", [value, index, updates])
    for reduction in ("add", "mul", "min", "max"):
        index = ints(0, 1, 1, 3).reshape(4, 1)
        yield Case("ScatterND", [x, index, f(4, 5, 6)], {"reduction": reduction}, opset=18)
        at = i(2, 3, 4, low=-4, high=4)
        yield Case("ScatterElements", [x, at, f(2, 3, 4)], {"axis": 0, "reduction": reduction}, opset=18)
    for axis in (0, 1, -1):
        at = np.argsort(f(4, 5, 6), axis=axis).astype(np.int64)
        yield Case("ScatterElements", [x, at, f(4, 5, 6)], {"axis": axis})
    yield Case("ScatterElements", [f(3, 3), np.array([[0, -1]], np.int32), f(1, 2)], {"axis": 1}, opset=11)


def reductions() -> Iterator[Case]:
    for name in ("Sum", "Mean", "Max", "Min", "Prod", "SumSquare", "L1", "L2", "LogSum", "LogSumExp"):
        x = f(3, 4, 5, 2, low=0.5) if name == "LogSum" else f(3, 4, 5, 2)
        for axes in ((), (0,), (1,), (-1,), (1, 2), (0, 2), (0, 3), (1, 3), (0, 1, 2, 3)):
            for keep in (0, 1):
                attrs = {"keepdims": keep}
                if axes:
                    yield Case(f"Reduce{name}", [x, ints(*axes)], attrs, opset=18, consts=(1,))
                else:
                    yield Case(f"Reduce{name}", [x], attrs, opset=18)
        yield Case(f"Reduce{name}", [x], {"axes": [1, -1]}, opset=11)
        yield Case(f"Reduce{name}", [f(3, 100, low=0.5), ints(1)], opset=18, consts=(1,))
        yield Case(f"Reduce{name}", [f(3, 4, dtype=np.float64, low=0.5), ints(0)], opset=18, consts=(1,))
        yield Case(f"Reduce{name}", [f(3, 0), ints(1)], opset=18, consts=(1,))
        yield Case(f"Reduce{name}", [f(2, 3, 0), ints(0, 2)], {"keepdims": 0}, opset=18, consts=(1,))
    yield Case("ReduceSum", [f(3, 4)], {"noop_with_empty_axes": 1}, opset=13)
    for name in ("Sum", "Mean", "Max", "Min", "Prod"):
        for kind in (np.int32, np.int64):
            yield Case(f"Reduce{name}", [i(3, 4, dtype=kind), ints(1)], opset=18, consts=(1,))
            yield Case(f"Reduce{name}", [i(3, 0, dtype=kind), ints(1)], opset=18, consts=(1,))
    yield Case("ReduceMax", [i(3, 4, dtype=bool), ints(1)], opset=20, consts=(1,))
    for name in ("ArgMax", "ArgMin"):
        for axis in (0, 1, -1):
            for last in (0, 1):
                attrs = {"axis": axis, "select_last_index": last, "keepdims": last}
                yield Case(name, [np.round(f(3, 4, 5))], attrs, opset=13)
        yield Case(name, [i(3, 4, dtype=np.int32)], {}, opset=11)
    for exclusive in (0, 1):
        for reverse in (0, 1):
            for value in (f(3, 4, 5), i(3, 4, 5)):
                for axis in (0, 1, -1):
                    attrs = {"exclusive": exclusive, "reverse": reverse}
                    yield Case("CumSum", [value, np.array(axis)], attrs, opset=14, consts=(1,))


def products() -> Iterator[Case]:
    pairs = [
        ((3, 4), (4, 5)),
        ((2, 3, 4), (4, 5)),
        ((2, 3, 4), (2, 4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
    ]
    for a, b in [*pairs, ((2, 1, 3, 4), (5, 4, 6)), ((3, 0), (0, 2)), ((4,), (2, 4, 3))]:
        for consts in ((), (1,)):
            yield Case("MatMul", [f(*a), f(*b)], consts=consts)
    yield Case("MatMul", [i(3, 4), i(4, 5)], opset=13)
    yield Case("MatMul", [i(3, 4, dtype=np.int32), i(4, 5, dtype=np.int32)], opset=13, consts=(1,))
    yield Case("MatMul", [f(3, 4, dtype=np.float64), f(4, 5, dtype=np.float64)])


def others() -> Iterator[Case]:
    yield Case("Range", [np.array(2), np.array(11), np.array(3)], consts=(0, 1, 2))
    yield Case("Range", [np.array(5), np.array(-5), np.array(-2)], consts=(0, 1, 2))
    yield Case("Range", [np.array(5), np.array(2), np.array(1)], consts=(0, 1, 2))
    yield Case("Range", [*(np.array(v, np.float32) for v in (0, 1, 0.3))], consts=(0, 1, 2))
    yield Case("ConstantOfShape", [ints(2, 3)], consts=(0,))
    yield Case("EyeLike", [f(3, 4)], {"k": 1})
    yield Case("EyeLike", [f(3, 4)], {"k": -1, "dtype": 7})
    for axis in (-1, 0, 1):
        yield Case("OneHot", [i(2, 3, low=-4, high=6), np.array(4), f(2)], {"axis": axis}, consts=(1, 2))
        yield Case("OneHot", [i(2, 3, low=-4, high=6), np.array([4]), ints(7, 2**60)], {"axis": axis}, consts=(1,))
    for upper in (0, 1):
        for k in (None, -1, 0, 2):
            for value in (f(2, 3, 4), i(4, 3), i(3, 3, dtype=bool)):
                extra = [] if k is None else [np.array(k)]
                yield Case("Trilu", [value, *extra], {"upper": upper}, opset=14, consts=(1,))
    x = f(4, 3, 5)
    yield Case("ReverseSequence", [x, ints(1, 4, 2)], {"batch_axis": 1, "time_axis": 0}, consts=(1,))
    yield Case("ReverseSequence", [x, ints(3, 2, 1, 3)], {"batch_axis": 0, "time_axis": 1}, consts=(1,))
    yield Case("ReverseSequence", [x, ints(4, 4, 4)], consts=(1,))
    yield Case("ReverseSequence", [x, ints(1, 4, 2)])
    for axis in (0, 1, -1):
        for largest in (0, 1):
            attrs = {"axis": axis, "largest": largest}
            yield Case("TopK", [np.round(f(4, 3, 5)), ints(2)], attrs, opset=11, consts=(1,), n_out=2)
    yield Case("TopK", [i(4, 6), ints(3)], opset=11, consts=(1,), n_out=2)
    yield Case("NonZero", [i(3, 4, low=0, high=2)], consts=(0,))
    yield Case("Compress", [f(3, 4), np.array([True, False, True])], {"axis": 0}, consts=(1,))
    yield Case("Compress", [f(3, 4), np.array([False, True, True, True])], {"axis": 1}, consts=(1,))
    yield Case("Compress", [f(3, 4), np.array([True, False, True, False, True])], consts=(1,))
    yield Case("Unique", [i(9, low=0, high=4)], consts=(0,), n_out=4)
    yield Case("Unique", [i(9, low=0, high=4)], {"sorted": 0}, consts=(0,), n_out=4)
    equations = {
        "ij,jk->ik": ((3, 4), (4, 5)), "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)),
        "bhqd,bhkd->bhqk": ((2, 2, 3, 4), (2, 2, 5, 4)),
        "ij,kj->ki": ((3, 4), (5, 4)), "i,j->ij": ((3,), (4,)), "i,i->": ((3,), (3,)), "ij,ij->ij": ((3, 4), (3, 4)),
        "bij,jk": ((2, 3, 4), (4, 5)), "bwc,c->bw": ((2, 3, 4), (4,)), "bij,bk->kj": ((2, 3, 4), (2, 5)),
    }  # fmt: skip
    for equation, (a, b) in equations.items():
        yield Case("Einsum", [f(*a), f(*b)], {"equation": equation}, opset=12)
    for equation in ("ijk->kij", "ijk->ik", "ijk->", "ijk->j"):
        yield Case("Einsum", [f(3, 4, 5)], {"equation": equation}, opset=12)
    yield Case("Dropout", [f(3, 4)], opset=13)


CASES = [
    case
    for make in (unary, binary, several, casts, shapes, slices, pads, gathers, scatters, reductions, products, others)
    for case in make()
]


def build(case: Case, consts: set[int]) -> tuple[Any, dict[str, Array]]:
    made = model(case.op, case.ins, case.attrs, opset=case.opset, consts=consts, n_out=case.n_out)
    feeds = {f"x{n}": a for n, a in enumerate(case.ins) if a is not None and n not in consts}
    return made, feeds


@pytest.mark.parametrize("case", CASES, ids=str)
def test_operator_against_onnxruntime(case: Case) -> None:
    made, feeds = build(case, set(case.consts))
    want = expected(made, feeds)
    for isa in ISAS:
        got, slots = through_plan(made, feeds, isa)
        assert len(got) == len(want)
        for a, b in zip(got, want, strict=True):
            close(a, b)
        if not case.host:
            assert not [slot for slot in slots if slot.startswith("host:")], slots
    whole, _ = build(case, set(range(len(case.ins))))
    for a, b in zip(folded(whole), want, strict=True):
        close(a, b)


@pytest.mark.parametrize("case", [case for case in CASES if case.opset >= 11], ids=str)
def test_links_tell_the_truth(case: Case) -> None:
    """Changing one position of a linked axis changes nothing but what the link says."""
    links_hold(*build(case, set(case.consts)))


def test_expected_links() -> None:
    """Links that streaming relies on are there."""

    def kinds(case: Case) -> dict[int, tuple[str, Any]]:
        graph = read(build(case, set(case.consts))[0])
        facts: list[Any] = []
        for name in graph.nodes[0].inputs:
            array = case.ins[int(name[1:])] if name in {f"x{n}" for n in range(len(case.ins))} else graph.consts[name]
            assert array is not None
            facts.append(Fact.of(array) if name in graph.consts else Fact(array.shape, array.dtype))
        op = registry.find(graph.nodes[0])
        links = op.flow(graph.nodes[0], facts, op.infer(graph.nodes[0], facts))
        return {link.axis: (link.kind, link.info) for link in links if link.input == 0}

    same = ("same", None)
    x = f(4, 5, 6)
    assert kinds(Case("Gather", [x, np.array(-1)], {"axis": 1}, consts=(1,))) == {0: same, 1: ("pick", -1), 2: same}
    assert kinds(Case("Gather", [x, ints(-1)], {"axis": 1}, consts=(1,))) == {0: same, 1: ("pick", -1), 2: same}
    assert kinds(Case("Gather", [x, ints(1, 2)], {"axis": 1}, consts=(1,)))[1] == ("slice", (1, 3, 1))
    cut = kinds(Case("Slice", [x, ints(-2), ints(2**62), ints(1)], consts=(1, 2, 3)))
    assert cut == {0: same, 1: ("slice", (3, 5, 1)), 2: same}
    assert kinds(Case("Slice", [x, ints(0), ints(2**62), ints(1)], consts=(1, 2, 3))) == {0: same, 1: same, 2: same}
    assert kinds(Case("Concat", [x, x], {"axis": 1})) == {0: same, 2: same}
    assert kinds(Case("ReduceMean", [x, ints(1)], {"keepdims": 0}, opset=18, consts=(1,))) == {0: same, 2: same}
    padded = kinds(Case("Pad", [x, ints(0, 2, 0, 0, 1, 0)], consts=(1,)))
    assert padded == {0: same, 1: ("window", Window(1, pad_begin=2, pad_end=1)), 2: same}
    assert kinds(Case("CumSum", [x, np.array(1)], consts=(1,))) == {0: same, 1: ("scan", None), 2: same}
    assert kinds(Case("Split", [x], {"axis": 1, "num_outputs": 5}, opset=18, n_out=5))[0] == same


def refused(op: str, ins: list[Array | None], attrs: dict[str, Any], error: type[LstmInferError], **how: Any) -> None:
    case = Case(op, ins, attrs, **how)
    made, feeds = build(case, set(case.consts))
    with pytest.raises(error, match="node 'node'"):
        through_plan(made, feeds, ISAS[0])


def test_what_depends_on_data_is_refused() -> None:
    refused("NonZero", [f(3)], {}, UnsupportedOpError)
    refused("Reshape", [f(4), ints(2, 2)], {}, UnsupportedOpError)
    refused("Compress", [f(3), i(3, dtype=bool)], {}, UnsupportedOpError)
    refused("Slice", [f(3), ints(0), ints(1)], {}, UnsupportedOpError)
    refused("Einsum", [f(3, 3)], {"equation": "ii->i"}, UnsupportedOpError)
    refused("Mod", [f(3), f(3)], {}, UnsupportedOpError)


def test_what_does_not_fit_is_an_error() -> None:
    refused("Reshape", [f(5), ints(2, 2)], {}, ShapeError, consts=(1,))
    refused("Gather", [f(5), ints(5)], {}, ShapeError, consts=(1,))
    refused("Gather", [f(5), ints(5)], {}, ShapeError)
    refused("Add", [f(5), f(4)], {}, ShapeError)
    refused("Div", [ints(5), ints(0)], {}, ShapeError)
    refused("ScatterND", [f(5), ints(5).reshape(1, 1), f(1)], {}, ShapeError)
    refused("Add", [f(5), f(5, dtype=np.float64)], {}, OnnxImportError)


def test_a_shape_of_very_many_numbers_is_refused_at_once() -> None:
    nodes = [helper.make_node("Reshape", ["x", "s"], ["y"], name="many")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(10**6, np.int64), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ShapeError, match="a shape of 1000000 numbers"):
        walk(read(model), {"x": Fact((2, 3), np.dtype(np.float32))})


def test_more_axes_than_numpy_has_is_an_error_of_ours() -> None:
    nodes = [helper.make_node("Expand", ["x", "s"], ["y"], name="deep")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1] * 70)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(70, np.int64), "s")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(ShapeError, match="deep"):
        walk(read(model), {"x": Fact((1,) * 70, np.dtype(np.float32))})
