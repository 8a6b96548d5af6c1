"""The table of the exporters' files and the real models: what each is, and how it streams.

Without options it prints the page docs/models.md from tests/data/models_table.json. Rows marked "hand" in it were
written from the graphs, those marked "read" were drawn from the engine and then read against the graph. `--add` draws
rows for files that are not in it; `--check` prints where the engine and the rows differ; `--texts` takes over what the
engine says was recognised and repaired; `--write` writes the page.

    python tools/exports_table.py [--add | --check | --texts | --write] [NAME ...]
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
TABLE = ROOT / "tests" / "data" / "models_table.json"
PAGE = ROOT / "docs" / "models.md"
FOLDERS = {
    "exports": Path(os.environ.get("LSTM_INFER_EXPORTS", ROOT.parent / "shared" / "exports")),
    "models": Path(os.environ.get("LSTM_INFER_MODELS", ROOT.parent / "shared" / "models")),
}
TEXTS = ("recognised", "repaired")
HEAD = """\
# Files of exporters, and real models

What `lstm_infer` makes of 88 small files that today's exporters write, and of 8 models that people trained. Written by
`tools/exports_table.py` from `tests/data/models_table.json`; `tests/crosscheck` holds the engine to every cell of it.

- **run**: *ok*: `Model.run` gives the stored outputs (of the exporting framework where there are any, else of
  onnxruntime) at every stored run, at other lengths and batches than the exporter saw too.
- **streams**: *time*: chunks of any length, any split the same bits as the whole. *loop*: along time, one step at a
  time. *frame*: no time axis, every call is one step. *no*: the node that needs the whole input, and why. An indented
  line is the same file with inputs bound, made constants, or its time axis chosen.
- **inputs**: what is fed, with its time axis `T` and batch axis `B`; inputs bound by `stream(inputs=)` after a bar.
- **outputs**: `@n`: one entry per step along axis n; *last*: the value as if the sequence ended here; *frame*: whole
  per step.
- **states**: `h0 -> hn`: an input and the output that holds its next value; *hidden*: inside the file. How many numbers
  for each signal, and where they start if not at zero.
- **lag**: input steps that the outputs lie behind; `/n`: input steps for each step of the outputs.

| file | run | streams | inputs | outputs | states | lag | recognised | repaired | notes |
|---|---|---|---|---|---|---|---|---|---|
"""


def path_of(name):
    """The file of a row, or None where its folder is not there."""
    return next((f / f"{name}.onnx" for f in FOLDERS.values() if (f / f"{name}.onnx").exists()), None)


def load(name, row):
    """The model, loaded as the row says; what is repaired warns, rightly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lstm_infer.load(path_of(name), **row.get("load", {}))


def describe(model, bind=()):
    """What the engine says of a model: a row as tests/crosscheck/test_exports.py explains it."""
    texts = {"recognised": list(model.rewritten), "repaired": list(model.repaired)}
    names = {port.name for port in model.inputs}
    try:
        how = model.streaming
        if not set(bind) & names:
            model.stream()
    except lstm_infer.NotStreamableError as error:
        return {"streams": False, "refused": {"node": error.node, "op": error.op}, "reason": error.reason, **texts}
    states = []
    for state in model.states:
        size = math.prod(extent for axis, extent in enumerate(state.shape) if axis != state.batch_axis)
        name = state.name if state.name in names else None
        states.append({"name": name, "output": state.output, "kind": state.kind, "size": size})
    ports, outputs = ({port.name: port for port in group} for group in (model.inputs, model.outputs))
    return {
        "streams": True,
        "model": how.mode,
        "time_axes": {name: ports[name].time_axis for name in how.inputs},
        "output_time_axes": {name: outputs[name].time_axis for name in how.outputs},
        "batch_axes": {name: ports[name].batch_axis for name in how.inputs if ports[name].batch_axis is not None},
        "states": states,
        "outputs": list(how.outputs),
        "side": list(how.side),
        "lag": how.lag,
        "rate": how.rate,
        "stepwise": how.stepwise,
        **texts,
    }


def draw(name, row):
    """`describe` of a file, with the ways the row knows; a file that is refused at load says so."""
    try:
        model = load(name, row)
    except lstm_infer.LstmInferError as error:
        return {"loads": False, "streams": False, "reason": str(error)}
    drawn = describe(model, row.get("bind", ()))
    if row.get("ways"):
        drawn["ways"] = [
            {key: way[key] for key in ("load", "bind") if key in way} | draw(name, way) for way in row["ways"]
        ]
    return drawn


def same(want, got):
    """Is a cell of the table met: a list of nodes or operators names any that will do, null none."""
    if isinstance(want, dict) and want.keys() == {"node", "op"} and got:
        return all(
            want[k] is None or got[k] == want[k] or (isinstance(want[k], list) and got[k] in want[k]) for k in want
        )
    return want == got


def differences(name, row, drawn, where=""):
    """Cells of a row that the engine does not meet, one text each."""
    found = []
    for key in sorted(row.keys() - {"notes", "by", "load", "bind", "ways", "delays"}):
        want, got = row[key], drawn.get(key)
        if key == "states" and row.get("delays") and got is not None:
            continue
        if not same(want, got):
            found.append(f"{name}{where}: {key}: table {want}, engine {got}")
    for number, way in enumerate(row.get("ways", ())):
        found += differences(name, way, drawn["ways"][number], f" {title(way)}")
    return found


def title(way):
    """How a way differs from the bare file."""
    parts = [f"{key}={value}" for key, value in way.get("load", {}).items()]
    return ", ".join(parts + ([f"bound: {', '.join(way['bind'])}"] if way.get("bind") else []))


def code(text):
    return f"`{text}`"


def streamed(row):
    """The cells from `streams` to `lag`."""
    if not row["streams"]:
        refused = row.get("refused", {})
        node = refused.get("node")
        node = node[0] if isinstance(node, list) else node
        op = refused.get("op") or ""
        op = op[0] if isinstance(op, list) else op
        why = f"**no**: {op} {code(node) if node else ''}".rstrip() if refused else "**no**"
        return [f"{why}: {row.get('reason', '')}", "", "", "", ""]
    axes = []
    for name, time in row["time_axes"].items():
        marks = [
            f"{letter}={axis}" for letter, axis in (("T", time), ("B", row["batch_axes"].get(name))) if axis is not None
        ]
        axes.append(code(name) + (f" ({', '.join(marks)})" if marks else ""))
    side = row.get("bind") or row.get("side", ())
    inputs = ", ".join(axes) + (" \\| " + ", ".join(map(code, side)) if side else "")
    outputs = []
    for name in row["outputs"]:
        axis = row["output_time_axes"][name]
        outputs.append(f"{code(name)} {'frame' if row['model'] == 'frame' else 'last' if axis is None else f'@{axis}'}")
    return [row["model"] + (", each step by its own scale" if row["stepwise"] else ""), inputs, ", ".join(outputs),
            states(row["states"]), f"{row['lag']}" + (f" /{row['rate']}" if row["rate"] != 1 else "")]  # fmt: skip


def states(rows):
    """One phrase for each kind of state."""
    found = []
    for state in rows:
        goes = f" -> {code(state['output'])}" if state["output"] else ""
        starts = f" from a {state['kind']} value" if state["kind"] in ("constant", "computed") else ""
        found.append(f"{code(state['name']) if state['name'] else 'hidden'}{goes} {state['size']}{starts}")
    return ", ".join(
        f"{found.count(text)} x {text}" if found.count(text) > 1 else text for text in dict.fromkeys(found)
    )


def lines(name, row):
    """The lines of a file in the page."""
    texts = ["; ".join(row.get(key, ())) for key in TEXTS]
    run = "refused" if row.get("loads") is False else "ok"
    yield [code(name), run, *streamed(row), *texts, row.get("notes", "")]
    for way in row.get("ways", ()):
        yield [f"&nbsp;&nbsp;{title(way)}", run, *streamed(way), "", "", way.get("notes", "")]


def page(table):
    """The whole page."""
    text = HEAD
    for name, row in table.items():
        for cells in lines(name, row):
            text += "| " + " | ".join(cell.replace("\n", " ") for cell in cells) + " |\n"
    return text


def read():
    return json.loads(TABLE.read_text(encoding="utf-8"))


def write(table):
    rows = []
    for name, row in sorted(table.items()):
        fields = ",\n".join(f"    {json.dumps(key)}: {json.dumps(value)}" for key, value in row.items())
        rows.append(f"  {json.dumps(name)}: {{\n{fields}\n  }}")
    TABLE.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--add", action="store_true", help="draw rows for files that are not in the table")
    parser.add_argument("--check", action="store_true", help="print differences between the engine and the table")
    parser.add_argument("--texts", action="store_true", help="take over what was recognised and repaired")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    parser.add_argument("names", nargs="*", metavar="NAME")
    options = parser.parse_args()
    table, found = read(), []
    if options.add or options.check or options.texts:
        there = [path.stem for folder in FOLDERS.values() for path in sorted(folder.glob("*.onnx"))]
        for name in options.names or there:
            drawn = draw(name, table.get(name, {}))
            if options.add and name not in table:
                table[name] = drawn | {"notes": "", "by": "engine"}
            elif options.texts:
                take_texts(table[name], drawn)
            elif options.check:
                found += differences(name, table[name], drawn) if name in table else [f"{name}: not in the table"]
        if not options.check:
            write(table)
    elif options.write:
        PAGE.write_text(page(table), encoding="utf-8")
    else:
        print(page(table), end="")
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


def take_texts(row, drawn):
    """What may change whenever a rewrite learns something."""
    row.update({key: drawn[key] for key in TEXTS if key in drawn})
    for way, other in zip(row.get("ways", ()), drawn.get("ways", ()), strict=True):
        take_texts(way, other)


if __name__ == "__main__":
    sys.exit(main())
