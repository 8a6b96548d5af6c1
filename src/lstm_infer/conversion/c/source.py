"""A stream that is written as C: its programs, its ports, and what its buffers hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ...program.draws import Seeded
from ...program.memory import ALIGN
from ...streams.state_block import seeded
from .options import COptions
from .ports import Port, ports
from .schedule import Run, Schedule
from .tables import Tables

__all__ = ["Source", "lines"]


@dataclass(frozen=True)
class Source:
    """A stream of a model on its way to text. `about`: where it comes from, in a few words."""

    schedule: Schedule
    options: COptions
    tables: Tables
    inputs: Sequence[Port]
    outputs: Sequence[Port]
    about: str

    @classmethod
    def of(cls, found: Schedule, options: COptions, tables: Tables, about: str) -> Source:
        inputs, outputs = ports(found, found.repeats, options.name)
        return cls(found, options, tables, inputs, outputs, about)

    # ---- sizes ------------------------------------------------------------------------------------------

    @property
    def head_bytes(self) -> int:
        """In front of the state block: which program comes next, and what the last call made; nothing where that never
        changes."""
        return lines(8 * (1 + len(self.outputs))) if self.changes else 0

    @property
    def changes(self) -> bool:
        """Do calls differ from each other in what they make."""
        return len(self.schedule.runs) > 1 or bool(self.schedule.flushes)

    @property
    def block_bytes(self) -> int:
        return self.schedule.plan.layout.n_bytes

    @property
    def state_bytes(self) -> int:
        return max(self.head_bytes + self.block_bytes, ALIGN)

    @property
    def backup_at(self) -> int:
        """Where in the scratch the state is kept while a call may fail."""
        return lines(self.schedule.arena_bytes)

    @property
    def scratch_bytes(self) -> int:
        return max(self.backup_at + (self.block_bytes if self.schedule.can_fail else 0), ALIGN)

    @property
    def can_run(self) -> bool:
        """Is there a call for any number of steps: steps of all arrays lie behind each other, and no call waits for another."""
        rows = all(prod(port.shape[: max(port.time, 0)]) == 1 for port in self.all_ports if port.moves)
        return rows and not self.changes and all(port.moves for port in self.inputs)

    @property
    def drawn(self) -> list[Seeded]:
        """The states of random nodes."""
        return seeded(self.schedule.plan.spec, self.schedule.plan.layout)

    def made(self, run: Run) -> list[int]:
        """How many steps of each output a program makes."""
        counts = []
        for index, port in enumerate(self.outputs):
            fact = run.facts[run.present.index(index)] if index in run.present else None
            counts.append(0 if fact is None else fact.shape[port.time] if port.time >= 0 else 1)
        return counts

    @property
    def all_ports(self) -> tuple[Port, ...]:
        return *self.inputs, *self.outputs

    def parameters(self, inputs: bool = True) -> str:
        """The parameters of a call, behind state and scratch."""
        ins = [f"const {port.c_type} *{port.c_name}" for port in self.inputs] if inputs else []
        return ", ".join([*ins, *(f"{port.c_type} *{port.c_name}" for port in self.outputs)])


def lines(n_bytes: int) -> int:
    """Bytes up to whole lines of memory."""
    return -(-n_bytes // ALIGN) * ALIGN
