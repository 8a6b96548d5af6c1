"""Native files where there is no onnx: what they give has to be what their sources gave.

python tools/without_onnx.py write FOLDER [MODEL.onnx ...]    here, with onnx: files, and a signal with what came of it
python tools/without_onnx.py run FOLDER                       in an environment of NumPy and lstm_infer alone
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np

import lstm_infer
from lstm_infer.cli.command import main
from lstm_infer.cli.demo.show import MODEL
from lstm_infer.drive.driver import named, one_or_all
from lstm_infer.drive.inputs import stream_spec

OPTIONS = {"silero_vad": {"constants": {"sr": 16000}, "inputs": {"input": (None, 512)}}}
STEPS = 24


def write(folder: Path, sources: list[Path]) -> None:
    """A file for each source, and one for the demo's model."""
    from lstm_infer.conversion.proof import live_cases

    folder.mkdir(parents=True, exist_ok=True)
    for source in [Path(MODEL), *sources]:
        model = lstm_infer.load(source, **OPTIONS.get(source.stem, {}))
        lstm_infer.convert(model, folder / f"{source.stem}.lsi", force=True)
        case = next(case for case in live_cases(model, 1, steps=STEPS) if not case.initial)
        x = next(case.pieces(STEPS))
        y = named(model.stream().run(one_or_all(x)), case.drive.spec)
        arrays = {f"{way}/{name}": array for way, all_of in (("x", x), ("y", y)) for name, array in all_of.items()}
        np.savez(folder / f"{source.stem}.npz", isa=model.isa, **arrays)


def tried(path: Path) -> None:
    """One file: a stream, one that goes on from its snapshot, a pool, what is said of it, a conversion, and `verify`."""
    kept = dict(np.load(path.with_suffix(".npz")))
    model = lstm_infer.load(path, isa=str(kept.pop("isa")))
    x, y = ({name[2:]: array for name, array in kept.items() if name[0] == way} for way in "xy")
    stream = model.stream()
    got = named(stream.run(one_or_all(x)), stream_spec(model))
    assert y and all(got[name].tobytes() == array.tobytes() for name, array in y.items()), f"{path}: other bits"
    twin = lstm_infer.load(path, isa=model.isa).stream()
    twin.restore(stream.snapshot())
    further, same = (named(one.run(one_or_all(x)), stream_spec(model)) for one in (stream, twin))
    assert all(further[name].tobytes() == same[name].tobytes() for name in y), f"{path}: a snapshot goes on otherwise"
    with model.pool() as pool:
        pool.open()
    assert model.summary() and model.states and model.nbytes
    again = path.with_name(f"{path.stem}.again")
    lstm_infer.convert(path, again, to="native")
    again.unlink()
    assert main(["verify", str(path)]) == 0, f"{path}: verify finds it wrong"


def run(folder: Path) -> None:
    """All of them; and an ONNX file is refused with the remedy."""
    assert importlib.util.find_spec("onnx") is None, "onnx is installed here: this has nothing to show"
    files = sorted(folder.glob("*.lsi"))
    assert files, f"{folder}: no files"
    for path in files:
        tried(path)
        print(f"{path.name}: the bits of its source")
    said = ""
    try:
        lstm_infer.load(MODEL)
    except lstm_infer.OnnxImportError as error:
        said = str(error)
    assert "pip install onnx" in said, f"an ONNX file without onnx: {said}"


if __name__ == "__main__":
    way, place, *models = sys.argv[1:]
    if way == "write":
        write(Path(place), [Path(model) for model in models])
    else:
        run(Path(place))
