"""Errors of Python about memory and depth, as errors of ours: around a block, or a function."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["NO_MEMORY", "TOO_DEEP", "within_memory"]

TOO_DEEP = (
    "{}: the model is nested too deeply, or Python's recursion limit leaves no room; export it with fewer bodies in bodies, "
    "or call from less deep"
)
NO_MEMORY = "{}: takes more memory than there is ({}); feed shorter pieces, or check the sizes in the file"


class within_memory:
    """Around a block, or a function.

    Where depth is used up hardly a function can be called: the text is there before, and the error is imported by its
    whole name, which takes no call of Python once the module is there. A model that is mapped runs without it.
    """

    def __init__(self, what: str) -> None:
        self._what, self._deep = what, TOO_DEEP.format(what)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, RecursionError):
            from lstm_infer.errors import BudgetError

            raise BudgetError(self._deep) from error
        if isinstance(error, MemoryError):
            from lstm_infer.errors import BudgetError

            raise BudgetError(NO_MEMORY.format(self._what, error)) from error

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        what, deep = self._what, self._deep

        @wraps(function)
        def guarded(*args: P.args, **more: P.kwargs) -> T:
            try:
                return function(*args, **more)
            except RecursionError as error:
                from lstm_infer.errors import BudgetError

                raise BudgetError(deep) from error
            except MemoryError as error:
                from lstm_infer.errors import BudgetError

                raise BudgetError(NO_MEMORY.format(what, error)) from error

        return guarded
