"""What a form of a model has to be able to: to be written, and to be run beside its source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

from ..frozen import frozen
from ..model import Model
from .report import Checked

__all__ = ["Asked", "Form", "Proof", "Written"]


@frozen
class Asked:
    """What is asked of a form. `options`: those of `convert` that this form takes, by name, checked for their kind."""

    path: Path
    """Where the result will stand."""
    seed: int
    options: Mapping[str, Any]
    say: Callable[[str], None] = lambda line: None
    """Told before each part of the work."""


@frozen
class Written:
    """Files that a form made in the folder it was given."""

    main: Path
    """The file or folder that becomes `Asked.path`."""
    beside: Mapping[Path, Path] = field(default_factory=dict)
    """Other files of that folder, and where they go."""
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@frozen
class Proof:
    """What became of running a result beside its source."""

    checks: tuple[Checked, ...] = ()
    not_checked: str = ""
    """Why there are no checks: nothing here can run the result."""


class Form(Protocol):
    """One way to write a model."""

    name: str
    suffix: str
    """Of `path`, by which the form is known where `to` is not given; "" for a folder."""
    feeds_defaults: bool
    """Can inputs that have a value in the source be fed to the result."""
    takes: Mapping[str, Any]
    """The options of `convert` besides those of `load` that mean something here, and what each is where it is not given."""
    allowed: str
    """What a result may differ from its source by, in words."""

    def write(self, model: Model, folder: Path, asked: Asked) -> Written:
        """Write the model into an empty folder.

        Raises
        ------
        ConvertError
            The model cannot be said in this form; names the node and the reason.
        OSError
            A file cannot be written.
        """

    def prove(self, model: Model, written: Written, asked: Asked) -> Proof:
        """Run what was written beside the model, on signals drawn with the seed."""
