"""InferenceSession: the shape of onnxruntime's, so that moving over is one changed import."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from inspect import signature
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import given, views
from ..errors import ArgumentError, DtypeError, ShapeError
from ..graph.ir import Port
from ..misnamed import of_session
from ..model import load
from .ort_options import (
    ModelMetadata,
    SessionOptions,
    checked_options,
    checked_providers,
    refuse_terminated,
    say_unused,
)
from .ort_values import IOBinding, OrtValue, type_name

if TYPE_CHECKING:
    from typing import Unpack

    from ..typing import Array, LoadOptions, Source

__all__ = ["InferenceSession", "NodeArg", "set_seed"]

UserData = TypeVar("UserData")

PROVIDER = "CPUExecutionProvider"
SESSION_ARGUMENTS = ("path_or_bytes", "sess_options", "providers", "provider_options")
LOAD_OPTIONS = {name for name, one in signature(load).parameters.items() if one.kind is one.KEYWORD_ONLY}
_seed: list[int] = []


def set_seed(seed: int) -> None:
    """The seed of random operators in sessions that are made from now on."""
    _seed[:] = [given.number("seed", seed, 0)]


class NodeArg:
    """Name, type and declared shape of an input or output, as onnxruntime shows them."""

    def __init__(self, port: Port) -> None:
        self.name = port.name
        self.type = type_name(port.dtype)
        self.shape: list[int | str | None] = list(port.shape or ())

    def __repr__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape!r})"


class InferenceSession:
    """Runs a model as onnxruntime.InferenceSession does: stateless, the whole graph in every call.

    Parameters
    ----------
    path_or_bytes : path, bytes or onnx.ModelProto
    sess_options : SessionOptions, optional
        Of this package or of onnxruntime: sizes that it fixes are fixed; others mean nothing here, and are named once in a
        warning.
    providers, provider_options
        Providers other than the CPU's are named in a warning.
    **options
        Passed to `lstm_infer.load`.

    Raises
    ------
    ArgumentError
        An argument is unknown, or no options or providers; otherwise as `lstm_infer.load`.

    Attributes
    ----------
    model : Model
        `session.model.stream()` is the step that carries the state itself.
    """

    def __init__(
        self,
        path_or_bytes: Source,
        sess_options: object = None,
        providers: Sequence[object] | None = None,
        provider_options: Sequence[object] | None = None,
        **options: Unpack[LoadOptions],
    ) -> None:
        _refuse_unknown(options)
        checked_options("sess_options", sess_options, SessionOptions)
        checked_providers(providers, provider_options)
        mine = sess_options if isinstance(sess_options, SessionOptions) else SessionOptions()
        say_unused(_unused(mine, providers))
        if _seed and "seed" not in options:
            options["seed"] = _seed[0]
        self.model = load(path_or_bytes, **options)
        self._ports = [_fixed(port, mine._sizes) for port in self.model._graph.inputs]
        if any(port not in self.model._graph.inputs for port in self._ports):
            sizes = {p.name: [n if isinstance(n, int) else None for n in p.shape or ()] for p in self._ports if p.shape}
            options["inputs"] = {**sizes, **(options.get("inputs") or {})}
            self.model = load(path_or_bytes, **options)
        self._graph, self._sess_options = self.model._graph, mine if sess_options is None else sess_options

    if not TYPE_CHECKING:  # a type checker that saw this would believe in every name

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{of_session(name)}")

    def get_inputs(self) -> list[NodeArg]:
        """The inputs as declared."""
        return [NodeArg(port) for port in self._ports if port.name not in self.model._options.constants]

    def get_outputs(self) -> list[NodeArg]:
        """The outputs as declared."""
        return [NodeArg(port) for port in self._graph.outputs]

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Inputs that have a value where they are not fed."""
        return [NodeArg(Port(name, array.dtype, array.shape)) for name, array in self._graph.defaults.items()]

    def get_modelmeta(self) -> ModelMetadata:
        """What the file says of itself."""
        return ModelMetadata(**self._graph.meta)

    def get_session_options(self) -> object:
        """The options that the session was made with."""
        return self._sess_options

    def get_providers(self) -> list[str]:
        """One name, for code that asks."""
        return [PROVIDER]

    def end_profiling(self) -> str:
        """No file: nothing is profiled."""
        return ""

    def get_profiling_start_time_ns(self) -> int:
        """0: nothing is profiled."""
        return 0

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """One provider, without options."""
        return {PROVIDER: {}}

    def set_providers(
        self, providers: Sequence[object] | None = None, provider_options: Sequence[object] | None = None
    ) -> None:
        """Nothing changes; providers other than the CPU's are named in a warning."""
        checked_providers(providers, provider_options)
        say_unused(_unused(SessionOptions(), providers))

    def disable_fallback(self) -> None:
        """Nothing happens: there is no fallback."""

    def enable_fallback(self) -> None:
        """Nothing happens: there is no fallback."""

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, object], run_options: object = None
    ) -> list[Array]:
        """Run once; returns the outputs in order. Lists and numbers are taken in the type of their input.

        Raises
        ------
        FeedError, DtypeError, ShapeError
            As `Model.run`. Declared sizes are held to, as onnxruntime does for inputs.
        ArgumentError
            `run_options.terminate` is set.
        """
        refuse_terminated(run_options)
        types = {port.name: port.dtype for port in self._ports}
        feeds = {name: _array(name, v, types.get(name)) for name, v in _named(input_feed, types).items()}
        for port in self._ports:
            if port.name in feeds and port.shape is not None:
                if port.shape == () and feeds[port.name].size == 1:  # onnxruntime takes [n] for a scalar
                    feeds[port.name] = feeds[port.name].reshape(())
                self._check(port, feeds[port.name])
        names = () if output_names is None else given.names("output_names", output_names)
        made = self.model.run(feeds, tuple(dict.fromkeys(names)) or None)
        return [made[name] for name in names or made]

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: object = None,
    ) -> list[OrtValue]:
        """The same with values in and out."""
        values = given.named("input_dict_ort_values", input_dict_ort_values)
        return [OrtValue(array) for array in self.run(output_names, values, run_options)]

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, object],
        callback: Callable[[list[Array], UserData, str], object],
        user_data: UserData,
        run_options: object = None,
    ) -> None:
        """Run in a thread of its own; callback(results, user_data, message of an error or "")."""
        if not callable(callback):
            raise ArgumentError(f"callback: a function expected, got {given.shown(callback)}")

        def work() -> None:
            results: list[NDArray[Any]] = []
            message = ""
            try:
                results = self.run(output_names, input_feed, run_options)
            except Exception as error:
                message = str(error)
            callback(results, user_data, message)

        threading.Thread(target=work, daemon=True).start()

    def io_binding(self) -> IOBinding:
        """Inputs and outputs to bind."""
        return IOBinding(self.run, [p.name for p in self._ports], [p.name for p in self._graph.outputs])

    def run_with_iobinding(self, iobinding: IOBinding, run_options: object = None) -> None:
        """Run with what is bound."""
        if not isinstance(iobinding, IOBinding):
            raise ArgumentError(f"iobinding: what io_binding() returns expected, got {given.shown(iobinding)}")
        refuse_terminated(run_options)
        iobinding.run()

    @staticmethod
    def _check(port: Port, array: NDArray[Any]) -> None:
        assert port.shape is not None
        if array.dtype != port.dtype:
            raise views.wrong_dtype(f"input {port.name!r}", port.dtype, array.dtype)
        if len(port.shape) != array.ndim or any(
            isinstance(n, int) and n != m for n, m in zip(port.shape, array.shape, strict=True)
        ):
            raise ShapeError(f"input {port.name!r} is declared as {list(port.shape)}, got {list(array.shape)}")


def _fixed(port: Port, sizes: Mapping[str, int]) -> Port:
    """The port with the sizes that were set by name."""
    if port.shape is None or not sizes:
        return port
    return replace(port, shape=tuple(sizes.get(n, n) if isinstance(n, str) else n for n in port.shape))


def _array(name: str, value: Any, dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """What is fed as an array: a list or a number has no type of its own, and gets that of the input."""
    if isinstance(value, OrtValue):
        return value._array
    found = given.array(f"input {name!r}", value)
    plain = isinstance(value, (list, tuple, int, float)) and not isinstance(value, bool)
    if not plain or dtype is None or found.dtype == dtype:
        return found
    if found.size and found.dtype.kind == "f" and dtype.kind in "iu":
        raise DtypeError(f"input {name!r} takes {dtype}, got floats; round them: np.rint(x).astype(np.{dtype})")
    if found.dtype.kind == "c" and dtype.kind != "b":
        raise views.wrong_dtype(f"input {name!r}", dtype, found.dtype)
    with np.errstate(over="ignore"):
        cast = found.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(cast, found):
        info = np.iinfo(dtype)
        raise DtypeError(
            f"input {name!r} takes {dtype}, from {info.min} to {info.max}: a number in the list does not fit it"
        )
    return cast


def _named(feed: object, names: Iterable[str]) -> dict[str, Any]:
    """What is fed, by name."""
    if not isinstance(feed, Mapping):
        call = f"run(None, {{{', '.join(f'{name!r}: ...' for name in names)}}})"
        raise ArgumentError(f"input_feed: a dict by name expected, got {given.shown(feed)}; write {call}")
    return given.named("input_feed", feed)


def _refuse_unknown(options: Mapping[str, object]) -> None:
    """What neither a session nor `load` takes; the original drops it without a word."""
    for name in options.keys() - LOAD_OPTIONS:
        near = get_close_matches(name, [*SESSION_ARGUMENTS, *LOAD_OPTIONS], 1, 0.7)
        hint = f": is it {near[0]}=? Else" if near else ";"
        raise ArgumentError(
            f"{name}: InferenceSession has no such argument{hint} it takes {', '.join(SESSION_ARGUMENTS)}, and those of "
            f"lstm_infer.load: {', '.join(sorted(LOAD_OPTIONS))}"
        )


def _unused(options: SessionOptions, providers: Any) -> Iterator[str]:
    yield from options.changed()
    for one in providers or ():
        name = one if isinstance(one, str) else one[0]
        if name != PROVIDER:
            yield name
