"""Which kernels a step really calls: found from the addresses in the plan, for each instruction set."""

from __future__ import annotations

import pytest

import lstm_infer
import stream_models
from lstm_infer import _core
from lstm_infer.cli.demo.show import MODEL

RUNNABLE = [name for name, runnable in _core.list_isas() if runnable]

LENDERS = {"avx512vnni": "avx512", "neondot": "neon"}
"""Sets with kernels of their own for 8-bit numbers alone: whose the others are."""


def steps(model):
    (plan,) = {block.n: block.program.plan for block in model.stream()._plan.blocks if block.n == 1}.values()
    assert plan is not None, "a step of this model is one plan in C, nothing on the host"
    return plan


@pytest.mark.parametrize("isa", RUNNABLE)
def test_a_step_of_the_demo_is_one_cell_and_one_product(isa):
    plan = steps(lstm_infer.load(MODEL, isa=isa))
    assert plan.isa == isa
    assert plan.symbols == tuple(f"li_{slot}_{LENDERS.get(isa, isa)}" for slot in plan.slots)
    assert plan.slots[0] == "lstm_f32"
    assert set(plan.slots) <= {"lstm_f32", "matmul_f32", "map_f32"}


@pytest.mark.parametrize("isa", RUNNABLE)
def test_explicit_states_are_updated_where_they_lie(isa):
    plan = steps(lstm_infer.load(stream_models.state_io(), isa=isa))
    assert plan.symbols[0] == f"li_lstm_f32_{LENDERS.get(isa, isa)}"
    assert "copy" not in plan.slots
