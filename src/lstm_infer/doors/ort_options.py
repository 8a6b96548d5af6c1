"""Options, enumerations and metadata of onnxruntime's Python interface, for code that sets and reads them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import given
from ..errors import ArgumentError
from ..misnamed import of_options

__all__ = [
    "ExecutionMode", "ExecutionOrder", "GraphOptimizationLevel", "ModelMetadata", "RunOptions", "SessionOptions",
    "checked_options", "checked_providers", "refuse_terminated", "say_unused",
]  # fmt: skip


class GraphOptimizationLevel(IntEnum):
    """How far a graph is rewritten; here it always is as far as it goes."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(IntEnum):
    """Do nodes run one after the other; here they do."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(IntEnum):
    """In which order nodes run."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


class _Kept:
    """Options with a name and a kind: another name is an AttributeError, another kind an ArgumentError.

    What the original takes is taken, and nothing else: a member of the enumeration, no number; 0 and 1 for a flag; a whole number
    of 32 bits.
    """

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        kind = type(_PLAIN[type(self).__name__, name]) if (type(self).__name__, name) in _PLAIN else None
        if kind is bool:
            value = _flag(name, value)
        elif kind is not None and issubclass(kind, IntEnum):
            value = _member(name, kind, value)
        elif kind is int:
            value = _int32(name, value)
        elif kind is str:
            value = _text(name, value)
        try:
            super().__setattr__(name, value)
        except AttributeError:
            raise self._no(name) from None

    if not TYPE_CHECKING:  # a type checker that saw it would believe in every name

        def __getattr__(self, name):
            raise self._no(name)

    def _no(self, name: str) -> AttributeError:
        return AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}{of_options(dir(type(self)), name)}"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in vars(type(self))["__slots__"]}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def _flag(name: str, value: Any) -> bool:
    """True or False, and what the original takes for them: None, and numbers."""
    try:
        if value is None or (hasattr(type(value), "__bool__") and not isinstance(value, IntEnum)):
            return bool(value)
    except Exception as error:  # a stranger's object may raise anything
        raise ArgumentError(f"{name}: True or False expected, got {given.shown(value)}") from error
    raise ArgumentError(f"{name}: True or False expected, got {given.shown(value)}")


def _member(name: str, kind: type[IntEnum], value: Any) -> IntEnum:
    """A member of an enumeration, also of that of the original."""
    if type(value).__name__ == kind.__name__:
        return kind(int(value))
    meant = {int(one): one for one in kind}.get(value if type(value) is int else -1)
    raise ArgumentError(
        f"{name}: one of {kind.__name__} expected, got {given.shown(value)}; write {kind.__name__}."
        + (meant or getattr(SessionOptions(), name)).name
    )


def _int32(name: str, value: Any) -> int:
    found = int(value) if isinstance(value, (bool, np.bool_)) else given.number(name, value)
    if not -(1 << 31) <= found < 1 << 31:
        raise ArgumentError(f"{name}: a whole number of 32 bits expected, got {found}")
    return found


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ArgumentError(f"{name}: a text expected, got {given.shown(value)}")
    return value


def _entry(key: Any, value: Any) -> tuple[str, str]:
    """An entry of a configuration; the original knows no other texts either."""
    if not _text("config_key", key):
        raise ArgumentError("config_key: a name expected, got an empty text")
    return key, _text("config_value", value)


@dataclass(slots=True)
class SessionOptions(_Kept):
    """Options of a session, as onnxruntime names them.

    Two of them mean something here: sizes set by `add_free_dimension_override_by_name`, and `use_deterministic_compute`, which
    always holds. Others are kept to be read again; those that were changed are named once in a warning.
    """

    enable_cpu_mem_arena: bool = True
    enable_mem_pattern: bool = True
    enable_mem_reuse: bool = True
    enable_profiling: bool = False
    execution_mode: ExecutionMode = ExecutionMode.ORT_SEQUENTIAL
    execution_order: ExecutionOrder = ExecutionOrder.DEFAULT
    graph_optimization_level: GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL
    inter_op_num_threads: int = 0
    intra_op_num_threads: int = 0
    log_severity_level: int = -1
    log_verbosity_level: int = 0
    logid: str = ""
    optimized_model_filepath: str = ""
    profile_file_prefix: str = "onnxruntime_profile_"
    use_deterministic_compute: bool = False
    use_per_session_threads: bool = True
    _entries: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _sizes: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _others: list[str] = field(default_factory=list, init=False, repr=False)
    _providers: bool = field(default=False, init=False, repr=False)

    def add_session_config_entry(self, config_key: str, config_value: str) -> None:
        """Keep an entry."""
        key, value = _entry(config_key, config_value)
        self._entries[key] = value

    def get_session_config_entry(self, config_key: str) -> str:
        """An entry that was added.

        Raises
        ------
        ArgumentError
            It was not.
        """
        try:
            return self._entries[config_key]
        except (KeyError, TypeError) as error:
            raise ArgumentError(
                f"config_key: there is no entry {config_key!r}; there are {list(self._entries)}"
            ) from error

    def add_free_dimension_override_by_name(self, dim_name: str, dim_value: int) -> None:
        """Fix a size that the file leaves open under a name."""
        if (
            not isinstance(dim_name, str)
            or isinstance(dim_value, bool)
            or not isinstance(dim_value, int)
            or dim_value < 0
        ):
            raise ArgumentError(f"a name and a size expected, got {dim_name!r} and {dim_value!r}")
        self._sizes[dim_name] = dim_value

    def add_free_dimension_override_by_denotation(self, dim_denotation: str, dim_value: int) -> None:
        """Nothing is fixed: sizes are known by their names. Named in a warning."""
        self._others.append("add_free_dimension_override_by_denotation")

    def add_provider(self, provider_name: str, provider_options: Mapping[str, str]) -> None:
        """Providers other than the CPU's are named in a warning."""
        if provider_name != "CPUExecutionProvider":
            self._others.append(provider_name)
        self._providers = True

    def has_providers(self) -> bool:
        """Was one added."""
        return self._providers

    def changed(self) -> Iterator[str]:
        """The options that mean nothing here and say something else than one thread and no files would."""
        harmless = {
            "enable_cpu_mem_arena", "enable_mem_pattern", "enable_mem_reuse", "graph_optimization_level", "execution_order",
            "log_severity_level", "log_verbosity_level", "logid", "use_deterministic_compute", "use_per_session_threads",
            "profile_file_prefix",
        }  # fmt: skip
        plain = SessionOptions()
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            one_thread = name.endswith("_num_threads") and value == 1
            if not name.startswith("_") and name not in harmless and value != getattr(plain, name) and not one_thread:
                yield name
        yield from self._entries
        yield from self._others


@dataclass(slots=True)
class RunOptions(_Kept):
    """Options of a call, as onnxruntime names them.

    A call with `terminate` set is refused when it begins; one that runs is not stopped. The others mean nothing here.
    """

    log_severity_level: int = -1
    log_verbosity_level: int = 0
    logid: str = ""
    only_execute_path_to_fetches: bool = False
    terminate: bool = False
    _entries: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def add_run_config_entry(self, config_key: str, config_value: str) -> None:
        """Keep an entry."""
        key, value = _entry(config_key, config_value)
        self._entries[key] = value

    def get_run_config_entry(self, config_key: str) -> str:
        """An entry that was added, or ""."""
        return self._entries.get(config_key, "")


_PLAIN: dict[tuple[str, str], object] = {}
"""What an option is where nothing was said; its kind is that of the option."""
_PLAIN.update(
    ((kind.__name__, name), each.default)
    for kind in (SessionOptions, RunOptions)
    for name, each in kind.__dataclass_fields__.items()
    if not name.startswith("_")
)


def checked_options(what: str, value: object, kind: type[_Kept]) -> None:
    """Refuse what is neither None nor options, of this package or of the original."""
    if value is None or type(value).__name__ == kind.__name__:
        return
    hint = f"; write ort.{kind.__name__}() and set what you mean there"
    if isinstance(value, type):
        hint = f"; that is the class, write {kind.__name__}()"
    elif kind is SessionOptions and isinstance(value, (list, tuple, str)):
        hint = "; providers are given by their name: InferenceSession(path, providers=[...])"
    raise ArgumentError(f"{what}: {kind.__name__} expected, got {given.shown(value)}{hint}")


def checked_providers(providers: object, provider_options: object) -> None:
    """Refuse what names no providers.

    Raises
    ------
    ArgumentError
        It is no sequence of names, or of names with options; or `provider_options` are no sequence of as many dicts.
    """
    if isinstance(providers, str):
        raise ArgumentError(
            f"providers: a sequence of names expected, got the text {providers!r}; write [{providers!r}]"
        )
    names = () if providers is None else given.items("providers", providers)
    for one in names:
        pair = (
            isinstance(one, (tuple, list)) and len(one) == 2 and isinstance(one[0], str) and isinstance(one[1], Mapping)
        )
        if not pair and not isinstance(one, str):
            raise ArgumentError(
                f"providers: names, or (name, dict of options), expected, got {given.shown(one)} as one"
            )
    more = () if provider_options is None else given.items("provider_options", provider_options)
    for one in more:
        if not isinstance(one, Mapping):
            raise ArgumentError(f"provider_options: a dict for each provider expected, got {given.shown(one)} as one")
    if more and len(more) != len(names):
        raise ArgumentError(f"provider_options: a dict for each of {len(names)} providers expected, got {len(more)}")


def refuse_terminated(run_options: object) -> None:
    """A call with `terminate` set does not run, nor one whose options are none."""
    checked_options("run_options", run_options, RunOptions)
    if getattr(run_options, "terminate", False):
        raise ArgumentError("run_options: terminate is set, so the call does not run; set it to False")


@dataclass(frozen=True)
class ModelMetadata:
    """What a file says of itself."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = 0
    custom_metadata_map: dict[str, str] = field(default_factory=dict)


_said: set[str] = set()


def say_unused(names: Iterator[str]) -> None:
    """Warn of options that mean nothing here, of each once in a process."""
    new = [name for name in dict.fromkeys(names) if name not in _said]
    _said.update(new)
    if new:
        warnings.warn(
            f"options that mean nothing here, where all runs on the CPU: {', '.join(new)}; docs/onnxruntime.md says what differs",
            stacklevel=4,
        )
