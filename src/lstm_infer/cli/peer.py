"""The other side of `verify` and `bench`: onnxruntime, and onnx's reference evaluator where that refuses."""

from __future__ import annotations

import faulthandler
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..conversion.stateful.runner import EXACT
from ..drive.inputs import Feeds
from ..errors import LstmInferError
from ..graph.fact import Fact
from ..graph.ir import Graph
from ..model import load
from ..native.container import native
from ..ops import recurrent
from ..ops.registry import is_random
from ..walk.walk import walk

if TYPE_CHECKING:
    import onnx

__all__ = ["MissingPeerError", "Reference", "holds_bytes", "open_session", "seeded", "survives"]

SCALAR = "the scalar kernels, as nobody else reads a native file"


class MissingPeerError(LstmInferError):
    """onnxruntime is not installed."""


def open_session(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto, *, threads: int = 1, exact: bool = False
) -> Any:
    """An onnxruntime session: CPU, sequential, that many threads, none of them spinning, all optimisations; the layout
    left as it is where changing it kills the process. exact: its sums of bytes are what they are on every CPU, which may
    take longer; without, it runs as its users run it.

    Raises
    ------
    MissingPeerError
        onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingPeerError("onnxruntime is not installed; pip install 'lstm_infer[bench]'") from None
    what: Any = source
    if isinstance(what, os.PathLike):
        what = os.fspath(what)
    elif not isinstance(what, (bytes, str)):
        what = what.SerializeToString()
    levels = onnxruntime.GraphOptimizationLevel

    def made(level: Any) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = level
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry(EXACT, str(int(exact)))
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(what, options, providers=["CPUExecutionProvider"])

    for level in (levels.ORT_ENABLE_ALL, levels.ORT_ENABLE_EXTENDED, levels.ORT_DISABLE_ALL):
        if survives(lambda level=level: made(level)):  # type: ignore[misc]
            return made(level)
    raise RuntimeError("the process dies in it")


def holds_bytes(graph: Graph) -> bool:
    """Does it multiply numbers of 8 bits."""
    return any(mark in node.op for node in graph.walk() for mark in ("Integer", "QLinear", "Quantize", "QGemm"))


def survives(call: Callable[[], object]) -> bool:
    """Does a process live through this call: tried in a child, where the system can fork."""
    if not hasattr(os, "fork"):
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks beside threads; the child makes one call and ends
        child = os.fork()
    if child == 0:
        faulthandler.disable()
        try:
            call()
        finally:
            os._exit(0)  # an error is no death
    return not os.WIFSIGNALED(os.waitpid(child, 0)[1])


def seeded(source: Any, seed: int) -> dict[str, Any]:
    """The seed as an option of `load`: a native file has its own."""
    return {"seed": seed} if native(source) is None else {}


class Reference:
    """onnxruntime, and onnx's reference evaluator where that refuses; of a native file plain C, which shares no loop with the
    kernels of any instruction set."""

    def __init__(self, source: Any, graph: Graph, constants: Feeds) -> None:
        self.source, self.graph, self.constants = source, graph, constants
        self.answered: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        """Of onnxruntime."""
        self.trouble = ""
        self._session: Any = None
        self._exact = True
        """Do its sums of bytes not saturate, on any CPU: onnxruntime refuses that of files whose nodes share a zero point."""
        self._empty: dict[tuple[tuple[str, tuple[int, ...]], ...], bool] = {}
        self._evaluator: Any = None
        self._scalar = None if native(source) is None else load(source, isa="scalar")
        self.random = any(map(is_random, graph.walk()))
        if self._scalar is not None:
            return
        for self._exact in (True, False):
            try:
                self._session, self.trouble = open_session(source, exact=self._exact), ""
                break
            except MissingPeerError:
                raise
            except Exception as error:  # its exceptions share no base class
                self.trouble = f"onnxruntime does not load it: {_short(error)}"

    @property
    def counters(self) -> list[Counter[str]]:
        """All that is counted."""
        return [self.answered, self.refused, self.refusals]

    def run(self, feeds: Feeds) -> Feeds | None:
        """Outputs by name; None where nobody can say."""
        if self.random:
            self.refused["random operators: two sides draw different numbers"] += 1
            return None
        if self._scalar is not None:
            self.answered[SCALAR] += 1
            return self._scalar.run(feeds)
        reason = self.trouble
        if not self._exact and self._session is not None and (sure := self._reference(feeds)) is not None:
            self.answered["onnx.reference"] += 1
            return sure
        if self._session is not None and self._no_step(feeds):
            reason = "onnxruntime aborts where a recurrence has no step to run over"
        elif self._session is not None:
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
        else:
            self.answered["onnx.reference"] += 1
        return found_by_reference

    def _no_step(self, feeds: Feeds) -> bool:
        """Has a recurrence no step to run over at these sizes."""
        shapes = tuple((name, value.shape) for name, value in sorted(feeds.items()))
        if shapes not in self._empty:
            given = {name: Fact(value.shape, value.dtype) for name, value in feeds.items()}
            try:
                walked = walk(self.graph, given | {name: Fact.of(value) for name, value in self.constants.items()})
            except LstmInferError:
                return False
            self._empty[shapes] = any(
                not walked.facts[node.inputs[0]].shape[recurrent.axes(node)[0]]
                for node in walked.nodes
                if recurrent.is_recurrent(node)
            )
        return self._empty[shapes]

    def doubts(self, feeds: Feeds, sound: Feeds) -> bool:
        """Does onnx's evaluator refuse these feeds, though it runs others: onnxruntime makes up a value where a window
        does not fit, say."""
        return self._scalar is None and self._reference(feeds) is None and self._reference(sound) is not None

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
    text = re.sub(r"\{[-\d, ]*\}|\d+", "…", re.sub(r"^/\S+ |^(\[ONNXRuntimeError\] : )?\d+ : ", "", text))
    return text if len(text) <= 160 else text[:157] + "..."
