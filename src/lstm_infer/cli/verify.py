"""Side by side with onnxruntime: is what the engine gives what the file says, whole and in pieces.

onnxruntime is imported when `verify` is called. Where it refuses a model or its feeds, onnx's own reference evaluator
answers instead, as long as the model's recurrent operators hold nothing that the evaluator is known to ignore.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

import lstm_infer

from ..drive.compare import ABSOLUTE, RELATIVE, compare
from ..model import Model
from ..native.container import native
from .checks import Check
from .peer import MissingPeerError, open_session, seeded
from .report import VerifyReport, VerifyRow

if TYPE_CHECKING:
    from typing import Unpack

    import onnx

    from ..typing import CheckOptions

__all__ = [
    "ABSOLUTE", "RELATIVE", "MissingPeerError", "VerifyReport", "VerifyRow", "compare", "open_session", "verify",
    "versions",
]  # fmt: skip


def verify(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto,
    *,
    model: Model | None = None,
    seed: int = 0,
    n_seeds: int = 3,
    say: Callable[[str], None] | None = None,
    **options: Unpack[CheckOptions],
) -> VerifyReport:
    """Compare the engine with onnxruntime on random inputs.

    Parameters
    ----------
    source : path, bytes or onnx.ModelProto
        What both sides load. Of a native file: all its checksums, and beside the scalar kernels.
    model : Model, optional
        What `load` made of it, to be checked in place of a fresh one; the options of `load` are then not used.
    seed : int
        First of `n_seeds` seeds.
    say : callable, optional
        Called with a line before each part.
    **options
        isa, inputs, constants, states, time_axis, as in `load`.

    Returns
    -------
    VerifyReport
        Errors of the engine where the peer has an answer are rows that are not ok.

    Raises
    ------
    MissingPeerError
        onnxruntime is not installed.
    LstmInferError
        The engine refuses the model, or its input sizes are open and unknown.
    """
    given, say = model, say or (lambda line: None)
    file = native(source)
    if file is not None:
        say(f"checksums of {file.check()} parts")
    model = given or lstm_infer.load(source, **seeded(source, seed), **options)
    found = Check(source, model, seed, say).report(n_seeds)
    found.versions = versions()
    if given is None and found.allowed and not found.ok and file is None:
        say("the same with the weights as they are in the file")
        exact: CheckOptions = {**options, "precision": "f32"}
        _excuse(found, lambda: verify(source, seed=seed, n_seeds=n_seeds, **exact))
    return found


def _excuse(found: VerifyReport, exact: Callable[[], VerifyReport]) -> None:
    """Errors beyond what rounding usually makes are none of the engine's where the same weights in f32 are right."""
    wrong = [row for row in found.rows if not row.ok]
    if all(row.case != "split" and not row.detail and np.isfinite(row.worst_excess) for row in wrong) and exact().ok:
        found.coarse = [f"{row.output} ({row.case}): mean error {row.relative:.1%} of its range" for row in wrong]
        for row in wrong:
            row.ok = True
        found.ok = True


def versions() -> dict[str, str]:
    """Of what takes part."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"lstm_infer": lstm_infer.__version__, "python": platform.python_version(), "numpy": np.__version__}
    for name in ("onnx", "onnxruntime"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
