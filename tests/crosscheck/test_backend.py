"""ONNX's own node tests through lstm_infer.onnx_backend: the recurrent ones, and all of ops that docs/ops.md lists.

A case belongs when every op of it is in the table, or is defined by ONNX through others. What is left out stands in
EXCLUDED with its reason.
"""

from __future__ import annotations

import contextlib
import fnmatch
import re
import warnings

import numpy as np
import onnx
import pytest

import shared_files
from engine import ENGINE

RECURRENT = re.compile(r"test_(lstm|gru|rnn|simple_rnn)")
OPS_TABLE = shared_files.ROOT / "docs" / "ops.md"

EXCLUDED = {
    # pattern: reason
    "*_bfloat16*": "bfloat16 tensors in the graph are not built",
    "*FLOAT8*": "8-bit floats are not built",
    "*BFLOAT16*": "bfloat16 tensors in the graph are not built",
    "*INT4*": "4-bit integers are not built",
    "*INT2*": "2-bit integers are not built",
    "*FLOAT4*": "4-bit floats are not built",
    "*_int4*": "4-bit integers are not built",
    "*_int2*": "2-bit integers are not built",
    "*_uint2*": "2-bit integers are not built",
    "*_float4*": "4-bit floats are not built",
    "*_uint4*": "4-bit integers are not built",
    "*e8m0*": "8-bit exponents are not built",
    "*E8M0*": "8-bit exponents are not built",
    "*_bf16*": "bfloat16 tensors in the graph are not built",
    "*_e4m3fn*": "8-bit floats are not built",
    "*_e5m2*": "8-bit floats are not built",
    "*_string*": "strings are not built",
    "test_equal_string*": "strings are not built",
    "*_sequence*": "values of sequence type are not built",
    "*_optional*": "values of optional type are not built",
    "*_opt": "values of optional type are not built",
    "test_bitshift_*int*_*": "signed integers, which opset 28 brought, are not built",
    "test_bitshift_*_int*": "signed integers, which opset 28 brought, are not built",
    "*quantizelinear_blocked*": "blocks of scales are not built",
    "*training*": "inference only",
    "test_dropout_default_mask*": "inference only: the mask of Dropout is not made",
    "test_sce_*": "a loss; its function body holds another one, whose types are not known there",
    "test_einsum_batch_diagonal": "diagonals are not built",
    "test_scan_sum": "Scan before opset 9 has a batch axis",
    "test_dft_inverse*": "what is expected is 2e-7 where 0 is right, and the tolerance is 1e-7",
    "test_maxunpool_export_with_output_shape": "its indices count through another shape; onnxruntime reads them as we do",
    "test_resize_downsample_scales_*_align_corners": "at a fractional extent we agree with onnxruntime, not with ONNX",
    "test_bernoulli*": "random numbers come from a generator of our own; tested by their statistics",
}

NOT_EXCLUDED = (
    "test_sce_*_expanded", "test_optional_get_element_tensor", "test_optional_has_element_empty_no_input_*",
)  # fmt: skip
"""What the patterns catch by their names alone."""


def ops_of(graph):
    for node in graph.node:
        yield node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        for attribute in node.attribute:
            for sub in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                yield from ops_of(sub)


def listed_ops():
    """The operators of ai.onnx in docs/ops.md, and those that ONNX gives a function body."""
    rows = [line.split("|") for line in OPS_TABLE.read_text().splitlines() if line.startswith("|")]
    listed = {row[1].strip() for row in rows if row[2].strip() == "ai.onnx"}
    schemas = onnx.defs.get_all_schemas_with_history()
    return (
        listed
        | {"Constant"}
        | {
            schema.name
            for schema in schemas
            if schema.domain == "" and (schema.has_function or schema.has_context_dependent_function)
        }
    )


def as_array(value):
    """A few cases hold their data as TensorProto."""
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def why_excluded(name):
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in NOT_EXCLUDED):
        return None
    return next((reason for pattern, reason in EXCLUDED.items() if fnmatch.fnmatchcase(name, pattern)), None)


def collect():
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx's generators overflow on purpose
        cases = load_model_tests(kind="node")
    if cases[0].model is None:
        pytest.skip("this onnx gives its cases as files", allow_module_level=True)
    listed = listed_ops()
    for case in cases:
        if RECURRENT.match(case.name) or set(ops_of(case.model.graph)) <= listed:
            marks = []
            if reason := why_excluded(case.name):
                marks.append(pytest.mark.skip(reason=reason))
            if case.name.startswith("test_gru"):
                marks.append(pytest.mark.gru)
            if case.name.startswith(("test_rnn", "test_simple_rnn")):
                marks.append(pytest.mark.rnn)
            yield pytest.param(case, id=case.name, marks=marks)


CASES = list(collect())


def check(case):
    """The tolerances are those of ONNX's own runner: the ones that each case carries."""
    backend = pytest.importorskip("lstm_infer.onnx_backend")
    prepared = backend.prepare(case.model)
    for inputs, outputs in case.data_sets:
        got = prepared.run([as_array(value) for value in inputs])
        assert len(got) == len(outputs)
        for mine, want in zip(got, map(as_array, outputs), strict=True):
            assert mine.dtype == want.dtype
            assert mine.shape == np.shape(want)
            np.testing.assert_allclose(mine, want, rtol=case.rtol, atol=case.atol)


@pytest.mark.parametrize("case", CASES)
def test_node(case):
    if ENGINE == "onnxruntime":
        pytest.skip("about the backend")
    check(case)


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_excluded_that_passes():
    if ENGINE == "onnxruntime":
        pytest.skip("about the backend")
    passing = []
    for param in CASES:
        reasons = [mark.kwargs["reason"] for mark in param.marks if mark.name == "skip"]
        if reasons and not reasons[0].startswith("random"):
            with contextlib.suppress(Exception):
                check(param.values[0])
                passing.append(param.id)
    assert not passing


def test_most_cases_are_here():
    assert len([case for case in CASES if not case.marks]) > 1300


def test_every_recurrent_case_is_here():
    names = {case.id for case in CASES}
    assert len([name for name in names if RECURRENT.match(name)]) >= 18


def test_every_exclusion_excludes_something():
    """Patterns are judged against all of onnx's cases, so that the list does not depend on the table."""
    from onnx.backend.test.loader import load_model_tests

    names = [case.name for case in load_model_tests(kind="node")]
    assert not [pattern for pattern in EXCLUDED if not any(fnmatch.fnmatchcase(n, pattern) for n in names)]


def test_the_backend_speaks_for_the_cpu_only():
    if ENGINE == "onnxruntime":
        pytest.skip("about the backend")
    import lstm_infer

    backend = pytest.importorskip("lstm_infer.onnx_backend")
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA")
    with pytest.raises(lstm_infer.LstmInferError, match="CUDA"):
        backend.prepare(CASES[0].values[0].model, "CUDA")


def test_run_node_wraps_one_node():
    if ENGINE == "onnxruntime":
        pytest.skip("about the backend")
    backend = pytest.importorskip("lstm_infer.onnx_backend")
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    (y,) = backend.run_node(onnx.helper.make_node("Relu", ["x"], ["y"]), [x], opset_version=14)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
