"""The other side of `verify` and `bench`: onnxruntime, and onnx's reference evaluator where that refuses."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import LstmInferError
from ..graph.ir import Graph
from ..ops import recurrent
from ..ops.registry import is_random
from .inputs import Feeds

if TYPE_CHECKING:
    import onnx

__all__ = ["MissingPeerError", "Reference", "open_session"]


class MissingPeerError(LstmInferError):
    """onnxruntime is not installed."""


def open_session(source: str | os.PathLike[str] | bytes | onnx.ModelProto, *, threads: int = 1) -> Any:
    """An onnxruntime session: CPU, sequential, that many threads, none of them spinning, all optimisations.

    Raises
    ------
    MissingPeerError
        onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingPeerError("onnxruntime is not installed; pip install 'lstm_infer[bench]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    what: Any = source
    if isinstance(what, os.PathLike):
        what = os.fspath(what)
    elif not isinstance(what, (bytes, str)):
        what = what.SerializeToString()
    return onnxruntime.InferenceSession(what, options, providers=["CPUExecutionProvider"])


class Reference:
    """onnxruntime, and onnx's reference evaluator where that refuses."""

    def __init__(self, source: Any, graph: Graph, constants: Feeds) -> None:
        self.source, self.graph, self.constants = source, graph, constants
        self.answered: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        """Of onnxruntime."""
        self.trouble = ""
        self._session: Any = None
        self._evaluator: Any = None
        try:
            self._session = open_session(source)
        except MissingPeerError:
            raise
        except Exception as error:  # its exceptions share no base class
            self.trouble = f"onnxruntime does not load it: {_short(error)}"
        self.random = any(map(is_random, graph.walk()))

    def run(self, feeds: Feeds) -> Feeds | None:
        """Outputs by name; None where nobody can say."""
        if self.random:
            self.refused["random operators: two sides draw different numbers"] += 1
            return None
        reason = self.trouble
        if self._session is not None:
            import onnxruntime

            quiet = onnxruntime.RunOptions()
            quiet.log_severity_level = 4
            known = {i.name for i in self._session.get_inputs()}
            names = [o.name for o in self._session.get_outputs()]
            fed = {name: value for name, value in {**self.constants, **feeds}.items() if name in known}
            try:
                found = dict(zip(names, self._session.run(None, fed, quiet), strict=True))
            except Exception as error:
                reason = f"onnxruntime refuses: {_short(error)}"
            else:
                self.answered["onnxruntime"] += 1
                return found
        self.refusals[reason] += 1
        found_by_reference = self._reference(feeds)
        if found_by_reference is None:
            self.refused[reason] += 1
        return found_by_reference

    def _declared(self, feeds: Feeds) -> bool:
        """Have all feeds the sizes that the file declares: at others onnx's evaluator says what the file does not mean,
        such as the first steps of a loop that was unrolled."""
        shapes = {port.name: port.shape or () for port in self.graph.inputs}
        return all(
            not isinstance(n, int) or n == size
            for name, value in feeds.items()
            for n, size in zip(shapes.get(name, ()), value.shape, strict=False)
        )

    def _reference(self, feeds: Feeds) -> Feeds | None:
        if not all(_reference_can(node) for node in self.graph.walk()) or not self._declared(feeds):
            return None
        try:
            if self._evaluator is None:
                from onnx.reference import ReferenceEvaluator

                self._evaluator = ReferenceEvaluator(
                    self.source if not isinstance(self.source, os.PathLike) else str(self.source)
                )
            with np.errstate(all="ignore"):
                results = self._evaluator.run(None, {**self.constants, **feeds})
            found = {n: np.asarray(r) for n, r in zip(self._evaluator.output_names, results, strict=True)}
        except Exception:  # whatever it lacks
            return None
        self.answered["onnx.reference"] += 1
        return found


def _reference_can(node: Any) -> bool:
    """onnx's evaluator ignores sequence_lens, clip, input_forget and activations, without a word."""
    if not recurrent.is_recurrent(node):
        return True
    if len(node.inputs) > 4 and node.inputs[4]:
        return False
    plain = [name.lower() for name in recurrent.defaults(node)]
    given = [str(a).lower() for a in node.attrs.get("activations", [])]
    return given in ([], plain, plain * 2) and not node.attrs.get("clip") and not node.attrs.get("input_forget")


def _short(error: Exception) -> str:
    """The telling part of onnxruntime's message, on one line, without what changes from feed to feed."""
    text = " ".join(str(error).split())
    for mark in ("Status Message: ", "] : ", " was false. "):
        text = text.rsplit(mark, 1)[-1]
    text = re.sub(r"\{[-\d, ]*\}|\d+", "#", re.sub(r"^/\S+ |^\[ONNXRuntimeError\] : \d+ : ", "", text))
    return text if len(text) <= 160 else text[:157] + "..."
