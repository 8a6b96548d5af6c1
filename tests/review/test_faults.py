"""Each fault of faults.py is found by the graph of the seed that it names, which is not wrong without it."""

from __future__ import annotations

import faults
import pytest


@pytest.mark.parametrize("name", faults.FAULTS)
def test_a_graph_finds_the_fault(name):
    fault = faults.FAULTS[name]
    faults.TRY[fault.kind](fault.seed)
    assert faults.attempt(fault, fault.seed) is not None
