"""What `convert` wrote, and how it was checked: plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite

from ..drive.tables import plain_table
from ..errors import ConvertError

__all__ = ["Checked", "Report", "WrongResultError"]


@dataclass(frozen=True)
class Checked:
    """One comparison of the result with its source.

    Attributes
    ----------
    case : str
        What was run: "whole", "in pieces", "from other states", and what was chosen where scalars choose networks.
    steps, signals : int
        How long, and how many at once.
    largest : float
        Largest |difference| over all outputs; infinite where a shape or a type differs.
    excess : float
        The same over what is allowed: 1 and less is right. 0 where the bits are equal.
    detail : str
        What else is wrong.
    """

    case: str
    steps: int
    signals: int
    largest: float
    excess: float
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Is the result right."""
        return self.excess <= 1


@dataclass(frozen=True)
class Report:
    """What `convert` wrote.

    Attributes
    ----------
    source : str
        Name of the model.
    to : str
        "native", "onnx" or "c".
    path : str
        The file or folder that was written.
    files : dict of path to int
        Every file that was written, and its size in bytes.
    facts : dict of str to str
        What the form says of the result: its inputs, states, opset, instruction set.
    checks : tuple of Checked
    allowed : str
        What the result may differ by.
    not_checked : str
        Why it was not run beside its source, "" where it was.
    """

    source: str
    to: str
    path: str
    files: Mapping[str, int]
    facts: Mapping[str, str]
    checks: tuple[Checked, ...]
    allowed: str
    not_checked: str = ""
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def ok(self) -> bool:
        """Is the result right, as far as it was checked."""
        return all(check.ok for check in self.checks)

    @property
    def largest_error(self) -> float:
        """Largest difference from the source over all checks."""
        return max((check.largest for check in self.checks), default=0.0)

    def to_dict(self) -> dict[str, object]:
        """The report as JSON takes it; an infinite error is null."""
        found = asdict(self)
        for check in found["checks"]:
            for name in ("largest", "excess"):
                check[name] = check[name] if isfinite(check[name]) else None
        error = self.largest_error
        return found | {"ok": self.ok, "largest_error": error if isfinite(error) else None}

    def __str__(self) -> str:
        from ..records import printable_lines  # with NumPy, which the help of the command does not wait for

        lines = [f"{self.source} -> {self.path} ({self.to}, {sum(self.files.values()):,} bytes)"]
        if len(self.files) > 1:
            lines += [f"    {name} ({size:,} bytes)" for name, size in self.files.items()]
        lines += [f"{name}: {text}" for name, text in self.facts.items()]
        if self.checks:
            head = ["case", "steps", "signals", "largest error", ""]
            rows = [
                [c.case, f"{c.steps:,}", str(c.signals), f"{c.largest:.1e}", "ok" if c.ok else "WRONG"]
                for c in self.checks
            ]
            lines += ["", plain_table(head, rows)]
            lines += [f"{check.case}: {check.detail}" for check in self.checks if check.detail]
        lines += [f"not checked: {self.not_checked}"] if self.not_checked else [f"allowed: {self.allowed}"]
        return printable_lines("\n".join([*lines, *self.notes]))


class WrongResultError(ConvertError):
    """A result is not what its source gives; nothing was written.

    Attributes
    ----------
    report : Report
        The checks.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(f"{report.path}: not written, since the result is not what the source gives:\n{report}")
        self.report = report
