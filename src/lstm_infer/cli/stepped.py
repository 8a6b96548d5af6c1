"""onnxruntime called step by step, as its users do: through `run`, and through `io_binding` with all memory bound before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..drive.inputs import Feeds

__all__ = ["BoundPeer", "RunPeer", "bound"]


class RunPeer:
    """onnxruntime through `run`, the states carried by hand."""

    def __init__(self, session: Any, side: Feeds, first: Feeds, states: Mapping[str, str]) -> None:
        self._run, self._states = session.run, list(states.items())
        self._names = [o.name for o in session.get_outputs()]
        known = {i.name for i in session.get_inputs()}
        self._feeds = {name: value for name, value in {**side, **first}.items() if name in known}

    def step(self, x: Feeds) -> Feeds:
        """One call."""
        feeds = self._feeds
        feeds.update(x)
        out = dict(zip(self._names, self._run(None, feeds), strict=True))
        for name, after in self._states:
            feeds[name] = out[after]
        return out


class BoundPeer:
    """onnxruntime through `run_with_iobinding`: no array is made in a call, states go back and forth between two sets
    of memory, the frame is copied in."""

    def __init__(
        self, session: Any, side: Feeds, first: Feeds, states: Mapping[str, str], x: Feeds, like: Feeds
    ) -> None:
        self._run = session.run_with_iobinding
        known = {i.name for i in session.get_inputs()}
        self._source = [(np.empty_like(value), value) for name, value in x.items() if name in known]
        fed = dict(zip([n for n in x if n in known], [memory for memory, _ in self._source], strict=True))
        for memory, value in self._source:
            memory[...] = value
        fed |= {name: value for name, value in side.items() if name in known}
        sets = [{name: np.array(first[name], order="C") for name in states} for _ in range(2)]
        after = {output: name for name, output in states.items()}
        self._keep: list[Any] = [fed, sets]
        self._bindings = []
        for turn in range(2 if states else 1):
            binding = session.io_binding()
            for name, value in {**fed, **sets[turn]}.items():
                binding.bind_cpu_input(name, value)
            for output in session.get_outputs():
                memory = (
                    sets[1 - turn][after[output.name]] if output.name in after else np.empty_like(like[output.name])
                )
                shape = like[output.name].shape
                binding.bind_output(output.name, "cpu", 0, memory.dtype, shape, memory.ctypes.data)
                self._keep.append(memory)
            self._bindings.append(binding)
        self._turn = 0

    def step(self) -> None:
        """One call; outputs lie in memory bound before."""
        for memory, value in self._source:
            memory[...] = value
        self._run(self._bindings[self._turn])
        self._turn = (self._turn + 1) % len(self._bindings)


def bound(
    name: str, session: Any, side: Feeds, first: Feeds, states: Mapping[str, str], x: Feeds, like: Feeds
) -> dict[str, Callable[[], None]]:
    """The step of a `BoundPeer` by this name; none where onnxruntime does not write outputs into memory of their shapes, as
    where the file declares others."""
    peer = BoundPeer(session, side, first, states, x, like)
    try:
        peer.step()
    except Exception:  # its exceptions share no base class
        return {}
    return {name: peer.step}
