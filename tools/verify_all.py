"""`lstm-infer verify` over folders of files, in one process: a line a file, and what is wrong or was not compared.

    python tools/verify_all.py DIR|FILE ... [--json FILE] [--seeds N] [--seed N]

A file that a table of the tests (tests/zoo/index.json, tests/data/models_table.json) says to load with options is
verified a second time with them. Columns: exit status (0 fine, 1 wrong, 2 could not), comparisons of whole runs, of
streams in pieces, of streams stepped by hand, and seconds. Exits with 1 where a file is wrong, else with 0.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path

import lstm_infer
from lstm_infer.cli.verify import verify

TESTS = Path(__file__).resolve().parents[1] / "tests"


def ways():
    """File to the options that tables name for it."""
    found = {}
    for name, row in json.loads((TESTS / "data" / "models_table.json").read_text(encoding="utf-8")).items():
        found[name] = [way["load"] for way in (row, *row.get("ways", ())) if "load" in way]
    for name, row in json.loads((TESTS / "zoo" / "index.json").read_text(encoding="utf-8")).items():
        for path in (TESTS / "zoo" / "files").glob(f"*_{name.removeprefix('keras_')}*.onnx"):
            module = path.stem.split("_", 1)[1].removesuffix("_static")
            mine = {**row, **row.get("files", {}).get(path.stem, {})}
            if "load" in mine and name == ("keras_" * path.stem.startswith(("tf_", "ke_")) + module):
                found[path.stem] = [mine["load"]]
    return found


def check(path, options, seed, n_seeds):
    """A report as plain values; an error of `load` is one too."""
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # repaired sizes warn, rightly
        try:
            found = verify(path, seed=seed, n_seeds=n_seeds, **options).to_dict()
        except lstm_infer.LstmInferError as error:
            found = {"status": 2, "error": f"{type(error).__name__}: {error}"}
    return {"file": path.stem, "options": options, **found, "seconds": time.perf_counter() - began}


def line(found):
    """One file: its numbers."""
    counts = dict.fromkeys(("whole", "split", "stepped"), 0)
    for row in found.get("rows", ()):
        counts[row["case"]] += row["n"]
    numbers = "".join(f"{n or '-':>8}" for n in counts.values())
    options = " ".join(f"{key}={value}" for key, value in found["options"].items())
    return f"{found['file']:36}{found['status']:>3}{numbers}{found['seconds']:>8.1f}  {options}"


def notes(found):
    """What is wrong, or was not compared."""
    yield from ([found["error"]] if "error" in found else ())
    for row in found.get("rows", ()):
        if not row["ok"]:
            yield f"{row['case']} {row['output']} at {row['where']}: {row['worst_absolute']} {row['detail']}"
    yield from (f"not compared: {text}" for text in found.get("missing", ()))
    if found["status"]:
        yield from (f"{n} calls: {reason}" for reason, n in found.get("not_comparable", {}).items())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="+", type=Path, metavar="DIR|FILE")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all reports there, one a line")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds a file (default 3)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="first of them (default 0)")
    options = parser.parse_args()
    table, counts, lines = ways(), [0, 0, 0], []
    print(f"{'file':36}{'rc':>3}{'whole':>8}{'split':>8}{'stepped':>8}{'seconds':>8}")
    for folder in options.paths:
        for path in sorted(folder.glob("*.onnx")) if folder.is_dir() else [folder]:
            for way in ({}, *table.get(path.stem, ())):
                found = check(path, way, options.seed, options.seeds)
                counts[found["status"]] += 1
                lines.append(json.dumps(found, default=str))
                print(line(found), *(f"    {note}" for note in notes(found)), sep="\n", flush=True)
    if options.json:
        options.json.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{counts[0]} fine, {counts[1]} wrong, {counts[2]} could not be compared in full")
    return int(counts[1] > 0)


if __name__ == "__main__":
    sys.exit(main())
