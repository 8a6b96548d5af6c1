"""python -m lstm_infer, and the command lstm-infer: `main`, and what ends it quietly when Ctrl-C comes, also before it began."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # the rest of `signal` waits for `enum`, and an interrupt would meet nobody meanwhile
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType

_INTERRUPTED = 130


def run() -> int:
    """Run the command; returns its exit status: 130 where it was interrupted, wherever it stood.

    While the package is imported, and once the work is done, there is nothing to clean up: the process ends on the spot. In
    between the interrupt is an exception, as always; whatever a library makes of it (NumPy's import an ImportError) is not
    the user's concern.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:  # ignored in the background: so it stays
        from .cli.command import main

        return main()
    signal.signal(signal.SIGINT, _leave)
    from .cli.command import interrupted, main

    def note(number: int, frame: FrameType | None) -> None:
        interrupted.append(number)
        raise KeyboardInterrupt

    try:
        signal.signal(signal.SIGINT, note)
        return main()
    except KeyboardInterrupt:
        _leave()
        raise
    finally:
        signal.signal(signal.SIGINT, _leave)


def _leave(*of_signal: object) -> None:
    """End the process at once, with a word, whether somebody listens or not."""
    try:
        os.write(2, b"lstm-infer: interrupted\n")
    finally:
        os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(run())
