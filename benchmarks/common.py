"""What the benchmarks share: models built here, the printing of conditions, and where the real models lie."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from lstm_infer import load
from lstm_infer.cli.conditions import conditions
from lstm_infer.cli.tables import print_table
from lstm_infer.drive.timing import pinned

__all__ = [
    "ROOT",
    "arguments",
    "conditions",
    "finish",
    "load",
    "models_folder",
    "pinned",
    "print_table",
    "recurrent_model",
    "us",
]

ROOT = Path(__file__).resolve().parents[1]
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OPSET, IR_VERSION = 17, 8
FLOAT = TensorProto.FLOAT


def recurrent_model(inputs: int, hidden: int, layers: int, *, op: str = "LSTM", seed: int = 0) -> bytes:
    """x [T, B, I] and a state for each layer -> y [T, B, H] and the next states: what onnxruntime can step."""
    rng = np.random.default_rng(seed)
    states = ("h", "c") if op == "LSTM" else ("h",)
    nodes, weights = [], {"one": np.array([1], np.int64)}
    ports_in, ports_out = [("x", ["T", "B", inputs])], [("y", ["T", "B", hidden])]
    x = "x"
    for layer in range(layers):
        k, reach = (inputs if layer == 0 else hidden), 1 / np.sqrt(hidden)
        for name, shape in (
            ("W", (1, GATES[op] * hidden, k)),
            ("R", (1, GATES[op] * hidden, hidden)),
            ("B", (1, 2 * GATES[op] * hidden)),
        ):
            weights[f"{name}{layer}"] = rng.uniform(-reach, reach, shape).astype(np.float32)
        ports_in += [(f"{s}{layer}", [1, "B", hidden]) for s in states]
        ports_out += [(f"{s}{layer}_next", [1, "B", hidden]) for s in states]
        attrs: dict[str, Any] = {"hidden_size": hidden} | ({"linear_before_reset": 1} if op == "GRU" else {})
        nodes.append(
            helper.make_node(
                op,
                [x, f"W{layer}", f"R{layer}", f"B{layer}", "", *(f"{s}{layer}" for s in states)],
                [f"Y{layer}", *(f"{s}{layer}_next" for s in states)],
                name=f"{op.lower()}{layer}",
                **attrs,
            )
        )
        x = "y" if layer == layers - 1 else f"x{layer + 1}"
        nodes.append(helper.make_node("Squeeze", [f"Y{layer}", "one"], [x]))
    graph = helper.make_graph(
        nodes,
        f"{op.lower()} {inputs}-{hidden}x{layers}",
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in ports_in],
        [helper.make_tensor_value_info(name, FLOAT, shape) for name, shape in ports_out],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString())


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument("--quick", action="store_true", help="two rounds and the small cases: does it run at all")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--isa", help="force an instruction set")
    return parser


def models_folder() -> Path:
    """Where the real models lie: LSTM_INFER_MODELS, else beside the repository."""
    folder = Path(os.environ.get("LSTM_INFER_MODELS", ROOT.parent / "shared" / "models"))
    if not folder.is_dir():
        sys.exit(f"{folder} is not there; set LSTM_INFER_MODELS to the folder of the real models")
    return folder


def us(timing: Any) -> str:
    """Microseconds in few digits."""
    return "-" if timing is None else f"{timing.median:.2f}" if timing.median < 100 else f"{timing.median:.0f}"


def finish(
    args: argparse.Namespace, head: list[str], rows: list[list[str]], said: dict[str, str], data: Any, ok: bool
) -> int:
    """Print table and conditions, or JSON; the exit status."""
    said = {"commit": _commit(), **said}
    if args.json:
        print(json.dumps({"conditions": said, "rows": data, "ok": ok}, indent=2))
    else:
        print_table(head, rows)
        for name, text in said.items():
            print(f"{name}: {text}")
        if not ok:
            print("WRONG: outputs differ from onnxruntime's by more than is allowed")
    return 0 if ok else 1


def _commit() -> str:
    try:
        asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
