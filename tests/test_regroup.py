"""Axes that are joined and split by a Reshape: what becomes of their factors."""

import pytest

from lstm_infer.analysis.labels import Factor, Trace
from lstm_infer.analysis.regroup import regroup

T, B, F = 1, 2, 3
EXTENT = {T: 37, B: 3, F: 8}


def axes(text):
    """ "T B.F 1": axes by letters, or numbers for what has no label; a dot joins factors of one axis."""
    letters = {"T": T, "B": B, "F": F}

    def factor(name):
        label = letters.get(name[0], 0)
        extent = int(name[1:]) if label and name[1:] else EXTENT[label] if label else int(name)
        return Factor(label, extent)

    return tuple(tuple(factor(name) for name in axis.split(".")) for axis in text.split())


@pytest.mark.parametrize(
    ("before", "shape", "after"),
    [
        ("T B F", (37, 3, 8), "T B F"),  # whole
        ("T B F", (111, 8), "T.B F"),
        ("T B F", (888,), "T.B.F"),
        ("T.B F", (37, 3, 8), "T B F"),
        ("B T F", (111, 8), "B.T F"),
        ("T B F", (37, 3, 2, 4), "T B 2 4"),  # cut: a label that is cut is gone
        ("T B F", (37, 3, 4, 2), "T B 4 2"),
        ("T B F", (37, 6, 4), "T B.2 4"),
        ("T B F", (24, 37), "24 37"),  # mixed: no border of the factors falls there
        ("T B F", (37, 1, 3, 8), "T 1 B F"),  # extent 1: a new axis
        ("T B1 F", (37, 8), "T B1.F"),  # carried along where none follows
        ("T B1 F", (37, 1, 8), "T B1 F"),
        ("B1 T F", (37, 8), "B1.T F"),
        ("T B F", (0, 3, 8), "0 3 8"),
    ],
)
def test_factors(before, shape, after):
    assert regroup(axes(before), shape) == axes(after)


def test_where_a_label_stands():
    traced = Trace({"x": axes("B.T.F 5")}, sources={T: ("x", 0), B: ("x", 1), F: ("x", 2)})
    place = traced.place("x", T)
    assert (place.axis, place.outer, place.extent, place.inner, place.alone) == (0, 3, 37, 8, False)
    assert traced.place("x", 9) is None
