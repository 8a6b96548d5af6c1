"""onnxruntime beside us in the demo: imported when called, and only where it is installed.

The demo's model keeps its state inside, so onnxruntime would start from silence at every call. To step it, the
graph is rewritten in memory as one does by hand: `initial_h` and `initial_c` become inputs of the graph, `Y_h` and
`Y_c` outputs, and the caller carries them from call to call.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["Peer"]


class Peer:
    """The model in onnxruntime, one thread, with its state carried by hand. Raises ImportError where it is absent."""

    def __init__(self, path: str | Path) -> None:
        import onnxruntime

        self.version = str(onnxruntime.__version__)
        model, n_units = _open_state(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._h: NDArray[np.float32] = np.zeros((1, 1, n_units), np.float32)
        self._c: NDArray[np.float32] = np.zeros((1, 1, n_units), np.float32)

    def run(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Feed x [T, 1, 1], return y [T, 1, 1]; the state carries on from the last call."""
        y, self._h, self._c = self._session.run(("y", "h_next", "c_next"), {"x": x, "h": self._h, "c": self._c})
        result: NDArray[np.float32] = y
        return result


def _open_state(path: str | Path) -> tuple[bytes, int]:
    """The model with the state of its one LSTM as inputs `h`, `c` and outputs `h_next`, `c_next`; and its units."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    lstms = [node for node in graph.node if node.op_type == "LSTM"]
    if len(lstms) != 1:
        raise ValueError(f"{path}: expected one LSTM, got {len(lstms)}")
    node = lstms[0]
    n_units = next(a.i for a in node.attribute if a.name == "hidden_size")
    node.input[:] = [*node.input, "", "", "", ""][:8]  # X W R bias sequence_lens initial_h initial_c P
    node.output[:] = [*node.output, "", ""][:3]  # Y Y_h Y_c
    renamed = {node.output[1], node.output[2]} - {""}
    if any(name in renamed for other in graph.node for name in other.input):
        raise ValueError(f"{path}: the LSTM's last state is read inside the graph")
    node.input[5], node.input[6] = "h", "c"
    node.output[1], node.output[2] = "h_next", "c_next"
    state = [1, "B", n_units]
    for name in ("h", "c"):
        graph.input.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, state))
        graph.output.append(onnx.helper.make_tensor_value_info(name + "_next", onnx.TensorProto.FLOAT, state))
    onnx.checker.check_model(model)
    return model.SerializeToString(), n_units
