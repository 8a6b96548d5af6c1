"""Layers of Keras that an export gets wrong, or says another thing of: said so that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ArgumentError

__all__ = ["folded", "masks", "stateless"]


def stateless(keras: Any, model: Any) -> Any:
    """The model, or where layers are stateful a copy of which none is: it begins at zero, and T and batch are open.

    Raises
    ------
    ArgumentError
        It cannot be copied.
    """
    if not any(getattr(layer, "stateful", False) is True for layer in model._flatten_layers()):
        return model

    def free(layer: Any) -> Any:
        return type(layer).from_config(_off(layer.get_config()))

    def port(said: Any, time: bool) -> Any:
        rest = (None, *said.shape[2:]) if time and len(said.shape) in (2, 3) else tuple(said.shape[1:])
        return keras.Input(batch_shape=(None, *rest), dtype=said.dtype, name=said.name)

    last: Exception | None = None
    for time in (True, False):  # a layer behind may want the T it was built with
        try:
            given = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
            ports = keras.tree.map_structure(lambda said, time=time: port(said, time), given)
            found = keras.models.clone_model(model, input_tensors=ports, clone_function=free)
            found.set_weights(model.get_weights())
        except Exception as error:  # whatever a stranger's layer does
            last = error
        else:
            return found
    raise ArgumentError(
        f"model: has stateful layers, and cannot be built anew without ({type(last).__name__}: {last}); build it with "
        "stateful=False, take over its weights by set_weights(model.get_weights()), and give that: the stream keeps the state"
    ) from last


def _off(config: Any) -> Any:
    if not isinstance(config, dict):
        return config
    return {key: False if key == "stateful" else _off(value) for key, value in config.items()}


@contextmanager
def folded(keras: Any, model: Any) -> Iterator[None]:
    """While inside, TimeDistributed runs its layer once over batch and time together, not once for each step of the example, and
    LayerNormalization has the extent of its axis as a number, which tracing takes for a value."""
    kinds = {keras.layers.TimeDistributed: _once, keras.layers.LayerNormalization: _normalised}
    changed = [(layer, kinds[type(layer)]) for layer in model._flatten_layers() if type(layer) in kinds]
    for layer, change in changed:
        object.__setattr__(layer, "call", change(layer, layer.call))
    try:
        yield
    finally:
        for layer, _ in changed:
            object.__delattr__(layer, "call")


def _once(layer: Any, original: Any) -> Any:
    def call(inputs: Any, training: Any = None, mask: Any = None) -> Any:
        if mask is not None:
            return original(inputs, training=training, mask=mask)
        more = {"training": training} if layer.layer._call_has_training_arg else {}
        made = layer.layer.call(inputs.flatten(0, 1), **more)
        return made.reshape(inputs.shape[0], inputs.shape[1], *made.shape[1:])

    return call


def _normalised(layer: Any, original: Any) -> Any:
    from torch.nn.functional import layer_norm

    def call(inputs: Any) -> Any:
        gamma, beta = (None if one is None else one.value for one in (layer.gamma, layer.beta))
        shapes = {tuple(map(int, one.shape)) for one in (gamma, beta) if one is not None}
        axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
        last = len(axes) == 1 and axes[0] % inputs.dim() == inputs.dim() - 1
        if not last or not shapes or getattr(layer, "rms_scaling", False) or layer.compute_dtype != "float32":
            return original(inputs)
        return layer_norm(inputs, shapes.pop(), gamma, beta, layer.epsilon)

    return call


def halves(model: Any) -> list[str]:
    """The layers that compute in half precision, by name."""
    return [layer.name for layer in model._flatten_layers() if layer.compute_dtype in ("float16", "bfloat16")]


def masks(keras: Any, model: Any) -> list[str]:
    """The layers that say which steps are padding, by name."""
    return [
        layer.name
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Masking) or getattr(layer, "mask_zero", False) is True
    ]
