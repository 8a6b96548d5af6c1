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

__all__ = ["LstmInferBackend", "LstmInferRep", "is_compatible", "prepare", "run_model", "run_node", "supports_device"]


class LstmInferRep(BackendRep):
    """A loaded model as the backend interface wants it: arrays in, arrays out, in the graph's order."""

    def __init__(self, model: lstm_infer.Model, feeds: Sequence[str]) -> None:
        self._model = model
        self._feeds = list(feeds)

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
            arrays = [inputs] if isinstance(inputs, (np.ndarray, np.generic)) else list(inputs)
            if len(arrays) > len(self._feeds):
                raise lstm_infer.FeedError(
                    f"the model takes {len(self._feeds)} inputs ({', '.join(self._feeds)}), got {len(arrays)}"
                )
            feeds = dict(zip(self._feeds, arrays, strict=False))
        results = self._model.run(feeds)
        return namedtupledict("Outputs", list(results))(*results.values())


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
            raise lstm_infer.LstmInferError(f"device {device!r}: only 'CPU' is supported")
        loaded = lstm_infer.load(model, **kwargs)
        return LstmInferRep(loaded, [port.name for port in loaded.inputs])

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
        names = [name for name in node.input if name]
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            feeds = dict(zip(names, map(np.asarray, inputs), strict=True))
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
        return device == "CPU"


is_compatible = LstmInferBackend.is_compatible
prepare = LstmInferBackend.prepare
run_model = LstmInferBackend.run_model
run_node = LstmInferBackend.run_node
supports_device = LstmInferBackend.supports_device
