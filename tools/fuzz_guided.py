"""Fuzzing that is led by coverage: what reaches a new line of the package is kept, and changed on. Needs `pip install atheris`.

    python tools/fuzz_guided.py --target import --seconds 600 --seed 1
    python tools/fuzz_guided.py --target snapshot --corpus FOLDER       goes on from an earlier run
    python tools/fuzz_guided.py --target native --only FILE             one input again, with its traceback

Targets: `import` loads, describes and streams the bytes of an ONNX file; `native` those of a native file; `snapshot` gives
them to a stream; `operators` makes a file of one operator of them (attributes, inputs, constants) and runs it. Checksums are
made right, or nothing behind them would be seen. An answer is a result or one of our errors; anything else, --limit
seconds or --memory for one input is a finding, and is left as a file. Only Python is followed: what C does with plans and records,
fuzz_plans.py attacks. Prints the seed, executions, coverage of what it begins with and at the end, the corpus with that, findings.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import pkgutil
import re
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]
LARGEST = 1 << 15
"""Bytes of an input."""


def answered(data: bytes, follow: Callable[[bytes], object]) -> None:
    """The answer to an input: anything but a result and an error of ours goes up."""
    from lstm_infer.errors import LstmInferError

    with warnings.catch_warnings(), contextlib.suppress(LstmInferError):
        warnings.simplefilter("ignore")
        follow(data)


def of_import() -> tuple[list[bytes], Callable[[bytes], object]]:
    """The seeds of a target, and what it does with an input."""
    import lstm_infer

    def follow(data: bytes) -> None:
        model = lstm_infer.load(data)
        model.summary()
        model.stream()

    files = sorted((ROOT / "tests/zoo/files").glob("*.onnx"), key=lambda path: path.stat().st_size)
    return [path.read_bytes() for path in files if path.stat().st_size <= LARGEST], follow


def of_native() -> tuple[list[bytes], Callable[[bytes], object]]:
    import fuzz_native

    def follow(data: bytes) -> None:
        with contextlib.suppress(Exception):  # what cannot be taken apart is read as it is
            data = fuzz_native.Parts(data).sealed()
        fuzz_native.looked_at(data)

    files = [path.read_bytes() for path in (ROOT / "tests/data/format").glob("*/*.lsi")]
    return [*files, *fuzz_native.files().values()], follow


def of_snapshot() -> tuple[list[bytes], Callable[[bytes], object]]:
    import fuzz_snapshot

    from snapshot_cases import sealed

    subjects = fuzz_snapshot.subjects()
    seeds = [bytes([number]) + snap for number, subject in enumerate(subjects) for snap in subject.snaps]

    def follow(data: bytes) -> None:
        subject = subjects[data[0] % len(subjects)] if data else subjects[0]
        stream = subject.stream
        before, after = stream.snapshot(), data[1:]
        with contextlib.suppress(ValueError):  # too short to hold a checksum
            after = sealed(after)
        try:
            stream.restore(after)
        except Exception:
            assert stream.snapshot() == before, "a refused snapshot left a trace"
            raise
        try:
            stream.run(subject.case.signal(3, subject.batch))
            stream.snapshot()
        finally:
            stream.restore(before)

    return seeds, follow


def of_operators() -> tuple[list[bytes], Callable[[bytes], object]]:
    import atheris
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    import lstm_infer
    from lstm_infer.ops import registry

    names = sorted({op.name for op in registry.registered() if not op.domain and onnx.defs.has(op.name)})
    dtypes = ["float32", "int64", "bool", "int32", "float64", "uint8", "float16", "int8"]
    words = "SAME_UPPER VALID reflect edge constant reverse bidirectional linear nearest ij,jk->ik".split()  # noqa: SIM905
    kinds = onnx.defs.OpSchema.AttrType

    def attribute(take: atheris.FuzzedDataProvider, kind: object) -> object:
        one = {
            kinds.INT: lambda: take.ConsumeIntInRange(-4, 16),
            kinds.FLOAT: take.ConsumeRegularFloat,
            kinds.STRING: lambda: take.PickValueInList(words),
        }
        many = {kinds.INTS: kinds.INT, kinds.FLOATS: kinds.FLOAT, kinds.STRINGS: kinds.STRING}
        if take.ConsumeProbability() < 0.05 or (kind not in one and kind not in many):
            kind = kinds.INTS
        if kind in one:
            return one[kind]()
        return [one[many[kind]]() for _ in range(take.ConsumeIntInRange(1, 5))]

    def follow(data: bytes) -> None:
        take = atheris.FuzzedDataProvider(data)
        inputs, constants, feeds = [], [], {}
        for number in range(take.ConsumeIntInRange(0, 6)):
            if take.ConsumeProbability() < 0.1:
                inputs.append("")
                continue
            shape = [take.ConsumeIntInRange(0, 4) for _ in range(take.ConsumeIntInRange(0, 4))]
            flat = [take.ConsumeIntInRange(-2, 5) for _ in range(min(4, int(np.prod(shape))))]
            values = np.resize(np.array(flat or [0]), shape).astype(take.PickValueInList(dtypes))
            inputs.append(f"i{number}")
            if take.ConsumeBool():
                constants.append(numpy_helper.from_array(values, inputs[-1]))
            else:
                feeds[inputs[-1]] = values
        name = take.PickValueInList(names)
        has = onnx.defs.get_schema(name).attributes
        said = {key: attribute(take, has[key].type) for key in sorted(has) if take.ConsumeProbability() < 0.4}
        outputs = [f"o{number}" for number in range(take.ConsumeIntInRange(1, 3))]
        node = helper.make_node(name, inputs, outputs, **said)
        ports = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for name, x in feeds.items()
        ]
        ends = [helper.make_empty_tensor_value_info(name) for name in outputs]
        graph = helper.make_graph([node], "g", ports, ends, constants)
        opset = helper.make_opsetid("", take.ConsumeIntInRange(7, 24))
        made = helper.make_model(graph, opset_imports=[opset], ir_version=10)
        lstm_infer.load(made.SerializeToString()).run(feeds)

    return [bytes([seed]) * 64 for seed in range(64)], follow


class Noted:
    """Answers inputs, and leaves the first one of each place where something else than an error of ours came up."""

    def __init__(self, target: str, follow: Callable[[bytes], object], findings: Path) -> None:
        self.target, self.follow, self.findings = target, follow, findings
        self.places: set[tuple[str, int]] = set()

    def __call__(self, data: bytes) -> None:
        try:
            answered(data, self.follow)
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            place = last.filename, last.lineno or 0
            if place not in self.places:
                self.places.add(place)
                path = self.findings / f"found_{self.target}_{Path(place[0]).stem}_{place[1]}"
                path.write_bytes(data)
                print(f"{type(error).__name__}: {error}; Test unit written to {path}", file=sys.stderr)


TARGETS = {"import": of_import, "native": of_native, "snapshot": of_snapshot, "operators": of_operators}


def fuzz(target: str, corpus: Path, findings: Path, flags: list[str]) -> None:
    """Runs libFuzzer; does not come back."""
    import atheris

    with atheris.instrument_imports(include=["lstm_infer"]):  # all: what is imported later would not be followed
        import lstm_infer

        for module in pkgutil.walk_packages(lstm_infer.__path__, "lstm_infer."):
            with contextlib.suppress(ImportError):  # of a library that is not installed
                importlib.import_module(module.name)
    seeds, follow = TARGETS[target]()
    if not any(corpus.iterdir()):
        for number, seed in enumerate(seeds):
            (corpus / f"seed_{number}").write_bytes(seed)
    atheris.Setup([sys.argv[0], *flags, str(corpus)], Noted(target, follow, findings))
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", choices=TARGETS, required=True)
    parser.add_argument("--seconds", type=int, default=60, help="of the whole run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=20, help="seconds for one input")
    parser.add_argument("--memory", type=int, default=4096, help="MB of the process")
    parser.add_argument("--corpus", type=Path, help="where inputs are kept; else nowhere")
    parser.add_argument("--findings", type=Path, default=Path(), help="where findings are left (default: here)")
    parser.add_argument("--only", type=Path, help="this input again, here")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        answered(args.only.read_bytes(), TARGETS[args.target]()[1])
        print("a result, or one of our errors")
        return 0
    flags = [
        f"-max_total_time={args.seconds}", f"-seed={args.seed}", f"-timeout={args.limit}", f"-rss_limit_mb={args.memory}",
        f"-max_len={LARGEST}", f"-artifact_prefix={args.findings}/found_{args.target}_",
    ]  # fmt: skip
    if args.inside:
        fuzz(args.target, args.corpus, args.findings, flags)
    with tempfile.TemporaryDirectory() as folder:
        again = [*sys.argv[1:], "--corpus", args.corpus or folder, "--inside"]
        ran = subprocess.run(
            [sys.executable, __file__, *map(str, again)], stderr=subprocess.PIPE, text=True, check=False
        )
        corpus = len(list(Path(args.corpus or folder).iterdir()))
    begun = re.search(r"^#\d+\s+INITED cov: (\d+)", ran.stderr, re.MULTILINE)
    lines = re.findall(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+)", ran.stderr, re.MULTILINE)
    found = re.findall(r"Test unit written to (\S+)", ran.stderr)
    if ran.returncode or not lines:
        print(ran.stderr[-6000:], file=sys.stderr)
    if lines:
        first, (times, last, features) = begun[1] if begun else "?", lines[-1]
        print(
            f"seed {args.seed}, {args.target}: {int(times):,} inputs; coverage {first} -> {last} edges, {features} features; "
            f"corpus {corpus}; findings: {', '.join(found) or 'none'}"
        )
    return 1 if ran.returncode or found or not lines else 0


if __name__ == "__main__":
    sys.exit(main())
