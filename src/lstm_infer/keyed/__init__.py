"""Keyed state over tables: rows of many signals, told apart by a key, each a step of its signal. Needs pyarrow."""

try:
    import pyarrow as _pyarrow  # noqa: F401
except ImportError as error:
    raise ImportError(
        "lstm_infer.keyed needs pyarrow, which is not installed; pip install 'lstm_infer[arrow]'"
    ) from error

from .keys import part_of
from .scorer import Scorer
from .sequences import run_sequences

__all__ = ["Scorer", "part_of", "run_sequences"]
