"""Operators as the writer of stateful ONNX says them: ONNX's own node tests in other opsets, and operators of com.microsoft in
ONNX's own, run by onnxruntime."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from conversion.said import run, said
from crosscheck.test_backend import CASES, as_array
from lstm_infer import ConvertError, LstmInferError
from ops.run import expected, model
from tolerances import like_onnxruntime, like_onnxruntime_int8

OPSETS = 13, 17, 21

NOT_COMPARED = {
    "test_convinteger_with_padding": "onnxruntime takes no zero point of one axis here",
    "test_averagepool_2d_ceil_last_window_starts_on_pad": "older opsets count one window more; the shapes are refused",
    "test_maxpool_2d_ceil_output_size_reduce_by_one": "older opsets count one window more; the shapes are refused",
    "test_einsum_scalar": "onnxruntime has no Einsum of scalars",
    "test_reduce_max_empty_set_bool": "onnxruntime has no maximum of no booleans",
    "test_reshape_allowzero_reordered": "opset 13 has no Reshape to an extent of 0 of another place",
    "test_stft": "onnxruntime's own table is right to five digits",
    "test_stft_with_window": "onnxruntime's own table is right to five digits",
}


def cases():
    """Those that the engine takes, but not the function bodies of others."""
    for one in CASES:
        case = one.values[0]
        if (
            case.name not in NOT_COMPARED
            and "_expanded" not in case.name
            and not any(m.name == "skip" for m in one.marks)
        ):
            yield pytest.param(case, OPSETS[zlib.crc32(case.name.encode()) % len(OPSETS)], id=case.name)


@pytest.mark.parametrize(("case", "opset"), list(cases()))
def test_node(case, opset):
    """Each at one of the opsets."""
    for inputs, outputs in case.data_sets:
        feeds = {port.name: as_array(v) for port, v in zip(case.model.graph.input, inputs, strict=False)}
        try:
            proto, left = said(case.model, feeds, opset)
        except ConvertError as error:
            if f"opset {opset} has no " not in str(error):
                raise
            pytest.skip(str(error))
        except LstmInferError as error:
            pytest.skip(f"a size depends on what is fed: {error}")
        except Exception as error:
            if "unsupported type" not in str(error):
                raise
            pytest.skip(f"opset {opset} has this operator for fewer types: {error}")
        for got, want in zip(run(proto, left), map(as_array, outputs), strict=True):
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            half = want.dtype == np.float16
            rtol, atol = max(case.rtol, 5e-3 if half else 1e-4), max(case.atol, 5e-3 if half else 1e-5)
            np.testing.assert_allclose(got, want, rtol=rtol, atol=atol)


def test_few_cases_are_refused_at_the_newest_opset():
    """What is skipped at an old opset is there at a newer one."""
    refused = 0
    for one in CASES[::7]:
        case = one.values[0]
        if any(m.name == "skip" for m in one.marks) or case.name in NOT_COMPARED:
            continue
        feeds = {port.name: as_array(v) for port, v in zip(case.model.graph.input, case.data_sets[0][0], strict=False)}
        try:
            said(case.model, feeds, 25)
        except ConvertError:
            refused += 1
        except LstmInferError:
            pass  # a size depends on what is fed
    assert refused <= 1


def _rng():
    return np.random.default_rng(11)


def _f(*shape):
    return _rng().normal(size=shape).astype(np.float32)


def _u8(*shape):
    return _rng().integers(0, 255, shape).astype(np.uint8)


def _i8(*shape):
    return _rng().integers(-120, 120, shape).astype(np.int8)


def _s(value, dtype=np.float32):
    return np.array(value, dtype)


SCALE, ZERO = _s(0.05), _s(120, np.uint8)
Y_SCALE, Y_ZERO = _s(0.09), _s(110, np.uint8)

MICROSOFT = {
    "BiasGelu": ([_f(3, 8), _f(8)], {}, {1}),
    "Gelu": ([_f(3, 8)], {}, set()),
    "FastGelu": ([_f(3, 8), _f(8)], {}, {1}),
    "QuickGelu": ([_f(3, 8)], {"alpha": 1.3}, set()),
    "FusedConv": ([_f(2, 3, 9), _f(4, 3, 3), _f(4)], {"activation": "LeakyRelu", "activation_params": [0.2]}, {1, 2}),
    "FusedGemm": ([_f(3, 5), _f(5, 4), _f(4)], {"activation": "Relu"}, {1, 2}),
    "FusedMatMul": ([_f(2, 5, 3), _f(2, 5, 4)], {"transA": 1, "alpha": 0.5}, set()),
    "SkipLayerNormalization": ([_f(2, 3, 8), _f(2, 3, 8), _f(8), _f(8), _f(8)], {"epsilon": 1e-5}, {2, 3, 4}),
    "SkipSimplifiedLayerNormalization": ([_f(2, 3, 8), _f(2, 3, 8), _f(8)], {"epsilon": 1e-5}, {2}),
    "DynamicQuantizeMatMul": ([_f(3, 16), _i8(16, 5), _s(0.02), _s(3, np.int8), _f(5)], {}, {1, 2, 3, 4}),
    "MatMulIntegerToFloat": ([_u8(3, 16), _i8(16, 5), SCALE, _s(0.02), ZERO, _s(3, np.int8), _f(5)], {}, {1, 2, 3, 4, 5, 6}),
    "MatMulNBits": ([_f(3, 32), _u8(5, 2, 8), _f(10)], {"K": 32, "N": 5, "bits": 4, "block_size": 16}, {1, 2}),
    "QLinearAdd": ([_u8(3, 8), SCALE, ZERO, _u8(3, 8), SCALE, ZERO, Y_SCALE, Y_ZERO], {}, {1, 2, 4, 5, 6, 7}),
    "QLinearMul": ([_u8(3, 8), SCALE, ZERO, _u8(3, 8), SCALE, ZERO, Y_SCALE, Y_ZERO], {}, {1, 2, 4, 5, 6, 7}),
    "QLinearSigmoid": ([_u8(3, 8), SCALE, ZERO, _s(1 / 256), _s(0, np.uint8)], {}, {1, 2, 3, 4}),
    "QLinearLeakyRelu": ([_u8(3, 8), SCALE, ZERO, Y_SCALE, Y_ZERO], {"alpha": 0.1}, {1, 2, 3, 4}),
    "QLinearSoftmax": ([_u8(3, 8), SCALE, ZERO, _s(1 / 256), _s(0, np.uint8)], {"axis": -1, "opset": 13}, {1, 2, 3, 4}),
    "QLinearGlobalAveragePool": ([_u8(2, 3, 4, 5), SCALE, ZERO, Y_SCALE, Y_ZERO], {"channels_last": 0}, {1, 2, 3, 4}),
    "QLinearAveragePool": ([_u8(2, 3, 4, 6), SCALE, ZERO, Y_SCALE, Y_ZERO], {"kernel_shape": [2, 2]}, {1, 2, 3, 4}),
    "QLinearConcat": ([Y_SCALE, Y_ZERO, _u8(3, 8), SCALE, ZERO, _u8(3, 4), SCALE, ZERO], {"axis": 1}, {0, 1, 3, 4, 6, 7}),
    "QLinearWhere": ([_f(3, 8) > 0, _u8(3, 8), SCALE, ZERO, _u8(3, 8), SCALE, ZERO, Y_SCALE, Y_ZERO], {}, {2, 3, 5, 6, 7, 8}),
    "QGemm": (
        [_u8(3, 16), SCALE, ZERO, _i8(16, 5), _s(0.02), _s(0, np.int8), _s(range(5), np.int32), Y_SCALE, Y_ZERO],
        {"transB": 0, "alpha": 1.0}, {1, 2, 3, 4, 5, 6, 7, 8}),
}  # fmt: skip
"""Operator to inputs, attributes, and which inputs are constants."""


@pytest.mark.parametrize("opset", [13, 21])
@pytest.mark.parametrize("op", MICROSOFT)
def test_operators_of_onnxruntime_in_those_of_onnx(op, opset):
    ins, attrs, consts = MICROSOFT[op]
    made = model(op, ins, attrs, opset=1, consts=consts, domain="com.microsoft")
    feeds = {f"x{i}": array for i, array in enumerate(ins) if i not in consts}
    for output, fact in zip(made.graph.output, expected(made, feeds), strict=True):
        kind = np.dtype(fact.dtype)
        output.type.tensor_type.elem_type = {"float32": 1, "uint8": 2}[kind.name]
    proto, left = said(made, feeds, opset)
    assert {node.domain for node in proto.graph.node} == {""}
    for got, want in zip(run(proto, left), expected(made, feeds), strict=True):
        if want.dtype == np.uint8:  # a rounding to the other side
            assert np.abs(got.astype(int) - want.astype(int)).max() <= 1
        elif "Dynamic" in op:
            like_onnxruntime_int8(got, want)
        else:
            like_onnxruntime(got, want)
