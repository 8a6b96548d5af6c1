"""Loads files and opens their first streams, in a process of its own: what `benchmarks.load` asks of each engine.

It is run as a file with the folder that holds `lstm_infer` as its argument, reads a path a line, and answers each with a
line of JSON. It asks nothing of the engine but its public interface, so that older ones can be measured too.
"""

from __future__ import annotations

import cProfile
import gc
import json
import pstats
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any


def _frame(model: Any) -> dict[str, Any]:
    """One step for each streamed input: zeros, sizes that stay open at 1."""
    import numpy as np

    streamed, found = set(model.streaming.inputs), {}
    for port in model.inputs:
        if port.name in streamed:
            shape = [n if isinstance(n, int) and a != port.batch_axis else 1 for a, n in enumerate(port.shape)]
            if port.time_axis is not None:
                shape[port.time_axis] = model.streaming.rate
            found[port.name] = np.zeros(shape, port.dtype)
    return found


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of this process, and what came out: an error too."""
    begin = time.process_time()
    try:
        result = call()
    except Exception as error:  # a refusal takes its time as well
        result = error
    return time.process_time() - begin, result


def _measure(load: Callable[[str], Any], path: str) -> dict[str, Any]:
    """Seconds of a load, and of the first stream with its first step."""
    gc.collect()
    loading, model = _timed(lambda: load(path))
    if isinstance(model, Exception):
        return {"load": loading, "first": 0.0, "said": type(model).__name__}
    opening, stream = _timed(model.stream)
    if isinstance(stream, Exception):
        return {"load": loading, "first": opening, "said": type(stream).__name__}
    try:
        feeds = _frame(model)
    except Exception as error:
        return {"load": loading, "first": opening, "said": type(error).__name__}
    frame = next(iter(feeds.values())) if len(feeds) == 1 else feeds
    call = stream.step if model.streaming.steady else stream.run
    stepping, made = _timed(lambda: call(frame))
    said = type(made).__name__ if isinstance(made, Exception) else ""
    return {"load": loading, "first": opening + stepping, "said": said}


def _calls(load: Callable[[str], Any], path: str) -> int:
    """Function calls that a load and the first stream make: work that no neighbour on the machine disturbs."""
    profile = cProfile.Profile()
    profile.runcall(_measure, load, path)
    return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]


def main() -> None:
    """Answer until there are no more paths."""
    sys.path.insert(0, sys.argv[1])
    warnings.simplefilter("ignore")
    import lstm_infer

    if Path(sys.argv[1]).resolve() not in Path(lstm_infer.__file__).resolve().parents:
        sys.exit(f"there is no lstm_infer in {sys.argv[1]}; {lstm_infer.__file__} was found")
    load = lstm_infer.load
    for line in sys.stdin:
        asked = json.loads(line)
        found = {"calls": _calls(load, asked["path"])} if asked["calls"] else _measure(load, asked["path"])
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
