"""convert: a model in another form, checked beside its source before a file is left."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import given
from ..errors import ArgumentError, ConvertError, LstmInferError
from ..model import Model, load
from .form import Asked, Form, Proof, Written
from .report import Report, WrongResultError

if TYPE_CHECKING:
    from typing import Unpack

    from ..typing import ConvertOptions, Format, Source

__all__ = ["FORMS", "convert"]

FORMS: dict[str, str] = {"native": "native", "onnx": "stateful.form", "c": "c"}
"""By `to`: the module of this package that has the form, as FORM."""

SHOWN = 8
"""Names that a note has room for."""
OPTIONS: Mapping[str, Callable[[str, Any], Any]] = {
    "chunk": lambda what, value: given.number(what, value, 1),
    "batch": lambda what, value: given.number(what, value, 1),
    "opset": lambda what, value: given.number(what, value, 1),
    "states_file": lambda what, value: _path(what, value),
    "name": lambda what, value: _text(what, value),
    "isa": lambda what, value: _text(what, value),
    "plans": lambda what, value: tuple(given.named(what, sizes) for sizes in given.items(what, value)),
}
"""What a form may take, and how it is looked at."""


def convert(
    source: Source | Model,
    path: str | os.PathLike[str],
    *,
    to: Format | None = None,
    chunk: int | None = None,
    batch: int | None = None,
    opset: int | None = None,
    states_file: str | os.PathLike[str] | None = None,
    name: str | None = None,
    plans: Sequence[Mapping[str, Sequence[int | None]]] | None = None,
    force: bool = False,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    **load_options: Unpack[ConvertOptions],
) -> Report:
    """Write a model in another form, and check it beside its source.

    Parameters
    ----------
    source : path, bytes, file object, onnx.ModelProto or Model
        As `load` takes it, or what it returned.
    path : path
        The file to write, for C the folder. It is written when the check has passed, and in one go.
    to : {"native", "onnx", "c"}, optional
        "native": a file that `load` maps (docs/format.md). "onnx": an ONNX file of one step, whose states are inputs and
        outputs, for any runtime (docs/convert.md). "c": sources that need nothing else. None: by the suffix of `path`, .lsi or
        .onnx.
    chunk : int, optional
        ONNX and C: steps of one call; default 1, or as few as a model works with that takes a step for several frames.
    batch : int, optional
        ONNX and C: signals stepped in lockstep; default open in ONNX, where the model's is, and 1 in C.
    opset : int, optional
        ONNX: version of the operators; default 17.
    states_file : path, optional
        ONNX: a .npz file to write the first states to.
    name : str, optional
        C: what the functions and files are called; default the name of the folder.
    plans : sequence of dict of input name to shape, optional
        Native, where the file leaves open sizes that are neither time nor batch: those that streams will be fed, each as
        `inputs` of `load` would fix them, as in `[{"input": (None, 512)}, {"input": (None, 256)}]`. A stream of such sizes runs
        at once; others take the time to plan them at their first step.
    force : bool
        Write over what stands at `path`.
    seed : int
        Of the signals on which the result is checked.
    say : callable, optional
        Called with a line before each part.
    **load_options
        precision, isa, inputs, constants, states, time_axis, as in `load`. They are fixed by the conversion: a file that is
        loaded again takes none of them. T and the batch stay open. C: isa is the one set that the sources are for, "scalar"
        (plain C) if not given.

    Returns
    -------
    Report
        What was written, what the result differs by, as text a table.

    Raises
    ------
    ConvertError
        The model cannot be said in this form (names the node and the reason), the result is not what the source gives, or
        `path` cannot be written. No file is left then.
    NotStreamableError
        ONNX and C hold one step, and the model needs its whole input at once.
    ArgumentError
        An argument is of another kind, means nothing for this form, or `path` exists and `force` is not set.
    LstmInferError
        `load` refuses the source.

    Examples
    --------
    >>> import lstm_infer
    >>> from lstm_infer.cli.demo.show import MODEL
    >>> report = lstm_infer.convert(MODEL, "step.onnx", force=True)  # one step, its states in and out, for any runtime
    >>> report.ok, report.facts["opset"]
    (True, '17')
    """
    if say is not None and not callable(say):
        raise ArgumentError(f"say: a function expected, got {given.shown(say)}")
    if not isinstance(force, bool):
        raise ArgumentError(f"force: True or False expected, got {given.shown(force)}")
    tell = say or (lambda line: None)
    goal = _path("path", path)
    form = _form(to, goal)
    given_options = {"chunk": chunk, "batch": batch, "opset": opset, "states_file": states_file, "name": name,
                     "plans": plans}  # fmt: skip
    if "isa" in form.takes:  # what the result is written for, which this machine need not run
        given_options["isa"] = load_options.pop("isa", None)
    options = _options(form, given_options)
    asked = Asked(goal, given.number("seed", seed, 0), options, tell)
    goals = {goal: not form.suffix}
    beside = options.get("states_file")
    if beside is not None:
        if beside.absolute() == goal.absolute():
            raise ArgumentError(f"states_file: {beside} is where the model goes; give another path")
        goals[beside] = False
    _check_goals(goals, force)
    tell("load")
    model, label = _loaded(source, load_options)
    with _beside(goal) as work:
        tell("write")
        written = form.write(model, work, asked)
        tell("check")
        proof = form.prove(model, written, asked)
        report = _report(label, form, goal, written, proof, _held(model, form))
        if not report.ok:
            raise WrongResultError(report)
        _check_goals(goals, force)  # again: others may have written there meanwhile
        _place(written, goal)
    return report


def _path(what: str, value: Any) -> Path:
    try:
        found = Path(os.fsdecode(value)).expanduser()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(f"{what}: a path expected, got {given.shown(value)}") from error
    if "\0" in str(found):
        raise ArgumentError(f"{what}: a path cannot hold a zero byte, got {given.shown(value)}")
    return found


def _text(what: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ArgumentError(f"{what}: a name expected, got {given.shown(value)}")
    return value


def _form(to: object, goal: Path) -> Form:
    """The form that is asked for, or that the suffix says."""
    known = {name: _load_form(module) for name, module in FORMS.items()}
    if to is None:
        for form in known.values():
            if form.suffix and goal.suffix.lower() == form.suffix:
                return form
        suffixes = ", ".join(f"{f.suffix} ({name})" for name, f in known.items() if f.suffix)
        raise ArgumentError(
            f"path: {str(goal)!r} says no form by its suffix; known are {suffixes}; or say to= (--to) one of {list(known)}"
        )
    if not isinstance(to, str) or to not in known:
        raise ArgumentError(f"to: one of {', '.join(map(repr, known))} expected, got {given.shown(to)}")
    return known[to]


def _load_form(module: str) -> Form:
    form: Form = import_module(f".{module}", __package__).FORM
    return form


def _options(form: Form, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What was asked, checked; an option that means nothing to this form is an error."""
    found = dict(form.takes)
    for name, value in asked.items():
        if value is None:
            continue
        if name not in form.takes:
            takes = ", ".join(form.takes) or "none of them"
            raise ArgumentError(f"{name}: means nothing for to={form.name!r}, which takes {takes}")
        found[name] = OPTIONS[name](name, value)
    return found


def _check_goals(goals: Mapping[Path, bool], force: bool) -> None:
    """May these be written, each a folder or not."""
    for goal, folder in goals.items():
        if not goal.absolute().parent.is_dir():
            raise ConvertError(f"{goal}: the folder {goal.parent} is not there")
        if not goal.name or goal.name == "..":
            raise ArgumentError(f"path: {str(goal)!r} names no {'folder' if folder else 'file'}")
        if not os.path.lexists(goal):  # a link that leads nowhere is there
            continue
        if folder != goal.is_dir() or (goal.exists() and not folder and not goal.is_file()):
            kind = "a folder" if goal.is_dir() else "no folder" if folder else "no regular file"
            raise ConvertError(f"{goal}: is {kind}")
        if not force and not (folder and not any(goal.iterdir())):
            raise ArgumentError(f"path: {goal} exists; force=True (--force) writes over it")


@contextmanager
def _beside(goal: Path) -> Iterator[Path]:
    """An empty folder on the disk of the goal, and what the system says while something is written there as an error of ours."""
    try:
        with tempfile.TemporaryDirectory(prefix=f".{goal.name[:32]}.", dir=goal.parent) as work:
            yield Path(work)
    except OSError as error:
        if isinstance(error, LstmInferError):
            raise
        raise ConvertError(f"{goal}: cannot be written: {error.strerror or error}") from error


def _loaded(source: Any, options: Mapping[str, Any]) -> tuple[Model, str]:
    if isinstance(source, Model):
        if options:
            raise ArgumentError(f"{', '.join(options)}: the model is loaded already; give the file, or leave them out")
        return source, source._graph.name or "the model"
    label = os.fspath(source) if isinstance(source, (str, os.PathLike)) else "the model"
    return load(source, **options), os.fsdecode(label)


def _held(model: Model, form: Form) -> tuple[str, ...]:
    """What cannot be fed any more."""
    names = [] if form.feeds_defaults else sorted(model._graph.defaults)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (f"inputs held at the value that the file has for them: {', '.join(names[:SHOWN])}{more}",) if names else ()


def _report(label: str, form: Form, goal: Path, written: Written, proof: Proof, held: tuple[str, ...]) -> Report:
    notes = (*held, *written.notes)
    files: dict[str, int] = {}
    if written.main.is_dir():
        for file in sorted(p for p in written.main.rglob("*") if p.is_file()):
            files[str(goal / file.relative_to(written.main))] = file.stat().st_size
    else:
        files[str(goal)] = written.main.stat().st_size
    files |= {str(target): file.stat().st_size for file, target in written.beside.items()}
    return Report(
        label, form.name, str(goal), files, dict(written.facts), proof.checks, form.allowed, proof.not_checked, notes
    )  # fmt: skip


def _place(written: Written, goal: Path) -> None:
    """Put what was written where it was asked for; of a folder that is there only files of the same names go."""
    for file, target in written.beside.items():
        shutil.move(file, target)  # another disk, maybe
    if not written.main.is_dir() or not goal.exists():
        os.replace(written.main, goal)
        return
    for file in sorted(p for p in written.main.rglob("*") if p.is_file()):
        target = goal / file.relative_to(written.main)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
