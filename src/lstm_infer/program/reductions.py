"""Records of the kernels that work along one axis: sums, extremes and their places, normalisations. See arguments.py."""

from __future__ import annotations

from math import prod

from ..frozen import frozen
from .arguments import ELEMENT, Record
from .views import View

__all__ = ["LayerNorm", "Pool", "Reduce", "ReduceTyped", "Softmax", "TopK"]


@frozen
class Reduce(Record):
    """li_reduce_args: y[o][i] = the reduction over r of x[o][r][i]."""

    x: View
    y: View
    code: int
    n_outer: int
    n: int
    n_inner: int
    x_outer: int
    x_r: int
    x_inner: int
    y_outer: int
    y_inner: int

    READ = ("x",)
    WRITTEN = ("y",)

    @property
    def work(self) -> int:
        return 2 * self.n_outer * self.n * self.n_inner  # 16 lanes side by side


@frozen
class ReduceTyped(Record):
    """li_reduce_typed_args: a reduction of x[o][r][i] over r as integers, or the place r of an extreme; dtype: of x."""

    x: View
    y: View
    dtype: int
    code: int
    last: int
    n_outer: int
    n: int
    n_inner: int
    x_outer: int
    x_r: int
    x_inner: int
    y_outer: int
    y_inner: int

    READ = ("x",)
    WRITTEN = ("y",)

    @property
    def work(self) -> int:
        return 2 * ELEMENT * self.n_outer * self.n * self.n_inner


@frozen
class TopK(Record):
    """li_topk_args: the k best of x[o][r][i] over r, dense, and their places."""

    x: View
    values: View | None
    indices: View | None
    scratch: View
    dtype: int
    least: int
    n_outer: int
    n: int
    k: int
    n_inner: int
    x_outer: int
    x_r: int
    x_inner: int

    READ = ("x",)
    WRITTEN = ("values", "indices", "scratch")

    @property
    def work(self) -> int:
        return ELEMENT * self.n_outer * self.n_inner * (2 * self.n + 4 * self.k * self.k.bit_length())


@frozen
class Pool(Record):
    """li_pool_args: windows over the last two axes of x [n0, n1, rows, cols], each joined into one element of y."""

    x: View
    y: View
    scratch: View
    code: int
    n: tuple[int, ...]
    rows: int
    cols: int
    y_rows: int
    y_cols: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pad: tuple[int, ...]
    x_stride: tuple[int, ...]
    y_stride: tuple[int, ...]

    READ = ("x",)
    WRITTEN = ("y", "scratch")

    @property
    def work(self) -> int:
        return (
            prod(self.n) * self.y_rows * (self.cols * self.kernel[0] + self.y_cols * self.kernel[1])
        )  # in whole vectors


@frozen
class Softmax(Record):
    """li_softmax_args: rows of n."""

    x: View
    y: View
    rows: int
    n: int
    x_row: int
    y_row: int
    log: int

    READ = ("x",)
    WRITTEN = ("y",)


@frozen
class LayerNorm(Record):
    """li_layernorm_args: rows of n to zero mean and unit variance."""

    x: View
    scale: View | None
    bias: View | None
    y: View
    mean: View | None
    inv_std: View | None
    rows: int
    n: int
    x_row: int
    y_row: int
    epsilon: float

    READ = ("x", "scale", "bias")
    WRITTEN = ("y", "mean", "inv_std")
