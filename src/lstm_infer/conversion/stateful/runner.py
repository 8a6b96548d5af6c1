"""Who runs an ONNX file here: onnxruntime, or else the reference evaluator of onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...errors import ConvertError

__all__ = ["EXACT", "Run", "runner"]

EXACT = "session.x64quantprecision"
"""With it onnxruntime's sums of unsigned times signed bytes are exact on an x86 CPU without VNNI, where they saturate at 16
bits; but there it then refuses nodes that share a zero point."""

Feeds = Mapping[str, NDArray[Any]]
Run = Callable[[Feeds], dict[str, NDArray[Any]]]


def runner(path: Path) -> tuple[Run, str]:
    """A function from inputs to outputs by name, and who runs it.

    Raises
    ------
    ConvertError
        onnxruntime is there and refuses the file.
    """
    try:
        import onnxruntime
    except ImportError:
        return _evaluator(path)

    def session(exact: bool) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4 if exact else 3
        options.add_session_config_entry(EXACT, str(int(exact)))
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    try:
        found = session(True)
    except Exception:  # its errors have no common base
        try:
            found = session(False)
        except Exception as error:
            raise ConvertError(f"onnxruntime {onnxruntime.__version__} refuses the file: {error}") from error
        with suppress(Exception):  # it lacks some versions of operators
            return _evaluator(path)
    names = [output.name for output in found.get_outputs()]

    def run(feeds: Feeds) -> dict[str, NDArray[Any]]:
        return dict(zip(names, found.run(names, dict(feeds)), strict=True))

    return run, f"onnxruntime {onnxruntime.__version__}"


def _evaluator(path: Path) -> tuple[Run, str]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    evaluator: Any = ReferenceEvaluator(str(path))
    names = list(evaluator.output_names)

    def run(feeds: Feeds) -> dict[str, NDArray[Any]]:
        try:
            return dict(zip(names, evaluator.run(names, dict(feeds)), strict=True))
        except Exception as error:  # of whatever kind an operator raises
            raise ConvertError(
                f"the file cannot be checked: the reference evaluator of onnx does not run it ({error}); install onnxruntime"
            ) from error

    return run, f"the reference evaluator of onnx {onnx.__version__} (pip install onnxruntime for a faster one)"
