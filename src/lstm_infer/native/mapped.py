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
                from ..misnamed import of_model

                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{of_model(name)}")
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
