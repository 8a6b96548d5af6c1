"""Random graphs whose signals live in a pool (tests/review/hunt.py --pool draws more)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "review"))

from pool_checks import try_pool


@pytest.mark.parametrize("kind", ["time", "frame"])
def test_signals_of_a_pool_are_those_alone(kind):
    said = [try_pool(seed, kind=kind) for seed in range(40)]
    assert said.count("pooled") >= 10, said
