"""Operators that choose elements and reduce integers: random shapes, axes and strides, against onnxruntime and NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from run import ISAS, close, expected, through_plan

import lstm_infer
import stream_models
from lstm_infer.errors import ShapeError
from lstm_infer.graph.ir import Array

INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")


def turned(
    op: str, x: Array, attrs: dict[str, Any], opset: int, *, consts: tuple[Array, ...] = (), n_out: int = 1
) -> tuple[onnx.ModelProto, Array]:
    """The operator behind a Transpose and a Slice that goes backwards, which are views; and what it sees."""
    perm = list(range(x.ndim))[::-1]
    names = [f"c{k}" for k in range(len(consts))]
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=perm)] if perm else []
    inits = [numpy_helper.from_array(array, name) for name, array in zip(names, consts, strict=True)]
    seen = x.transpose(perm)
    if x.ndim:
        cut = {"from": [-1], "to": [-(2**31)], "axes": [0], "by": [-1]}
        inits += [numpy_helper.from_array(np.array(value, np.int64), name) for name, value in cut.items()]
        nodes.append(helper.make_node("Slice", ["t", *cut], ["s"]))
        seen = seen[::-1]
    outs = [f"y{k}" for k in range(n_out)]
    nodes.append(helper.make_node(op, ["s" if x.ndim else "x", *names], outs, name="node", **attrs))
    port = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
    graph = helper.make_graph(nodes, "g", [port], [onnx.ValueInfoProto(name=name) for name in outs], inits)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return onnx.shape_inference.infer_shapes(made), seen


def check(made: onnx.ModelProto, x: Array, want: list[Array]) -> None:
    for isa in ISAS:
        got, slots = through_plan(made, {"x": x}, isa)
        assert not [slot for slot in slots if slot.startswith("host:")], slots
        for a, b in zip(got, want, strict=True):
            close(a, np.asarray(b))


def shape_of(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(int(n) for n in rng.integers(1, 8, rng.integers(1, 5)))


def drawn(rng: np.random.Generator, dtype: str, shape: tuple[int, ...], few: bool) -> Array:
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if kind.kind == "f":
        return np.asarray(rng.integers(-2, 3, shape) if few else rng.standard_normal(shape)).astype(kind)
    limits = np.iinfo(kind)
    low, high = (max(-3, limits.min), 3) if few else (limits.min, limits.max)
    return rng.integers(low, high, shape, kind, endpoint=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", *INTEGERS])
def test_arg_max_and_min(dtype: str) -> None:
    rng = np.random.default_rng(0)
    for trial in range(24):
        x = drawn(rng, dtype, shape_of(rng), bool(trial % 3))
        axis, op = int(rng.integers(-x.ndim, x.ndim)), ("ArgMax", "ArgMin")[trial % 2]
        attrs = {"axis": axis, "keepdims": trial // 2 % 2, "select_last_index": trial // 4 % 2}
        made, seen = turned(op, x, attrs, 13)
        find = np.argmax if op == "ArgMax" else np.argmin
        want = find(seen, axis)
        if attrs["select_last_index"]:
            want = seen.shape[axis] - 1 - find(np.flip(seen, axis), axis)
        want = np.expand_dims(want, axis) if attrs["keepdims"] else want
        check(made, x, [np.asarray(want, np.int64)])
        if dtype in ("float32", "int32", "int64"):
            close(np.asarray(want, np.int64), expected(made, {"x": x})[0])


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
def test_nan_is_found_first(op: str) -> None:
    x = np.array([[1, np.nan, 5, np.nan], [np.inf, np.nan, np.nan, -np.inf], [0.0, -0.0, 0.0, -0.0]], np.float32)
    find = np.argmax if op == "ArgMax" else np.argmin
    for axis in (0, 1):
        made, seen = turned(op, x, {"axis": axis, "keepdims": 0}, 13)
        check(made, x, [np.asarray(find(seen, axis), np.int64)])


REDUCED = [
    (name, dtype) for name in ("Sum", "Mean", "Max", "Min", "Prod", "SumSquare", "L1", "L2") for dtype in INTEGERS
]


@pytest.mark.parametrize(("name", "dtype"), [*REDUCED, ("Max", "bool"), ("Min", "bool")])
def test_integers_are_reduced_in_c(name: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for trial in range(16):
        few = bool(trial % 2) or name in ("Mean", "L2")
        x = drawn(rng, dtype, shape_of(rng), few)
        axes = rng.choice(x.ndim, rng.integers(0, x.ndim + 1), replace=False)
        axes = np.where(rng.integers(0, 2, axes.shape), axes, axes - x.ndim)
        attrs = {"keepdims": trial // 2 % 2, "noop_with_empty_axes": trial // 4 % 2}
        made, seen = turned(f"Reduce{name}", x, attrs, 20, consts=(axes.astype(np.int64),))
        if not axes.size and attrs["noop_with_empty_axes"]:
            over: tuple[int, ...] = ()
        else:
            over = tuple(int(a) for a in axes) or tuple(range(x.ndim))
        check(made, x, [reference(name, seen, over, bool(attrs["keepdims"]))])


def test_no_integers_have_a_reduction() -> None:
    for dtype in ("int8", "uint32", "int64", "bool"):
        x, kind = np.zeros((0, 3), dtype), np.dtype(dtype)
        ends = (0, 1) if kind.kind == "b" else (np.iinfo(kind).min, np.iinfo(kind).max)
        for name, want in (("Sum", 0), ("Prod", 1), ("L1", 0), ("L2", 0), ("Max", ends[0]), ("Min", ends[1])):
            if kind.kind == "b" and name not in ("Max", "Min"):
                continue
            made, _ = turned(f"Reduce{name}", x, {"keepdims": 0}, 20, consts=(np.array([1]),))
            check(made, x, [np.full(3, want, dtype)])


def test_one_number_is_its_own_reduction() -> None:
    for name in ("Sum", "Mean", "Max", "Prod", "L1"):
        x = np.array(-7, np.int32)
        made, _ = turned(f"Reduce{name}", x, {"keepdims": 0}, 20)
        check(made, x, [np.array(7 if name == "L1" else -7, np.int32)])


def reference(name: str, x: Array, axes: tuple[int, ...], keep: bool) -> Array:
    """In Python's integers, wrapped at the width of the type at the end."""
    rows = np.asarray(x.astype(object))
    how: dict[str, Any] = {"axis": axes, "keepdims": keep}
    n = int(np.prod([x.shape[axis] for axis in axes], dtype=np.int64))
    if name in ("Max", "Min"):
        return np.asarray((np.max if name == "Max" else np.min)(x, **how))
    made: Any = {
        "Sum": lambda: rows.sum(**how), "Mean": lambda: rows.sum(**how), "Prod": lambda: np.prod(rows, **how),
        "SumSquare": lambda: (rows * rows).sum(**how), "L1": lambda: abs(rows).sum(**how),
        "L2": lambda: (rows * rows).sum(**how),
    }[name]()  # fmt: skip
    if name == "Mean":
        made = np.vectorize(lambda v: abs(int(v)) // n * (1 if v >= 0 else -1), otypes=[object])(made)
    if name == "L2":
        made = np.vectorize(lambda v: int(np.sqrt(float(v))), otypes=[object])(made)
    wrapped = [int(v) % 2**64 for v in np.asarray(made, object).ravel()]
    return np.asarray(np.array(wrapped, np.uint64).reshape(np.shape(made)).astype(x.dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64", *INTEGERS])
def test_top_k(dtype: str) -> None:
    rng = np.random.default_rng(2)
    for trial in range(16):
        x = drawn(rng, dtype, shape_of(rng), True)
        axis, largest = int(rng.integers(-x.ndim, x.ndim)), trial % 2
        n = x.shape[::-1][axis]
        k = int(rng.integers(1, n + 1))
        attrs = {"axis": axis, "largest": largest, "sorted": trial // 2 % 2}
        made, seen = turned("TopK", x, attrs, 11, consts=(np.array([k]),), n_out=2)
        rows = np.moveaxis(seen.astype(np.float64), axis, -1)
        order = np.argsort(-rows if largest else rows, -1, kind="stable")
        order = np.moveaxis(order[..., :k], -1, axis)
        want = [np.take_along_axis(seen, order, axis), order]
        check(made, x, want)
        if attrs["sorted"] and dtype in ("float32", "float64", "int32", "int64"):
            for a, b in zip(want, expected(made, {"x": x}), strict=True):
                close(a, b)


@pytest.mark.parametrize("opset", [11, 13])
def test_hardmax(opset: int) -> None:
    rng = np.random.default_rng(3)
    for trial in range(12):
        x = drawn(rng, "float32", shape_of(rng), bool(trial % 2))
        made, _ = turned("Hardmax", x, {"axis": int(rng.integers(-x.ndim, x.ndim))}, opset)
        check(made, x, expected(made, {"x": x}))


@pytest.mark.parametrize(
    "values", [np.float32([0, 1]), np.float32([-2.5, 4]), np.int64([2**60 + 1, 5]), np.int32([0, 1])]
)
@pytest.mark.parametrize("dtype", ["int64", "int32", "float32", "uint8"])
def test_one_hot(values: Array, dtype: str) -> None:
    rng = np.random.default_rng(4)
    for trial in range(6):
        x = drawn(rng, "float32" if trial % 2 and dtype == "float32" else "int8", shape_of(rng)[:3], True)
        x = np.asarray(x * 2).astype(dtype)
        attrs = {"axis": int(rng.integers(-x.ndim - 1, x.ndim + 1))}
        made, seen = turned("OneHot", x, attrs, 11, consts=(np.array([4]), values))
        axis = attrs["axis"] % (x.ndim + 1)
        at = np.expand_dims(seen.astype(np.int64), axis)
        places = np.arange(4).reshape([4 if a == axis else 1 for a in range(x.ndim + 1)])
        check(made, x, [np.where((at == places) | (at + 4 == places), values[1], values[0])])


@pytest.mark.parametrize(
    "name", ["Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Div", "Mod", "Max", "Min", "PRelu"]
)
def test_pairs_of_uint64(name: str) -> None:
    rng = np.random.default_rng(5)
    ends = np.array([0, 1, 2, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1], np.uint64)
    x, y = rng.choice(ends, (9, 9)), rng.choice(ends[1:], (9, 9))
    made, seen = turned(name, x, {}, 16, consts=(y,))
    pairs = {
        "Less": np.less, "LessOrEqual": np.less_equal, "Greater": np.greater, "GreaterOrEqual": np.greater_equal,
        "Div": np.floor_divide, "Mod": np.mod, "Max": np.maximum, "Min": np.minimum, "PRelu": lambda a, b: a,
    }  # fmt: skip
    check(made, x, [pairs[name](seen, y)])


def test_one_uint64() -> None:
    x = np.array([0, 1, 5, 2**63 - 1, 2**63, 2**64 - 1], np.uint64)
    low, high = np.array(3, np.uint64), np.array(2**63 + 7, np.uint64)
    for op, consts, want in (
        ("Abs", (), lambda a: a),
        ("Sign", (), np.sign),
        ("Clip", (low, high), lambda a: np.clip(a, low, high)),
    ):
        made, seen = turned(op, x, {}, 13, consts=consts)
        check(made, x, [want(seen)])


def test_a_uint64_divided_by_zero_is_refused() -> None:
    for op in ("Div", "Mod"):
        made, _ = turned(op, np.ones(3, np.uint64), {}, 14, consts=(np.array([1, 0, 1], np.uint64),))
        for isa in ISAS:
            with pytest.raises(ShapeError, match="divided by zero"):
                through_plan(made, {"x": np.ones(3, np.uint64)}, isa)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_to_whole_powers(dtype: str) -> None:
    rng = np.random.default_rng(6)
    base = rng.integers(-6, 7, (5, 4)).astype(dtype)
    base[base == 0] = 2
    exponents = [rng.integers(-3, 9, (4, 5)).astype(kind) for kind in ("int32", "int64", "float32")]
    for exponent in [*exponents, np.array(2, dtype), np.array(3.0, np.float32), np.array(-1, dtype)]:
        made, seen = turned("Pow", base, {}, 15, consts=(exponent,))
        want = [
            [int(float(a) ** int(p)) for a, p in zip(*row, strict=True)]
            for row in zip(seen, np.broadcast_to(exponent, seen.shape), strict=True)
        ]
        check(made, base, [np.array(want, dtype)])
        close(np.array(want, dtype), expected(made, {"x": base})[0])


@pytest.mark.parametrize("dtype", INTEGERS)
def test_products_of_integers(dtype: str) -> None:
    rng = np.random.default_rng(7)
    for shapes in (((3, 4), (4, 5)), ((4,), (4, 5)), ((2, 3, 4), (4,)), ((5, 1, 2, 3), (4, 3, 2)), ((3, 0), (0, 2))):
        left, right = (drawn(rng, dtype, shape, False) for shape in shapes)
        made, seen = turned("MatMul", left.transpose()[..., ::-1].copy(), {}, 13, consts=(right,))
        with np.errstate(over="ignore"):
            check(made, left.transpose()[..., ::-1].copy(), [np.matmul(seen, right)])


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32", "uint64"])
def test_gemm_of_integers(dtype: str) -> None:
    rng = np.random.default_rng(8)
    for trial in range(8):
        attrs = {"transB": trial % 2, "alpha": 2.0 if trial % 3 else 1.0, "beta": 3.0 if trial // 2 % 2 else 1.0}
        x = rng.integers(0, 50, (4, 3)).astype(dtype)
        right = rng.integers(0, 50, (5, 4) if attrs["transB"] else (4, 5)).astype(dtype)
        c = rng.integers(0, 50, [(), (5,), (3, 1), (3, 5)][trial % 4]).astype(dtype)
        made, seen = turned("Gemm", x, attrs, 13, consts=(right, c))
        y = seen @ (right.T if attrs["transB"] else right)
        check(made, x, [(int(attrs["alpha"]) * y + int(attrs["beta"]) * c).astype(dtype)])


@pytest.mark.parametrize("order", [0, 1])
def test_indices_of_max_pool(order: int) -> None:
    rng = np.random.default_rng(9)
    for trial in range(24):
        n = trial % 3 + 1
        x = drawn(rng, "float32", (*rng.integers(5, 8, n).tolist(), 3, 2), bool(trial % 2))
        kernel = rng.integers(1, 4, n).tolist()
        attrs = {"kernel_shape": kernel, "strides": rng.integers(1, 3, n).tolist(), "storage_order": order}
        attrs |= {"pads": [int(rng.integers(0, k)) for k in kernel * 2], "ceil_mode": trial // 3 % 2}
        made, _ = turned("MaxPool", x, attrs, 12, n_out=2)
        check(made, x, expected(made, {"x": x}))


def test_max_pool_of_bytes_has_indices_too() -> None:
    for dtype in ("int8", "uint8"):
        low = np.iinfo(dtype).min
        x = np.array([[[low], [low], [3], [low], [low]]]).transpose(2, 1, 0).astype(dtype).copy()
        made, _ = turned("MaxPool", x.transpose(2, 1, 0).copy(), {"kernel_shape": [2], "pads": [1, 1]}, 12, n_out=2)
        check(made, x.transpose(2, 1, 0).copy(), expected(made, {"x": x.transpose(2, 1, 0).copy()}))


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint16", "int64", "bool"])
def test_sequences_are_turned_round(dtype: str) -> None:
    rng = np.random.default_rng(10)
    for trial in range(8):
        batch = trial % 2
        x = drawn(rng, dtype, [(5, 4), (5, 4, 3), (2, 3, 4, 5)][trial % 3], False)
        lens = rng.integers(0, x.shape[1 - batch] + 1, x.shape[batch])
        nodes = [
            helper.make_node(
                "ReverseSequence", ["x", "lens"], ["y0"], name="node", batch_axis=batch, time_axis=1 - batch
            )
        ]
        ports = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for name, a in (("x", x), ("lens", lens))
        ]
        graph = helper.make_graph(nodes, "g", ports, [onnx.ValueInfoProto(name="y0")])
        made = onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        )
        rows = np.moveaxis(x.copy(), batch, 0)
        for row, n in zip(rows, lens, strict=True):
            row[:n] = row[:n][::-1].copy()
        for isa in ISAS:
            got, slots = through_plan(made, {"x": x, "lens": lens}, isa)
            assert "reverse" in slots
            close(got[0], np.ascontiguousarray(np.moveaxis(rows, 0, batch)))
            for bad in (-1, x.shape[1 - batch] + 1):
                with pytest.raises(ShapeError, match="length lies outside"):
                    through_plan(made, {"x": x, "lens": np.full_like(lens, bad)}, isa)


def test_the_head_of_a_policy_is_a_step_in_c() -> None:
    """What a step gives is chosen from in C: every call is one crossing."""
    plain = onnx.load_from_string(stream_models.frame())
    head = onnx.ModelProto()
    head.CopyFrom(plain)
    head.graph.node.append(helper.make_node("ArgMax", ["y"], ["action"], axis=-1, keepdims=0))
    head.graph.output.append(helper.make_tensor_value_info("action", onnx.TensorProto.INT64, None))
    for batch in (1, 3):
        stream, without = (lstm_infer.load(made).stream(batch=batch) for made in (head, plain))
        assert stream._plan.call is not None
        assert "arg_reduce" in stream._plan.blocks[0].program.slots
        rng = np.random.default_rng(batch)
        for _ in range(5):
            x = rng.standard_normal((batch, stream_models.INPUTS)).astype(np.float32)
            got, y = stream.step(x), without.step(x)
            np.testing.assert_array_equal(got["y"], y)
            np.testing.assert_array_equal(got["action"], np.argmax(y, -1))
