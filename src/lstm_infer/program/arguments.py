"""Arguments of kernels: a dataclass for each record of li_kernels.h, with the fields of the C struct in its order. Those of
reductions are in reductions.py, those of random numbers in draws.py.

What a call reads, writes, costs and may refuse is asked of its record; no one else knows where a field lies. A View or
None is a li_ref (two words), a float a double, an Activation a li_act, a tuple an array.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import fields, replace
from math import prod
from typing import Any, ClassVar

import numpy as np

from .. import _core
from ..errors import UnsupportedOpError
from ..frozen import frozen
from .views import View

__all__ = [
    "RANK", "Activation", "Address", "Conv", "Copy", "Gather", "GatherND", "Indexed", "MatMul", "MatMulDyn",
    "MatMulI8", "MatMulInt", "Record", "Recur", "RecurI8", "Reverse", "ScatterND", "dtype_code", "filled",
]  # fmt: skip

Address = Callable[[View], tuple[int, int]]
RANK = 8
"""LI_RANK: most axes of a strided operand."""
ELEMENT = 8
"""Multiply-adds that go as fast as an element is read or written: 0.1 to 1 ns on Zen 4."""


@frozen
class Activation:
    """li_act: name as in li_act_code without its prefix ("SIGMOID"), alpha and beta as ONNX names them."""

    name: str = "NONE"
    alpha: float = 0.0
    beta: float = 0.0


def dtype_code(dtype: np.dtype[Any]) -> int:
    """li_dtype of a NumPy dtype."""
    code = _core.dtypes.get(dtype.name)
    if code is None:
        raise UnsupportedOpError(f"values of type {dtype} are not supported; see docs/ops.md")
    return code


def filled(values: tuple[int, ...], n: int, fill: int = 0) -> tuple[int, ...]:
    """A tuple as an array of n."""
    return (*values, *([fill] * (n - len(values))))


@frozen
class Record:
    """The arguments of one call. A subclass names the operands that are read, and those that are written."""

    READ: ClassVar[tuple[str, ...]]
    WRITTEN: ClassVar[tuple[str, ...]]

    @property
    def reads(self) -> list[View]:
        return [view for name in self.READ if (view := getattr(self, name)) is not None]

    @property
    def writes(self) -> list[View]:
        return [view for name in self.WRITTEN if (view := getattr(self, name)) is not None]

    @property
    def macs(self) -> int:
        """Multiply-adds of a product."""
        return 0

    @property
    def work(self) -> int:
        """Multiply-adds; where there are none, `ELEMENT` for each element that is read or written."""
        return self.macs or ELEMENT * sum(prod(view.shape) for view in (*self.reads, *self.writes))

    @property
    def can_fail(self) -> bool:
        """May the call refuse what it finds in its data."""
        return False

    def words(self, address: Address) -> list[int]:
        """The record as C reads it."""
        out: list[int] = []
        kind = type(self)
        if kind not in _FIELDS:
            _FIELDS[kind] = tuple(field.name for field in fields(self))
        for name in _FIELDS[kind]:
            _add(getattr(self, name), address, out)
        return out


_FIELDS: dict[type[Record], tuple[str, ...]] = {}
"""The fields of each record, in order."""


def _add(value: object, address: Address, out: list[int]) -> None:
    if type(value) is int:
        out.append(value)
    elif isinstance(value, View):
        out += address(value)
    elif isinstance(value, (int, np.integer)):
        out.append(int(value))
    elif value is None:
        out += (-1, 0)
    elif isinstance(value, tuple):
        for item in value:
            _add(item, address, out)
    elif isinstance(value, Activation):
        _add((_core.act_codes[value.name], float(value.alpha), float(value.beta)), address, out)
    else:
        assert isinstance(value, float), f"no field of a record holds {value!r}"
        out.append(struct.unpack("<q", struct.pack("<d", value))[0])


@frozen
class MatMul(Record):
    """li_matmul_args: y[n][m] = act(x[n][k] w[k][m] + bias[m])."""

    x: View
    w: View
    bias: View | None
    y: View
    n: int
    k: int
    m: int
    x_row: int
    x_k: int
    y_row: int
    y_col: int
    act: Activation

    READ = ("x", "w", "bias")
    WRITTEN: ClassVar[tuple[str, ...]] = ("y",)

    @property
    def macs(self) -> int:
        return self.n * self.k * self.m

    def stored_to(self, y: View) -> MatMul | None:
        """The same product, stored elsewhere; None where two strides cannot say it."""
        if (self.y_row, self.y_col) != (self.m, 1):
            return None  # y does not have the order of its rows
        flat = y.reshape((self.n, self.m))
        return None if flat is None else replace(self, y=y, y_row=flat.strides[0], y_col=flat.strides[1])


@frozen
class MatMulI8(MatMul):
    """li_matmul_i8_args: the same with weights of 8 bits (_core.pack_i8) and inputs that the call quantises."""

    scratch: View
    quantize: int
    """One of _core.quantize_codes."""
    weight_zeros: int
    """0: the zero points of all weights are 0."""
    scale: float
    """What GIVEN quantises with, as is `zero`, -128 .. 127 (of uint8 less 128)."""
    zero: int

    WRITTEN = ("y", "scratch")


@frozen
class MatMulDyn(Record):
    """li_matmul_dyn_args: batched y = a b, both made at run time."""

    a: View
    b: View
    y: View
    scratch: View
    n: int
    k: int
    m: int
    a_row: int
    a_k: int
    b_k: int
    b_col: int
    y_row: int
    batch_rank: int
    batch: tuple[int, ...]
    a_batch: tuple[int, ...]
    b_batch: tuple[int, ...]
    y_batch: tuple[int, ...]

    READ = ("a", "b")
    WRITTEN = ("y", "scratch")

    @property
    def macs(self) -> int:
        return self.n * self.k * self.m * prod(self.batch[: self.batch_rank])


@frozen
class MatMulInt(MatMulDyn):
    """li_matmul_i64_args: the same of integers."""

    dtype: int

    @property
    def work(self) -> int:
        return 4 * self.macs


@frozen
class Recur(Record):
    """li_recur_args: T steps of one direction of an LSTM, GRU or RNN layer. h and c are updated where they lie."""

    x: View
    w: View
    r: View
    r_h: View | None
    bias: View
    peephole: View | None
    lens: View | None
    h: View
    c: View | None
    y: View | None
    scratch: View
    T: int
    B: int
    I: int
    H: int
    x_t: int
    x_b: int
    y_t: int
    y_b: int
    h_b: int
    c_b: int
    w_panel: int
    r_panel: int
    r_h_panel: int
    reverse: int
    input_forget: int
    linear_before_reset: int
    clip: float
    act: tuple[Activation, Activation, Activation]

    READ = ("x", "w", "r", "r_h", "bias", "peephole", "lens", "h", "c")
    WRITTEN = ("y", "h", "c", "scratch")

    @property
    def macs(self) -> int:
        panels = -(-self.H // _core.UNITS)  # one holds the weights of x and of h side by side
        return self.T * self.B * panels * (self.w_panel + (0 if self.r_h is None else self.r_h_panel))

    @property
    def can_fail(self) -> bool:
        return self.lens is not None


@frozen
class RecurI8(Recur):
    """li_recur_i8_args: the same with weights of 8 bits and inputs that are quantised at each step; see MatMulI8."""

    quantize: int
    weight_zeros: int

    @property
    def macs(self) -> int:
        return 4 * super().macs  # panels are counted in words of four weights


@frozen
class Conv(Record):
    """li_conv_args: y = act(Conv(x, w) + bias) over up to three spatial axes."""

    x: View
    w: View
    bias: View | None
    y: View
    scratch: View
    n: int
    channels: int
    filters: int
    groups: int
    spatial: int
    in_: tuple[int, ...]
    out: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pad: tuple[int, ...]
    x_stride: tuple[int, ...]
    y_stride: tuple[int, ...]
    w_group: int
    act: Activation

    READ = ("x", "w", "bias")
    WRITTEN = ("y", "scratch")

    @property
    def macs(self) -> int:
        return self.n * self.filters * prod(self.out) * prod(self.kernel) * (self.channels // self.groups)

    def stored_to(self, y: View) -> Conv | None:
        """The same convolution, stored elsewhere."""
        return replace(self, y=y, y_stride=filled(y.strides, 5))


@frozen
class Copy(Record):
    """copy: dst = src, elements moved as bits. Its length goes with the rank."""

    elem_bytes: int
    rank: int
    dst: View
    src: View
    size: tuple[int, ...]
    dst_stride: tuple[int, ...]
    src_stride: tuple[int, ...]

    READ = ("src",)
    WRITTEN = ("dst",)


@frozen
class Gather(Record):
    """li_gather_args: dst[o][j][i] = src[o][index[j]][i]."""

    dst: View
    src: View
    index: View
    index_dtype: int
    n_outer: int
    axis: int
    n_index: int
    inner_bytes: int

    READ = ("src", "index")
    WRITTEN = ("dst",)

    @property
    def work(self) -> int:
        return ELEMENT * prod(self.dst.shape)  # of a table only what is taken from it

    @property
    def can_fail(self) -> bool:
        return True


@frozen
class Indexed(Record):
    """li_indexed_args: blocks of `inner` elements of data, at places that an array of indices gives."""

    values: View
    data: View
    index: View
    dtype: int
    code: int
    index_dtype: int
    from_end: int
    inner: int
    rank: int
    size: tuple[int, ...]
    step: tuple[int, ...]
    index_step: tuple[int, ...]
    depth: int
    index_d: int
    axis: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def work(self) -> int:
        return 2 * ELEMENT * prod(self.values.shape)

    @property
    def can_fail(self) -> bool:
        return True


@frozen
class GatherND(Indexed):
    """gather_nd: values[e] = data[place(e)]."""

    READ = ("data", "index")
    WRITTEN = ("values",)


@frozen
class ScatterND(Indexed):
    """scatter_nd: data[place(e)] = values[e], or combined with it; the rest of data stays."""

    READ = ("data", "values", "index")
    WRITTEN = ("data",)


@frozen
class Reverse(Record):
    """li_reverse_args: the first lens[b] rows of each b backwards; strides in bytes."""

    dst: View
    src: View
    lens: View
    T: int
    B: int
    bytes: int
    dst_t: int
    dst_b: int
    src_t: int
    src_b: int

    READ = ("src", "lens")
    WRITTEN = ("dst",)

    @property
    def can_fail(self) -> bool:
        return True
