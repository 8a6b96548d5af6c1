"""The form "c"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...model import Model
from ..form import Asked, Proof, Written
from .options import COptions, named_after
from .prove import prove
from .write import write

__all__ = ["CForm"]


class CForm:
    """A folder of C for one instruction set."""

    name, suffix = "c", ""
    takes: Mapping[str, Any] = {"chunk": 1, "batch": 1, "name": None, "isa": "scalar"}
    allowed = "nothing: the same bits"

    def write(self, model: Model, folder: Path, asked: Asked) -> Written:
        options, main = _options(asked), folder / "folder"
        return Written(main, facts=write(model, main, options), notes=_notes(options))

    def prove(self, model: Model, written: Written, asked: Asked) -> Proof:
        return prove(model, written.main, _options(asked))


def _options(asked: Asked) -> COptions:
    name = asked.options["name"] or named_after(asked.path.name)
    return COptions(asked.options["isa"], asked.options["chunk"], name, asked.options["batch"], asked.seed)


def _notes(options: COptions) -> tuple[str, ...]:
    if options.isa != "scalar":
        return ()
    return ("plain C for any machine; with isa= (avx2, avx512, neon) the same model is several times as fast",)
