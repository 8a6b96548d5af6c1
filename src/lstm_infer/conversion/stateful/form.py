"""The form "onnx": one step as an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConvertError
from ...model import Model
from ..form import Asked, Proof, Written
from ..proof import Live, live_cases, matched
from ..report import Checked
from .beside import StepFile, drive, first_value
from .build import Built, build
from .dialect import NEWEST, OLDEST
from .proto import model_of, state_records

__all__ = ["FORM"]

STEPS, LONG = 24, 1000
"""Frames of the signals that a result is checked on, and of the long one."""


class StatefulOnnx:
    """An ONNX file of one step, whose states are inputs and outputs."""

    name = "onnx"
    suffix = ".onnx"
    feeds_defaults = False
    takes: Mapping[str, Any] = {"chunk": None, "batch": None, "opset": 17, "states_file": None}
    allowed = (
        "1e-5 + 1e-4 |value|, as between this engine and onnxruntime; anything where the source gives no number (NaN)"
    )

    def write(self, model: Model, folder: Path, asked: Asked) -> Written:
        """Write the file, and the first states beside it where that is asked."""
        import onnx

        options = asked.options
        _check(model, options["opset"])
        built = build(model, options["chunk"], options["opset"], options["batch"])
        ports = {port.name: port for port in built.draft.inputs}
        records = state_records(built.carries, ports)
        metadata = {"lstm_infer.stream": _stream(built), "lstm_infer.states": records}
        proto = model_of(built.draft, model._graph.name or "step", metadata, model._graph.meta)
        try:
            onnx.checker.check_model(proto, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
            raise ConvertError(f"onnx.checker refuses what was made: {error}") from error
        main = folder / "step.onnx"
        onnx.save(proto, main)
        beside = {}
        if options["states_file"] is not None:
            file = folder / "states.npz"
            np.savez(file, **{record["input"]: first_value(record, {}) for record in records})  # type: ignore[arg-type]
            beside[file] = options["states_file"]
        return Written(main, beside, _facts(built, proto))

    def prove(self, model: Model, written: Written, asked: Asked) -> Proof:
        """Run the file beside the stream of its source."""
        file = StepFile.open(written.main)
        batch, checks = file.stream["batch"], list[Checked]()
        for signals, least in ((batch or 1, STEPS), (batch or 1, LONG), *([(3, STEPS)] if batch is None else [])):
            for live in live_cases(model, asked.seed, steps=_steps(file, least, told=least == STEPS), signals=signals):
                if least == STEPS or live.case.startswith("in pieces"):
                    checks.append(_compared(file, live))
        return Proof(tuple(checks), "")


def _steps(file: StepFile, least: int, *, told: bool) -> int:
    """Frames of a signal; where that is asked, the last chunk is not full, if the file can be told so."""
    chunk = int(file.stream["chunk"])
    steps = -(-least // chunk) * chunk
    ends = any(record["kind"] == "end" for record in file.states)
    ragged = ends or all(o["kind"] in ("time", "frame") for o in file.stream["outputs"].values())
    return steps + (told and chunk > 1 and ragged)


def _compared(file: StepFile, live: Live) -> Checked:
    """A signal through the file beside the stream, and the states behind it."""
    got, last = drive(file, live)
    got = {name: _as_far_as_known(value, live.want.get(name)) for name, value in got.items()}
    check = matched(live, got, bits=False)
    if check.detail:
        return check
    pairs = [(got[name], value) for name, value in live.want.items() if value is not None]
    if file.rounds:  # rounding to 8 bits may fall either way: two steps of the range
        check = replace(check, excess=max((_beyond(a, b, 2 / 127) for a, b in pairs), default=0.0))
    if live.steps % file.stream["chunk"] == 0 and not file.stream["held_back"]:
        states = [(state.reshape(live.last[name].shape), live.last[name]) for name, state in last.items()]
        over = [_beyond(got, want, _share(file, want)) for got, want in states]
        check = replace(check, excess=max([check.excess, *over]))
    return check


def _share(file: StepFile, want: Any) -> float:
    """What a state may differ by, as a share of its range; one of half precision is a port, and rounded in each step."""
    return 2 / 127 if file.rounds else 2.0**-9 if want.dtype == np.float16 else 1e-4


def _as_far_as_known(got: Any, want: Any) -> Any:
    """What was made, no number where the source has none: recurrent operators of onnxruntime make numbers of it."""
    if got is None or want is None or want.dtype.kind != "f" or got.shape != want.shape or got.dtype != want.dtype:
        return got
    return np.where(np.isnan(want), want, got)


def _beyond(got: Any, want: Any, share: float) -> float:
    """The largest difference, in units of a share of the range of a value and a little more; not where the source has
    infinities or no numbers."""
    known = np.isfinite(want)
    largest = np.abs(want[known].astype(np.float64)).max(initial=0)
    error = np.abs(got[known].astype(np.float64) - want[known])
    return float(np.where(np.isnan(error), np.inf, error).max(initial=0) / (share * largest + 1e-5))


def _check(model: Model, opset: int) -> None:
    if not OLDEST <= opset <= NEWEST:
        raise ConvertError(f"opset: {opset} is not written; {OLDEST} to {NEWEST} are")
    asked = {node.name: model._options.precision.asked(node.name) for node in model._weighted()}
    fewer = {name: kind for name, kind in asked.items() if kind != "f32"}
    if fewer:
        kinds = sorted(set(fewer.values()))
        said = [f"{kind} for {_layers([n for n in fewer if fewer[n] == kind], len(asked))}" for kind in kinds]
        raise ConvertError(
            f"precision: {' and '.join(said)} cannot be written: an ONNX file holds its weights in f32; leave precision out"
        )


def _layers(names: list[str], n_all: int) -> str:
    """Layers by name, where they are few."""
    if len(names) == n_all:
        return "all layers"
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _stream(built: Built) -> dict[str, Any]:
    """How the file is driven."""
    spec, chunk = built.spec, built.chunk
    frames = spec.mode == "frame"
    outputs = {}
    for output in spec.outputs:
        pace = built.step.pace(output.name)
        axis = output.axis if output.kind == "time" else 0
        once = output.kind == "frame" and not frames  # as Stream.run gives it: the last one
        name = built.draft.called.get(output.name, output.name)
        outputs[name] = {
            "kind": "last" if once else output.kind, "axis": axis, "drop": pace.lag, "rate": pace.rate, "more": pace.more,
            **({"of": output.name} if name != output.name else {}),
        }  # fmt: skip
    paces = [built.step.pace(o.name) for o in spec.outputs if o.kind in ("time", "last")]
    late = [(p.length(T) + p.lag) * p.rate - T for p in paces for T in range(4 * chunk, 5 * chunk)]
    flush = max([0, *late]) if built.step.looks_ahead else 0
    return {
        "chunk": chunk,
        "mode": spec.mode,
        "held_back": built.step.held_back,
        "rows": built.step.n != chunk,
        "batch": built.batch,
        "inputs": {name: 0 if frames else spec.roles.time[name] for name in spec.streamed},
        "sizes": _open_sizes(built),
        "side": [port.name for port in built.draft.inputs if port.name in spec.side],
        "outputs": outputs,
        "flush": -(-flush // chunk) * chunk,
    }


def _open_sizes(built: Built) -> dict[str, list[Any]]:
    """The open sizes of the file, each with an input and an axis that has it."""
    fed = {carry.name for carry in built.carries}
    ports = sorted(built.draft.inputs, key=lambda port: port.name in fed)  # a state only where no other has it
    found: dict[str, list[Any]] = {}
    for port in ports:
        for axis, size in enumerate(port.shape or ()):
            if isinstance(size, str):
                found.setdefault(size, [port.name, axis])
    return found


def _fixed_sizes(built: Built) -> dict[str, str]:
    """Sizes that the source leaves open and the file does not."""
    ports = {port.name: port.shape or () for port in built.draft.inputs}
    places = [place for place in built.spec.roles.stay_open() if place[0] in ports]
    said = [
        f"axis {axis} of {name} is {ports[name][axis]}" for name, axis in places if isinstance(ports[name][axis], int)
    ]
    return {"sizes": f"{', '.join(said)} (open in the source; inputs= or --shape gives others)"} if said else {}


def _facts(built: Built, proto: Any) -> dict[str, str]:
    return {
        "opset": str(proto.opset_import[0].version),
        "chunk": str(built.chunk),
        "batch": "open"
        if built.batch is None
        else str(built.batch) + (f" ({built.why_fixed})" if built.why_fixed else ""),
        "nodes": str(len(proto.graph.node)),
        **_fixed_sizes(built),
        "states": ", ".join(f"{c.name} -> {c.after}" for c in built.carries) or "none",
    }


FORM = StatefulOnnx()
