"""Add rows to tests/data/exports_table.json for exporters' files that load but are not in it.

Rows say what the engine found, so read each against the graph before committing it; rows marked "hand" are never
touched. `--check` prints where the engine and the existing rows differ.

    python tools/make_exports_table.py [--check] [NAME ...]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import warnings
from pathlib import Path

import lstm_infer

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "data" / "exports_table.json"
EXPORTS = Path(os.environ.get("LSTM_INFER_EXPORTS", ROOT.parent / "shared" / "exports"))


def describe(model):
    """The row of a loaded model, as tests/crosscheck/test_exports.py explains it."""
    names = {port.name for port in model.inputs}
    try:
        model.stream()
    except lstm_infer.NotStreamableError as error:
        return {
            "streams": False, "refused": {"node": error.node, "op": error.op}, "notes": error.reason, "by": "engine"
        }  # fmt: skip
    seeded = {state.name for state in model.states if state.name in names}
    paired = {state.output for state in model.states if state.name in seeded}
    shown = [port for port in model.outputs if port.name not in paired] or list(model.outputs)
    timed = [port for port in model.inputs if port.time_axis is not None]
    streamed = timed or [port for port in model.inputs if port.name not in seeded and port.shape != ()]
    states = []
    for state in model.states:
        size = math.prod(extent for axis, extent in enumerate(state.shape) if axis != state.batch_axis)
        name = state.name if state.name in names else None
        states.append({"name": name, "output": state.output, "kind": state.kind, "size": size})
    return {
        "streams": True,
        "model": "time" if timed else "frame",
        "time_axes": {port.name: port.time_axis for port in streamed},
        "output_time_axes": {port.name: port.time_axis for port in shown},
        "batch_axes": {port.name: port.batch_axis for port in streamed if port.batch_axis is not None},
        "states": states,
        "outputs": [port.name for port in shown],
        "notes": "",
        "by": "engine",
    }


def write(table):
    rows = []
    for name, row in sorted(table.items()):
        fields = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in row.items())
        rows.append(f"  {json.dumps(name)}: {{\n{fields}\n  }}")
    TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, print differences to the table")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    table, differences = json.loads(TABLE.read_text()), 0
    for name in options.names or sorted(path.stem for path in EXPORTS.glob("*.onnx")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                row = describe(lstm_infer.load(EXPORTS / f"{name}.onnx"))
        except lstm_infer.LstmInferError as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        if options.check:
            for key in sorted((row.keys() & table.get(name, {}).keys()) - {"notes", "by"}):
                if row[key] != table[name][key]:
                    differences += 1
                    print(f"{name}: {key}: table {table[name][key]}, engine {row[key]}")
        elif table.get(name, {}).get("by") != "hand":
            table[name] = row
    if not options.check:
        write(table)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
