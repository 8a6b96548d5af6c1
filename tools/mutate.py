"""Do the tests bite? Changes one place of the source at a time, in a copy of the tree, and runs the tests that cover it.

    python tools/mutate.py --n 60                       # Python of analysis, streams, program, recognise, ops
    python tools/mutate.py --n 20 --only recognise      # one of them
    python tools/mutate.py --n 20 --kind c              # bodies of the kernels: built for avx2 each time, a minute a mutant
    python tools/mutate.py --seed 7 --at 12             # the 13th mutant of a seed alone; --list shows what would be done

A mutant is killed if a test fails, if the package does not import, or if the time limit (`--limit`) passes. One that
survives is printed with its place: it gets a test, or a reason why nothing can tell it from the original.
The tests of a package stand in `TESTS`: the quick ones first, the broad ones only for what survived these.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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


def worth(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that say what is done: no annotations, no messages of errors, no text."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if not isinstance(node, ast.AST):
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
        return Mutant(path, line, what, c_text(path, number, choice))
    tree = ast.parse((ROOT / path).read_text())
    node = list(worth(tree))[number]
    new = list(changes(node))[choice][1]
    changed = ast.fix_missing_locations(Swap(node, ast.copy_location(new, node)).visit(tree))
    return Mutant(path, line, what, ast.unparse(changed))


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
    """A copy of the tree with what was built in it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    names = [name for name in listed.split("\0") if name]
    names += [str(path.relative_to(ROOT)) for path in (ROOT / PACKAGE).glob("*.so")]
    for name in names:
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            (into / name).write_bytes((ROOT / name).read_bytes())
            (into / name).chmod(0o755 if name.endswith(".so") else 0o644)


def tried(mutant: Mutant, tree: Path, limit: float, broad: bool) -> str:
    """What became of a mutant: "survived", or how it was killed."""
    environment = {**os.environ, "PYTHONPATH": "src", "PYTHONDONTWRITEBYTECODE": "1", "LSTM_INFER_SEED": "1"}
    place, before = tree / mutant.path, (tree / mutant.path).read_text()
    place.write_text(mutant.text)
    try:
        if mutant.package == "kernels":
            environment |= {"LSTM_INFER_BUILD_ISAS": "avx2", "CFLAGS": "-O1"}
            built = [sys.executable, "setup.py", "build_ext", "--inplace"]
            if subprocess.run(built, cwd=tree, env=environment, capture_output=True, timeout=1800).returncode:
                return "killed: does not compile"
        for tests in TESTS[mutant.package][: 2 if broad else 1]:
            command = [
                sys.executable,
                "-m",
                "pytest",
                "-x",
                "-q",
                "--no-header",
                "-p",
                "no:cacheprovider",
                *tests.split(),
            ]
            try:
                done = subprocess.run(
                    command,
                    cwd=tree,
                    env=environment,
                    capture_output=True,
                    text=True,
                    timeout=limit,
                    start_new_session=True,
                )
            except subprocess.TimeoutExpired:
                return "killed: no end"
            if done.returncode:
                failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
                return f"killed: {failed[1] if failed else f'exit status {done.returncode}'}"
    finally:
        place.write_text(before)
    return "survived"


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
    begin, killed, survivors = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory() as folder:
        copied(Path(folder))
        for number, place in chosen:
            if time.monotonic() - begin > args.budget:
                break
            mutant = made(*place)
            fate = tried(mutant, Path(folder), args.limit, not args.quick)
            told = f"{number}: {mutant.path}:{mutant.line}: {mutant.what}: {fate}"
            print(told, flush=True)
            if fate == "survived":
                survivors.append(told)
            else:
                killed += 1
    total = killed + len(survivors)
    print(f"seed {args.seed}, {args.kind}: {total} mutants, {killed} killed, {len(survivors)} survived", end="")
    print(f": {100 * killed / total:.0f} %" if total else "")
    return 0


if __name__ == "__main__":
    sys.exit(main())
