"""What is repaired in the shared exports (example T=6, B=2) is repaired in fresh ones of another size (T=9, B=3)."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import tolerances

torch = pytest.importorskip("torch", reason="fresh exports need PyTorch")
pytest.importorskip("onnxscript", reason="the exporter of today's PyTorch needs onnxscript")
lstm_infer = pytest.importorskip("lstm_infer")

import sys  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent))
import make_fresh as fresh  # noqa: E402

T, B = 9, 3
CASES = [(name, kind) for name, module in fresh.MODULES.items() for kind in module.kinds]
SIZES = ((9, 3), (6, 2), (1, 1), (4, 5), (17, 3))


@pytest.fixture(scope="module")
def made():
    kept: dict = {}

    def make(name, kind):
        if (name, kind) not in kept:
            module = fresh.build(name)
            data = fresh.export(name, kind, module, T, B)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # repaired sizes warn, rightly
                options = {"time_axis": {"tgt": 1}} if "tgt" in fresh.MODULES[name].ports else {}
                kept[name, kind] = module, lstm_infer.load(data, **options)
        return kept[name, kind]

    return make


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_right_at_every_size_and_in_pieces(name, kind, made):
    told = fresh.MODULES[name]
    module, model = made(name, kind)
    for t, b in SIZES:
        feeds = fresh.feeds(name, t, b, seed=t)
        want, got = fresh.eager(name, module, feeds), model.run(feeds)
        assert sorted(got) == sorted(want)
        for key, value in got.items():
            tolerances.like_onnxruntime(value, want[key], f"{name}, {kind}, T={t}, B={b}, {key}")
        if told.streams:
            check_pieces(model, feeds, got, t)
    if not told.streams:
        with pytest.raises(lstm_infer.NotStreamableError) as caught:
            model.stream()
        assert caught.value.op


def check_pieces(model, feeds, whole, t):
    live = {port.name: port.time_axis for port in model.inputs if port.time_axis is not None}
    states = {s.name: s.output for s in model.states if s.name in feeds}
    (name, axis), batch = next(iter(live.items())), next(p.batch_axis for p in model.inputs if p.name in live)
    bound = {key: value for key, value in feeds.items() if key not in live and key not in states} or None
    stream = model.stream(
        1 if batch is None else feeds[name].shape[batch],
        initial={key: feeds[key] for key in states} or None,
        inputs=bound,
    )
    parts = []
    for a, b in ((0, 1), (1, 3), (3, t)):
        if min(b, t) > a:
            part = stream.run(np.ascontiguousarray(np.take(feeds[name], np.arange(a, min(b, t)), axis)))
            shown = [p.name for p in model.outputs if p.name not in states.values()]
            parts.append(part if isinstance(part, dict) else {shown[0]: part})
    axes = {port.name: port.time_axis for port in model.outputs}
    for key in parts[0]:
        joined = parts[-1][key] if axes[key] is None else np.concatenate([p[key] for p in parts], axes[key])
        tolerances.exact(joined, whole[key], key)
    for key, out in states.items():
        tolerances.exact(stream.state[key], whole[out], key)
