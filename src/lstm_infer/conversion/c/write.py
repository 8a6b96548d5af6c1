"""A folder of C for one stream of a model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ... import _core
from ...model import Model
from .blob import Blob, as_c, assembled
from .code import code
from .header import header
from .makefile import makefile, readme
from .options import COptions
from .ports import plain
from .replay import recorded
from .replayer import program
from .schedule import schedule
from .source import Source
from .tables import Tables
from .units import Units, units_for

__all__ = ["Folder", "reference", "write"]

RECORDED_CALLS = 200
RECORDED_BYTES = 1 << 20
"""What `make test` replays, at most."""


class Folder:
    """All that is written of a model. `model`: as it gives the bits of the set that the code is for (`reference`)."""

    def __init__(self, model: Model, options: COptions) -> None:
        self.model, self.options = reference(model, options), options
        self.schedule = schedule(self.model, options)
        self.blob = Blob()
        tables = Tables(self.blob, options.name, options.isa)
        self.source = Source.of(self.schedule, options, tables, f"model {plain(model._graph.name)}")
        self.text = code(self.source)
        self.units: Units = units_for(tables.slots, bool(tables.controls), options.set, options.name)

    def facts(self) -> dict[str, str]:
        """What a report says of it."""
        runs, source = self.schedule.all_runs, self.source
        n_calls = sum(len(run.placed.calls) for run in runs)
        return {
            "instruction set": self.options.isa,
            "steps of a call": str(self.options.chunk),
            "state": f"{source.state_bytes} bytes a signal",
            "scratch": f"{source.scratch_bytes} bytes",
            "constants": f"{len(self.blob.data())} bytes",
            "programs": f"{len(runs)} of {n_calls} calls" if len(runs) > 1 else f"1 of {n_calls} calls",
            "kernels": ", ".join(sorted(source.tables.slots)),
        }

    def files(self, frames: bytes) -> dict[str, bytes]:
        """Every file by its path in the folder."""
        name, data = self.options.name, self.blob.data()
        made = {
            f"{name}.h": header(self.source),
            f"{name}.c": self.text,
            f"{name}_weights.S": assembled(f"{name}_weights", f"{name}_weights.bin"),
            f"{name}_weights.c": as_c(f"{name}_weights", data),
            f"{name}_test.c": program(self.source),
            "Makefile": makefile(self.options, self.units),
            "README.md": readme(self.source, self.units),
            **{f"kernels/{path}": text for path, text in self.units.made.items()},
        }
        found = {path: text.encode("utf-8") for path, text in made.items()}
        found |= {f"kernels/{path}": data for path, data in self.units.copied.items()}
        found[f"{name}_weights.bin"], found[f"{name}_frames.bin"] = data, frames
        return found


def reference(model: Model, options: COptions) -> Model:
    """The model on a set of this machine that gives the bits of the set of the code: on itself, or for a fused one on another
    fused one. First states too are computed on it."""
    runnable = [name for name, able in _core.list_isas() if able]
    fused = [name for name in runnable if name != "scalar"]
    isa = options.isa if options.isa in runnable else fused[0] if options.set.fused and fused else model.isa
    if model.isa == isa:
        return model
    made = Model(model._graph, replace(model._options, isa=isa))
    made._repaired = model._repaired
    return made


def write(model: Model, path: Path, options: COptions) -> Folder:
    """Write the folder `path`, which is not there yet.

    Raises
    ------
    LstmInferError
        The model does not stream, or there is no C for something in it; says what and why.
    OSError
        A file cannot be written.
    """
    folder = Folder(model, options)
    frames = recorded(folder.model, folder.source, RECORDED_CALLS, options.seed, RECORDED_BYTES)
    for relative, data in folder.files(frames).items():
        file = path / relative
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder
