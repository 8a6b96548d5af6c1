"""Each story of examples/ runs as a reader runs it, and is better than the baseline that it prints, by a margin."""

from __future__ import annotations

import ast
import importlib.util
import runpy
import subprocess
import sys

import pytest

import shared_files

EXAMPLES = shared_files.ROOT / "examples"

# story: what it has to be, from its score and its baseline; not what it is today, but far from the baseline
BETTER = {
    "forecast": lambda score, baseline: score < 0.6 * baseline,  # MW
    "text": lambda score, baseline: score < 0.6 * baseline,  # bits a letter
    "guitar_callback": lambda score, baseline: score < 0.02 and baseline > 0.2,  # share of the energy
    "control_loop": lambda score, baseline: score < 0.6 * baseline,  # degrees
    "anomaly": lambda score, baseline: score >= 18 and baseline <= 4,  # faults of 20
    "keywords": lambda score, baseline: score >= 0.95 and baseline < 0.8,  # share of words
    "tagging": lambda score, baseline: score > 0.99 and baseline < 0.7,  # share of words
    "captions": lambda score, baseline: score > 0.9 and baseline < 0.5,  # share of captions
    "policy": lambda score, baseline: score > 0.8 and baseline < 0.6,  # share of the time
}


@pytest.fixture
def run(monkeypatch):
    """Run an example in this process, in its folder, as a script; return its names."""

    def run(name, *arguments):
        monkeypatch.chdir(EXAMPLES)
        monkeypatch.syspath_prepend(str(EXAMPLES))
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        before = set(sys.modules)
        try:
            return runpy.run_path(f"{name}.py", run_name="__main__")
        finally:
            for made in set(sys.modules) - before:
                if made.split(".")[0] in ("story", "train", "train_amp", "needs"):
                    del sys.modules[made]

    return run


@pytest.mark.filterwarnings("ignore:the file has 1 size of its example frozen")
@pytest.mark.parametrize("name", BETTER)
def test_is_better_than_its_baseline(run, capsys, tmp_path, name):
    draws = importlib.util.find_spec("matplotlib") is not None  # the numbers need none
    made = run(name, *(["--plot", str(tmp_path / "out.png")] if draws else []))
    assert BETTER[name](made["score"], made["baseline"]), (made["score"], made["baseline"])
    assert name != "keywords" or made["elsewhere"].mean() < 0.01  # nor does it hear words where there are none
    assert 0 < capsys.readouterr().out.count("\n") < 20
    assert not draws or (tmp_path / "out.png").stat().st_size > 20_000


def test_runs_from_anywhere(tmp_path):
    script = EXAMPLES / "text.py"
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "bits a letter" in done.stdout, done.stderr


def test_plot_without_a_name_says_what_to_do(run):
    with pytest.raises(SystemExit, match="name the file"):
        run("text", "--plot")


@pytest.mark.parametrize(
    "arguments, said, status",
    [
        (["--help"], "forecast.py", 0),
        (["--plot", "none/out.png"], "--plot none/out.png: the folder is not there", 1),
        (["--plots", "out.png"], "--plots: unknown; --help says", 1),
    ],
)
def test_the_command_line_is_read_before_the_work(tmp_path, arguments, said, status):
    script = [sys.executable, EXAMPLES / "forecast.py", *arguments]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == status and said in done.stdout + done.stderr and "MW" not in done.stdout


def test_a_file_that_no_conversion_wrote_is_told(tmp_path):
    pytest.importorskip("onnxruntime", reason="the example streams by onnxruntime")
    script, model = EXAMPLES / "stateful_onnx.py", EXAMPLES / "data" / "policy.onnx"
    done = subprocess.run([sys.executable, script, model], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "lstm-infer convert" in done.stderr and "Traceback" not in done.stderr
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "amp.onnx -> step.onnx" in done.stdout and str(EXAMPLES.parent) not in done.stdout


@pytest.mark.files
@pytest.mark.parametrize(
    "name, models, better",
    [
        ("vad_silero", ["silero_vad"], lambda score, baseline: score > 0.82 and baseline < 0.76),  # share of the time
        ("denoise_dtln", ["dtln_model_1", "dtln_model_2"], lambda score, baseline: score > baseline + 4),  # dB
    ],
)
def test_models_of_others_are_better_too(run, name, models, better):
    made = run(name, *(str(shared_files.model(model)) for model in models))
    assert better(made["score"], made["baseline"]), (made["score"], made["baseline"])


@pytest.mark.parametrize("name", ["vad_silero", "denoise_dtln"])
def test_without_arguments_says_what_to_do(run, monkeypatch, name):
    monkeypatch.delenv("LSTM_INFER_MODELS", raising=False)
    with pytest.raises(SystemExit) as stopped:
        run(name)
    assert f"python examples/{name}.py" in str(stopped.value) and ".onnx" in str(stopped.value)


def test_the_models_are_small():
    files = sorted((EXAMPLES / "data").glob("*.onnx"))
    assert sum(file.stat().st_size for file in files) < 200_000


def test_a_story_needs_numpy_alone():
    """No framework is imported by what runs: training scripts import torch where they train."""
    for path in [
        EXAMPLES / "story.py",
        *(EXAMPLES / f"{name}.py" for name in BETTER),
        *(EXAMPLES / "train").glob("*.py"),
    ]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        roots = {
            alias.name.split(".")[0] if isinstance(node, ast.Import) else (node.module or "").split(".")[0]
            for node in tree.body
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        assert roots - set(sys.stdlib_module_names) <= {
            "numpy",
            "lstm_infer",
            "needs",
            "story",
            "train",
            "train_amp",
        }, path.name


def test_the_list_of_examples_is_whole():
    told = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    names = {path.name for path in EXAMPLES.glob("*.py")} - {"story.py", "needs.py"}
    assert not [name for name in names if f"`{name}`" not in told]
    spec = importlib.util.spec_from_file_location("conf", shared_files.ROOT / "docs" / "conf.py")
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    assert {f"{name}.py" for name in conf.SHOWN} <= names
    assert set(BETTER) <= set(conf.STORIES)
