"""Plans that stand beside the graph: a stream runs without the graph being read, and is the stream of the source in all it does."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lstm_infer
import stream_models
from in_threads import together
from lstm_infer import FormatError
from lstm_infer.conversion.native import write_native
from lstm_infer.native.plans import MappedPlan

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

from fuzz_native import Parts

ZOO = Path(__file__).parents[1] / "zoo" / "files"
SOURCES: dict[str, tuple[Any, dict[str, Any]]] = {
    "hidden": (stream_models.hidden_state(), {}), "ports": (stream_models.state_io(), {}),
    "int8": (stream_models.wide(), {"precision": "int8"}), "last": (stream_models.last_step(), {}),
    "frame": (stream_models.frame(), {}), "loop": (ZOO / "ts_scripted_peephole.onnx", {}),
    "body": (ZOO / "ts_mamba.onnx", {}), "learned": (ZOO / "dyn_learned_state.onnx", {}),
    "conv": (ZOO / "dyn_causal_conv_lstm.onnx", {}),
}  # fmt: skip


def both(name: str, folder: Path) -> tuple[lstm_infer.Model, Path]:
    source, options = SOURCES[name]
    model = lstm_infer.load(source, **options)
    path = folder / "model.lsi"
    write_native(model, path)
    return model, path


def frames(stream: lstm_infer.Stream, n: int, seed: int = 0) -> Any:
    """n steps for a stream, as `run` takes them."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, dtype, shape, time, _ in stream._plan.inputs:
        whole = (n, *shape) if time < 0 else tuple(n if a == time else size for a, size in enumerate(shape))
        made[name] = rng.uniform(-1, 1, whole).astype(dtype)
    return made if len(made) > 1 else next(iter(made.values()))


def equal(a: Any, b: Any) -> bool:
    pairs = [(a[name], b[name]) for name in b] if isinstance(b, dict) else [(a, b)]
    return all(x is y is None or x.tobytes() == y.tobytes() for x, y in pairs)


@pytest.mark.filterwarnings("ignore:the file has")
@pytest.mark.parametrize("name", SOURCES)
def test_a_stream_of_a_plan_is_the_stream_of_the_source(name: str, tmp_path: Path) -> None:
    source, path = both(name, tmp_path)
    made = lstm_infer.load(path)
    here, there = source.stream(), made.stream()
    assert isinstance(there._plan, MappedPlan), "there is no plan to be tried"
    for n in (1, 5, 64, 83):
        x = frames(there, n, n)
        assert equal(there.run(x), here.run(x))
    twin = there.fork()
    x = frames(there, 3)
    want = here.run(x)
    assert equal(twin.run(x), want) and there._plan._made is None, "the graph was read"
    there.run(x)
    assert there.snapshot() == here.snapshot() == twin.snapshot()
    assert {n: v.tobytes() for n, v in there.state.items()} == {n: v.tobytes() for n, v in here.state.items()}
    again = [pickle.loads(pickle.dumps(there)), copy.copy(there)]
    x = frames(there, 2)
    want = here.run(x)
    assert all(equal(one.run(x), want) for one in again)
    there.reset()
    here.reset()
    assert equal(there.run(x), here.run(x))
    assert made.inputs == source.inputs and made.states == source.states and made.isa == source.isa
    assert equal(made.stream(max_chunk=4).run(x), source.stream(max_chunk=4).run(x))


LOADED = """
import sys, numpy as np, lstm_infer
model = lstm_infer.load(sys.argv[1])
y = model.stream().step(np.ones((1, 24), np.float32))
print(y.tobytes().hex(), *sorted(name.partition(".")[2] for name in sys.modules if name.startswith("lstm_infer.")))
"""


def test_a_new_process_imports_what_a_stream_needs_and_no_more(tmp_path: Path) -> None:
    source, path = both("int8", tmp_path)
    ran = subprocess.run([sys.executable, "-c", LOADED, path], capture_output=True, text=True, check=True)
    y, *modules = ran.stdout.split()
    assert y == source.stream().step(np.ones((1, 24), np.float32)).tobytes().hex()
    assert len(modules) <= 13 and not [
        m
        for m in modules
        if m.partition(".")[0] in ("errors", "graph", "ops", "walk", "analysis", "importer", "program")
    ], modules


def changed(path: Path, change: Any) -> bytes:
    """The file with something else in its plans, behind new checksums."""
    parts = Parts(path.read_bytes())
    start, length = parts.plans
    words = np.frombuffer(bytes(parts.data[start : start + length]), "<i8").copy()
    change(words)
    parts.data[start : start + length] = words.tobytes()
    return parts.sealed()


@pytest.mark.parametrize("at", [0, 1])
def test_plans_of_another_build_are_passed_over(at: int, tmp_path: Path) -> None:
    """Of another release, or with another table of kernels."""
    source, path = both("hidden", tmp_path)

    def other(words: Any) -> None:
        words[at] += 1

    stream = lstm_infer.load(changed(path, other)).stream()
    assert not isinstance(stream._plan, MappedPlan)
    x = np.ones((7, 1, 5), np.float32)
    assert equal(stream.run(x), source.stream().run(x))


def test_constants_of_a_plan_end_with_the_file(tmp_path: Path) -> None:
    _, path = both("int8", tmp_path)
    n_bytes = len(changed(path, lambda words: None))

    def last(more: int) -> bytes:
        def change(words: Any) -> None:
            at = 11  # behind the key, the number of streams, and eight words of this one
            for _ in range(2):  # inputs, outputs: dtype, rank, sizes, time, for every step, name
                n, at = words[at], at + 1
                for _ in range(n):
                    at += 2 + words[at + 1] + 2
                    at += 1 + -(-words[at] // 8)
            n = words[at]
            words[at + 2 * n] = n_bytes - words[at + 2 * n - 1] + more

        return changed(path, change)

    assert lstm_infer.load(last(0)).stream().step(np.ones((1, 24), np.float32)).shape == (1, 144)
    with pytest.raises(FormatError, match="constants inside the file expected"):
        lstm_infer.load(last(1))


def test_a_plan_that_would_leave_its_memories_is_refused(tmp_path: Path) -> None:
    _, path = both("int8", tmp_path)
    _, length = Parts(path.read_bytes()).plans
    refused = 0
    for at in range(2, length // 8):

        def change(words: Any, at: int = at) -> None:
            words[at] = 1 << 40

        try:
            lstm_infer.load(changed(path, change))
        except FormatError:
            refused += 1
    assert refused > 0.6 * length / 8, f"{refused} of {length // 8}"


@pytest.mark.parametrize("at", [6, 8])
def test_memory_out_of_proportion_is_refused(at: int, tmp_path: Path) -> None:
    """Of a state or an arena, by a few words: 4 GB would have to be copied for each stream."""
    source, path = both("int8", tmp_path)
    want = source.stream()._plan.first_state().nbytes

    def large(words: Any) -> None:
        assert words[6] == want and words[7] == 0  # behind the layout; then the arena
        words[at] = 1 << 32

    with pytest.raises(FormatError, match="from 0 to 268435456 expected, got 4294967296"):
        lstm_infer.load(changed(path, large))


def test_a_plan_that_lays_its_states_otherwise_is_found_out_before_they_are_read(tmp_path: Path) -> None:
    _, path = both("hidden", tmp_path)

    def moved(words: Any) -> None:
        words[5] ^= 1  # batch and max_chunk stand behind the key and the number of streams, then the layout

    stream = lstm_infer.load(changed(path, moved)).stream()
    stream.run(np.ones((7, 1, 5), np.float32))
    with pytest.raises(FormatError, match="made by another build"):
        stream.snapshot()


def test_threads_open_a_model_once(tmp_path: Path) -> None:
    source, path = both("ports", tmp_path)
    made = lstm_infer.load(path)
    found = []

    def ask() -> None:
        found.append((made.summary(), id(made._graph)))

    together(*[ask] * 6)
    assert len(found) == 6 and len(set(found)) == 1 and found[0][0] == source.summary()
    with pytest.raises(AttributeError):
        made.nothing  # noqa: B018


def test_a_file_holds_plans_for_the_sizes_that_are_named(tmp_path: Path) -> None:
    source, path = lstm_infer.load(stream_models.sized()), tmp_path / "sized.lsi"
    lstm_infer.convert(source, path, plans=[{"x": (None, 12)}, {"x": (None, 30)}])
    here, there = source.stream(), lstm_infer.load(path).stream()
    rng = np.random.default_rng(1)
    for n in (12, 30, 12, 12, 30):
        x = rng.normal(size=(1, n)).astype(np.float32)
        assert equal(there.step(x), here.step(x))
        assert isinstance(there._plan, MappedPlan) and there._plan._made is None, "the graph was read"
        assert equal(there.run(np.stack([x, x])), here.run(np.stack([x, x])))
    for n in (12, 30):  # as an array of others
        x = rng.normal(size=(1, n)).astype(np.float32)
        assert equal(there.step(memoryview(x)), here.step(x)) and there._plan._made is None, "the graph was read"
    twin = there.fork()
    assert there.snapshot() == here.snapshot() == twin.snapshot()
    for n in (7, 30):  # a size that has no plan in the file, and back
        x = rng.normal(size=(1, n)).astype(np.float32)
        assert equal(there.step(x), here.step(x))
    assert twin.nbytes == source.stream().nbytes


@pytest.mark.parametrize(
    "plans, said",
    [([{"x": (3, 12)}], "does not leave axis 0 open"), ([{"z": (1, 12)}], "one of"), ([{"x": (12,)}], "a size, or None"),
     ({"x": (1, 12)}, "a sequence expected")],
)  # fmt: skip
def test_sizes_that_cannot_be_are_refused(plans: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(lstm_infer.ArgumentError, match=said):
        lstm_infer.convert(stream_models.sized(), tmp_path / "sized.lsi", plans=plans)
    with pytest.raises(lstm_infer.ArgumentError, match="means nothing"):
        lstm_infer.convert(stream_models.sized(), tmp_path / "sized.onnx", plans=[{"x": (None, 12)}])
