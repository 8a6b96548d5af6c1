"""An ONNX backend (onnx.backend.base) over `Model.run`, so that ONNX's own test suite can judge the engine.

    from lstm_infer import onnx_backend
    outputs = onnx_backend.run_model(model, [x])

Source: onnx `docs/ImplementingAnOnnxBackend.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

import lstm_infer
from lstm_infer import given
from lstm_infer.errors import ArgumentError, OpenSizeError

__all__ = ["LstmInferBackend", "LstmInferRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]


class LstmInferRep(BackendRep):
    """A loaded model as the backend interface wants it: arrays in, arrays out, in the graph's order.

    Shapes, axes and other sizes must be known when a plan is made. Where a graph has them as inputs, each run loads it
    again with these inputs as constants.
    """

    def __init__(self, proto: onnx.ModelProto, options: Mapping[str, Any]) -> None:
        self._proto, self._options = proto, dict(options)
        self._model: lstm_infer.Model | None = None
        try:
            self._model = lstm_infer.load(proto, **options)
        except OpenSizeError:
            made = {tensor.name for tensor in proto.graph.initializer} | set(options.get("constants") or {})
            self._feeds = [port.name for port in proto.graph.input if port.name not in made]
        else:
            self._feeds = [port.name for port in self._model.inputs]

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Run the whole graph.

        Parameters
        ----------
        inputs : array, sequence of arrays, or dict by input name
            A sequence holds the inputs in the graph's order; trailing ones with a default may be left out.

        Raises
        ------
        FeedError
            Too many inputs. Also whatever `Model.run` raises.
        """
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            arrays = [inputs] if isinstance(inputs, (np.ndarray, np.generic)) else list(given.items("inputs", inputs))
            if len(arrays) > len(self._feeds):
                raise lstm_infer.FeedError(
                    f"the model takes {len(self._feeds)} inputs ({', '.join(self._feeds)}), got {len(arrays)}"
                )
            feeds = dict(zip(self._feeds, arrays, strict=False))
        results = self._run_at(feeds) if self._model is None else self._model.run(feeds)
        return namedtupledict("Outputs", list(results))(*results.values())

    def _run_at(self, feeds: dict[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """With what may be sizes as constants: rows of integers, else all that is fed."""
        arrays = {name: given.array(f"input {name!r}", value) for name, value in feeds.items()}
        rows = {name for name, value in arrays.items() if value.ndim < 2 and value.dtype.kind in "iu"}
        try:
            return self._with_constants(arrays, rows)
        except OpenSizeError:
            return self._with_constants(arrays, set(arrays))

    def _with_constants(self, arrays: dict[str, Any], names: set[str]) -> dict[str, np.ndarray[Any, Any]]:
        given = dict(self._options.get("constants") or {}) | {name: arrays[name] for name in names}
        model = lstm_infer.load(self._proto, **{**self._options, "constants": given})
        return dict(model.run({name: value for name, value in arrays.items() if name not in names}))


class LstmInferBackend(Backend):
    """The class behind the functions of this module."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the model loads here."""
        try:
            cls.prepare(model, device, **kwargs)
        except lstm_infer.LstmInferError:
            return False
        return True

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> LstmInferRep:
        """Load a model; keyword arguments go to `lstm_infer.load`.

        Raises
        ------
        LstmInferError
            The device is not the CPU, or the model cannot be run.
        """
        if not cls.supports_device(device):
            raise ArgumentError(f"device {given.shown(device)}: only 'CPU' is supported")
        if not isinstance(model, onnx.ModelProto):
            raise ArgumentError(f"model: an onnx.ModelProto expected, got {given.shown(model)}")
        return LstmInferRep(model, kwargs)

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> tuple[Any, ...]:
        """Load a model and run it once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Wrap one node into a model and run it.

        Parameters
        ----------
        inputs : sequence of arrays, or dict by name
            In the order of the node's inputs, absent optional ones left out.
        outputs_info : sequence of (dtype, shape), optional
            One per output that the node names. Without it, every output is taken to have the first input's dtype.
        opset_version : int, optional
            Of the default domain; the newest that the installed onnx knows unless given.
        """
        opset = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        if not isinstance(node, onnx.NodeProto):
            raise ArgumentError(f"node: an onnx.NodeProto expected, got {given.shown(node)}")
        names = [name for name in node.input if name]
        if not isinstance(inputs, Mapping):
            arrays = given.items("inputs", inputs)
            if len(arrays) != len(names):
                raise lstm_infer.FeedError(f"{node.op_type} is given {len(names)} inputs by name, got {len(arrays)}")
            inputs = dict(zip(names, arrays, strict=True))
        feeds = {name: given.array(f"input {name!r}", value) for name, value in given.named("inputs", inputs).items()}
        made = [name for name in node.output if name]
        first = next(iter(feeds.values())).dtype if feeds else np.dtype(np.float32)
        dtypes = [np.dtype(dtype) for dtype, _ in outputs_info] if outputs_info else [first] * len(made)
        to_onnx = onnx.helper.np_dtype_to_tensor_dtype
        graph = onnx.helper.make_graph(
            [node],
            "node",
            [onnx.helper.make_tensor_value_info(n, to_onnx(v.dtype), v.shape) for n, v in feeds.items()],
            [onnx.helper.make_tensor_value_info(n, to_onnx(d), None) for n, d in zip(made, dtypes, strict=True)],
        )
        opsets = [onnx.helper.make_opsetid(node.domain, 1)] if node.domain else []
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset), *opsets])
        return cls.prepare(model, device, **kwargs).run(feeds)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether the device is the CPU."""
        return isinstance(device, str) and device == "CPU"


is_compatible = LstmInferBackend.is_compatible
prepare = LstmInferBackend.prepare
run_model = LstmInferBackend.run_model
run_node = LstmInferBackend.run_node
supports_device = LstmInferBackend.supports_device
