"""What `verify` found: a row for each output and kind of comparison, and the report of all of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..drive.compare import Loose, compare

__all__ = ["Rows", "VerifyReport", "VerifyRow"]

ORDER = {"whole": 0, "split": 1, "stepped": 2}


@dataclass
class VerifyRow:
    """One output under one kind of comparison, over all seeds and sizes.

    Attributes
    ----------
    output : str
    case : str
        "whole" (run against the peer), "split" (a stream in random pieces against run, bit for bit), "stepped" (a
        stream against the peer driven by hand, the states fed back).
    n : int
        Comparisons made.
    worst_absolute : float
        Largest difference.
    worst_excess : float
        Largest difference in units of what is allowed: above 1 is wrong. For "split", 0 or infinite.
    ok : bool
    where : str
        The sizes at which the worst was seen.
    detail : str
        What else is wrong: a shape, an error.
    relative : float
        The mean difference over the range of the output, where weights were rounded; else 0.
    telling : bool
        Some value was there to be compared: not all were empty or no numbers.
    """

    output: str
    case: str
    n: int = 0
    worst_absolute: float = 0.0
    worst_excess: float = 0.0
    ok: bool = True
    where: str = ""
    detail: str = ""
    relative: float = 0.0
    telling: bool = False


@dataclass
class VerifyReport:
    """What `verify` found.

    Attributes
    ----------
    ok : bool
        Nothing wrong was found.
    compared : int
        Comparisons with the peer; 0 means that nothing is known.
    rows : list of VerifyRow
    missing : list of str
        What should have been compared and was not, so that nobody takes silence for a proof.
    ties : int
        Comparisons that hang on a rounding: the peer itself says something else of inputs a hair beside.
    streams : bool
    not_streamable : str
        Why not; empty where it streams.
    not_comparable : dict of reason to count
        Feeds that neither peer runs.
    reference : dict of name to count
        Which peer answered how often.
    refusals : dict of reason to count
        Why onnxruntime did not answer, whether the evaluator did or not.
    versions : dict of package to version
    isa : str
    seed : int
    allowed : str
        What is allowed beside the peer, where weights were rounded: errors are told, not judged, up to there.
    coarse : list of str
        Outputs that lie beyond it, though the same file is right with its weights in f32: no fault of the engine.
    """

    ok: bool = True
    compared: int = 0
    rows: list[VerifyRow] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    ties: int = 0
    streams: bool = False
    not_streamable: str = ""
    not_comparable: dict[str, int] = field(default_factory=dict)
    reference: dict[str, int] = field(default_factory=dict)
    refusals: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    isa: str = ""
    seed: int = 0
    allowed: str = ""
    coarse: list[str] = field(default_factory=list)

    @property
    def status(self) -> int:
        """Exit status: 0 fine, 1 found wrong, 2 something could not be compared."""
        return 1 if not self.ok else 0 if self.compared and not self.missing else 2

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as JSON takes them."""
        plain = asdict(self)
        for row in plain["rows"]:
            for key in ("worst_absolute", "worst_excess", "relative"):
                row[key] = row[key] if np.isfinite(row[key]) else None
        return {**plain, "status": self.status}


class Rows:
    """The rows of a report, while they grow."""

    def __init__(self, loose: Loose | None = None) -> None:
        """loose: how answers are compared with those of other weights."""
        self.loose = loose
        self._rows: dict[tuple[str, str], VerifyRow] = {}

    def compare(
        self,
        case: str,
        output: str,
        got: NDArray[Any] | None,
        want: NDArray[Any] | None,
        where: str,
        *,
        bits: bool = False,
    ) -> None:
        """One comparison more."""
        row = self._row(case, output)
        if self.loose is not None and not bits:
            absolute, detail = self.loose.see(case, output, got, want)
            excess, ok = absolute, not detail  # the range is not known yet: `sorted` judges
        else:
            absolute, excess, detail = compare(got, want, bits=bits)
            ok = excess <= 1
        row.n += 1
        row.ok &= ok
        row.telling |= want is not None and want.size > 0 and (want.dtype.kind != "f" or not np.isnan(want).all())
        if not row.where or excess > row.worst_excess:
            row.where, row.worst_excess, row.detail = where, excess, detail
        row.worst_absolute = max(row.worst_absolute, absolute)

    def wrong(self, case: str, output: str, where: str, detail: str) -> None:
        """Something is wrong that no numbers show: an error, say."""
        row = self._row(case, output)
        row.n, row.ok, row.worst_absolute, row.worst_excess = row.n + 1, False, np.inf, np.inf
        row.where, row.detail = where, detail

    def told(self, case: str, output: str) -> bool:
        """Was this output compared in this way, with something in it."""
        row = self._rows.get((case, output))
        return row is not None and row.telling

    def sorted(self) -> list[VerifyRow]:
        """Whole runs first; those of rounded weights judged."""
        loose = self.loose
        for row in self._rows.values():
            if loose is not None and row.case != "split" and row.ok:
                row.relative = loose.relative(row.case, row.output)
                row.worst_excess = loose.excess(row.case, row.output)
                row.ok = row.worst_excess <= 1
        return sorted(self._rows.values(), key=lambda row: ORDER[row.case])

    def _row(self, case: str, output: str) -> VerifyRow:
        return self._rows.setdefault((case, output), VerifyRow(output, case))
