"""compare_precision says what a model's own results show: errors, bytes, and advice that keeps its word."""

from __future__ import annotations

import itertools
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lstm_infer
import stream_models
from lstm_infer.cli.demo.show import MODEL
from lstm_infer.comparison.choose import as_dict, choose
from lstm_infer.comparison.records import LayerError
from lstm_infer.drive import timing
from lstm_infer.program.precision import KINDS

OTHERS = [kind for kind in KINDS if kind != "f32"]


def stacked(inputs, hidden, layers):
    """x [T, B, inputs] through LSTM layers of so many units -> y [T, B, hidden]; the states are hidden."""
    rng = np.random.default_rng(0)
    nodes, weights, x = [], {"one": np.array([1], np.int64)}, "x"
    for n in range(layers):
        k = inputs if n == 0 else hidden
        for name, shape in (("W", (1, 4 * hidden, k)), ("R", (1, 4 * hidden, hidden)), ("B", (1, 8 * hidden))):
            weights[f"{name}{n}"] = (rng.uniform(-1, 1, shape) / np.sqrt(hidden)).astype(np.float32)
        nodes.append(
            helper.make_node("LSTM", [x, f"W{n}", f"R{n}", f"B{n}"], [f"Y{n}"], name=f"lstm{n}", hidden_size=hidden)
        )
        x = "y" if n == layers - 1 else f"x{n + 1}"
        nodes.append(helper.make_node("Squeeze", [f"Y{n}", "one"], [x]))
    graph = helper.make_graph(
        nodes, "stacked", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["T", "B", inputs])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["T", "B", hidden])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def streamed(model, feeds):
    """What a stream gives for arrays of a model with a time axis in front."""
    (result,) = (model.stream().run(x) for x in feeds.values())
    return result


@pytest.fixture(scope="module", autouse=True)
def short_rounds():
    """Times are not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "ROUND_S", 0.001)
        yield


@pytest.fixture(scope="module")
def three():
    """A model of three LSTM layers, its data, and the report of it."""
    source = stacked(12, 40, 3)
    x = np.random.default_rng(5).uniform(-1, 1, (150, 1, 12)).astype(np.float32)
    return source, x, lstm_infer.compare_precision(source, x, long_run=1000, within=1.0)


@pytest.mark.parametrize("kind", OTHERS)
def test_errors_are_those_of_the_outputs(three, kind):
    source, x, report = three
    want = lstm_infer.load(source).stream().run(x)
    got = lstm_infer.load(source, precision=kind).stream().run(x)
    row = next(row for row in report.rows if row.precision == kind)
    d = np.abs(got.astype(np.float64) - want)
    (one,) = [o for o in row.outputs if o.output == "y"]
    assert one.largest == d.max() > 0
    assert one.mean == pytest.approx(d.mean())
    assert one.range == pytest.approx(float(want.max()) - float(want.min()))
    assert one.relative == pytest.approx(d.max() / (float(want.max()) - float(want.min())))
    assert one.differing == np.mean(got != want)
    assert report.data == "as given, 150 steps" and report.steps == 150


@pytest.mark.parametrize("kind", OTHERS)
def test_the_error_of_a_layer_is_that_of_the_layer_alone(three, kind):
    source, x, report = three
    want = lstm_infer.load(source).stream().run(x)
    names = [layer.name for layer in lstm_infer.load(source).layers]
    found = {one.layer: one for one in report.layers if one.precision == kind}
    assert list(found) == names and len(names) == 3
    for name in names:
        got = lstm_infer.load(source, precision={name: kind}).stream().run(x)
        assert found[name].largest == np.abs(got.astype(np.float64) - want).max() > 0
        assert found[name].saved > 0 and found[name].held == kind


def test_bytes_are_those_of_the_models(three):
    source, x, report = three
    for row in report.rows:
        model = lstm_infer.load(source, precision=row.precision)
        model.stream().run(x)
        assert row.nbytes == model.nbytes
        assert sum(row.held.values()) == sum(layer.n_weights for layer in model.layers)
    f32, *rest = report.rows
    for row in rest:
        alone = [one.saved for one in report.layers if one.precision == row.precision]
        assert f32.packed - row.packed == sum(alone)


def test_growth_is_that_of_a_stream_that_goes_on(three):
    source, x, report = three
    again = np.concatenate([x] * 7)[:1000]
    want = lstm_infer.load(source).stream().run(again)
    for row in report.rows[1:]:
        d = np.abs(lstm_infer.load(source, precision=row.precision).stream().run(again).astype(np.float64) - want)
        assert [p.steps for p in row.growth] == [10, 100, 1000]
        for point, (start, stop) in zip(row.growth, [(0, 10), (10, 100), (100, 1000)], strict=True):
            assert point.largest == d[start:stop].max()
            assert point.mean == pytest.approx(d[start:stop].mean())
    assert "the data repeated" in report.long_run and "1,000 steps" in report.long_run


def test_a_long_run_ends_in_time(three):
    source, x, _ = three
    report = lstm_infer.compare_precision(source, x, precisions=["f16"], long_run=10**9, seconds=0.05)
    steps = [p.steps for p in report.rows[1].growth]
    assert steps == sorted(set(steps)) and 0 < steps[-1] < 10**9
    assert f"{steps[-1]:,} steps (of 1,000,000,000: 0.05 s were over)" in report.long_run


@pytest.mark.parametrize("share", [2.0, 0.99, 0.6, 0.3, 0.05, 1e-6])
def test_who_follows_the_advice_gets_that_error(three, share):
    source, x, report = three
    largest = max(row.largest for row in report.rows)
    within = share * largest
    report = lstm_infer.compare_precision(source, x, within=within, long_run=0)
    assert report.mix is not None and set(report.advice.values()) <= set(KINDS)
    want = lstm_infer.load(source).stream().run(x)
    model = lstm_infer.load(source, precision=report.advice)
    error = np.abs(model.stream().run(x).astype(np.float64) - want).max()
    assert error == report.mix.largest <= within
    assert model.nbytes == report.mix.nbytes
    fitting = [row.packed for row in report.rows if row.largest <= within]
    assert report.mix.packed <= min(fitting)
    if min(one.largest for one in report.layers) <= within:
        assert report.mix.packed < report.rows[0].packed, "this layer alone may take fewer bytes"
    if share == 1e-6:
        assert report.advice == {"*": "f32"} and "no smaller mix stays inside" in str(report)
    assert f"precision={report.advice}" in str(report)


def test_the_mix_is_followed_over_the_long_run(three):
    source, x, report = three
    again = np.concatenate([x] * 7)[:1000]
    want = lstm_infer.load(source).stream().run(again)
    d = np.abs(lstm_infer.load(source, precision=report.advice).stream().run(again).astype(np.float64) - want)
    assert [p.steps for p in report.mix.growth] == [10, 100, 1000]
    assert [p.largest for p in report.mix.growth] == [d[:10].max(), d[10:100].max(), d[100:].max()]
    close = lstm_infer.compare_precision(source, x[:2], within=float(d[:2].max()), long_run=1000)
    worst = max(p.largest for p in close.mix.growth)
    assert (worst > close.mix.within) is ("over the long run its error reaches" in str(close))


def test_the_demo_on_noise():
    report = lstm_infer.compare_precision(MODEL, within=1e-3, long_run=2000)
    assert "seeded noise (seed 0" in report.data and "no data was given" in str(report)
    want = streamed(lstm_infer.load(MODEL), report.feeds)
    got = streamed(lstm_infer.load(MODEL, precision=report.advice), report.feeds)
    assert np.abs(got.astype(np.float64) - want).max() == report.mix.largest <= 1e-3
    assert report.mix.packed < report.rows[0].packed
    again = lstm_infer.compare_precision(MODEL, long_run=0)
    assert np.array_equal(*(next(iter(r.feeds.values())) for r in (report, again)))
    assert again.advice is None and again.mix is None
    other = lstm_infer.compare_precision(MODEL, long_run=0, seed=3)
    assert not np.array_equal(*(next(iter(r.feeds.values())) for r in (report, other)))


@pytest.mark.filterwarnings("ignore:states were paired")
@pytest.mark.parametrize(
    "name", ["hidden_state", "state_io", "last_step", "centred_conv", "frame", "both_ways", "bands"]
)
def test_models_of_every_kind(name):
    report = lstm_infer.compare_precision(getattr(stream_models, name)(), within=1e-4, long_run=300)
    streams = name != "both_ways"
    assert bool(report.steps) is streams
    assert [row.precision for row in report.rows] == list(KINDS)
    for row in report.rows[1:]:
        held = {one.held for one in report.layers if one.precision == row.precision}
        assert (row.largest > 0) is bool(held - {"f32"}) and row.largest < 0.1 and row.us > 0
        assert [p.steps for p in row.growth] == ([10, 100, 300] if streams else [])
    assert ("does not stream" in report.long_run) is not streams
    assert report.mix.largest <= 1e-4


def test_a_state_in_the_data_is_where_the_stream_begins():
    source = stream_models.state_io()
    model = lstm_infer.load(source)
    state = {s.name: np.full(s.shape, 0.4, np.float32) for s in model.states}
    (x,) = (np.random.default_rng(0).uniform(-1, 1, [n or 1 for n in i.shape]).astype(np.float32)
            for i in model.inputs if i.name in model.streaming.inputs)  # fmt: skip
    name = model.streaming.inputs[0]
    cold = lstm_infer.compare_precision(source, {name: x}, precisions=["f16"], long_run=0)
    warm = lstm_infer.compare_precision(source, {name: x, **state}, precisions=["f16"], long_run=0)
    assert cold.rows[1].outputs != warm.rows[1].outputs


def test_a_choice_of_networks_is_made_and_said():
    report = lstm_infer.compare_precision(stream_models.switched(), within=1e-3, long_run=0)
    if report.constants:
        assert all(f"{name}={value} chosen" in report.data for name, value in report.constants.items())
    model = lstm_infer.load(stream_models.switched(), constants=report.constants, precision=report.advice)
    assert model.layers


def test_what_has_no_weights_has_no_layers():
    report = lstm_infer.compare_precision(stream_models.stateless(), within=1e-3, long_run=0)
    for row in report.rows:
        assert sum(row.held.values()) == sum(one.n_weights for one in report.layers if one.precision == "f16")
    assert str(report)


def test_json_holds_all_but_the_data(three):
    _, _, report = three
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert "feeds" not in plain and plain["advice"] == report.advice
    assert [row["precision"] for row in plain["rows"]] == list(KINDS)
    assert plain["rows"][1]["growth"][0]["steps"] == 10
    assert {one["layer"] for one in plain["layers"]} == {one.layer for one in report.layers}


def test_nothing_is_said_where_f32_gives_no_number(three):
    """A NaN in the data stays in the states behind it: those steps are no steps without an error."""
    source, x, _ = three
    x = x[:40].copy()
    clean = lstm_infer.compare_precision(source, x[:10], within=1e-3, long_run=0)
    x[10].flat[0] = np.nan
    report = lstm_infer.compare_precision(source, x, within=1e-3, long_run=1000)
    want = lstm_infer.load(source).stream().run(x)
    share = np.isnan(want).mean()
    assert share > 0.5
    for row, other in zip(report.rows[1:], clean.rows[1:], strict=True):
        (one,), (rest,) = row.outputs, other.outputs
        assert (one.largest, one.compared) == (rest.largest, pytest.approx(1 - share))
        assert one.mean == pytest.approx(rest.mean) and one.differing == pytest.approx(rest.differing)
        assert [np.isnan(p.largest) for p in row.growth] == [False, True, True]
        assert row.growth[0].mean == pytest.approx(rest.mean)
    assert report.advice == clean.advice
    assert f"{share:.1%} of its values are NaN in f32" in str(report) and "NaN" not in str(clean)
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["rows"][1]["growth"][1]["largest"] is None
    with pytest.raises(lstm_infer.FeedError, match="all that the model gives for this data in f32 is NaN"):
        lstm_infer.compare_precision(source, np.full_like(x, np.nan), within=1e-3)


@pytest.mark.parametrize(
    "options, said",
    [
        ({"precisions": "f16"}, "a sequence of names expected"),
        ({"precisions": ["f17"]}, "'f17'"),
        ({"precisions": 3}, "a sequence of names expected"),
        ({"within": 0}, "within: a number above 0"),
        ({"within": float("nan")}, "within: a number above 0"),
        ({"within": "1e-3"}, "within: a number above 0"),
        ({"seconds": -1}, "seconds: a number above 0"),
        ({"long_run": -1}, "long_run: a whole number"),
        ({"precision": "f16"}, "name what to compare in precisions="),
        ({"feeds": 7}, "feeds: a dict by name expected"),
    ],
)
def test_wrong_arguments(options, said):
    with pytest.raises(lstm_infer.ArgumentError, match=said):
        lstm_infer.compare_precision(MODEL, **options)


@pytest.mark.parametrize(
    "feeds, error",
    [
        ({}, lstm_infer.ShapeError),
        (np.zeros((0, 1, 1), np.float32), lstm_infer.ShapeError),
        (np.zeros((5, 1, 2), np.float32), lstm_infer.ShapeError),
        (np.zeros(5, np.float32), lstm_infer.ShapeError),
        (np.float32(1), lstm_infer.ArgumentError),
        ({"x": np.zeros((), np.float32)}, lstm_infer.ShapeError),
        (np.zeros((5, 1, 1)), lstm_infer.DtypeError),
        ({"nobody": np.zeros((5, 1, 1), np.float32)}, lstm_infer.FeedError),
    ],
)
def test_data_that_does_not_fit(feeds, error):
    with pytest.raises(error):
        lstm_infer.compare_precision(MODEL, feeds)


def test_a_layer_that_cannot_be_held_so_says_why():
    model = onnx.load_from_string(stacked(4, 20, 1))
    (w,) = (init for init in model.graph.initializer if init.name == "W0")
    values = numpy_helper.to_array(w).copy()
    values[0, 3, 1] = 1e5
    w.CopyFrom(numpy_helper.from_array(values, "W0"))
    report = lstm_infer.compare_precision(model, precisions=["f16"], within=1e-3, long_run=0)
    (one,) = report.layers
    assert one.held == "f32" and "beyond the range of f16" in one.why and one.saved == 0
    assert report.rows[1].largest == 0 and "beyond the range of f16" in str(report)


def error_of(layer, kind, largest, saved, held=None):
    return LayerError(layer, "LSTM", 100, kind, largest, largest, largest, saved, held or kind)


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("how", [sum, max, lambda found: float(np.sqrt(np.sum(np.square(list(found)))))])
def test_a_mix_stays_inside_and_is_near_the_best(seed, how):
    """Layers whose errors add up, or do not: among all mixes, the one that is chosen stays inside and saves nearly most."""
    rng = np.random.default_rng(seed)
    shares = []
    layers = []
    for n in range(5):
        size, reach = int(rng.integers(10, 1000)), 10 ** rng.uniform(-5, -1)
        layers += [error_of(str(n), "f16", reach / 20, 2 * size), error_of(str(n), "int8", reach, 3 * size)]
    known = {(one.layer, one.precision): one for one in layers}

    def run(kinds):
        return how([known[pair].largest for pair in kinds.items() if pair[1] != "f32"] or [0.0])

    def saved(kinds):
        return sum(known[pair].saved for pair in kinds.items() if pair[1] != "f32")

    whole = {kind: run({one.layer: kind for one in layers}) for kind in ("f16", "int8")}
    for within in (10 ** rng.uniform(-6, 0) for _ in range(4)):
        found = choose(layers, within, run, whole)
        assert run(found.kinds) == found.largest <= within
        every = (
            dict(zip("01234", kinds, strict=True)) for kinds in itertools.product(("f32", "f16", "int8"), repeat=5)
        )
        best = max(saved(kinds) for kinds in every if run(kinds) <= within)
        shares.append(saved(found.kinds) / best if best else 1.0)
        advice = as_dict(found.kinds)
        assert {layer: advice.get(layer, advice["*"]) for layer in found.kinds} == found.kinds
    assert min(shares) > 0.7 and np.mean(shares) > 0.9


def test_a_mix_of_layers_that_cannot_or_need_not():
    stuck = [error_of("a", "f16", 0.0, 0, "f32"), error_of("b", "f16", 0.0, 10), error_of("c", "f16", np.inf, 10)]
    found = choose(stuck, 1e-3, lambda kinds: np.inf if kinds["c"] == "f16" else 0.0)
    assert found.kinds == {"a": "f32", "b": "f16", "c": "f32"} and found.largest == 0
    assert choose([], 1e-3, lambda kinds: 1.0).kinds == {}
    assert as_dict({}) == {"*": "f32"}
