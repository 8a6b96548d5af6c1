"""Draw many random graphs and print what became of them: how many stream, how many are refused, every one that is wrong.

    python tests/review/hunt.py time 0:30000               run against onnxruntime; streams cut in three ways against run
    python tests/review/hunt.py time 0:5000 --prefixes     and a stream over every beginning of the signal
    python tests/review/hunt.py frame 0:30000              states of frame models against the truth that was drawn
    python tests/review/hunt.py time 0:2000 --convert      what streams as stateful ONNX beside its stream (or frame)
    python tests/review/hunt.py time 0:2000 --pool         a native file's signals in a pool, beside a stream for each (or frame)

A number that is printed draws the same graph again. Exit status 1: something was wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from convert_checks import try_convert  # noqa: E402
from frame_checks import try_frame  # noqa: E402
from pool_checks import try_pool  # noqa: E402
from time_checks import try_time  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["time", "frame"])
    parser.add_argument("seeds", help="first:last")
    parser.add_argument("--prefixes", action="store_true")
    parser.add_argument("--convert", action="store_true")
    parser.add_argument("--pool", action="store_true")
    args = parser.parse_args()
    first, last = (int(n) for n in args.seeds.split(":"))
    attempt = partial(try_time, prefixes=args.prefixes) if args.kind == "time" else try_frame
    attempt = partial(try_convert, kind=args.kind) if args.convert else attempt
    attempt = partial(try_pool, kind=args.kind) if args.pool else attempt
    counts, wrong, begin = Counter(), [], time.monotonic()
    for seed in range(first, last):
        try:
            counts[attempt(seed)] += 1
        except Exception as error:  # everything is reported, also what no caller should ever see
            wrong.append(f"{seed}: {type(error).__name__}: {' '.join(str(error).split())[:400]}")
    print(*wrong, sep="\n")
    shown = ", ".join(f"{n} {what} ({100 * n / (last - first):.1f} %)" for what, n in sorted(counts.items()))
    print(f"{args.kind} graphs {args.seeds}: {shown}; {len(wrong)} wrong; {time.monotonic() - begin:.0f} s")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
