"""from_keras: a Keras model to a Model, without a file between."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import given
from ..errors import ArgumentError, ConvertError
from ..imported import is_of
from .exported import Framework, check_names, export_sizes, first_right
from .keras_layers import folded, halves, masks, stateless
from .open_axes import Arrays, Axes

if TYPE_CHECKING:
    from typing import Unpack

    from ..model import Model
    from ..typing import ExportOptions

__all__ = ["from_keras"]


def from_keras(
    model: object,
    *,
    states: Mapping[str, str] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    **load_options: Unpack[ExportOptions],
) -> Model:
    """Load a Keras 3 model.

    It is exported in memory: with the torch backend as `from_torch` does it, with others by `Model.export`, which needs
    tf2onnx. Axes are open where the model's inputs say None. What is loaded is compared with the model itself, at several sizes.
    Stateful layers begin at zero, with T and batch open: the stream keeps their state. The model stays as it is.

    Parameters
    ----------
    model : keras.Model
        Built: it knows the shapes of its inputs.
    states : dict of input name to output name, optional
        Says which output holds the next value of which input, in place of what is found.
    input_names, output_names : names, optional
        With the torch backend. None: the names of the model's inputs, and of its output layers.
    **load_options
        precision, isa, constants, time_axis, seed, as in `load`.

    Returns
    -------
    Model

    Raises
    ------
    ConvertError
        keras is not installed, the model does not run, or no export gives what it gives.
    ArgumentError
        Something is of another kind, or the model is not built.
    LstmInferError
        As `load`.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            import keras
    except ImportError as error:
        if (error.name or "keras") != "keras":  # it is there, but its backend is not
            raise ConvertError(
                f"from_keras: Keras cannot be imported: {error}; it runs on PyTorch where os.environ['KERAS_BACKEND'] = 'torch' "
                "is set before its first import"
            ) from error
        raise ConvertError("from_keras needs Keras 3, which is not installed; pip install keras") from error
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model: a keras.Model expected, got {given.shown(model)}{_instead(keras, model)}")
    one = _Keras(keras, model)
    options = {**load_options, "states": states}
    try:
        return _exported(one, input_names, output_names, options)
    except ConvertError as error:
        masking, rounding = masks(keras, one.model), halves(one.model)
        if rounding and not masking:
            raise ConvertError(
                f"{error}; layers such as {rounding[-1]!r} compute in half precision and round at every step, this engine in "
                "float32: build the model under keras.config.set_dtype_policy('float32') and take over its weights "
                "(set_weights(model.get_weights()))"
            ) from error
        if not masking:
            raise
        raise ConvertError(
            f"{error}; the layers {masking} mask padding, which is seldom exported for every length: build the model without "
            "(mask_zero=False, no Masking), take over its weights, and feed it no padding"
        ) from error


def _instead(keras: Any, model: Any) -> str:
    """What makes a model of what was given instead of one."""
    if isinstance(model, (str, os.PathLike)):
        weights = str(model).endswith(".weights.h5")
        load = "build the model, and model.load_weights(path)" if weights else "keras.saving.load_model(path)"
        return f"; load it first: {load}"
    if isinstance(model, keras.layers.Layer):
        return "; wrap it: keras.Sequential([keras.Input((None, features)), layer])"
    if is_of("torch.nn", "Module", model):
        return "; lstm_infer.from_torch takes it, with an example"
    return ""


def _exported(
    one: _Keras, input_names: Sequence[str] | None, output_names: Sequence[str] | None, options: Mapping[str, Any]
) -> Model:
    if one.keras.backend.backend() == "torch":
        return _through_torch(one, input_names, output_names, options)
    if input_names is not None or output_names is not None:
        raise ArgumentError("input_names, output_names: with this backend Keras names inputs and outputs itself")
    arrays = one.example()
    return first_right(Framework("model", one.eager, {"Model.export": one.exported}, arrays, one.groups), options)


class _Keras:
    """A model, and what its inputs say."""

    def __init__(self, keras: Any, model: Any) -> None:
        self.keras, self.model = keras, model
        try:
            ports, outputs = list(model.inputs), list(model.outputs)
        except (AttributeError, ValueError, TypeError) as error:
            raise ArgumentError("model: is not built; call it once on an example, or give it keras.Input") from error
        if not ports:
            raise ArgumentError("model: has no inputs that are known; give it keras.Input")
        self.model = stateless(keras, model)
        ports = list(self.model.inputs)
        self.shapes = [tuple(port.shape) for port in ports]
        self.dtypes = [np.dtype(keras.backend.standardize_dtype(port.dtype)) for port in ports]
        self.names = [port.name for port in ports]
        self.output_names = _made_by(outputs)
        self.words = _vocabularies(self.model)
        self.groups = self._groups()

    def _groups(self) -> list[Axes]:
        """The batch of all inputs, and other open axes, those at one place together."""
        found: dict[int, list[tuple[int, int]]] = {}
        for index, shape in enumerate(self.shapes):
            for axis, n in enumerate(shape):
                if n is None:
                    found.setdefault(axis, []).append((index, axis))
        return [tuple(group) for group in found.values()]

    def example(self) -> Arrays:
        """Numbers at sizes that no two open axes share."""
        rng = np.random.default_rng(0)
        one: Arrays = [np.zeros([1 if n is None else n for n in shape], np.float32) for shape in self.shapes]
        sizes = dict(zip(range(len(self.groups)), export_sizes(one, self.groups), strict=True))
        for group, size in sizes.items():  # their extents are all 1 so far: told apart here
            sizes[group] = size + 2 * group
        extent = {axis: sizes[n] for n, group in enumerate(self.groups) for axis in group}
        made: Arrays = []
        for index, (shape, dtype) in enumerate(zip(self.shapes, self.dtypes, strict=True)):
            full = tuple(extent.get((index, axis), n) for axis, n in enumerate(shape))
            if dtype.kind == "f" and not self.words:
                made.append(rng.uniform(-1, 1, full).astype(dtype))
            else:
                made.append(rng.integers(0, self.words or 2, full).astype(dtype))
        return made

    def eager(self, arrays: Arrays) -> Arrays:
        """What the model gives, outputs in order."""
        tensors = [self.keras.ops.convert_to_tensor(array) for array in arrays]
        results = self.model(tensors if len(tensors) > 1 else tensors[0], training=False)
        return [np.asarray(self.keras.ops.convert_to_numpy(r)) for r in self.keras.tree.flatten(results)]

    def exported(self) -> bytes:
        """What Model.export writes."""
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(folder) / "model.onnx"
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                self.model.export(str(path), format="onnx", verbose=False)
            return path.read_bytes()


def _made_by(outputs: Sequence[Any]) -> list[str]:
    """The layers that make the outputs, with _0, _1 where one makes several. Tensors have names that count all in a process."""
    layers = [output._keras_history.operation.name for output in outputs]
    names = [
        name if layers.count(name) == 1 else f"{name}_{layers[:index].count(name)}" for index, name in enumerate(layers)
    ]
    return names if len(set(names)) == len(names) else [output.name for output in outputs]


def _vocabularies(model: Any) -> int:
    """The smallest table that a layer looks words up in: ids are drawn below it; 0 where none does."""
    sizes = [
        layer.input_dim
        for layer in model._flatten_layers()
        if hasattr(layer, "input_dim") and hasattr(layer, "embeddings")
    ]
    return min(sizes, default=0)


def _through_torch(
    one: _Keras, input_names: Sequence[str] | None, output_names: Sequence[str] | None, options: Mapping[str, Any]
) -> Model:
    """A Keras model of the torch backend is a module; its layers loop over time in Python, which tracing writes out."""
    import torch

    from .from_torch import from_torch

    names = one.names if input_names is None else given.names("input_names", input_names)
    check_names("input_names", names, len(one.shapes))
    outputs = list(one.output_names) if output_names is None else list(given.names("output_names", output_names))
    outputs = [f"{name}_out" if name in names else name for name in outputs]
    several = len(one.shapes) > 1

    class Called(torch.nn.Module):
        """The model with its inputs in order. It is not copied: nothing in it is changed."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = one.model

        def train(self, mode: bool = True) -> Called:
            return self  # Keras is told in each call

        def __deepcopy__(self, memo: dict[int, Any]) -> Called:
            return self

        def forward(self, *tensors: Any) -> Any:
            given = list(tensors) if several else tensors[0]
            if not (torch._C._get_tracing_state() is not None or torch.compiler.is_compiling()):
                return tuple(one.keras.tree.flatten(self.inner(given, training=False)))
            with folded(one.keras, self.inner):
                return tuple(one.keras.tree.flatten(self.inner(given, training=False)))

    rank = max(len(shape) for shape in one.shapes)
    dims = [{axis: f"size_{axis}" for axis in range(rank) if axis < len(s) and s[axis] is None} for s in one.shapes]
    example = tuple(torch.from_numpy(array) for array in one.example())
    return from_torch(
        Called(), example, dynamic={"tensors": tuple(dims)}, input_names=names, output_names=outputs, **options
    )  # fmt: skip
