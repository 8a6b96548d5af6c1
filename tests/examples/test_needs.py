"""An example whose packages are missing says in one line what installs them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

import shared_files

EXAMPLES = shared_files.ROOT / "examples"
OURS = {"needs", "story", "train", "train_amp", "vad"}
SCRIPTS = sorted(
    str(path.relative_to(EXAMPLES))
    for path in EXAMPLES.rglob("*.py")
    if path.name not in ("needs.py", "story.py", "vad.py", "__init__.py")
)

BLOCKS = """
import os, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == os.environ["IS_MISSING"]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def imported(script):
    """What an example imports at once, in its order, that neither Python nor the folder has."""
    tree = ast.parse((EXAMPLES / script).read_text(encoding="utf-8"))
    names = [
        name.split(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    ]
    return [name for name in dict.fromkeys(names) if name not in sys.stdlib_module_names and name not in OURS]


def without(package, script, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCKS)
    paths = [str(tmp_path), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    paths = [os.path.abspath(path) for path in paths]
    argv = [sys.executable, EXAMPLES / script]
    if script.startswith("train/"):
        argv = [sys.executable, "-m", script.removesuffix(".py").replace("/", ".")]
    return subprocess.run(
        argv, cwd=EXAMPLES, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "IS_MISSING": package},
    )  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_missing_is_named_with_what_installs_it(script, tmp_path):
    (first, *_) = imported(script)  # NumPy, or a framework
    done = without(first, script, tmp_path)
    name = script.rpartition("/")[2]
    assert done.returncode == 1 and not done.stdout
    assert done.stderr.startswith(f"{name} needs {first}, which is not installed: pip install "), done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("package", ["lstm_infer", "torch", "onnxruntime"])
def test_the_others_too(package, tmp_path):
    script = {"lstm_infer": "forecast.py", "torch": "train/forecast.py", "onnxruntime": "stateful_onnx.py"}[package]
    done = without(package, script, tmp_path)
    assert f"needs {package}, which is not installed: pip install " in done.stderr and done.stderr.count("\n") == 1


def test_every_import_has_a_command():
    """Also those inside of functions."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        import needs
    finally:
        sys.path.remove(str(EXAMPLES))
    for path in EXAMPLES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else names
            roots = {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - OURS
            assert roots <= {*needs.INSTALLED_BY, "uvloop"}, path.name  # uvloop may be missing


@pytest.mark.parametrize("name", ["stream.py", "stateful_onnx.py"])
def test_a_file_of_its_own_runs_without_the_folder(name, tmp_path):
    if name == "stateful_onnx.py":
        pytest.importorskip("onnxruntime", reason="the example streams by onnxruntime")
    (tmp_path / name).write_bytes((EXAMPLES / name).read_bytes())
    path = os.pathsep.join(map(os.path.abspath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))))
    done = subprocess.run(
        [sys.executable, name], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout, done.stderr


def test_other_errors_are_shown_as_ever(tmp_path):
    script = EXAMPLES / "stateful_onnx.py"
    pytest.importorskip("onnxruntime", reason="the example streams by onnxruntime")
    done = subprocess.run([sys.executable, script, tmp_path / "no.onnx"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Traceback" in done.stderr
