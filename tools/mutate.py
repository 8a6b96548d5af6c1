"""Do the tests bite? Changes one place of the source at a time, in a copy of the tree, and runs the tests that cover it.

    python tools/mutate.py --n 60                       # Python of analysis, streams, program, recognise, ops
    python tools/mutate.py --n 20 --only recognise      # one of them
    python tools/mutate.py --n 20 --kind c              # bodies of the kernels: built for avx2 each time, a minute a mutant
    python tools/mutate.py --seed 7 --at 12             # the 13th mutant of a seed alone; --list shows what would be done
    python tools/mutate.py --n 100 --map FOLDER         # the tests that run the line, as mutate_map.py noted: some seconds each
    python tools/mutate.py --at 3 --tests "tests/ops/test_nn.py"   # these tests instead

A mutant is killed if a test fails, if the package does not import, or if its time passes. One that survives is printed
with its place: it gets a test, or a reason why nothing can tell it from the original. Without a map the tests are those
of `TESTS`: the quick ones first, the broad ones only for what survived these. What fails in an unchanged copy too (for
want of a file, or of an instruction of the CPU) is left out, as it would kill every mutant.
Each run is a fork of a process that has imported NumPy, onnx and pytest, but nothing of the package.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import contextlib
import copy
import gc
import importlib
import itertools
import json
import os
import random
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path("src/lstm_infer")
BROAD = ["tests/crosscheck/test_recurrent.py", "tests/crosscheck/test_exports.py", "tests/zoo/test_zoo.py"]
TESTS = {
    "analysis": (
        "tests/stream/test_stream.py tests/stream/test_windows.py tests/stream/test_cuts.py tests/stream/test_frame_models.py",
        "tests/stream tests/pool tests/review/test_lengths.py tests/review/test_states.py tests/review/test_mixed_axes.py",
    ),
    "streams": (
        "tests/stream/test_stream.py tests/stream/test_snapshots.py tests/stream/test_flush.py tests/stream/test_failed_call.py",
        "tests/stream tests/pool",
    ),
    "program": (
        "tests/program tests/test_call.py tests/test_fuse.py tests/stream/test_in_place.py tests/test_precision.py",
        "tests/ops tests/native tests/test_programs_kept.py tests/test_held_weights.py",
    ),
    "recognise": ("tests/recognise", "tests/stream tests/importer"),
    "ops": (
        "tests/ops/test_ops.py tests/ops/test_nn.py tests/ops/test_choosing.py",
        "tests/ops tests/crosscheck/test_backend.py",
    ),
    "kernels": ("tests/kernels tests/test_call.py", "tests/ops/test_ops.py"),
}
"""Package: the tests that run first, and those that run then."""

COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
COMPARE |= {ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}
BINARY = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult}


@dataclass(frozen=True)
class Mutant:
    """A file, the line, what is done there, and the whole text of the file then."""

    path: Path
    line: int
    what: str
    text: str
    lines: range
    """Those of the statement, or of the head of a compound one."""
    names: tuple[str, ...] = ()
    """What the statement binds."""

    @property
    def package(self) -> str:
        """The row of `TESTS`."""
        return "kernels" if self.path.parts[0] == "kernels" else self.path.parts[2]


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What may be done to a node: words, and the node that stands there then."""
    new = copy.deepcopy(node)
    match new:
        case ast.Compare(ops=[op, *_]) if type(op) in COMPARE:
            new.ops[0] = COMPARE[type(op)]()
            yield f"{type(op).__name__} -> {type(new.ops[0]).__name__}", new
        case ast.BinOp(op=op) if type(op) in BINARY:
            new.op = BINARY[type(op)]()
            yield f"{type(op).__name__} -> {type(new.op).__name__}", new
        case ast.BoolOp(op=op):
            new.op = ast.And() if isinstance(op, ast.Or) else ast.Or()
            yield f"{type(op).__name__} -> {type(new.op).__name__}", new
        case ast.UnaryOp(op=ast.Not()):
            yield "not dropped", new.operand
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", ast.Constant(not value)
        case ast.Constant(value=int(value)):
            yield f"{value} -> {value + 1}", ast.Constant(value + 1)
            yield f"{value} -> {value - 1}", ast.Constant(value - 1)
        case ast.Return(value=ast.expr()):
            if not (isinstance(new.value, ast.Constant) and new.value.value is None):
                yield "returns None", ast.Return(ast.Constant(None))
        case ast.AugAssign() | ast.Expr(value=ast.Call()) | ast.Raise() | ast.Continue() | ast.Break():
            yield "statement dropped", ast.Pass()


class Swap(ast.NodeTransformer):
    """Puts another node where one is."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else super().visit(node)


def said_only(node: ast.AST) -> bool:
    """Whether a statement tells a log, or a type checker, and does nothing else."""
    match node:
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "_log" | "logger")))):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
    return False


def around(tree: ast.AST, line: int) -> range:
    """The lines of the innermost statement that has this line; of a compound one, those of its head."""
    best = range(line, line + 1)
    for node in ast.walk(tree):  # outer ones come first
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or line):
            body = getattr(node, "body", None)
            end = body[0].lineno if isinstance(body, list) and body else (node.end_lineno or line) + 1
            if line < end:
                best = range(node.lineno, end)
    return best


def bound(tree: ast.AST, lines: range) -> tuple[str, ...]:
    """The names that the assignment at these lines binds."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.lineno == lines.start:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return tuple(one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))
    return ()


def worth(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that say what is done: no annotations, no messages of errors, no text, nothing for a log or a type checker."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST) or said_only(node):
                continue
            yield node
            if not isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert):
                yield from worth(node)


def of_python(path: Path) -> list[tuple[Path, int, str, int, int]]:
    """Every mutant of a file, as numbers that `made` understands."""
    tree = ast.parse((ROOT / path).read_text())
    return [
        (path, getattr(node, "lineno", 0), what, number, choice)
        for number, node in enumerate(worth(tree))
        for choice, (what, _) in enumerate(changes(node))
    ]


def made(path: Path, line: int, what: str, number: int, choice: int) -> Mutant:
    """The mutant itself."""
    if path.suffix == ".h":
        return Mutant(path, line, what, c_text(path, number, choice), range(line, line + 1))
    tree = ast.parse((ROOT / path).read_text())
    node = list(worth(tree))[number]
    new, lines = list(changes(node))[choice][1], around(tree, line)
    names = bound(tree, lines)
    changed = ast.fix_missing_locations(Swap(node, ast.copy_location(new, node)).visit(tree))
    return Mutant(path, line, what, ast.unparse(changed), lines, names)


C_SWAPS = [
    (r" < ", " <= "),
    (r" <= ", " < "),
    (r" > ", " >= "),
    (r" >= ", " > "),
    (r" == ", " != "),
    (r" != ", " == "),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r" && ", " || "),
    (r" \|\| ", " && "),
    (r"\+= ", "-= "),
    (r"(?<= = )0(?=;)", "1"),
]


def c_places(path: Path) -> Iterator[tuple[int, int, re.Match[str], int]]:
    """Where a swap fits in a header of the kernels: line, number of the place, match, swap."""
    number = 0
    for line, text in enumerate((ROOT / path).read_text().splitlines(), 1):
        code = text.split("//")[0].split("/*")[0]
        if code.lstrip().startswith(("#", "*")) or "static_assert" in code:
            continue
        for swap, (pattern, _) in enumerate(C_SWAPS):
            for match in re.finditer(pattern, code):
                yield line, number, match, swap
                number += 1


def of_c(path: Path) -> list[tuple[Path, int, str, int, int]]:
    """Every mutant of a header of the kernels."""
    return [
        (path, line, f"{match[0].strip()} -> {C_SWAPS[swap][1].strip()}", number, swap)
        for line, number, match, swap in c_places(path)
    ]


def c_text(path: Path, wanted: int, swap: int) -> str:
    """The header with that place swapped."""
    lines = (ROOT / path).read_text().splitlines(keepends=True)
    for line, number, match, _ in c_places(path):
        if number == wanted:
            old = lines[line - 1]
            lines[line - 1] = old[: match.start()] + C_SWAPS[swap][1] + old[match.end() :]
    return "".join(lines)


def sample(kind: str, only: str | None, n: int, seed: int) -> list[tuple[Path, int, str, int, int]]:
    """n mutants, chosen by the seed: each place of the source is as likely as each other."""
    found: list[tuple[Path, int, str, int, int]] = []
    if kind == "c":
        for path in sorted((ROOT / "kernels" / "body").glob("*.h")):
            found += of_c(path.relative_to(ROOT))
    else:
        for package in [only] if only else [name for name in TESTS if name != "kernels"]:
            for path in sorted((ROOT / PACKAGE / package).rglob("*.py")):
                found += of_python(path.relative_to(ROOT))
    return random.Random(seed).sample(found, min(n, len(found)))


def copied(into: Path) -> None:
    """A copy of the tree with what was built and compiled in it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = [name for name in listed.split("\0") if name]
    names += [str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).glob("*.so")]
    names += [str(path.relative_to(ROOT)) for part in ("src", "tests") for path in (ROOT / part).rglob("*.pyc")]
    for name in names:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, into / name)  # with its time, so that what was compiled fits


class Map:
    """Which tests run which lines: what mutate_map.py left in folders."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.seconds: dict[str, float] = {}
        self.ran: dict[str, list[tuple[str, bytes]]] = {}
        for folder in folders:
            self.seconds |= json.loads((folder / "tests.json").read_text())
            with contextlib.closing(sqlite3.connect(folder / "lines.db")) as base:
                rows = base.execute(
                    "select path, context, numbits from line_bits join file on file.id = file_id"
                    " join context on context.id = context_id"
                )
                for path, test, bits in rows:
                    self.ran.setdefault(path[path.index(str(PACKAGE)) :], []).append((test, bits))

    def at(self, path: str, lines: Iterable[int]) -> set[str]:
        """The tests that run one of these lines; "" for an import."""
        lines = tuple(lines)

        def meets(bits: bytes) -> bool:
            return any(line // 8 < len(bits) and bits[line // 8] >> line % 8 & 1 for line in lines)

        return {test for test, bits in self.ran.get(path, ()) if meets(bits)}

    def tests(self, mutant: Mutant, most: float) -> list[str]:
        """Those that run the line, a quick one of each file first, as many as take `most` seconds together.

        What runs at import has those that run a line which reads what is bound there, else those that run any line of
        the file. None at all if no test comes there.
        """
        here = mutant.path.as_posix()
        found = self.at(here, mutant.lines)
        if not found - {""} and "" in found:
            for path in dict.fromkeys([here, *self.ran]) if mutant.names else ():
                word = re.compile(rf"\b({'|'.join(mutant.names)})\b")
                text = (ROOT / path).read_text().splitlines()
                found |= self.at(path, [line for line, said in enumerate(text, 1) if word.search(said)])
            if not found - {""}:
                found = {test for test, _ in self.ran[here]}
        by_file: dict[str, list[str]] = {}
        for test in sorted(found & self.seconds.keys(), key=lambda test: (self.seconds[test], test)):
            by_file.setdefault(test.partition("::")[0], []).append(test)
        turns = itertools.zip_longest(*by_file.values())
        spent, chosen = 0.0, []
        for test in (test for turn in turns for test in turn if test is not None):
            if spent + self.seconds[test] <= most:
                spent += self.seconds[test]
                chosen.append(test)
        return chosen


class Chosen:
    """A plugin of pytest: these tests alone, in this order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self.place = {test: number for number, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.place), key=lambda i: self.place[i.nodeid])


def build(tree: Path) -> list[bytes] | None:
    """Compiles what is out of date for avx2: the objects of the kernels, None if that fails.

    Without optimisation beyond -O1, which takes half the time.
    """
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    environment = {**os.environ, "LSTM_INFER_BUILD_ISAS": "avx2", "CFLAGS": "-O1"}
    if subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=1800).returncode:
        return None
    return [path.read_bytes() for path in sorted((tree / "build").glob("temp*/kernels_*/**/*.o"))]


MEMORY = 12 << 30
"""Bytes that a mutant may address: one that asks for a size without end must not take the machine's."""


def forked(
    tree: Path, arguments: list[str], plugins: list[object], limit: float, begins: bool = True
) -> tuple[int | None, str]:
    """pytest in a child of this process: its exit status, None if the limit passed; and what it printed."""
    with tempfile.TemporaryFile() as told:
        child = os.fork()
        if not child:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            os.chdir(tree)
            for stream in (1, 2):
                os.dup2(told.fileno(), stream)
            os.environ |= {"PYTHONPATH": str(tree / "src"), "LSTM_INFER_SEED": "1"}
            sys.path[:0] = [str(tree / "src")]
            stop = ["-x"] if begins else []
            status = 70
            try:
                status = int(pytest.main([*stop, "-q", "--no-header", "-p", "no:cacheprovider", *arguments], plugins))
            finally:
                sys.stdout.flush()
                os._exit(status)
        end, status = time.monotonic() + limit, None
        while time.monotonic() < end:
            done, how = os.waitpid(child, os.WNOHANG)
            if done:
                status = os.waitstatus_to_exitcode(how)
                break
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if status is None:
            os.waitpid(child, 0)
        told.seek(0)
        return status, told.read().decode(errors="replace")


def fate(status: int | None, told: str) -> str | None:
    """How a run killed the mutant; None if it did not. No test at all (5) is no kill."""
    if status is None:
        return "killed: no end"
    if status in (0, 5):
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", told, re.MULTILINE)
    return f"killed: {failed[1] if failed else f'exit status {status}'}"


class Runs:
    """The tests of a mutant, as rows that run one after the other until one fails."""

    def __init__(
        self, tree: Path, limit: float, broad: bool, noted: Map | None, given: str | None, most: float
    ) -> None:
        self.tree, self.limit, self.noted, self.given, self.most = tree, limit, noted, given, most
        self.broad = broad
        self.fails: dict[str, list[str]] = {}
        self.objects: list[bytes] | None = None
        """What the unchanged kernels are compiled to."""
        self.times = 0

    def deselected(self, row: str) -> list[str]:
        """What fails in the unchanged copy: asked once for each row."""
        if row not in self.fails:
            _, told = forked(self.tree, row.split(), [], 3600, begins=False)
            self.fails[row] = re.findall(r"^(?:FAILED|ERROR) (\S+)", told, re.MULTILINE)
            print(f"unchanged: {len(self.fails[row])} fail of {row}", *self.fails[row], sep="\n  ", flush=True)
        return [word for test in self.fails[row] for word in ("--deselect", test)]

    def rows(self, mutant: Mutant) -> Iterator[tuple[list[str], list[object], float]]:
        """Arguments, plugins, limit of each run."""
        if self.noted is not None and self.given is None:
            tests = self.noted.tests(mutant, self.most)
            begun = list(dict.fromkeys(test.partition("::")[0] for test in tests))[:4]
            quick = [test for test in tests[:40] if test.partition("::")[0] in begun]
            rest = [test for test in tests if test not in set(quick)]
            for some in (quick, rest):
                if some:
                    seconds = sum(self.noted.seconds[test] for test in some)
                    yield sorted({test.partition("::")[0] for test in some}), [Chosen(some)], 30 + 4 * seconds
            return
        for row in [self.given] if self.given else TESTS[mutant.package][: 2 if self.broad else 1]:
            yield [*row.split(), *self.deselected(row)], [], self.limit

    def tried(self, mutant: Mutant) -> str:
        """What became of a mutant: "survived", or how it was killed."""
        rows = list(self.rows(mutant))
        if not rows:
            return "survived: no test runs it"
        place = self.tree / mutant.path
        before, stamp = place.read_text(), place.stat()
        place.write_text(mutant.text)
        try:
            if mutant.package == "kernels":  # the time of now is behind that of all objects
                if (objects := build(self.tree)) is None:
                    return "killed: does not compile"
                if objects == self.objects:
                    return "alike: the same instructions on avx2"
            else:
                self.times += 1  # else what was compiled before may fit it
                os.utime(place, (stamp.st_atime, stamp.st_mtime + 2 * self.times))
            for arguments, plugins, limit in rows:
                if how := fate(*forked(self.tree, arguments, plugins, limit)):
                    return how
        finally:
            place.write_text(before)
            if mutant.package != "kernels":
                os.utime(place, (stamp.st_atime, stamp.st_mtime))
        return "survived"


def imported(names: Iterable[str]) -> None:
    """Imports what the tests import, so that a fork has it."""
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", choices=["python", "c"], default="python")
    parser.add_argument("--only", choices=[name for name in TESTS if name != "kernels"])
    parser.add_argument("--at", type=int, action="append", help="this one of the sample alone; may be given again")
    parser.add_argument("--list", action="store_true", help="show the sample and do nothing")
    parser.add_argument(
        "--quick", action="store_true", help="only the first tests: survivors are then not yet survivors"
    )
    parser.add_argument("--map", type=Path, action="append", help="a folder of mutate_map.py; may be given again")
    parser.add_argument("--most", type=float, default=40, help="seconds of tests that a map may choose (default 40)")
    parser.add_argument("--tests", help="run these, whatever covers the line")
    parser.add_argument("--limit", type=float, default=600, help="seconds for the tests of one mutant (default 600)")
    parser.add_argument(
        "--for", type=float, dest="budget", default=float("inf"), help="begin no mutant after so many seconds"
    )
    args = parser.parse_args()
    chosen = list(enumerate(sample(args.kind, args.only, args.n, args.seed)))
    chosen = [one for one in chosen if args.at is None or one[0] in args.at]
    if args.list:
        for number, (path, line, what, *_) in chosen:
            print(f"{number}: {path}:{line}: {what}")
        return 0
    imported(["numpy", "onnx", "onnx.helper", "onnx.numpy_helper", "onnxruntime", "hypothesis", "ml_dtypes"])
    begin, killed, alike, survivors = time.monotonic(), 0, 0, []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        copied(tree)
        compileall.compile_dir(tree / "src", quiet=1)
        for name, variable in [("exports", "LSTM_INFER_EXPORTS"), ("models", "LSTM_INFER_MODELS")]:
            os.environ.setdefault(variable, str(ROOT.parent / "shared" / name))
        runs = Runs(tree, args.limit, not args.quick, Map(args.map) if args.map else None, args.tests, args.most)
        if args.kind == "c":
            runs.objects = build(tree)
            if runs.objects is None:  # or every mutant would count as killed
                raise SystemExit("the unchanged kernels do not compile")
        for number, place in chosen:
            if time.monotonic() - begin > args.budget:
                break
            mutant, began = made(*place), time.monotonic()
            what = runs.tried(mutant)
            told = f"{number}: {mutant.path}:{mutant.line}: {mutant.what}: {what}"
            print(told, f"({time.monotonic() - began:.1f} s)", flush=True)
            if what.startswith("survived"):
                survivors.append(told)
            elif what.startswith("alike"):
                alike += 1
            else:
                killed += 1
    total = killed + len(survivors)
    print(
        f"seed {args.seed}, {args.kind}: {total} mutants and {alike} alike, {killed} killed, {len(survivors)} survived",
        end="",
    )
    print(f": {100 * killed / total:.0f} %" if total else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
