"""The site names every public name: docs/api.md and docs/errors.md, and no page is left out."""

from __future__ import annotations

import contextlib
import io
import re

import pytest

import lstm_infer
import shared_files

DOCS = shared_files.ROOT / "docs"


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
    contents = set(re.findall(r"^(\w+)$", (DOCS / "index.md").read_text(encoding="utf-8"), re.MULTILINE))
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


def test_links_of_pages_lead_somewhere() -> None:
    for page in DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (DOCS / target).exists(), f"{page.name}: {target}"
