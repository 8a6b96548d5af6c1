"""Print a hash for every kernel slot and for models that are run and streamed: equal on every fused set.

    LSTM_INFER_ISA=avx2 python tools/hash_outputs.py > avx2.txt
    LSTM_INFER_ISA=avx512 python tools/hash_outputs.py > avx512.txt && diff avx2.txt avx512.txt

The set that is meant is named in the environment, so that each runs in a process, or on a machine, of its own: an
emulated Arm for one. Every number is made without libm, whose results differ from system to system. A NaN counts as
a NaN whatever its bits. Models come from the folders of tests/shared_files.py; one that is absent is an error.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "kernels")]

import slotcall  # noqa: E402
import test_indexed  # noqa: E402
import test_integer_product  # noqa: E402
import test_matrix  # noqa: E402
import test_random  # noqa: E402
import test_reduce  # noqa: E402

import lstm_infer  # noqa: E402
import shared_files  # noqa: E402
from lstm_infer import _core  # noqa: E402
from lstm_infer.cli.demo.show import MODEL  # noqa: E402

EXPORTS = ["ts_lstm2_state_io_bf", "ts_gru1", "dyn_cell_lstm", "dyn_cell_custom_layernorm", "dyn_net_vad_like"]
MODELS = ["silero_vad_v6_seq", "fairtalk_lstm2", "gtcrn_stream_simple"]
FEWER_MODELS = ["fairtalk_lstm2"]

Arrays = Iterator[tuple[str, list[np.ndarray]]]


def uniform(seed: int, shape: tuple[int, ...], dtype: object = np.float32) -> np.ndarray:
    """Numbers from -1 to 1: bits of the generator and exact arithmetic only."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-(2**23), 2**23, shape).astype(np.float64) / 2**23).astype(dtype)


def kernels(isa: str) -> Arrays:
    """Every slot that computes floats; the others move bits."""
    x = slotcall.stratified(20_000)
    x = [x, np.roll(x, 7), np.roll(x[::-1], 3)]
    integers = {"BITAND", "BITOR", "BITXOR", "BITNOT", "SHL", "SHR", "UDIV", "UMOD"}
    for name, (_, n_args) in sorted(_core.map_codes.items()):
        if name not in integers:
            yield f"map {name}", slotcall.run_map(isa, "map_f32", [(name, 3, *range(n_args))], x, [(3, np.float32)])[1]
    for name in slotcall.REDUCTIONS:
        yield f"reduce {name}", [slotcall.run_reduce(isa, name, uniform(n, (3, n, 2))) for n in slotcall.SIZES]
    for code in test_indexed.COMBINE:
        yield (
            f"scatter {code}",
            [test_indexed.combined(isa, code, uniform(n, (6, n)), uniform(1, (40, n))) for n in (1, 33)],
        )
    yield from typed_reductions(isa)
    yield from tops(isa)
    yield from integer_products(isa)
    state = np.arange(1, 7).reshape(3, 2)
    yield "random", [test_random.run_random(isa, state, 7, 333, 5, 7), state]
    yield "choose", [test_random.run_choose(isa, 1 + uniform(1, (9, 333)), (1 + uniform(2, (9, 20))) / 2, np.int64)]
    for log in (0, 1):
        yield f"softmax {log}", [test_reduce.softmax(isa, 5 * uniform(n, (3, n)), log) for n in slotcall.SIZES]
    for n in slotcall.SIZES:
        yield f"layernorm {n}", test_reduce.layernorm(isa, uniform(n, (5, n)), uniform(1, (n,)), uniform(2, (n,)))
    for n, k, m in ((1, 65, 250), (5, 33, 100), (13, 257, 33), (64, 64, 64)):
        yield f"matmul {n} {k} {m}", [test_matrix.matmul(isa, uniform(1, (n, k)), uniform(2, (k, m)), uniform(3, (m,)))]
    for name, (x_shape, w_shape, *how) in test_matrix.CONVS.items():
        x, w, bias = uniform(1, x_shape), uniform(2, w_shape), uniform(3, w_shape[:1])
        yield f"conv {name}", [test_matrix.conv(isa, x, w, bias, *how)]
    cells = dict(zip(test_matrix.KIND_IDS, test_matrix.KINDS, strict=True)) | test_matrix.CELLS
    for name, (kind, options) in cells.items():
        for T, B, H in ((1, 1, 130), (9, 5, 33), (2, 14, 40)):
            yield (
                f"cell {name} {T} {B} {H}",
                test_matrix.run(
                    exact_layer(kind, H, options), isa, uniform(1, (T, B, 7)), uniform(2, (B, H)), uniform(3, (B, H))
                ),
            )


def typed_reductions(isa: str) -> Arrays:
    """Reductions of integers, and places of extremes."""
    for name in ("i8", "u16", "i32", "u64", "f32"):
        drawn = [100 * uniform(n, (2, n, inner)) for n in slotcall.SIZES for inner in (1, 5, 40)]
        x = [
            np.abs(a).astype(slotcall.NUMPY[name]) if name[0] == "u" else a.astype(slotcall.NUMPY[name]) for a in drawn
        ]
        for code in ("max", "min"):
            for last in (0, 1):
                made = [slotcall.run_typed(isa, "arg_reduce", code, a, np.int64, last) for a in x]
                yield f"arg_reduce {name} {code} {last}", made
        for code in slotcall.REDUCTIONS[:8] if name != "f32" else ():
            yield f"reduce_i64 {name} {code}", [slotcall.run_typed(isa, "reduce_i64", code, a) for a in x]


def tops(isa: str) -> Arrays:
    """The best of an axis and where they stand."""
    for name in ("u8", "i64", "f32"):
        for least in (0, 1):
            x = [np.abs(9 * uniform(n, (2, n, 3))).astype(slotcall.NUMPY[name]) for n in slotcall.SIZES]
            made = [a for y in x for a in slotcall.run_topk(isa, y, -(-y.shape[1] // 3), least)]
            yield f"topk {name} {least}", made


def integer_products(isa: str) -> Arrays:
    """Products of integers, which wrap."""
    whole = [np.abs(2**20 * uniform(n, shape)).astype(np.int64) for n, shape in ((1, (2, 5, 130)), (2, (130, 70)))]
    for name in ("i8", "u32", "i64"):
        a, b = (x.astype(slotcall.NUMPY[name]) for x in whole)
        yield f"matmul_i64 {name}", [test_integer_product.product(isa, a, b)]


def exact_layer(kind: str, H: int, options: dict[str, object]) -> test_matrix.Layer:
    layer = test_matrix.Layer(kind, 7, H, **options)
    scale = np.float32(options.get("scale", 0.3))
    for seed, name in enumerate(("w", "r", "wb", "rb", "peephole")):
        drawn = getattr(layer, name)
        if drawn is not None:
            setattr(layer, name, uniform(seed, drawn.shape) * scale)
    return layer


def feeds(model: lstm_infer.Model, T: int, B: int) -> dict[str, np.ndarray]:
    made = {}
    for k, port in enumerate(model.inputs):
        shape = tuple(
            n if n is not None else T if a == port.time_axis else B if a == port.batch_axis else 1
            for a, n in enumerate(port.shape)
        )
        value = uniform(k, shape, np.float64) if port.dtype.kind == "f" else np.ones(shape)
        made[port.name] = value.astype(port.dtype)
    return made


def models(names: list[Path]) -> Arrays:
    """The whole graph, then a stream in uneven pieces."""
    for path in names:
        model = lstm_infer.load(path)
        yield f"run {path.stem}", list(model.run(feeds(model, 37, 2)).values())
        stream = model.stream()
        carried = {state.name for state in model.states}
        given = {name: x for name, x in feeds(model, 80, 1).items() if name not in carried}
        axes = {port.name: port.time_axis for port in model.inputs}
        parts: list[np.ndarray] = []
        if all(axes[name] is None for name in given):
            for _ in range(20):
                parts += results(stream.step(only(given)))
                given = {name: np.roll(x, 1, -1) for name, x in given.items()}
        else:
            length = next(x.shape[axes[name]] for name, x in given.items() if axes[name] is not None)
            cuts = [t for t in (0, 1, 3, 40) if t < length] + [length]
            for a, b in itertools.pairwise(cuts):
                piece = {n: x if axes[n] is None else np.take(x, range(a, b), axes[n]) for n, x in given.items()}
                parts += results(stream.run(only(piece)))
        yield f"stream {path.stem}", parts + list(stream.state.values())


def only(given: dict[str, np.ndarray]) -> np.ndarray | dict[str, np.ndarray]:
    return next(iter(given.values())) if len(given) == 1 else given


def results(got: np.ndarray | dict[str, np.ndarray | None]) -> list[np.ndarray]:
    return [x for x in (got.values() if isinstance(got, dict) else [got]) if x is not None]


def digest(arrays: list[np.ndarray]) -> str:
    found = hashlib.sha256()
    for x in arrays:
        plain = np.where(np.isnan(x), np.asarray(np.nan, x.dtype), x) if x.dtype.kind == "f" else x
        found.update(f"{x.dtype} {x.shape}".encode() + np.ascontiguousarray(plain).tobytes())
    return found.hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--few", action="store_true", help="fewer models: for an emulated machine")
    args = parser.parse_args()
    isa = os.environ.get("LSTM_INFER_ISA", "")
    picked = lstm_infer.load(MODEL).isa
    if not isa or picked != isa:
        print(f"LSTM_INFER_ISA={isa!r} names no set, or {picked!r} runs instead of it", file=sys.stderr)
        return 2
    real = [shared_files.MODELS / f"{name}.onnx" for name in (FEWER_MODELS if args.few else MODELS)]
    exports = [shared_files.EXPORTS / f"{name}.onnx" for name in EXPORTS]
    for group in (kernels(isa), models([MODEL, *exports, *real])):
        for name, arrays in group:
            print(f"{digest(arrays)} {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
