"""The site names every public name: docs/api.md and docs/errors.md, and no page is left out."""

from __future__ import annotations

import contextlib
import functools
import io
import re
from pathlib import Path

import pytest

import lstm_infer
import shared_files
from lstm_infer.cli import command

DOCS = shared_files.ROOT / "docs"
PACKAGE = shared_files.ROOT / "src" / "lstm_infer"


def test_every_public_name_has_a_page() -> None:
    errors = {n for n in lstm_infer.__all__ if n.endswith("Error")}
    listed = set(re.findall(r"^   (\w+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert listed == set(lstm_infer.__all__) - errors - {"__version__"}


def test_every_error_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| ", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name, _ in rows} == {n for n in lstm_infer.__all__ if n.endswith("Error")} - {"LstmInferError"}
    for name, also in rows:
        kinds = [eval(kind) for kind in re.findall(r"`(\w+)`", also)]  # built-in errors
        assert all(issubclass(getattr(lstm_infer, name), kind) for kind in kinds), name


def test_every_page_is_in_the_contents() -> None:
    contents = set(re.findall(r"^(?:\w+ <)?(\w+)>?$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert contents == {page.stem for page in DOCS.glob("*.md")} - {"index"}


ELSEWHERE = {"engines", "onnxruntime"}
"""Pages whose code is that of an example, which has tests of its own, or one line."""


def test_pages_with_code_are_those_that_are_run() -> None:
    assert {p.stem for p in DOCS.glob("*.md") if "```python" in p.read_text(encoding="utf-8")} == {*PAGES, *ELSEWHERE}


PAGES = {"streams": 7, "pools": 2, "keyed": 1, "precision": 1}
"""How many blocks at least."""


@pytest.mark.parametrize("name", PAGES)
def test_the_code_of_a_page_runs_and_prints_what_it_says(monkeypatch, name) -> None:
    if name == "keyed":
        pytest.importorskip("pyarrow", reason="the page is about tables")
    page = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    shown = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == page.count("```python") >= PAGES[name]
    monkeypatch.chdir(shared_files.ROOT)
    for block, want in shown:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(block, f"{name}.md", "exec"), names)
        assert said.getvalue() == want, block


ROOT = shared_files.ROOT
MARKDOWN = sorted(
    page
    for folder in (".", "docs", "examples", "examples/*", "benchmarks", "kernels", "wheels")
    for page in ROOT.glob(f"{folder}/*.md")
)


def headings(page: Path) -> set[str]:
    """The anchors of a page, as GitHub and myst make them of its headings."""
    found = re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in found}


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s:]+)\)", text):
        name, _, anchor = target.partition("#")
        to = page.parent / name if name else page
        assert to.exists(), target
        assert not anchor or anchor in headings(to), target
    places = [ROOT, page.parent, ROOT / "tests", ROOT / "kernels", PACKAGE, PACKAGE / "analysis"]
    for named in re.findall(r"`([\w.-]+(?:/[\w.-]+)+\.(?:py|pyx|md|c|h|onnx|sh|yml))`", text):
        assert any((place / named).exists() for place in places), f"{named} is named, and is not there"


def test_nothing_outside_is_linked() -> None:
    """What is elsewhere cannot be checked here: it is named as github.com/owner/name, not linked."""
    for page in MARKDOWN:
        assert "](http" not in page.read_text(encoding="utf-8"), page.name


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_are_named_are_there(page: Path) -> None:
    """Modules and scripts by their files, commands and their options by what `--help` shows, folders by their name."""
    text = page.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (benchmarks(?:\.\w+)*)", text):
        file = ROOT.joinpath(*module.split("."))
        assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), module
    for script in re.findall(r"python (?:-\w+ )*((?:tools|tests|examples|benchmarks|wheels)/[\w./]+\.py)", text):
        assert (ROOT / script).exists(), script
    for folder in re.findall(r"`((?:examples|tools|tests|docs|benchmarks|kernels|wheels|src)/[\w./-]*)`", text):
        assert (ROOT / folder).exists(), folder
    for name, more in re.findall(r"(?:^ *(?:\$ )?|`|&& )lstm-infer (\w+)([^\n`#]*)", text, re.MULTILINE):
        said = help_of(name)
        for option in re.findall(r"--[\w-]+", more):
            assert option in said, f"lstm-infer {name} has no {option}"


@functools.cache
def help_of(name: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert name == "COMMAND" or command.main([name, "--help"]) == 0, f"no command {name}"
    return said.getvalue()
