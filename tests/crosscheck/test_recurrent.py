"""The gate: random LSTM, GRU and RNN nodes, every attribute and optional input in combination.

Two oracles. onnxruntime must agree with tests/reference.py wherever it accepts a case (so a wrong reading of ours shows
up as a failure of the oracle), and the engine must agree with the reference. What onnxruntime refuses or gets wrong
is listed in docs/lstm.md and has its own tests below.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import reference
import tolerances
from engine import ENGINE, engine, onnxruntime_run
from models_build import build, load, output_names, random_case, reference_arguments

PER_CELL = {"LSTM": 3, "GRU": 2, "RNN": 1}
NAMES = ["Sigmoid", "Tanh", "Relu", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu",
         "Softsign", "Softplus"]  # fmt: skip
UNBOUNDED = {"relu", "affine", "leakyrelu", "thresholdedrelu", "elu", "softplus"}
HIDDEN = st.one_of(st.integers(1, 40), st.sampled_from([15, 16, 17, 31, 32, 33, 40]))


def odd_case(name, how):
    return {"as is": name, "lower": name.lower(), "upper": name.upper(), "swapped": name.swapcase()}[how]


@st.composite
def activation_lists(draw, op, directions):
    """Names, alpha and beta. A value without a default is always given; one that has a default may be left to it."""
    if draw(st.integers(0, 3)) == 0:
        return None, None, None
    names = [draw(st.sampled_from(NAMES)) for _ in range(PER_CELL[op] * directions)]
    value = st.sampled_from([0.05, 0.25, 0.5, 0.75, 1.0])
    lists = []
    for table in (reference.ALPHA, reference.BETA):
        takers = [name.lower() for name in names if name.lower() in table]
        needed = max((n + 1 for n, name in enumerate(takers) if table[name] is None), default=0)
        count = draw(st.integers(needed, len(takers)))
        lists.append([draw(value) for _ in range(count)] or None)
    how = st.sampled_from(["as is", "as is", "lower", "upper", "swapped"])
    return [odd_case(name, draw(how)) for name in names], *lists


@st.composite
def cases(draw, op):
    """One random node. Everything that shrinks is drawn; the numbers come from one drawn seed."""
    direction = draw(st.sampled_from([None, "forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    opset = draw(st.sampled_from([7, 14, 22]))
    layout = draw(st.sampled_from([None, 0, 0, 1])) if opset >= 14 else None
    names, alpha, beta = draw(activation_lists(op, directions))
    steps = draw(st.sampled_from([1, 2, 7, 100]))
    batch = draw(st.sampled_from([1, 3, 17]))
    if "thresholdedrelu" in map(str.lower, names or []):
        steps, batch = min(steps, 2), min(batch, 3)  # few values, so few can sit on the jump
    hidden, inputs = draw(HIDDEN), draw(HIDDEN)
    optional = st.booleans()
    more = {name: draw(optional) or None for name in ("bias", "h0")}
    if op == "LSTM":
        more |= {name: draw(optional) or None for name in ("c0", "peephole")}
        more["input_forget"] = draw(st.sampled_from([None, 0, 1]))
    if op == "GRU":
        more["linear_before_reset"] = draw(st.sampled_from([None, 0, 1]))
    lens = draw(st.sampled_from(["absent", "absent", "random", "full", "none", "mixed"]))
    seed = draw(st.integers(0, 2**31 - 1))
    more["lens"] = {
        "absent": None, "random": True, "full": np.full(batch, steps, np.int32), "none": np.zeros(batch, np.int32),
        "mixed": np.arange(batch, dtype=np.int32) % (steps + 1),
    }[lens]  # fmt: skip
    made = output_names(random_case(op))
    outputs = draw(st.sets(st.sampled_from(made), min_size=1).map(lambda s: tuple(n for n in made if n in s)))
    return random_case(
        op, seed=seed, steps=steps, batch=batch, inputs=inputs, hidden=hidden, directions=directions,
        direction=direction, activations=names, alpha=alpha, beta=beta, layout=layout, opset=opset, outputs=outputs,
        clip=draw(st.sampled_from([None, None, 0.1, 0.5, 3.0, 50.0])),
        weights=draw(st.sampled_from(["initializer", "initializer", "constant", "input"])), **more,
    )  # fmt: skip


def expected(case, dtype):
    args, more = reference_arguments(case)
    with np.errstate(all="ignore"):
        results = getattr(reference, case.op.lower())(*args, **more, dtype=dtype)
    return dict(zip(output_names(case), results, strict=True))


def sits_on_a_jump(case, want):
    """Whether moving ThresholdedRelu's threshold by a hair changes the result: then rounding decides, not we."""
    if "thresholdedrelu" not in map(str.lower, case.activations or []):
        return False
    for sign in (-1, 1):
        moved = expected(case.replace(alpha=[a * (1 + sign * 1e-5) for a in case.alpha]), np.float64)
        if any(np.abs(moved[k] - want[k]).max(initial=0) > 1e-3 for k in want):
            return True
    return False


HAIRS = 3
MOVED = ("x", "w", "r", "bias", "h0", "c0")


def well_conditioned(case, want):
    """Whether a change of every number by one rounding, up or down, stays far below the tolerance: unbounded activations can make a
    recurrence that multiplies every rounding by thousands, and then nobody's float32 result means anything."""
    rng = np.random.default_rng(0)

    def beside(values):
        return None if values is None else values * (1 + 2.0**-23 * rng.choice([-1.0, 1.0], values.shape))

    for _ in range(HAIRS):
        moved = expected(case.replace(**{name: beside(getattr(case, name)) for name in MOVED}), np.float64)
        if any((np.abs(moved[k] - want[k]) > tolerances.onnxruntime_rule(want[k]) / 5).any() for k in want):
            return False
    return True


def fair(case):
    """What both oracles expect in double and in single precision; None where no float32 result means anything."""
    want, single = expected(case, np.float64), expected(case, np.float32)
    for values in (want, single):
        if not all(np.isfinite(v).all() and np.abs(v).max(initial=0) < 1e4 for v in values.values()):
            return None
    return None if sits_on_a_jump(case, want) or not well_conditioned(case, want) else (want, single)


def overflows(case, results):
    """onnxruntime's Softplus is log(1 + e^x) as it stands, which is infinite beyond x = 88: it says nothing then."""
    softplus = "softplus" in map(str.lower, case.activations or [])
    return softplus and not all(np.isfinite(value).all() for value in results.values())


def check(case, seen):
    """Compare; False where the case tells nothing."""
    told = fair(case)
    if told is None:
        return False
    want, single = told
    model, feeds = build(case)
    ort = onnxruntime_run(model, feeds)
    odd = case.op == "RNN" and not set(case.activations or []) <= set(NAMES)
    assert (ort is None) == (case.layout == 1 or odd), "onnxruntime refuses layout=1, and RNN with odd letter case"
    got = engine(model)(feeds) if ENGINE != "onnxruntime" or ort else {}
    for name in case.outputs:
        if ort and not overflows(case, ort):
            tolerances.recurrent(ort[name], want[name], single[name], f"onnxruntime, not us: {name}")
        if got:
            tolerances.recurrent(got[name], want[name], single[name], name)
    if got:
        assert sorted(got) == sorted(case.outputs)
    seen["onnxruntime", "refuses" if ort is None else "overflows" if overflows(case, ort) else "tells"] += 1
    note(case, seen)
    return True


def note(case, seen):
    """Count what a run has covered."""
    for key in ("direction", "layout", "clip", "input_forget", "linear_before_reset", "opset", "weights", "outputs"):
        seen[key, getattr(case, key)] += 1
    for key in ("bias", "h0", "c0", "peephole", "lens", "activations", "alpha", "beta"):
        seen[key, getattr(case, key) is not None] += 1
    for name in case.activations or []:
        seen["activation", name.lower()] += 1
    seen["len 0", case.lens is not None and 0 in case.lens] += 1
    seen["cases", op := case.op] += 1
    seen["T", op, case.x.shape[1 if case.layout else 0]] += 1


def demanded(op):
    """(kind, value) of all that a gate has to have met."""
    both = ["bias", "h0", "lens", "activations", "alpha", "beta"] + (["c0", "peephole"] if op == "LSTM" else [])
    must = [(key, value) for key in both for value in (True, False)]
    must += [("direction", d) for d in (None, "forward", "reverse", "bidirectional")]
    must += [("opset", v) for v in (7, 14, 22)] + [("layout", v) for v in (None, 0, 1)] + [("len 0", True)]
    must += [("weights", v) for v in ("initializer", "constant", "input")] + [("T", op, t) for t in (1, 2, 7, 100)]
    must += [("activation", name.lower()) for name in NAMES] + [("clip", v) for v in (None, 0.1, 0.5, 3.0, 50.0)]
    must += [("input_forget", v) for v in (None, 0, 1)] if op == "LSTM" else []
    must += [("linear_before_reset", v) for v in (None, 0, 1)] if op == "GRU" else []
    return must


def directed(op, kind, value, seed):
    """A case with this value and nothing else that is odd."""
    more = {kind: value}
    if kind == "direction":
        more["directions"] = 1 + (value == "bidirectional")
    elif kind == "T":
        more = {"steps": value}
    elif kind == "len 0":
        more = {"lens": np.array([0, 3], np.int32)}
    elif kind in ("bias", "h0", "c0", "peephole", "lens"):
        more = {kind: value or None}
    elif kind in ("activation", "activations", "alpha", "beta"):
        names = dict(zip(map(str.lower, NAMES), NAMES, strict=True))
        name = names[value] if kind == "activation" else "ScaledTanh" if value else "Tanh"
        plain = kind == "activations" and not value
        takes = {"alpha": name.lower() in reference.ALPHA, "beta": name.lower() in reference.BETA}
        more = {"activations": None if plain else [name] * PER_CELL[op]}
        more |= {key: [0.5] * PER_CELL[op] for key, there in takes.items() if there and not plain}
    return random_case(op, **{"seed": seed, "outputs": tuple(output_names(random_case(op))), **more})


def meet(op, kind, value, seen):
    """One case for a value, drawn until it tells something."""
    return any(check(directed(op, kind, value, seed), seen) for seed in range(20))


def gate(op, count):
    seen = Counter()
    for kind, *value in demanded(op):
        meet(op, kind, value[-1], seen)
    missed = [key for key in demanded(op) if not seen[key]]
    assert not missed, f"no case had {missed}"
    begun = seen["cases", op]

    @settings(max_examples=count)
    @given(cases(op))
    def run(case):
        assume(check(case, seen))

    run()
    assert seen["cases", op] >= begun + count
    assert seen["onnxruntime", "tells"] > count / 3  # it refuses half of the cases of RNN: layout=1, odd letter case


def test_lstm():
    gate("LSTM", 500)


@pytest.mark.gru
def test_gru():
    gate("GRU", 200)


@pytest.mark.rnn
def test_rnn():
    gate("RNN", 300)


OPS = [pytest.param("LSTM"), pytest.param("GRU", marks=pytest.mark.gru), pytest.param("RNN", marks=pytest.mark.rnn)]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(("inputs", "hidden", "steps", "batch"), [(1, 16, 100, 1), (40, 40, 100, 3), (33, 17, 7, 17)])
def test_error_is_at_most_twice_that_of_onnxruntime(op, inputs, hidden, steps, batch):
    for seed in range(5):
        case = random_case(op, seed=seed, inputs=inputs, hidden=hidden, steps=steps, batch=batch, bias=True, h0=True)
        model, feeds = build(case)
        want, ort, got = expected(case, np.float64), onnxruntime_run(model, feeds), engine(model)(feeds)
        for name in want:
            tolerances.no_worse_than_twice_onnxruntime(got[name], ort[name], want[name], f"seed {seed}, {name}")


@pytest.mark.parametrize("op", OPS)
def test_layout_1_as_the_reference_evaluator_reads_it(op):
    """A second opinion on layout=1, which onnxruntime refuses. The evaluator knows defaults and one direction only."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    if onnx.__version__.startswith("1.15."):
        pytest.skip("the evaluator of onnx 1.15 mixes up the axes of layout=1")
    state = {"h0": True, "c0": True} if op == "LSTM" else {"h0": True}
    case = random_case(op, seed=3, steps=5, batch=3, inputs=4, hidden=6, bias=True, layout=1, opset=14, **state)
    model, feeds = build(case)
    want = expected(case, np.float64)
    with np.errstate(all="ignore"):
        told = ReferenceEvaluator(load(model)).run(None, feeds)
    for name, value in zip(want, told, strict=True):
        tolerances.like_onnxruntime(np.float32(value), np.float32(want[name]), name)
    if ENGINE != "onnxruntime":
        got = engine(model)(feeds)
        for name in want:
            tolerances.like_onnxruntime(got[name], np.float32(want[name]), name)


# What onnxruntime 1.32 refuses or leaves open. Each is a line in docs/lstm.md.


def refused(case, *words):
    if ENGINE == "onnxruntime":
        pytest.skip("about the engine's own refusals")
    import lstm_infer

    model, _ = build(case)
    with pytest.raises(lstm_infer.OnnxImportError) as caught:
        lstm_infer.load(model)
    for word in ("rec", case.op, *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_clip_that_is_not_positive_is_refused(op, clip):
    refused(random_case(op, clip=clip), "clip")


@pytest.mark.parametrize("op", OPS)
def test_unknown_activation_is_refused(op):
    refused(random_case(op, activations=["Swish"] * PER_CELL[op]), "Swish")


@pytest.mark.parametrize("op", OPS)
def test_wrong_number_of_activations_is_refused(op):
    names = ["Tanh"] * PER_CELL[op]
    refused(random_case(op, directions=2, direction="bidirectional", activations=names), "activations")
    refused(random_case(op, activations=[*names, "Tanh"]), "activations")


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("name", "alpha", "beta", "word"),
    [
        ("Affine", None, [0.5], "activation_alpha"),
        ("ThresholdedRelu", None, None, "activation_alpha"),
        ("ScaledTanh", None, [0.5], "activation_alpha"),
        ("ScaledTanh", [0.5], None, "activation_beta"),
    ],
)
def test_activation_value_without_an_agreed_default_is_refused(op, name, alpha, beta, word):
    names = [*["Sigmoid", "Tanh", "Tanh"][: PER_CELL[op] - 1], name]
    refused(random_case(op, activations=names, alpha=alpha, beta=beta), word)


@pytest.mark.parametrize("op", OPS)
def test_direction_that_does_not_exist_is_refused(op):
    refused(random_case(op, direction="sideways"), "direction")


@pytest.mark.parametrize("op", OPS)
def test_hidden_size_may_be_absent(op):
    """onnxruntime insists on it; the ONNX text makes it optional, and R tells it."""
    case = random_case(op, seed=5, bias=True, hidden_size=False)
    model, feeds = build(case)
    assert onnxruntime_run(model, feeds) is None
    if ENGINE != "onnxruntime":
        got, want = engine(model)(feeds), expected(case, np.float64)
        for name in want:
            tolerances.like_onnxruntime(got[name], np.float32(want[name]), name)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("lens", [[-1, 2], [1, 9], [1], [[1, 2]]])
def test_sequence_lens_out_of_range_or_shape_is_refused_at_run(op, lens):
    case = random_case(op, steps=5, batch=2, lens=np.array(lens, np.int32))
    model, feeds = build(case)
    if np.ndim(lens) == 1:
        assert onnxruntime_run(model, feeds) is None
    if ENGINE != "onnxruntime":
        import lstm_infer

        with pytest.raises(lstm_infer.LstmInferError, match="sequence"):
            engine(model)(feeds)


@pytest.mark.parametrize("op", OPS)
def test_thresholded_relu_is_strict(op):
    """x > alpha, as onnxruntime and the ThresholdedRelu operator have it; the LSTM text says x >= alpha."""
    names = [*["Sigmoid", "Tanh", "Tanh"][: PER_CELL[op] - 1], "ThresholdedRelu"]
    case = random_case(op, steps=1, batch=1, inputs=1, hidden=1, activations=names, alpha=[0.5])
    case.x[:], case.w[:], case.r[:] = 0.5, 1.0, 0.0
    if op == "LSTM":  # c' = 0.5 by the forget gate's half of c = 1 and an input gate on zero
        case = case.replace(c0=np.ones((1, 1, 1), np.float32))
        case.w[:], case.x[:] = 0.0, 0.0
    model, feeds = build(case)
    for results in filter(None, (onnxruntime_run(model, feeds), engine(model)(feeds))):
        assert not results["Y"].any()


@pytest.mark.parametrize("op", OPS)
def test_softplus_of_large_numbers_is_finite(op):
    """log(1 + e^x) is x there; onnxruntime overflows."""
    case = random_case(op, steps=1, batch=1, inputs=1, hidden=1, activations=["Softplus"] * PER_CELL[op])
    case.x[:], case.w[:] = 100.0, 1.0
    if op == "GRU":  # h' = (1 - z) n with z = 100 too
        case.w[:, 0] = 0.0
    model, feeds = build(case)
    with np.errstate(all="ignore"):
        assert not np.isfinite(onnxruntime_run(model, feeds)["Y"]).all()
    want = expected(case, np.float64)["Y"]
    assert np.isfinite(want).all() and np.abs(want).max() > 10
    if ENGINE != "onnxruntime":
        tolerances.like_onnxruntime(engine(model)(feeds)["Y"], np.float32(want))


@pytest.mark.parametrize("op", OPS)
def test_no_rows_give_no_results(op):
    """onnxruntime 1.32 aborts the whole process on an LSTM or GRU with an empty batch."""
    if ENGINE == "onnxruntime":
        pytest.skip("would abort")
    model, feeds = build(random_case(op, batch=0, steps=5, hidden=4))
    got = engine(model)(feeds)
    assert got["Y"].shape == (5, 1, 0, 4)
    assert got["Y_h"].shape == (1, 0, 4)


@pytest.mark.parametrize("op", OPS)
def test_rows_of_length_0_end_in_zero_states(op):
    """onnxruntime gives zeros, not the initial state; the operator text is silent."""
    state = {"h0": True, "c0": True} if op == "LSTM" else {"h0": True}
    model, feeds = build(random_case(op, batch=2, lens=np.array([0, 3], np.int32), **state))
    for results in filter(None, (onnxruntime_run(model, feeds), engine(model)(feeds))):
        assert not results["Y"][:, :, 0].any()
        assert not results["Y"][3:, :, 1].any()
        for name in results.keys() - {"Y"}:
            assert not results[name][:, 0].any()
            assert results[name][:, 1].all()
