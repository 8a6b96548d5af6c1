"""The best of an axis against Python's sort: exact and stable, whatever the dtype, strides and set."""

from __future__ import annotations

import math

import numpy as np
import pytest
from slotcall import ISAS, run_topk
from test_typed_reduce import INTEGERS, SHAPES, drawn, ways


def order(row: list[float], least: int) -> list[int]:
    """Places, the best first. NaN counts as largest; sort is stable."""
    sign = 1 if least else -1
    return sorted(
        range(len(row)), key=lambda r: (sign * math.isnan(row[r]), 0 if math.isnan(row[r]) else sign * row[r])
    )


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", ["f32", "bool", *INTEGERS])
def test_the_best_of_an_axis(isa: str, name: str) -> None:
    rng = np.random.default_rng(6)
    for shape in [*SHAPES[:5], *SHAPES[6:9], (1, 300, 1)]:
        given = drawn(rng, name, shape)
        for k in {1, shape[1], (shape[1] + 1) // 2}:
            for least in (0, 1):
                rows = given.transpose(0, 2, 1).reshape(-1, shape[1])
                found = np.array([order(row.tolist(), least)[:k] for row in rows])
                want = found.reshape(shape[0], shape[2], k).transpose(0, 2, 1)
                for x in ways(given):
                    values, places = run_topk(isa, x, k, least)
                    np.testing.assert_array_equal(places, want, f"{shape} {k} {least}")
                    picked = np.take_along_axis(given, want, 1)
                    assert values.tobytes() == picked.tobytes(), "values are moved as bits"
