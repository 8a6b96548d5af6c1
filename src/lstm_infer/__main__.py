"""python -m lstm_infer: the same as the command lstm-infer."""

import sys

from .cli.command import main

if __name__ == "__main__":
    sys.exit(main())
