"""The picture of the README: a streaming step beside onnxruntime and beside what the machine can do.

python -m benchmarks.picture docs/latency.svg              # measures (a minute), then draws
python -m benchmarks.step --json | python -m benchmarks.picture docs/latency.svg --measured -
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

SIDES = (
    ("run", "onnxruntime run", "#b0b7c3"),
    ("io_binding", "onnxruntime io_binding", "#7d8796"),
    ("ours", "lstm_infer", "#1b7f5c"),
)


def main() -> int:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help=".svg or .png")
    parser.add_argument("--measured", metavar="FILE", help="what benchmarks.step --json printed; - for standard input")
    args = parser.parse_args()
    if args.measured:
        text = sys.stdin.read() if args.measured == "-" else Path(args.measured).read_text()
    else:
        command = [sys.executable, "-m", "benchmarks.step", "--json"]
        text = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    draw(args.out, json.loads(text))
    return 0


def draw(path: Path, measured: dict) -> None:
    """Bars by size, on an axis of powers, and a mark where no step can go below."""
    import matplotlib

    matplotlib.rcParams["svg.hashsalt"] = "lstm_infer"  # the same picture of the same numbers
    from matplotlib.figure import Figure

    rows = measured["rows"]
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.27
    for n, (key, name, color) in enumerate(SIDES):
        values = [us(row, key) for row in rows]
        axes.bar([i + (n - 1) * width for i in range(len(rows))], values, width, label=name, color=color)
    for i, row in enumerate(rows):
        least = max(row["bounds"]["reading"], row["bounds"]["multiplying"])
        axes.plot(
            [i + 0.5 * width, i + 1.5 * width],
            [least, least],
            color="black",
            lw=1.5,
            label="" if i else "the machine's limit",
        )
        axes.text(i + width, us(row, "ours") * 1.15, f"{row['ratio']:.1f}x", ha="center", fontsize=8, color="#1b7f5c")
    axes.set_xticks(
        range(len(rows)),
        ["{} in\n{} units\n{} layer{}".format(*row["size"], "s" * (row["size"][2] > 1)) for row in rows],
        fontsize=8,
    )
    axes.set(yscale="log", ylabel="µs a step", title="One step of an LSTM, batch 1, one thread")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def us(row: dict, side: str) -> float:
    """The median of one side."""
    return row[side]["median"]


if __name__ == "__main__":
    sys.exit(main())
