"""A model before it is made: streams of the plans in its file run at once, all else is made when something of it is asked for."""

from __future__ import annotations

from _thread import RLock  # `threading` is a tenth of the time that a mapped file takes to load
from typing import TYPE_CHECKING, Any

from ..later import Later
from ..within import within_memory

if TYPE_CHECKING:
    from typing import Self

    from ..graph import budget
    from . import container, reader
    from .plans import Bytes, MappedPlan
else:
    budget, container, reader = Later("graph.budget"), Later("native.container"), Later("native.reader")

__all__ = ["Mapped"]

_OWN = ("_file", "_plans", "_threads", "__weakref__")
"""What there is from the beginning."""
_MAKING = RLock()
_INSTEAD = dict.fromkeys(
    ("step", "state", "reset", "flush"), "; a model has no memory: stream = model.stream() has, then stream.step(x)"
)
_INSTEAD |= dict.fromkeys(
    ("predict", "forward", "infer"), "; it is called run({name: array}), or streamed: model.stream()"
)
_INSTEAD |= dict.fromkeys(
    ("input_names", "get_inputs"), "; model.inputs are records, each with its name, shape and dtype"
)
_INSTEAD |= dict.fromkeys(
    ("output_names", "get_outputs"), "; model.outputs are records, each with its name, shape and dtype"
)
_INSTEAD |= dict.fromkeys(("save", "convert", "export"), "; lstm_infer.convert(model, path) writes it")
_INSTEAD |= dict.fromkeys(
    ("to", "cuda", "cpu", "eval"), "; there is nothing to move or to switch: it runs on the CPU, as it is"
)


class Mapped:
    """What `Model` stands on. `_plans`: those of streams, by batch and `max_chunk`."""

    __slots__ = ("_file", "_plans", "_threads")

    _file: tuple[Bytes, str, str | None]
    _plans: dict[tuple[int, int], MappedPlan]
    _threads: int

    @classmethod
    def _mapped(cls, memory: Bytes, label: str, isa: str | None, plans: dict[tuple[int, int], MappedPlan]) -> Self:
        """One of which nothing is made but these plans."""
        model = cls.__new__(cls)
        model._file, model._threads = (memory, label, isa), 1
        model._plans = {key: plan.bound(model) for key, plan in plans.items()}
        return model

    if not TYPE_CHECKING:  # a type checker that saw these would believe in every argument and every name

        def __new__(cls, *args: Any, **more: Any) -> Self:
            if (args or more) and not hasattr(args[0] if args else None, "nodes"):
                from ..errors import ArgumentError

                raise ArgumentError("a Model is made by lstm_infer.load(path)")
            return super().__new__(cls)

        def __getattr__(self, name: str) -> Any:
            """What is not made so far: all of it is, then."""
            if name not in type(self).__slots__ or name in _OWN:
                raise AttributeError(
                    f"{type(self).__name__!r} object has no attribute {name!r}{_INSTEAD.get(name, '')}"
                )
            memory, label, isa = self._file
            with _MAKING, budget.open_budget(budget.Allowance()), within_memory("load"):
                try:
                    return object.__getattribute__(self, name)  # another thread was first
                except AttributeError:
                    file = container.Container(memory, label)
                    with file.judged():
                        before = reader.restored(file, isa)
                        self.__init__(before.graph, before.options, before=before)
                    return object.__getattribute__(self, name)
