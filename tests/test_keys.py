"""The table of keys, beside a dict."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_infer._keys import KeyTable

KEYS = st.lists(st.binary(max_size=20) | st.sampled_from([b"", b"\0", b"\0\0", b"a" * 9, b"a" * 8]), max_size=300)


def laid(keys: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Keys one after the other, with something in front and behind."""
    ends = np.cumsum([3, *map(len, keys)])
    return np.frombuffer(b"xyz" + b"".join(keys) + b"more", np.uint8), ends


@given(st.lists(KEYS, max_size=4), st.integers(0, 300))
def test_each_key_has_the_number_of_its_first_row(tables: list[list[bytes]], kept: int) -> None:
    table, want = KeyTable(0), dict[bytes, int]()
    for keys in tables:
        known = table.number(*laid(keys), False)
        assert known.tolist() == [want.get(key, -1) for key in keys]
        for key in keys:
            want.setdefault(key, len(want))
        assert table.number(*laid(keys), True).tolist() == [want[key] for key in keys]
        assert len(table) == len(want)
    data, starts = table.values()
    assert starts is not None
    assert [data[a:b].tobytes() for a, b in pairwise(starts.tolist())] == list(want)
    kept = min(kept, len(want))
    table.forget(kept)
    rest = {key: number for key, number in want.items() if number < kept}
    assert table.number(*laid(list(want)), False).tolist() == [rest.get(key, -1) for key in want]
    again = list(reversed(want))
    for key in again:
        rest.setdefault(key, len(rest))
    assert table.number(*laid(again), True).tolist() == [rest[key] for key in again]


@pytest.mark.parametrize("width", [1, 4, 8, 16, 17])
def test_keys_of_one_width(width: int) -> None:
    rng, table, want = np.random.default_rng(width), KeyTable(width), dict[bytes, int]()
    for _ in range(5):
        rows = rng.integers(0, 3, (3000, width)).astype(np.uint8)
        keys = [row.tobytes() for row in rows]
        for key in keys:
            want.setdefault(key, len(want))
        assert table.number(rows.reshape(-1), None, True).tolist() == [want[key] for key in keys]
    data, starts = table.values()
    assert starts is None and [row.tobytes() for row in data.reshape(-1, width)] == list(want)


@given(st.lists(st.integers(-2, 40), max_size=400), st.booleans())
def test_rows_stand_key_by_key(numbers: list[int], shuffled: bool) -> None:
    table = KeyTable(8)
    table.number(np.arange(41).view(np.uint8), None, True)
    order = np.random.default_rng(len(numbers)).permutation(len(numbers)) if shuffled else np.arange(len(numbers))
    want: dict[int, list[int]] = {}
    for row in order.tolist():
        if numbers[row] >= 0:
            want.setdefault(numbers[row], []).append(row)
    for _ in range(2):  # nothing is left behind in the table
        keys, starts, rows = table.grouped(np.array(numbers, np.int64), order if shuffled else None)
        assert keys.tolist() == list(want)
        assert [rows[a:b].tolist() for a, b in pairwise(starts.tolist())] == list(want.values())


def test_what_does_not_fit_is_refused() -> None:
    table = KeyTable(0)
    data = np.zeros(10, np.uint8)
    for starts in ([0, 11], [-1, 5], [5, 4], [0, 1 << 62]):
        with pytest.raises(ValueError, match="starts"):
            table.number(data, np.array(starts), True)
    with pytest.raises(ValueError, match="starts"):
        table.number(data, None, True)
    with pytest.raises(ValueError, match="a multiple of 8"):
        KeyTable(8).number(data, None, True)
    with pytest.raises(ValueError, match="width"):
        KeyTable(-1)
    with pytest.raises(ValueError, match="0 to 0 keys"):
        table.forget(1)
    table.number(data, np.array([0, 3, 4]), True)
    for numbers, order in (([2], None), ([0, 1], [2]), ([0, 1], [-1])):
        with pytest.raises(ValueError, match="those of 2 keys"):
            table.grouped(np.array(numbers), None if order is None else np.array(order))
    assert [part.tolist() for part in table.grouped(np.array([1, 0, 1]), None)] == [[1, 0], [0, 2, 3], [0, 2, 1]]
