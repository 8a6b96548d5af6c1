"""The records of program/arguments.py are those of li_kernels.h: same fields, same order, same size."""

from __future__ import annotations

import re
from dataclasses import fields

import numpy as np
import pytest

import shared_files
from lstm_infer import _core
from lstm_infer.frozen import finish
from lstm_infer.program import arguments, draws, reductions
from lstm_infer.program.arguments import Activation
from lstm_infer.program.views import Buffer, View

SOURCES = shared_files.ROOT / "src" / "lstm_infer"
RECORDS = {
    "matmul_f32": arguments.MatMul,
    "matmul_dyn_f32": arguments.MatMulDyn,
    "matmul_i64": arguments.MatMulInt,
    "lstm_f32": arguments.Recur,
    "gru_f32": arguments.Recur,
    "rnn_f32": arguments.Recur,
    "conv_f32": arguments.Conv,
    "matmul_f16": arguments.MatMul,
    "lstm_f16": arguments.Recur,
    "gru_f16": arguments.Recur,
    "rnn_f16": arguments.Recur,
    "conv_f16": arguments.Conv,
    "matmul_i8": arguments.MatMulI8,
    "lstm_i8": arguments.RecurI8,
    "gru_i8": arguments.RecurI8,
    "rnn_i8": arguments.RecurI8,
    "gather": arguments.Gather,
    "gather_nd": arguments.GatherND,
    "scatter_nd": arguments.ScatterND,
    "reverse": arguments.Reverse,
    "random": draws.Random,
    "choose": draws.Choose,
    "reduce_f32": reductions.Reduce,
    "arg_reduce": reductions.ReduceTyped,
    "reduce_i64": reductions.ReduceTyped,
    "topk": reductions.TopK,
    "pool_f32": reductions.Pool,
    "softmax_f32": reductions.Softmax,
    "layernorm_f32": reductions.LayerNorm,
}
ITEM = re.compile(r"(\w+)(?:\[(\w+)\])?$")
LINES = ("li_ref", "int64_t", "double", "li_act")


def declared(slot: str) -> list[tuple[str, str, int]]:
    """(type, name, items; 0: no array) of each field of a slot's record, from the header."""
    kernels = shared_files.ROOT / "kernels"
    record = re.search(rf"LI_SLOT\w*\({slot}, (\w+)\)", (kernels / "li_slots.def").read_text())
    header = re.sub(r"/\*.*?\*/", "", (kernels / "li_kernels.h").read_text(), flags=re.S)
    assert record
    return items(record[1], header)


def items(record: str, header: str) -> list[tuple[str, str, int]]:
    body = re.search(rf"typedef struct {record} \{{(.*?)\}}", header, re.S)
    assert body
    found = []
    for line in filter(None, (part.strip() for part in body[1].split(";"))):
        kind, names = line.split(None, 1)
        if kind.endswith("_args"):  # a record in front of more fields
            found += items(kind, header)
            continue
        for name in names.split(","):
            item = ITEM.match(name.strip())
            assert item and kind in LINES
            size = {None: 0, "LI_RANK": arguments.RANK}.get(item[2])
            found.append((kind, item[1], int(item[2]) if size is None else size))
    return found


def test_every_slot_of_a_fixed_length_has_a_record() -> None:
    assert set(RECORDS) == {slot for slot, (_, words) in _core.slots.items() if words}


@pytest.mark.parametrize("slot", RECORDS)
def test_fields_are_those_of_the_c_struct(slot: str) -> None:
    assert [field.name.rstrip("_") for field in fields(finish(RECORDS[slot]))] == [
        name.rstrip("_") for _, name, _ in declared(slot)
    ]


@pytest.mark.parametrize("slot", RECORDS)
def test_a_record_has_the_size_of_the_c_struct(slot: str) -> None:
    view = View(Buffer("arena", 64), (4,), (1,), np.dtype("float32"))
    kinds = {"li_ref": view, "int64_t": 7, "double": 0.5, "li_act": Activation("ELU", 1.0)}
    values = [(kinds[kind],) * size if size else kinds[kind] for kind, _, size in declared(slot)]
    record = RECORDS[slot](*values)
    assert len(record.words(lambda _: (2, 0))) == _core.slots[slot][1]
    operands = {name for kind, name, _ in declared(slot) if kind == "li_ref"}
    assert {*record.READ, *record.WRITTEN} == operands, "an operand that nobody is told of may be overwritten"


def test_nobody_reads_a_field_by_its_number() -> None:
    """What a word means is known in program/arguments.py and in C."""
    numbered = re.compile(r"\bwords\[[^\]]*\d")
    found = [
        f"{path.relative_to(SOURCES)}:{number}: {line.strip()}"
        for path in sorted([*SOURCES.rglob("*.py"), *SOURCES.glob("*.pyx")])
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if numbered.search(line)
    ]
    assert not found, "\n".join(found)
