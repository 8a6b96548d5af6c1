"""The form "c"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...frozen import frozen
from ...model import Model
from ..form import Asked, Proof, Written
from .options import COptions, named_after
from .prove import prove
from .write import Folder, write

__all__ = ["CForm"]


@frozen
class CWritten(Written):
    """A folder, and what it was made of: random numbers that nobody gave a seed for are those of this one."""

    folder: Folder | None = None


class CForm:
    """A folder of C for one instruction set."""

    name, suffix, feeds_defaults = "c", "", False
    takes: Mapping[str, Any] = {"chunk": 1, "batch": 1, "name": None, "isa": "scalar"}
    allowed = "nothing: the same bits"
    kept: Path | None = None
    """Where objects of the kernels stay from conversion to conversion, for who makes many of one name; None: nowhere."""

    def write(self, model: Model, folder: Path, asked: Asked) -> Written:
        options, main = _options(asked), folder / "folder"
        made = write(model, main, options)
        return CWritten(main, facts=made.facts(), notes=_notes(options), folder=made)

    def prove(self, model: Model, written: Written, asked: Asked) -> Proof:
        assert isinstance(written, CWritten) and written.folder is not None
        return prove(written.folder, written.main, kept=self.kept)


def _options(asked: Asked) -> COptions:
    name = asked.options["name"] or named_after(asked.path.name)
    return COptions(asked.options["isa"], asked.options["chunk"], name, asked.options["batch"], asked.seed)


def _notes(options: COptions) -> tuple[str, ...]:
    if options.isa != "scalar":
        return ()
    return ("plain C for any machine; with isa= (avx2, avx512, neon) the same model is several times as fast",)
