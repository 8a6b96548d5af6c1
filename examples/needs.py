"""Says in one line what to install where a package is missing. Each example begins by importing it; not an example itself.

Code of an example that is pasted does without it, and so does the file of one that needs no other file of this folder.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

INSTALLED_BY = {
    "lstm_infer": f"pip install {HERE.parent}",
    "numpy": "pip install numpy",
    "matplotlib": "pip install matplotlib",
    "onnx": "pip install onnx",
    "onnxruntime": "pip install onnxruntime",
    "torch": "pip install torch onnxscript",
    "onnxscript": "pip install torch onnxscript",
    "keras": "pip install keras torch onnxscript",
    "picows": "pip install picows",
    "pyarrow": "pip install pyarrow",
    "pandas": "pip install pandas pyarrow",
    "pyspark": "pip install 'pyspark>=3.5' pandas pyarrow",
}
"""What an example imports, and what installs that and what it goes with."""


def _show(kind, error, trace):
    """Show what ends the script: one line where a package is missing, else what Python says."""
    first = error
    while first.__cause__ is not None:  # what the package says of a framework that it needs
        first = first.__cause__
    name = first.name.partition(".")[0] if isinstance(first, ModuleNotFoundError) and first.name else ""
    if name in INSTALLED_BY:
        script = Path(sys.modules["__main__"].__file__).name
        print(f"{script} needs {name}, which is not installed: {INSTALLED_BY[name]}", file=sys.stderr)
    else:
        _before(kind, error, trace)


_before = sys.excepthook
if HERE in Path(getattr(sys.modules["__main__"], "__file__", None) or "").absolute().parents:  # run as a script
    sys.excepthook = _show
