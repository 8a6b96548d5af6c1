"""from_torch: a module to a Model, without a file between."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import given
from ..errors import ArgumentError, ConvertError, LstmInferError
from ..imported import is_of
from .exported import DECIDES, Framework, check_names, export_sizes, first_right, streams
from .open_axes import Arrays, Axes, Shapes, find_groups, find_lasting, grown

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Unpack

    from ..model import Model
    from ..typing import ExportOptions

__all__ = ["from_torch"]

OPSET = 17


def from_torch(
    module: object,
    example_inputs: object,
    *,
    states: Mapping[str, str] | None = None,
    dynamic: object = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    **load_options: Unpack[ExportOptions],
) -> Model:
    """Load a PyTorch module.

    It is exported in memory by torch's own exporters, one after the other (tracing, TorchScript, torch.export), until one
    gives what the module gives itself, and rather one that streams: at the sizes of the example, at others and at one signal and
    step, and with numbers that are larger, smaller, of the other sign and 0. A copy is exported, in evaluation mode; the module
    stays as it is.

    Parameters
    ----------
    module : torch.nn.Module
    example_inputs : tensor, tuple of them, or dict by the names of `forward`
        Of any size that the module runs at; tensors may be nested in tuples, lists and dicts. What is no tensor is fixed.
    states : dict of input name to output name, optional
        Says which output holds the next value of which input, in place of what is found.
    dynamic : dict or tuple, optional
        Which axes are open, as `dynamic_shapes` of torch.export says it. None: every axis at which the module itself runs at
        another size, so T and batch of every input that has them.
    input_names : names, optional
        Of the tensors in order. None: those of `forward`'s parameters, with `_0`, `_1` where one holds several.
    output_names : names, optional
        None: the keys of a dict, or output, or output_0, output_1.
    **load_options
        precision, isa, constants, time_axis, seed, as in `load`.

    Returns
    -------
    Model

    Raises
    ------
    ConvertError
        torch is not installed, the module does not run on the example, or no export gives what it gives.
    ArgumentError
        Something is of another kind.
    LstmInferError
        As `load`.
    """
    torch = _torch()
    if not isinstance(module, torch.nn.Module):
        raise ArgumentError(f"module: a torch.nn.Module expected, got {given.shown(module)}{_instead(torch, module)}")
    one = _Example(torch, _copied(torch, module), example_inputs)
    names = one.names if input_names is None else given.names("input_names", input_names)
    check_names("input_names", names, len(one.arrays))
    found = one.output_names()
    outputs = found if output_names is None else given.names("output_names", output_names)
    check_names("output_names", outputs, len(found))
    exports = _Exports(one, list(names), list(outputs))
    options = {**load_options, "states": states}
    if dynamic is not None:
        return exports.first_right(one.said(dynamic), options, grow=False)
    groups = find_groups(one.shapes, one.arrays)
    try:
        model = exports.first_right(groups, options)
    except ConvertError as error:  # some modules run at sizes that mean nothing, or that no exporter leaves open
        if DECIDES in str(error):  # which no choice of sizes changes
            raise
        left = [group for group in groups if exports.opens(group)]
        if left == groups:
            raise
        groups, model = left, exports.first_right(left, options)
    lasting = groups if streams(model) else find_lasting(one.shapes, one.arrays, groups)
    if lasting != groups:  # a cache has its length, and takes so many frames at once
        with contextlib.suppress(LstmInferError):
            steady = exports.first_right(lasting, options)
            model = steady if streams(steady) else model
    return model


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ConvertError("from_torch needs PyTorch, which is not installed; pip install torch onnxscript") from error
    return torch


def _instead(torch: Any, module: Any) -> str:
    """What makes a module of what was given instead of one."""
    if isinstance(module, type):
        return f"; make one: {module.__name__}(...)"
    if isinstance(module, Mapping):
        return "; these are weights alone: make the module, and module.load_state_dict(...) them"
    if isinstance(module, (str, os.PathLike)):
        return "; load it first: torch.load(path, weights_only=False) gives what was saved"
    if is_of("keras", "Model", module):
        return "; lstm_infer.from_keras takes it"
    if callable(module):
        return "; a function goes into the forward of a class that is a torch.nn.Module"
    return ""


def _copied(torch: Any, module: Any) -> Any:
    """A copy on the CPU in evaluation mode, with what exporters get wrong written out."""
    from .torch_projected import write_out

    module = _unwrapped(torch, module)
    for name, value in (*module.named_parameters(), *module.named_buffers()):
        if value.is_meta or torch.nn.parameter.is_lazy(value):
            raise ConvertError(
                f"the module's {name!r} has no values yet ({'on the device meta' if value.is_meta else 'a lazy module'}); load its "
                "weights, or call the module once, and then export it"
            )
    computed = [
        value
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    ]
    try:  # what was computed with a gradient (weight_norm's weights, a state of the last call) has no copy of its own
        mine = copy.deepcopy(module, {id(value): value.detach().clone() for value in computed})
    except Exception as error:
        raise ConvertError(
            f"the module cannot be copied ({type(error).__name__}: {error}); export it with torch.onnx.export and load that"
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is said to be old
        return write_out(
            mine.eval().cpu()
        )  # in this order: moved in training, a spectral norm goes on with its iteration


def _unwrapped(torch: Any, module: Any) -> Any:
    """The module inside of wrappers that compute the same, with the names of its own forward."""
    parallel = (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel)
    while True:
        inner = (
            module.module if isinstance(module, parallel) else getattr(module, "_orig_mod", None)
        )  # of torch.compile
        if inner is None:
            return module
        module = inner


class _Example:
    """A module, and what its example holds: tensors in order, and how the arguments are made of them."""

    def __init__(self, torch: Any, module: Any, example: Any) -> None:
        self.torch, self.module = torch, module
        self.tree = torch.utils._pytree
        args, kwargs = ((), dict(example)) if isinstance(example, Mapping) else (example, {})
        if isinstance(args, torch.Tensor):
            args = (args,)
        if not isinstance(args, (tuple, list)):
            hint = "; give torch.from_numpy(x)" if isinstance(args, np.ndarray) else ""
            raise ArgumentError(
                f"example_inputs: a tensor, a tuple of them or a dict by name expected, got {given.shown(example)}{hint}"
            )
        if args and all(isinstance(one, int) for one in args):
            sizes = ", ".join(map(str, args))
            raise ArgumentError(
                f"example_inputs: tensors expected, got the numbers {sizes}; an example of that shape is torch.zeros({sizes})"
            )
        try:
            bound = _signature(module).bind(*args, **kwargs)
        except TypeError as error:
            raise ArgumentError(f"example_inputs: do not fit forward of the module: {error}") from error
        self.bound = bound
        leaves, self.spec = self.tree.tree_flatten((bound.args, bound.kwargs))
        if any(isinstance(leaf, torch.Tensor) and leaf.is_meta for leaf in leaves):
            raise ArgumentError("example_inputs: a tensor on the device meta holds no numbers; give one on the CPU")
        self.leaves = [leaf.detach().cpu().clone() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        self.places = [n for n, leaf in enumerate(self.leaves) if isinstance(leaf, torch.Tensor)]
        self.arrays: Arrays = [_array(self.leaves[n]) for n in self.places]
        if not self.arrays:
            raise ArgumentError("example_inputs: no tensor is among them")

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors by the parameters of forward."""
        found: list[str] = []
        for name, value in self.bound.arguments.items():
            kind = self.bound.signature.parameters[name].kind
            parts = value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
            for key, part in parts.items():
                tensors = [leaf for leaf in self.tree.tree_leaves(part) if isinstance(leaf, self.torch.Tensor)]
                found += [key] if len(tensors) == 1 else [f"{key}_{n}" for n in range(len(tensors))]
        return tuple(found)

    def arguments(self, tensors: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of forward with these tensors."""
        leaves = list(self.leaves)
        for place, tensor in zip(self.places, tensors, strict=True):
            leaves[place] = tensor
        args, kwargs = self.tree.tree_unflatten(leaves, self.spec)
        return tuple(args), dict(kwargs)

    def results(self, tensors: Sequence[Any]) -> Any:
        args, kwargs = self.arguments(tensors)
        return _fields(self.module(*args, **kwargs))

    def eager(self, arrays: Arrays) -> Arrays:
        """What the module gives, tensors in order."""
        with self.torch.no_grad():
            results = self.results([self.torch.from_numpy(array.copy()) for array in arrays])
        return [_array(leaf) for leaf in self.tree.tree_leaves(results) if isinstance(leaf, self.torch.Tensor)]

    def shapes(self, arrays: Arrays) -> Shapes | None:
        """Of what the module gives for these; None where it does not take them."""
        try:
            return [array.shape for array in self.eager(arrays)]
        except Exception:  # whatever a module says of them
            return None

    def output_names(self) -> tuple[str, ...]:
        try:
            with self.torch.no_grad():
                results = self.results([self.leaves[n].clone() for n in self.places])
        except Exception as error:
            raise ConvertError(f"the module does not run on its example: {type(error).__name__}: {error}") from error
        parts = dict(results) if isinstance(results, Mapping) else {"output": results}
        found: list[str] = []
        for key, part in parts.items():
            tensors = [leaf for leaf in self.tree.tree_leaves(part) if isinstance(leaf, self.torch.Tensor)]
            found += [str(key)] if len(tensors) == 1 else [f"{key}_{n}" for n in range(len(tensors))]
        if not found:
            raise ConvertError(
                f"the module gives {given.shown(results)}, in which there is no tensor that is known; let its forward return "
                "tensors, or tuples, lists, dicts or dataclasses of them"
            )
        clash = set(found) & set(self.names)
        return tuple(f"{name}_out" if name in clash else name for name in found)

    def said(self, dynamic: Any) -> list[Axes]:
        """The groups of open axes that dynamic_shapes names: axes of one Dim, or of one name, are one group."""
        groups: dict[Any, list[tuple[int, int]]] = {}
        for index, shape in enumerate(self._shapes(dynamic)):
            for axis, dim in _dims(index, shape, self.arrays[index].ndim).items():
                hint = getattr(dim, "type", None)
                if dim is None or isinstance(dim, int) or "STATIC" in str(hint or dim):
                    continue
                own = "AUTO" in str(hint or dim) or "DYNAMIC" in str(hint or dim)
                groups.setdefault((index, axis) if own else getattr(dim, "__name__", str(dim)), []).append(
                    (index, axis)
                )
        return [tuple(group) for group in groups.values()]

    def _shapes(self, dynamic: Any) -> list[Any]:
        """One entry for each tensor."""
        if isinstance(dynamic, Mapping):
            by_name = given.named("dynamic", dynamic)
        else:
            by_name = dict(zip(self.bound.arguments, given.items("dynamic", dynamic), strict=False))
        unknown = [name for name in by_name if name not in self.bound.arguments]
        if unknown:
            raise ArgumentError(f"dynamic: forward has no argument {unknown[0]!r}; it has {list(self.bound.arguments)}")
        found: list[Any] = []
        for name, value in self.bound.arguments.items():
            found += self._paired(value, by_name.get(name))
        return found

    def _paired(self, value: Any, shape: Any) -> list[Any]:
        """The entries of the tensors inside an argument."""
        if isinstance(value, self.torch.Tensor):
            return [shape]
        if isinstance(value, Mapping):
            return [one for key in value for one in self._paired(value[key], None if shape is None else shape.get(key))]
        if isinstance(value, (tuple, list)):
            shapes = [None] * len(value) if shape is None else shape
            if len(shapes) != len(value):
                raise ArgumentError(f"dynamic: {len(value)} entries expected, got {given.shown(shape)}")
            return [one for part, entry in zip(value, shapes, strict=True) for one in self._paired(part, entry)]
        return []


def _signature(module: Any) -> inspect.Signature:
    """Of forward; a scripted module has a schema in its place."""
    forward = getattr(module, "forward", None)
    if forward is None:  # torch.nn.LSTM, scripted by itself, has several
        raise ArgumentError("module: has no forward that is known; give the module that was scripted, or one around it")
    schema = getattr(forward, "schema", None)
    if schema is None:
        return inspect.signature(forward)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature(
        [
            inspect.Parameter(
                one.name, kind, default=one.default_value if one.has_default_value() else inspect.Parameter.empty
            )
            for one in schema.arguments[1:]
        ]
    )


def _fields(results: Any) -> Any:
    """What a module gives, with dicts for dataclasses, which torch sees no tensors in."""
    if dataclasses.is_dataclass(results) and not isinstance(results, (Mapping, type)):
        return {field.name: _fields(getattr(results, field.name)) for field in dataclasses.fields(results)}
    if type(results) in (tuple, list):
        return type(results)(_fields(one) for one in results)
    if type(results) is dict:
        return {key: _fields(one) for key, one in results.items()}
    return results


def _array(tensor: Any) -> Any:
    """A tensor as an array."""
    if tensor.is_complex():
        raise ConvertError(
            f"a tensor of {tensor.dtype} goes in or out of the module, and files have real numbers alone; let it take and give "
            "torch.view_as_real(z)"
        )
    try:
        return tensor.numpy()
    except Exception as error:  # sparse, quantised, or of a type that NumPy has not
        raise ConvertError(
            f"a tensor of {tensor.dtype} in or out of the module cannot be compared ({_line(error)}); give module.float(), and a "
            "float32 example: precision= says how weights are held"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _dims(index: int, shape: Any, rank: int) -> dict[int, Any]:
    if shape is None:
        return {}
    try:
        found = dict(shape) if isinstance(shape, Mapping) else dict(enumerate(shape))
        found = {given.number("dynamic: an axis", axis): dim for axis, dim in found.items()}
    except TypeError as error:
        raise ArgumentError(f"dynamic: a dict of axes expected, got {given.shown(shape)}") from error
    if any(not 0 <= axis < rank for axis in found):
        raise ArgumentError(f"dynamic: tensor {index} has {rank} axes, got {sorted(found)}")
    return found


class _Exports:
    """The ways to export a module."""

    def __init__(self, one: _Example, names: list[str], outputs: list[str]) -> None:
        self.one, self.names, self.outputs, self.torch = one, names, outputs, one.torch
        self.tensors: tuple[Any, ...] = ()
        self.open: dict[int, dict[int, str]] = {}

    def first_right(self, groups: Sequence[Axes], options: Mapping[str, Any], *, grow: bool = True) -> Model:
        """The first export that is right with these axes open; grow: at sizes that no constant of a module has by chance."""
        ways = {"tracing": self.traced, "TorchScript": self.scripted, "torch.export": self.through_export}
        return first_right(self._framework(groups, ways, grow), options)

    def opens(self, group: Axes) -> bool:
        """Is an export right that has these axes open alone."""
        try:
            first_right(self._framework([group], {"tracing": self.traced}, True), {})
        except LstmInferError:
            return False
        return True

    def _framework(self, groups: Sequence[Axes], ways: Mapping[str, Callable[[], bytes]], grow: bool) -> Framework:
        arrays = self.one.arrays
        if grow:
            sizes = export_sizes(arrays, groups)
            larger = grown(arrays, {axis: n for group, n in zip(groups, sizes, strict=True) for axis in group})
            arrays = arrays if self.one.shapes(larger) is None else larger  # they may hang together in another way
        self.tensors = tuple(self.torch.from_numpy(array.copy()) for array in arrays)
        self.open = {}
        for n, group in enumerate(groups):
            for index, axis in group:
                self.open.setdefault(index, {})[axis] = f"size_{n}"
        return Framework("module", self.one.eager, ways, arrays, groups, frozenset({"torch.export"}))

    def traced(self) -> bytes:
        flat = self._flat()
        if any(isinstance(part, self.torch.jit.ScriptModule) for part in flat.modules()):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the exporter itself traces no parts that are scripted
                flat = self.torch.jit.trace(flat, self.tensors, strict=False, check_trace=False)
        return self._old_exporter(flat, self.tensors)

    def scripted(self) -> bytes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            args, kwargs = self.one.arguments(self.tensors)
            if kwargs:
                raise ConvertError("takes no keyword arguments")
            while args and args[-1] is None:
                args = args[:-1]
            return self._old_exporter(self.torch.jit.script(self.one.module), args)

    def through_export(self) -> bytes:
        auto = self.torch.export.Dim.AUTO
        shapes = tuple(dict.fromkeys(self.open.get(n, {}), auto) for n in range(len(self.tensors)))
        with _quiet():
            program = self.torch.onnx.export(
                self._flat(), self.tensors, dynamo=True, dynamic_shapes=(shapes,), input_names=self.names,
                output_names=self.outputs, verbose=False,
            )  # fmt: skip
        data: bytes = program.model_proto.SerializeToString()
        return data

    def _old_exporter(self, module: Any, args: tuple[Any, ...]) -> bytes:
        file = io.BytesIO()
        axes = {self.names[index]: axes for index, axes in self.open.items()}
        with _quiet():
            self.torch.onnx.export(
                module, args, file, dynamo=False, opset_version=OPSET, input_names=self.names,
                output_names=self.outputs, dynamic_axes=axes,
            )  # fmt: skip
        return file.getvalue()

    def _flat(self) -> Any:
        """The module with tensors in order in and out."""
        one, torch = self.one, self.torch

        class Flat(torch.nn.Module):  # type: ignore[name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.module = one.module

            def forward(self, *tensors: Any) -> tuple[Any, ...]:
                leaves = one.tree.tree_leaves(one.results(tensors))
                return tuple(leaf for leaf in leaves if isinstance(leaf, torch.Tensor))

        return Flat().eval()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """What exporters say on the way is about files that are not left."""
    import torch

    logger = logging.getLogger("torch.onnx")
    level, log = logger.level, getattr(torch._C, "_jit_onnx_log", None)
    logger.setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        setattr(torch._C, "_jit_onnx_log", lambda *said: None)  # noqa: B010 - prints a graph that failed, switched on or not
        try:
            yield
        finally:
            setattr(torch._C, "_jit_onnx_log", log)  # noqa: B010
            logger.setLevel(level)
