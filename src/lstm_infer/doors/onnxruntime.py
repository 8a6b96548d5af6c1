"""InferenceSession: the shape of onnxruntime's, so that moving over is one changed import."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .. import given
from ..errors import DtypeError, ShapeError
from ..graph.ir import Port
from ..model import load

if TYPE_CHECKING:
    import onnx

__all__ = ["InferenceSession", "NodeArg"]

_TYPES = {"float32": "float", "float64": "double", "bool": "bool"}


class NodeArg:
    """Name, type and declared shape of an input or output, as onnxruntime shows them."""

    def __init__(self, port: Port) -> None:
        self.name = port.name
        kind = port.dtype.name
        self.type = f"tensor({_TYPES.get(kind, kind)})"
        self.shape: list[int | str | None] = list(port.shape or ())

    def __repr__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape!r})"


class InferenceSession:
    """Runs a model as onnxruntime.InferenceSession does: stateless, the whole graph in every call.

    Parameters
    ----------
    path_or_bytes : path, bytes or onnx.ModelProto
    sess_options, providers, provider_options
        Accepted for the sake of existing code and not used: one thread, this package's kernels.
    **options
        Passed to `lstm_infer.load`.
    """

    def __init__(
        self,
        path_or_bytes: str | os.PathLike[str] | bytes | onnx.ModelProto,
        sess_options: object = None,
        providers: Sequence[object] | None = None,
        provider_options: Sequence[object] | None = None,
        **options: Any,
    ) -> None:
        self.model = load(path_or_bytes, **options)
        self._graph = self.model._graph

    def get_inputs(self) -> list[NodeArg]:
        """The inputs as declared."""
        return [NodeArg(port) for port in self._graph.inputs if port.name not in self.model._options.constants]

    def get_outputs(self) -> list[NodeArg]:
        """The outputs as declared."""
        return [NodeArg(port) for port in self._graph.outputs]

    def get_providers(self) -> list[str]:
        """One name, for code that asks."""
        return ["CPUExecutionProvider"]

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: object = None
    ) -> list[NDArray[Any]]:
        """Run once; returns the outputs in order.

        Raises
        ------
        FeedError, DtypeError, ShapeError
            As `Model.run`. Declared sizes are held to, as onnxruntime does for inputs.
        """
        feeds = {name: given.array(f"input {name!r}", v) for name, v in given.named("input_feed", input_feed).items()}
        for port in self._graph.inputs:
            if port.name in feeds and port.shape is not None:
                self._check(port, feeds[port.name])
        names = () if output_names is None else given.names("output_names", output_names)
        return list(self.model.run(feeds, names or None).values())

    @staticmethod
    def _check(port: Port, array: NDArray[Any]) -> None:
        assert port.shape is not None
        if array.dtype != port.dtype:
            raise DtypeError(f"input {port.name!r} takes {port.dtype}, got {array.dtype}; convert it with astype")
        if len(port.shape) != array.ndim or any(
            isinstance(n, int) and n != m for n, m in zip(port.shape, array.shape, strict=True)
        ):
            raise ShapeError(f"input {port.name!r} is declared as {list(port.shape)}, got {list(array.shape)}")
