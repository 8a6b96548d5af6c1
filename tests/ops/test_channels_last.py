"""Operators over channels that come last, as onnxruntime's optimiser writes them, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from run import model, through_plan
from test_nn import MS, check, scalar, whole

from lstm_infer.errors import LstmInferError


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_pools(dtype: str) -> None:
    x = whole(2, 9, 8, 4, dtype=dtype)
    ins = [x, scalar(0.03), scalar(7, dtype), scalar(0.0173), scalar(20, dtype)]
    window: dict[str, Any] = {"kernel_shape": [3, 2], "strides": [1, 2], "pads": [1, 0, 0, 1]}
    check("QLinearAveragePool", ins, consts=range(1, 5), channels_last=1, **window, **MS)
    check("QLinearGlobalAveragePool", ins, consts=range(1, 5), channels_last=1, **MS)
    check("NhwcMaxPool", [x], **window, **MS)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("last", [0, 1])
def test_conv(last: int, fixed: bool) -> None:
    x = whole(2, 9, 8, 4, dtype="uint8")
    w, bias = whole(6, 4, 3, 3, dtype="int8", seed=1), np.arange(-3000, 3000, 1000, dtype=np.int32)
    ins = [x if last else np.ascontiguousarray(x.transpose(0, 3, 1, 2)), scalar(0.02), scalar(9, "uint8"), w]
    ins += [scalar(0.03), scalar(0, "int8"), scalar(0.9), scalar(12, "uint8"), bias]
    consts = range(1, 9) if fixed else ()
    check("QLinearConv", ins, consts=consts, pads=[1, 1, 0, 1], channels_last=last, **MS)


def test_a_wide_kernel_is_summed_in_blocks() -> None:
    x, w = whole(1, 5, 5, 40, dtype="uint8"), whole(3, 40, 3, 3, dtype="int8", seed=1)
    ins = [x, scalar(0.02), scalar(9, "uint8"), w, scalar(0.03), scalar(0, "int8"), scalar(9), scalar(12, "uint8")]
    check("QLinearConv", ins, consts=range(1, 8), channels_last=1, **MS)


def test_a_value_without_channels_is_refused() -> None:
    x = np.zeros(3, np.uint8)
    made = model("NhwcMaxPool", [x], {"kernel_shape": [1]}, consts=set(), opset=1, domain="com.microsoft")
    with pytest.raises(LstmInferError):
        through_plan(made, {"x0": x}, "scalar")
