"""The verifier of slot arguments takes the plans of models, and refuses what could leave its memories."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import shared_files
from lstm_infer import _core
from lstm_infer.errors import FormatError
from lstm_infer.program.verifier import Memories, PlanWords, verify
from plan_words import Kept, plans_of, small_models

ROOT = Path(__file__).resolve().parents[2]
ZOO = [
    "dyn_battery", "dyn_crn", "dyn_fullsubnet", "q_gru_tagger", "tf_token_gru", "ts_luong_attention", "ts_flagged_net",
    "ts_layernorm_loop", "ts_mamba", "ts_packed", "ts_tacotron_step",
]  # fmt: skip
SMALL = list(small_models())
MODELS = ["silero_vad", "gtcrn_stream_simple", "dtln_model_1"]


def words(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def copied(
    dst: tuple[int, int], src: tuple[int, int], n: int = 4, *, step: int = 1, elem: int = 4
) -> tuple[str, np.ndarray]:
    """A copy of n elements."""
    return "copy", words(elem, 1, *dst, *src, n, 1, step)


CONST, STATE, ARENA, IN, OUT = range(5)


def memories(state: int = 64, arena: int = 256, constants=((0, 16), (64, 32))) -> Memories:
    return Memories(constants, state, arena, [64], [64])


def refused(plan: PlanWords, message: str, where: Memories | None = None, **options) -> None:
    with pytest.raises(FormatError, match=message):
        verify(plan, where or memories(), **options)


# ---- no false alarm ----


@cache
def plans(path: Path | bytes, precision: str) -> list[Kept]:
    return plans_of(path, precision=precision)


def all_taken(path: Path | bytes, precision: str) -> int:
    kept = plans(path, precision)
    for one in kept:
        assert verify(one.plan, one.memories) >= 0
    return sum(len(one.plan.steps) for one in kept)


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
@pytest.mark.parametrize("name", ZOO)
def test_plans_of_the_zoo(name: str, precision: str) -> None:
    assert all_taken(ROOT / "tests" / "zoo" / "files" / f"{name}.onnx", precision)


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
@pytest.mark.parametrize("name", MODELS)
def test_plans_of_real_models(name: str, precision: str) -> None:
    assert all_taken(shared_files.model(name), precision)


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
@pytest.mark.parametrize("name, data", SMALL, ids=lambda value: value if isinstance(value, str) else "")
def test_plans_of_seldom_operators(name: str, data: bytes, precision: str) -> None:
    assert all_taken(data, precision)


def test_every_slot_is_met() -> None:
    """By plans of this file's models: else a check could be wrong and nobody saw it."""
    met: set[str] = set()
    paths = [data for _, data in SMALL] + [ROOT / "tests" / "zoo" / "files" / f"{name}.onnx" for name in ZOO]
    for path in paths:
        for precision in ("f32", "f16", "int8"):
            for one in plans_of(path, precision=precision):
                met |= {slot for slot, _ in one.all_steps()}
    assert met >= {*_core.slots, *_core.control}


# ---- memories ----


def test_inside_and_outside() -> None:
    verify(
        PlanWords([copied((ARENA, 0), (IN, 48)), copied((OUT, 48), (CONST, 0)), copied((STATE, 0), (CONST, 80))]),
        memories(),
    )
    refused(PlanWords([copied((ARENA, 0), (IN, 48)), copied((ARENA, 0), (IN, 52))]), r"step 1 \(copy\): src .*outside")
    refused(PlanWords([copied((ARENA, 256 - 12), (IN, 0))]), r"step 0 \(copy\): dst .*outside")
    refused(PlanWords([copied((ARENA, -4), (IN, 0))]), r"dst .*outside")
    refused(PlanWords([copied((ARENA, 0), (IN, 0), step=-1)]), r"src .*outside")
    refused(PlanWords([copied((ARENA, 0), (IN, 0), step=2**45)]), r"src .*outside")


def test_constants_are_read_block_by_block() -> None:
    refused(PlanWords([copied((ARENA, 0), (CONST, 4))]), r"src .*outside of a block")
    refused(PlanWords([copied((ARENA, 0), (CONST, 60))]), r"src .*outside of a block")
    refused(PlanWords([copied((ARENA, 0), (CONST, -16))]), r"src .*outside of a block")
    verify(PlanWords([copied((ARENA, 0), (CONST, -128))]), memories(constants=[(-128, 16)]))


def test_the_last_number_of_each_operand_counts() -> None:
    """reverse, over rows of 8 bytes of two signals with three steps: one further, and it is outside."""

    def reverse(dst: int, src: int, lens: int) -> PlanWords:
        return PlanWords([("reverse", words(ARENA, dst, IN, src, STATE, lens, 3, 2, 8, 16, 8, 16, 8))])

    verify(reverse(256 - 48, 64 - 48, 64 - 16), memories())
    refused(reverse(256 - 48 + 1, 0, 0), r"dst .*outside")
    refused(reverse(0, 64 - 48 + 1, 0), r"src .*outside")
    refused(reverse(0, 0, 64 - 8), r"lens .*outside")


def test_what_is_read_only() -> None:
    for base in (CONST, IN):
        refused(PlanWords([copied((base, 0), (ARENA, 0))]), r"dst .*read only")


def test_bases_and_elements() -> None:
    refused(PlanWords([copied((5, 0), (IN, 0))]), r"dst has a base that there is not")
    refused(PlanWords([copied((-1, 0), (IN, 0))]), r"dst is absent")
    refused(PlanWords([copied((ARENA, 2), (IN, 0))]), r"dst is not aligned")
    refused(PlanWords([copied((ARENA, 0), (IN, 0), elem=3)]), r"elem_bytes")


@pytest.mark.parametrize(
    "bad", [("copy", words(4)), ("nope", words(1)), ("copy", np.zeros(9)), ("loop", words(0)), ("branch", words())]
)
def test_words_that_are_no_record(bad: tuple[str, np.ndarray]) -> None:
    refused(PlanWords([bad]), "plan")


def test_memories_of_impossible_sizes() -> None:
    for sizes in ((-1, 0, [], []), (0, 2**62, [], []), (0, 0, [-4], [])):
        with pytest.raises(FormatError, match="impossible"):
            Memories([], *sizes)
    with pytest.raises(FormatError, match="impossible"):
        Memories([(2**62, 2**62)], 0, 0, [], [])


def test_work_is_bounded() -> None:
    huge = "copy", words(4, 2, ARENA, 0, IN, 0, 2**28, 2**28, 0, 0, 0, 0)
    refused(PlanWords([huge]), "operations")
    refused(PlanWords([copied((ARENA, 0), (IN, 0), 16)]), "operations", most_work=10)


# ---- loops and branches ----


def loop(
    body: int = 0, table: int = 64, limit: int = 3, slices=(), n_base: int = 5, n_slices: int | None = None
) -> tuple[str, np.ndarray]:
    numbers = [body, ARENA, table, -1, 0, -1, 0, -1, 0, limit, n_base, len(slices) if n_slices is None else n_slices]
    return "loop", words(*numbers, *(number for piece in slices for number in piece))


def looped(step: tuple[str, np.ndarray], **more) -> PlanWords:
    return PlanWords([loop(**more)], [PlanWords([step])])


def test_slices_move() -> None:
    """Base 5 of the body: 16 bytes of the input an iteration."""
    verify(looped(copied((ARENA, 0), (5, 0)), slices=[(IN, 0, 16)], limit=4), memories())
    verify(looped(copied((ARENA, 0), (5, 0)), slices=[(IN, 48, -16)], limit=4), memories())
    refused(
        looped(copied((ARENA, 0), (5, 0)), slices=[(IN, 0, 16)], limit=5),
        r"step 0 \(loop\), step 0 \(copy\): src .*outside",
    )
    refused(looped(copied((ARENA, 0), (5, 0)), slices=[(IN, 32, -16)], limit=4), r"src .*outside")
    refused(looped(copied((ARENA, 0), (5, 0)), slices=[(IN, 0, 2)], limit=4), r"src is not aligned")
    refused(looped(copied((5, 0), (ARENA, 0)), slices=[(IN, 0, 16)], limit=4), r"dst .*read only")
    refused(looped(copied((ARENA, 0), (5, 0)), slices=[(IN, 0, 2**44)], limit=2**40), r"slice .*outside")


def test_nothing_in_a_loop_touches_its_table() -> None:
    verify(looped(copied((ARENA, 48), (IN, 0))), memories())
    verify(looped(copied((ARENA, 64 + 40), (IN, 0))), memories())
    refused(looped(copied((ARENA, 52), (IN, 0))), r"dst .*table of a loop")
    refused(looped(copied((OUT, 0), (ARENA, 96))), r"src .*table of a loop")
    refused(looped(copied((STATE, 0), (IN, 0)), table=240), r"table .*outside")
    own = "loop", words(0, STATE, 0, -1, 0, -1, 0, -1, 0, 3, 5, 0)
    refused(PlanWords([own], [PlanWords([])]), "table .*others")


def test_a_loop_in_a_loop() -> None:
    inner = PlanWords([copied((OUT, 0), (6, 0))])
    middle = PlanWords([loop(table=128, slices=[(5, 0, 4)], n_base=6)], [inner])
    outer = PlanWords([loop(slices=[(IN, 0, 16)])], [middle])
    verify(outer, memories())
    verify(PlanWords([loop(slices=[(IN, 0, 20)])], [middle]), memories())
    refused(
        PlanWords([loop(slices=[(IN, 0, 24)])], [middle]), r"loop\), step 0 \(loop\), step 0 \(copy\): src .*outside"
    )
    over = PlanWords([loop(table=64, n_base=6)], [PlanWords([])])
    refused(PlanWords([loop(slices=[(IN, 0, 16)])], [over]), "table lies in the table of a loop")


def test_how_deep_plans_lie_in_each_other() -> None:
    def nested(depth: int) -> PlanWords:
        plan = PlanWords([copied((ARENA, 0), (IN, 0))])
        for _ in range(depth):
            plan = PlanWords([("branch", words(0, -1, IN, 0))], [plan])
        return plan

    verify(nested(16), memories())
    refused(nested(17), "branches in each other")


def test_branches() -> None:
    taken = PlanWords([copied((ARENA, 0), (IN, 0))])
    verify(PlanWords([("branch", words(0, -1, IN, 63))], [taken]), memories())
    refused(PlanWords([("branch", words(0, -1, IN, 64))], [taken]), "cond .*outside")
    refused(PlanWords([("branch", words(0, 1, IN, 0))], [taken]), "plan 1 of 1 is meant")
    refused(PlanWords([("branch", words(-2, 0, IN, 0))], [taken]), "plan -2 of 1 is meant")
    refused(looped(copied((ARENA, 0), (IN, 0)), body=-1), "plan -1 of 1 is meant")
    refused(looped(copied((ARENA, 0), (IN, 0)), n_base=6), "n_base")
    refused(looped(copied((ARENA, 0), (IN, 0)), n_slices=1), "n_slices")


def test_plans_in_plans_end() -> None:
    """A plan that holds itself, and one whose branches double 40 times."""
    circle = PlanWords([("branch", words(0, 0, IN, 0))], [])
    circle.nested.append(circle)  # type: ignore[attr-defined]
    refused(circle, "in each other")
    plan = PlanWords([copied((ARENA, 0), (IN, 0))])
    for _ in range(14):
        plan = PlanWords([("branch", words(0, 0, IN, 0))] * 4, [plan])
    began = time.perf_counter()
    refused(plan, "too many steps|operations")
    assert time.perf_counter() - began < 10


def test_huge_words_take_no_time() -> None:
    began = time.perf_counter()
    for n in (2**40, 2**62, 2**63 - 1, -(2**63)):
        refused(PlanWords([copied((ARENA, 0), (IN, 0), n)]), "copy")
        refused(PlanWords([("gather", words(ARENA, 0, IN, 0, IN, 0, 10, n, n, n, n))]), "gather")
    assert time.perf_counter() - began < 1


def test_places_in_scratch_are_nobody_elses() -> None:
    """topk keeps places in its scratch, and reads them again."""

    def topk(values: int, scratch: tuple[int, int]) -> PlanWords:
        return PlanWords([("topk", words(IN, 0, ARENA, values, -1, 0, *scratch, 0, 0, 1, 8, 2, 1, 8, 1, 1))])

    verify(topk(32, (ARENA, 64)), memories())
    refused(topk(64, (ARENA, 64)), "values lies on other operands")
    refused(topk(0, (STATE, 0)), "scratch lies where others may write")
    refused(topk(0, (ARENA, 8)), "scratch is not aligned")
    refused(topk(0, (ARENA, 228 // 64 * 64 + 64)), "scratch .*outside")
