"""`lstm-infer convert` over folders of files, in one process: what became of each, and the table of docs/convert.md.

    python tools/convert_all.py FORM [DIR|FILE ...] [--chunk N] [--opset N] [--isa SET] [--precision P] [--json FILE] [--write]

FORM: onnx, c or native. Without folders: the models, the exporters' files and tests/zoo, as the tests find them. A file is
converted as it stands, and with each set of options that a table of the tests names for it. It counts where one of them
converts; one that is refused counts as a failure, with the reason: more than three of them, or a wrong result, and the
command exits with 1. Left out are files that cannot be loaded, and for a form of one step those that need their whole
input at once. --write puts the table into docs/convert.md.
"""

from __future__ import annotations

import argparse
import atexit
import json
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from verify_all import TESTS, ways

import lstm_infer
from lstm_infer.conversion import c as c_form
from lstm_infer.conversion.convert import FORMS
from lstm_infer.conversion.report import WrongResultError
from lstm_infer.drive.inputs import Inputs, stream_spec

sys.path.insert(0, str(TESTS))
import shared_files

MOST_REFUSED = 3
FOLDERS = {"models": shared_files.MODELS, "exports": shared_files.EXPORTS, "tests/zoo": TESTS / "zoo" / "files"}
DOC = TESTS.parent / "docs" / "convert.md"
WHOLE = {"native"}
"""Forms that hold a model which does not stream too."""


@dataclass
class Found:
    """What became of a file in one way to load it."""

    folder: str
    file: str
    options: dict
    status: str
    """"ok", "wrong", "refused", or "left out"."""
    why: str = ""
    largest: float = 0.0
    facts: dict = field(default_factory=dict)
    n_bytes: int = 0
    seconds: float = 0.0


def left_out(model, form):
    """Why a file does not count, or nothing."""
    if form in WHOLE:
        return ""
    try:
        model.streaming  # noqa: B018
    except lstm_infer.NotStreamableError as error:
        return "" if "bind it with" in str(error) else str(error)
    return ""


def for_c(model):
    """Options for what is refused in C only since its sizes are fixed: those that the analysis has tried for what the file leaves
    open; or where a first state is computed from inputs without time, those inputs as drawn constants."""
    spec, roles = stream_spec(model), model._roles
    shapes = {port.name: port.shape for port in model._ports}
    places = {place for place in roles.stay_open() if place not in roles.known_sizes}
    sizes = {
        name: tuple(
            roles.open_sizes[name, axis] if (name, axis) in places else n for axis, n in enumerate(shapes[name])
        )
        for name in sorted({name for name, _ in places})
    }
    yield {"inputs": {name: tuple(n if isinstance(n, int) else None for n in shape) for name, shape in sizes.items()}}
    if spec.side:
        drawn = Inputs(model).draw(np.random.default_rng(0), 4, roles.batch_size or 1)
        yield {"constants": {name: drawn[name] for name in spec.side}}


def attempts(path, folder, options, form, asked):
    """What becomes of a file with these options; and, for C alone, with those that fix sizes or first states besides."""
    first = attempt(path, folder, options, form, asked)
    yield first
    if form != "c" or first.status != "refused":
        return
    try:
        more = [*for_c(lstm_infer.load(path, **options, **asked["load"]))]
    except lstm_infer.LstmInferError:
        return
    for way in more:
        merged = {**options, **way}
        for key in set(options) & set(way):
            merged[key] = {**options[key], **way[key]}
        found = attempt(path, folder, merged, form, asked)
        yield found
        if found.status == "ok":
            return


def attempt(path, folder, options, form, asked):
    """One conversion."""
    began, name = time.perf_counter(), path.stem
    try:
        model = lstm_infer.load(path, **options, **asked["load"])
        why = left_out(model, form)
    except lstm_infer.LstmInferError as error:
        why = str(error)
    if why:
        return Found(folder, name, options, "left out", why)
    with tempfile.TemporaryDirectory() as work:
        out = Path(work) / ("step" if form == "c" else f"{name}.{form}")
        try:
            report = lstm_infer.convert(model, out, to=form, **asked["convert"])
        except WrongResultError as error:
            details = "; ".join(f"{c.case}: {c.largest:.1e} {c.detail}" for c in error.report.checks if not c.ok)
            return Found(folder, name, options, "wrong", details, seconds=time.perf_counter() - began)
        except lstm_infer.LstmInferError as error:
            return Found(folder, name, options, "refused", str(error), seconds=time.perf_counter() - began)
        shutil.rmtree(out, ignore_errors=True)
    done = Found(folder, name, options, "ok", report.not_checked, report.largest_error, dict(report.facts))
    done.n_bytes, done.seconds = sum(report.files.values()), time.perf_counter() - began
    return done


def shown(value):
    """Options as text: an array by its shape."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {shown(one)}" for key, one in value.items()) + "}"
    return f"drawn {value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) and value.size > 1 else str(value)


def line(found):
    """One row of the output."""
    options = " ".join(f"{key}={shown(value)}" for key, value in found.options.items())
    said = f"{found.largest:8.1e}" if found.status == "ok" else found.why
    return f"{found.file:34} {found.status:8} {found.seconds:6.1f} s  {said}  {options}".rstrip()


def by_file(rows):
    """Files that count: (folder, name) to the best that became of them."""
    order = ("wrong", "ok", "refused")
    files = {}
    for row in rows:
        if row.status != "left out":
            old = files.get((row.folder, row.file))
            if old is None or order.index(row.status) < order.index(old.status):
                files[row.folder, row.file] = row
    return files


def table(form, rows, asked):
    """The part of docs/convert.md."""
    files = by_file(rows)
    said = " ".join(f"--{key} {value}" for part in asked.values() for key, value in part.items())
    lines = [
        f"`python tools/convert_all.py {form}{' ' + said if said else ''}`",
        "",
        "| folder | files | converted | refused | wrong | largest error |",
        "|---|---|---|---|---|---|",
    ]
    for folder in dict.fromkeys(place for place, _ in files):
        mine = [row for (place, _), row in files.items() if place == folder]
        counts = Counter(row.status for row in mine)
        largest = max((row.largest for row in mine if row.status == "ok"), default=0)
        numbers = f"{len(mine)} | {counts['ok']} | {counts['refused']} | {counts['wrong']}"
        lines.append(f"| {folder} | {numbers} | {largest:.1e} |" if largest else f"| {folder} | {numbers} | none |")
    bad = [row for row in files.values() if row.status != "ok"]
    lines += ["", *(f"- `{row.file}` is {row.status}: {row.why}" for row in bad)] if bad else []
    ways_only = [row for row in files.values() if row.status == "ok" and row.options]
    if ways_only:
        why = (
            "as C has fixed sizes, or as they stream with these only"
            if form == "c"
            else "as they stream with these only"
        )
        lines += ["", f"Converted with options only, {why}:", ""]
        lines += [
            f"- `{row.file}`: {', '.join(f'{k}={shown(v)}' for k, v in row.options.items())}" for row in ways_only
        ]
    fixed = [row for row in files.values() if "(" in row.facts.get("batch", "")]
    if fixed:
        lines += ["", "For one signal at a time, though the source takes several:", ""]
        lines += [f"- `{row.file}`: {row.facts['batch'].partition('(')[2].removesuffix(')')}" for row in fixed]
    return "\n".join(lines) + "\n"


def write(form, text):
    """Put the table between its marks."""
    doc = DOC.read_text(encoding="utf-8")
    begin, end = f"<!-- convert_all {form} -->\n", f"<!-- end {form} -->"  # of C: form and set
    parts = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
    if not parts.search(doc):
        raise SystemExit(f"{DOC} has no {begin.strip()}")
    DOC.write_text(parts.sub(lambda found: begin + text + end, doc), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("form", choices=sorted(FORMS))
    parser.add_argument("paths", nargs="*", type=Path, metavar="DIR|FILE")
    for name in ("chunk", "opset", "batch"):
        parser.add_argument(f"--{name}", type=int)
    for name in ("isa", "precision"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was found there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/convert.md")
    args = parser.parse_intermixed_args()
    given = {key: value for key, value in vars(args).items() if value is not None}
    asked = {"convert": {k: given[k] for k in ("chunk", "opset", "batch") if k in given}}
    asked["load"] = {k: given[k] for k in ("isa", "precision") if k in given}
    if args.form == "c":  # what it is written for
        asked["convert"] |= {k: asked["load"].pop(k) for k in ("isa",) if k in asked["load"]}
        c_form.FORM.kept = Path(tempfile.mkdtemp(prefix="objects"))
        atexit.register(shutil.rmtree, c_form.FORM.kept, ignore_errors=True)
    warnings.simplefilter("ignore")  # repaired sizes warn, rightly
    folders = {str(path): path for path in args.paths} or FOLDERS
    options, rows = ways(), []
    for name, folder in folders.items():
        for path in sorted(folder.glob("*.onnx")) if folder.is_dir() else [folder]:
            for way in ({}, *options.get(path.stem, ())):
                for found in attempts(path, name, way, args.form, asked):
                    rows.append(found)
                    if found.status != "left out":
                        print(line(found), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], default=str, indent=1) + "\n", encoding="utf-8")
    text = table(args.form, rows, asked)
    print("", text, sep="\n")
    if args.write:
        write(f"c {args.isa or 'scalar'}" if args.form == "c" else args.form, text)
    counts = Counter(row.status for row in by_file(rows).values())
    return int(counts["wrong"] > 0 or counts["refused"] > MOST_REFUSED)


if __name__ == "__main__":
    sys.exit(main())
