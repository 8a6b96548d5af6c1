"""The calls of a plan as const tables of C: a record a call, a list of steps a body.

Records are written field by field, from what the package itself keeps of a call (program/arguments.py), so that they are
checked by the compiler against the structs of li_kernels.h.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from ...errors import ConvertError
from ...program.arguments import Activation, MatMulI8, Record, RecurI8
from ...program.assemble import Placed
from ...program.calls import AnyCall, BranchCall, Call, HostCall, LoopCall, MapCall, encode
from ...program.program import BASE_CONST
from ...program.views import View
from .blob import Blob
from .units import record_names

__all__ = ["Tables"]

ABSENT = "{-1, 0}"
A_LINE = 12
"""Words in a line."""


class Tables:
    """Tables of any number of plans over one block of constants. Equal records are written once."""

    def __init__(self, blob: Blob, name: str, isa: str) -> None:
        self.blob, self.suffix = blob, f"{name}_{isa}"
        self.lines: list[str] = []
        self.slots: set[str] = set()
        self.controls: set[str] = set()
        """Are there loops, or branches: "loop", "branch"."""
        self._known: dict[str, str] = {}

    def plan(self, placed: Placed) -> str:
        """Write the tables of a plan; the name of its list of steps."""
        return self._list(placed, placed.calls, placed.n_bases)

    def _list(self, placed: Placed, calls: Sequence[AnyCall], n_bases: int) -> str:
        steps = [self._step(placed, call, n_bases) for call in calls]
        body = ",\n    ".join(f"{{{fn}, &{args}}}" for fn, args in steps) or "{0, 0}"
        first = self._written("static const li_step {}[] = {{" + _escaped(body) + "}};")
        return self._written(f"static const li_steps {{}} = {{{{{first}, {len(steps)}}}}};")

    def _step(self, placed: Placed, call: AnyCall, n_bases: int) -> tuple[str, str]:
        """The function of a call, and the table of its arguments."""
        if isinstance(call, HostCall):
            raise ConvertError(f"{call.node_name} runs as NumPy in the package; there is no kernel of C for it")
        if isinstance(call, LoopCall):
            self.controls.add("loop")
            return "li_loop", self._loop(placed, call, n_bases)
        if isinstance(call, BranchCall):
            self.controls.add("branch")
            return "li_branch", self._branch(placed, call, n_bases)
        slot, words = encode(call, lambda view: self._address(placed, view))
        self.slots.add(slot)
        struct = record_names()[slot]
        if isinstance(call, MapCall) or struct == "li_words":
            return f"li_{slot}_{self.suffix}", self._words(words.tolist())
        assert isinstance(call, Call)
        text = self._record(placed, call.args)
        return f"li_{slot}_{self.suffix}", self._written(f"static const {struct} {{}} = {_escaped(text)};")

    def _address(self, placed: Placed, view: View) -> tuple[int, int]:
        if view.buffer.kind == "const":
            return BASE_CONST, self.blob.at(view.buffer) + view.byte_offset
        return placed.address(view)

    def _words(self, words: Sequence[int]) -> str:
        lines = [", ".join(map(_integer, words[at : at + A_LINE])) for at in range(0, len(words), A_LINE)]
        return self._written("static const int64_t {}[] = {{" + ",\n    ".join(lines) + "}};") + "[0]"

    def _record(self, placed: Placed, record: Record) -> str:
        values = [self._value(placed, getattr(record, field.name)) for field in fields(record)]
        for kind, own in NESTED.items():
            if isinstance(record, kind):
                n = len(values) - own
                values = ["{" + ", ".join(values[:n]) + "}", *values[n:]]
        return "{" + ", ".join(values) + "}"

    def _value(self, placed: Placed, value: object) -> str:
        if value is None:
            return ABSENT
        if isinstance(value, View):
            return "{{{}, {}}}".format(*self._address(placed, value))
        if isinstance(value, (int, np.integer)):
            return _integer(int(value))
        if isinstance(value, tuple):
            return "{" + ", ".join(self._value(placed, item) for item in value) + "}"
        if isinstance(value, Activation):
            return f"{{LI_ACT_{value.name}, {_double(value.alpha)}, {_double(value.beta)}}}"
        assert isinstance(value, float), f"no field of a record holds {value!r}"
        return _double(value)

    def _ref(self, placed: Placed, view: View | None) -> str:
        return self._value(placed, view)

    def _loop(self, placed: Placed, call: LoopCall, n_bases: int) -> str:
        body = self._list(placed, call.body, n_bases + len(call.slices))
        slices = [f"{{{self._ref(placed, s.at)}, {_integer(s.advance)}}}" for s in call.slices] or [f"{{{ABSENT}, 0}}"]
        refs = ", ".join(self._ref(placed, view) for view in (call.own[0], call.trips, call.go, call.iter))
        n = len(slices)
        struct = (
            "struct {{ const li_steps *body; li_ref table, trips, go, iter; int64_t limit, n_base, n_slices; "
            f"li_slice slice[{n}]; }}}}"
        )
        text = f"&{body}, {refs}, {_integer(call.limit)}, {n_bases}, {len(call.slices)}, {{{', '.join(slices)}}}"
        return self._written(f"static const {struct} {{}} = {{{{{_escaped(text)}}}}};")

    def _branch(self, placed: Placed, call: BranchCall, n_bases: int) -> str:
        lists = ["li_none" if part is None else self._list(placed, part, n_bases) for part in call.lists]
        if "li_none" in lists and "li_none" not in self._known:
            self._known["li_none"] = "li_none"
            self.lines.append("static const li_steps li_none = {0, -1}; /* a list that must not be chosen */")
        text = f"{{&{lists[0]}, &{lists[1]}}}, {self._ref(placed, call.cond)}"
        return self._written(f"static const li_branch_args {{}} = {{{{{_escaped(text)}}}}};")

    def _written(self, form: str) -> str:
        """A definition, once: the form is for the name that it gets."""
        name = self._known.get(form)
        if name is None:
            name = self._known[form] = f"li_t{len(self._known)}"
            self.lines.append(form.format(name))
        return name


NESTED: dict[type[Record], int] = {MatMulI8: 5, RecurI8: 2}
"""Records whose first fields are a struct of their own in C, and how many fields stand behind it."""


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _integer(value: int) -> str:
    return "INT64_MIN" if value == -(1 << 63) else str(value)


def _double(value: float) -> str:
    if value != value:
        return "(double)NAN"
    if value in (float("inf"), -float("inf")):
        return "-HUGE_VAL" if value < 0 else "HUGE_VAL"
    return float(value).hex()
