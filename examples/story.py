"""What the examples share: where their files lie, and how the picture at their end is drawn. Not an example itself.

python forecast.py                    # the numbers
python forecast.py --plot out.png     # and the picture; needs matplotlib
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

DATA = Path(__file__).parent / "data"

COLOURS = {"ours": "#1f6fb4", "baseline": "#c9702a", "truth": "#555555", "bad": "#c0392b"}
"""The same thing has the same colour in every picture."""


def check():
    """Say what is wrong with the command line before the work, or what the example is about."""
    main = sys.modules["__main__"]
    given = sys.argv[1:]
    if Path(getattr(main, "__file__", None) or "").absolute().parent != Path(__file__).absolute().parent:
        return  # imported by something else
    if {"-h", "--help"} & {*given}:
        print(main.__doc__)
        sys.exit()
    path = wanted()
    if path is not None and not Path(path).absolute().parent.is_dir():
        sys.exit(f"--plot {path}: the folder is not there")
    if path is not None and find_spec("matplotlib") is None:
        sys.exit("--plot needs matplotlib: pip install matplotlib")
    unknown = [one for one in given if one.startswith("-") and one != "--plot" and one != path]
    if unknown:
        sys.exit(f"{unknown[0]}: unknown; --help says what there is")


def arguments(help, *models):
    """Return what the command line names, without `--plot FILE`; else these files of the folder LSTM_INFER_MODELS.

    Where it names nothing and they are not there, the script ends with its help.
    """
    given = sys.argv[1:]
    if "--plot" in given:
        at = given.index("--plot")
        given = given[:at] + given[at + 2 :]
    found = [Path(os.environ.get("LSTM_INFER_MODELS", "no folder")) / name for name in models]
    if not given and not all(path.is_file() for path in found):
        sys.exit(help)
    return given or found


def wanted() -> str | None:
    """Return the file that `--plot FILE` names, "" in the documentation's gallery, None where no picture is asked for."""
    if "--plot" in sys.argv[1:]:
        rest = sys.argv[sys.argv.index("--plot") + 1 :]
        return rest[0] if rest else sys.exit("--plot: name the file, such as --plot out.png")
    return "" if "sphinx_gallery.gen_rst" in sys.modules else None


def drawn(draw):
    """Call `draw(plt)` at once where a picture is asked for: a decorator of the function that draws it."""
    path = wanted()
    if path is None:
        return draw
    import matplotlib

    if path:
        matplotlib.use("Agg")  # no window: the picture goes into the file
    import matplotlib.pyplot as plt

    look = {
        "axes.spines.top": False,
        "axes.spines.right": False,
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
    }
    with plt.rc_context({**look, "legend.frameon": False, "figure.constrained_layout.use": True}):
        draw(plt)
        if path:
            plt.savefig(path, dpi=120)
            print(f"{path}: the picture")
    return draw


check()
