"""The README says what is so: its Python runs as pasted, its command lines parse, its links lead somewhere."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import shared_files

README = (shared_files.ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def snippets() -> list[tuple[str, str]]:
    """Each block of Python with the block of text behind it: what it prints."""
    return re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def needs(block: str) -> str | None:
    """What a snippet needs that does not come with the package."""
    return "torch" if "import torch" in block else "silero_vad.onnx" if "silero_vad.onnx" in block else None


def run_as_pasted(folder: Path, there: set[str]) -> int:
    """The snippets one after the other in a folder that holds nothing else but files that they say they need."""
    names: dict[str, object] = {}
    ran = 0
    for block, want in snippets():
        if needs(block) in {None, *there}:
            said = io.StringIO()
            with contextlib.chdir(folder), contextlib.redirect_stdout(said):
                exec(compile(block, "README.md", "exec"), names)
            assert said.getvalue() == want, block
            ran += 1
    return ran


def test_python_runs_as_pasted_and_prints_what_it_says(tmp_path: Path) -> None:
    assert len(snippets()) == len(blocks("python")) >= 6, "each snippet shows its output"
    assert run_as_pasted(tmp_path, set()) == len(snippets()) - 2
    assert {path.name for path in tmp_path.iterdir()} == {"amp.lsi", "step.onnx", "first.npz", "in.npy"}
    assert (
        subprocess.run(
            [sys.executable, "-m", "lstm_infer", "verify", "step.onnx"], cwd=tmp_path, check=False
        ).returncode
        == 0
    )


@pytest.mark.skipif(find_spec("torch") is None, reason="a snippet exports from PyTorch")
def test_all_of_it_runs_where_its_needs_are_there(tmp_path: Path) -> None:
    there = {"torch"}
    if (shared_files.MODELS / "silero_vad.onnx").exists():
        shutil.copy(shared_files.MODELS / "silero_vad.onnx", tmp_path)
        there.add("silero_vad.onnx")
    assert run_as_pasted(tmp_path, there) == len(snippets()) - 2 + len(there)


def test_the_first_example_is_short() -> None:
    assert len([line for line in blocks("python")[0].splitlines() if line.strip()]) <= 12


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 160


def test_the_two_commands_stand_first() -> None:
    assert blocks("sh")[:2] == ["pip install . && lstm-infer demo\n", "pip install '.[test]' && pytest\n"]


def test_command_lines_parse() -> None:
    from lstm_infer.cli import command as cli

    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("lstm-infer")]
    assert lines
    for line in lines:
        arguments = cli._parser().parse_args(shlex.split(line, comments=True)[1:])
        assert callable(arguments.call), line


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (shared_files.ROOT / target).exists(), target


def test_what_is_called_not_built_is_refused() -> None:
    listed = re.search(r"refused at load, by name \((.*?)\)", README, re.DOTALL)
    names = re.findall(r"`(\w+)`", listed[1]) if listed else []
    assert names
    table = (shared_files.ROOT / "docs" / "ops.md").read_text(encoding="utf-8")  # itself tested against the registry
    built = set(re.findall(r"^\| (\w+) \|", table, re.MULTILINE))
    assert not built & set(names), "these are built now: take them out of the README"


def test_precisions_are_refused_as_the_readme_says() -> None:
    import lstm_infer
    from lstm_infer.cli.demo.show import MODEL

    with pytest.raises(ValueError, match=r"not built|expected"):
        lstm_infer.load(MODEL, precision="bf16")
