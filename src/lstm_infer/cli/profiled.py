"""A profile as text: a row a step, what is small together, and what the machine could do at best."""

from __future__ import annotations

from .cost import Cost
from .profile import CallProfile, StepTime
from .said import say
from .tables import print_table

__all__ = ["print_profile"]

MOST_ROWS = 40
"""Steps with a row of their own: those that take longest, in the order in which they run."""


def print_profile(found: CallProfile) -> None:
    """Print it."""
    slowest = sorted(found.steps, key=lambda step: -step.us)[:MOST_ROWS]
    shown = [step for step in found.steps if any(step is one for one in slowest)]
    rows = [_cells(step.node, step.op, step) for step in shown]
    rest = [step for step in found.steps if not any(step is one for one in slowest)]
    if rest:
        rows.append(_cells(f"{len(rest)} others", "", _joined(rest)))
    rows.append(_cells("all", "", _joined(found.steps)))
    print_table(
        [
            "node",
            "op",
            "kernel",
            "µs",
            "at best",
            "share",
            "multiply-adds",
            "weights, B",
            "other, B",
            "GFLOP/s",
            "GB/s",
        ],
        rows,
    )
    if rest:
        print_table(["op", "kernel", "steps", "µs", "at best", "share"], _by_op(found.steps))
    bounds = found.bounds
    more = found.whole - found.sum
    say(
        f"{found.what}: {found.whole:.2f} µs; its steps alone {found.sum:.2f} ({more:+.2f}), "
        f"all in one plan {found.together:.2f}"
    )
    say(
        f"at best: multiplying {bounds.multiplying:.2f} µs ({bounds.macs:,} multiply-adds at {bounds.peak:.0f} GFLOP/s), "
        f"reading {bounds.reading:.2f} µs ({bounds.weight_bytes:,} bytes of weights at {bounds.rate:.0f} GB/s)"
    )
    say("at best, of a step: multiplying at that peak, or moving its own bytes at the rate at which so many are read")
    for name, text in found.conditions.items():
        say(f"{name}: {text}")


def _cells(node: str, op: str, step: StepTime) -> list[str]:
    cost = step.cost
    return [
        node, op, step.slot, f"{step.us:.3f}", f"{step.at_best:.3f}", f"{100 * step.share:.1f}%",
        str(cost.macs) if cost.macs else "-", str(cost.weight_bytes), str(cost.read_bytes + cost.written_bytes),
        f"{step.gflops:.1f}" if cost.macs else "-", f"{step.gbs:.1f}",
    ]  # fmt: skip


def _by_op(steps: list[StepTime]) -> list[list[str]]:
    """A row for each operator and kernel, what takes longest in front."""
    groups: dict[tuple[str, str], list[StepTime]] = {}
    for step in steps:
        groups.setdefault((step.op or step.node.split()[0], step.slot), []).append(step)
    joined = sorted(((key, len(group), _joined(group)) for key, group in groups.items()), key=lambda row: -row[2].us)
    return [[*key, str(n), f"{one.us:.2f}", f"{one.at_best:.2f}", f"{100 * one.share:.1f}%"] for key, n, one in joined]


def _joined(steps: list[StepTime]) -> StepTime:
    """Several steps as one."""
    us, at_best, share = (sum(getattr(step, name) for step in steps) for name in ("us", "at_best", "share"))
    return StepTime.of("", "", "", us, at_best, share, sum((step.cost for step in steps), Cost()))
