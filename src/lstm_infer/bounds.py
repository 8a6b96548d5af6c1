"""What the bridge to C is given, checked before C sees it: words against records, extents against memory.

`_core`, `_stream` and `_states` call these where something is made or bound; nothing here runs in a call of a stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["call", "packed", "panels", "parts", "per_unit", "pieces", "plan_steps", "rig", "step_shape"]


def panels(gates: int, n_units: int, k: int, panel: int, units: int, out_offset: int) -> tuple[int, int]:
    """Floats from one panel of `units` units to the next, and how many floats all of them take from `out_offset`."""
    if gates < 1 or n_units < 0 or k < 0 or out_offset < 0:
        got = f"{gates}, {n_units}, {k}, {out_offset}"
        raise ValueError(f"gates >= 1, n_units >= 0, k >= 0, out_offset >= 0 expected, got {got}")
    dense = gates * k * units
    panel = panel or dense
    if panel < dense:
        raise ValueError(f"panel: at least {dense} floats expected, got {panel}")
    return panel, -(-n_units // units) * panel


def packed(
    src_size: int, src_offset: int, axes: Sequence[tuple[int, int]], out_size: int, out_offset: int, n_floats: int
) -> None:
    """Refuse a matrix whose elements, or whose panels, lie outside their arrays. `axes`: extent and stride of each."""
    reach = [(extent - 1) * stride for extent, stride in axes]
    if src_offset + sum(r for r in reach if r < 0) < 0 or src_offset + sum(r for r in reach if r > 0) >= src_size:
        raise ValueError(f"src: {src_size} elements do not hold gates, units and k at these strides")
    if out_offset + n_floats > out_size:
        raise ValueError(f"out: {out_size} elements do not hold {n_floats} floats of panels from {out_offset}")


def per_unit(name: str, values: NDArray[Any], n: int) -> None:
    """Refuse other than one value for each unit of each gate."""
    if values.size != n:
        raise ValueError(f"{name}: {n} values, one for each unit of each gate, expected, got {values.size}")


def plan_steps(
    steps: Sequence[tuple[str, NDArray[np.int64]]],
    n_nested: int,
    slots: Mapping[str, tuple[int, int]],
    control: Mapping[str, int],
) -> None:
    """Refuse steps whose words are not the record of their slot, or name a nested plan that is not there."""
    for index, (slot, words) in enumerate(steps):
        if slot not in slots and slot not in control:
            raise ValueError(f"step {index}: slot {slot!r} is unknown")
        if words.dtype != np.int64 or words.ndim != 1:
            raise TypeError(f"step {index} ({slot}): int64 words [n] expected, got {words.dtype} {words.shape}")
        if slot in control:
            if words.size < control[slot] or not all(-1 <= n < n_nested for n in words[: control[slot]]):
                raise ValueError(f"step {index} ({slot}): words that name nested plans expected")
        elif slots[slot][1] not in (0, words.size):
            raise ValueError(f"step {index} ({slot}): {slots[slot][1]} words expected, got {words.size}")


def step_shape(dims: tuple[int, ...], time: int, most: int) -> None:
    """Refuse the shape of one step that has too many axes, or nothing along time."""
    if len(dims) > most or not -1 <= time < len(dims):
        raise ValueError(f"shape {dims}, time axis {time}: at most {most} axes, and time one of them, expected")
    if time >= 0 and dims[time] < 1:
        raise ValueError(f"shape {dims}, time axis {time}: an entry along it expected")


def call(
    inputs: Sequence[tuple[str, Any, tuple[int, ...], int, bool]],
    outputs: Sequence[tuple[str, Any, tuple[int, ...], int, bool]],
    sizes: Sequence[int],
    n_works: int,
    most: tuple[int, int],
    rate: int = 1,
    lengths: Sequence[int] | None = None,
) -> None:
    """Refuse what cannot be the ports and blocks of a call. `most`: of ports, of blocks."""
    most_ports, most_blocks = most
    ends = sizes[-1:] == [1] if lengths is None else set(sizes) <= set(lengths)
    if not sizes or len(sizes) > most_blocks or list(sizes) != sorted(set(sizes), reverse=True) or not ends:
        among = "descending to 1" if lengths is None else f"descending, of {list(lengths)}"
        raise ValueError(f"blocks: 1 to {most_blocks} sizes, {among}, expected, got {sizes}")
    if rate < 1 or any(n < 1 or n % rate for n in sizes):
        raise ValueError(f"rate: from 1 on, a divisor of every size, expected, got {rate} and {sizes}")
    if n_works != len(sizes):
        raise ValueError(f"work: one number per block ({len(sizes)}) expected, got {n_works}")
    if not inputs or not outputs or len(inputs) + len(outputs) > most_ports:
        raise ValueError(f"ports: 2 to {most_ports} expected, got {len(inputs)} inputs and {len(outputs)} outputs")
    if not any(every for *_, every in inputs):
        raise ValueError("inputs: one that has something for every step expected")
    for name, _, _, time, every in [*inputs, *outputs]:
        if time >= 0 and not every:
            raise ValueError(f"port {name!r} has a time axis, but nothing for every step")
    for name, _, shape, time, _ in inputs:
        if 0 <= time < len(shape) and shape[time] != 1:
            raise ValueError(f"input {name!r}, shape {shape}: extent 1 along time expected")


def pieces(
    found: Sequence[tuple[int, int, int, int, int, int, int, int]], n_own: int, batch: int, block_bytes: int
) -> tuple[int, int]:
    """Refuse pieces of a state block that reach out of it. Bytes of those of one signal (the first `n_own`), and of the rest."""
    if batch < 1 or not 0 <= n_own <= len(found):
        raise ValueError(
            f"batch from 1 on and 0 to {len(found)} pieces of each signal expected, got {batch} and {n_own}"
        )
    sizes = []
    for index, (at, between, n0, s0, n1, s1, run, check) in enumerate(found):
        if min(at, between, n0, s0, n1, s1, run) < 0 or check not in (0, 1, 4, 8) or run % max(check, 1):
            raise ValueError(f"piece {index}: numbers from 0 on expected, got {found[index]}")
        n_bytes = n0 * n1 * run
        reach = at + between * (batch - 1 if index < n_own else 0) + (n0 - 1) * s0 + (n1 - 1) * s1 + run
        if n_bytes and reach > block_bytes:
            raise ValueError(f"piece {index}: reaches to {reach}, the block has {block_bytes} bytes")
        sizes.append(n_bytes)
    return sum(sizes[:n_own]), sum(sizes[n_own:])


Loop = tuple[int, int, int, bool]
"""Count, stride in a batch, stride of the signal, and whether that counts by the steps of a call."""


def parts(found: Sequence[tuple[int, int, int, Sequence[Loop], int]], n: int, state_bytes: int, row_bytes: int) -> None:
    """Refuse parts of a state that reach out of the state block of `n` signals, or of the row of one."""
    for index, (near, between, far, loops, run) in enumerate(found):
        numbers = [near, between, far, run, *(number for loop in loops for number in loop[:3])]
        if n < 1 or min(numbers) < 0 or len(loops) > 3 or any(loop[3] for loop in loops):
            raise ValueError(f"part {index}: numbers from 0 on, and at most three loops, expected, got {found[index]}")
        if run == 0 or any(count == 0 for count, *_ in loops):
            continue
        ends = (
            near + between * (n - 1) + run + sum((count - 1) * stride for count, stride, _, _ in loops),
            far + run + sum((count - 1) * stride for count, _, stride, _ in loops),
        )
        if ends[0] > state_bytes or ends[1] > row_bytes:
            raise ValueError(f"part {index}: reaches to {ends}, there are {state_bytes} and {row_bytes} bytes")


def rig(
    inputs: Sequence[tuple[str, Any, tuple[int, ...], int, bool]],
    outputs: Sequence[tuple[str, Any, tuple[int, ...], int, bool]],
    lanes: Sequence[tuple[Any, ...]],
    sizes: Sequence[int],
    most: tuple[int, int, int, int],
) -> None:
    """Refuse what cannot be the ports and lanes of a rig. `most`: of ports, lanes, lengths of blocks, axes."""
    most_ports, most_lanes, most_lengths, most_axes = most
    if not 1 <= len(sizes) <= most_lanes or list(sizes) != sorted(set(sizes), reverse=True) or sizes[-1] != 1:
        raise ValueError(f"lanes: 1 to {most_lanes} sizes, descending to 1, expected, got {sizes}")
    for *_, blocks in lanes:
        call(inputs, outputs, [n for n, *_ in blocks], len(blocks), (most_ports, most_lengths))
        for n, _, work, ports in blocks:
            if n < 1 or work < 0 or len(ports) != len(inputs) + len(outputs):
                raise ValueError(f"block of {n} steps: a way for each port expected, got {len(ports)}")
            for between, loops, run, at_bytes, near_bytes in ports:
                numbers = [between, run, at_bytes, near_bytes, *(number for loop in loops for number in loop[:3])]
                if min(numbers) < 0 or len(loops) > 3:
                    raise ValueError("port: numbers from 0 on, and at most three loops, expected")
    for _, _, shape, time, _ in [*inputs, *outputs]:
        step_shape(shape, time, most_axes)
