"""The site: python -m sphinx -W -b html docs OUT. Needs pip install '.[docs]'."""

from __future__ import annotations

import re
from pathlib import Path

import lstm_infer

project = "lstm_infer"
author = "the lstm_infer authors"
copyright = author
version = release = lstm_infer.__version__

extensions = [
    "myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.intersphinx", "sphinx_copybutton",
]  # fmt: skip
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"lstm_infer {version}"
html_theme_options = {"navigation_with_keys": True}
html_static_path: list[str] = []
templates_path = ["_templates"]
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autosummary_generate = True
autodoc_typehints = "none"  # the sections say shapes and dtypes, which types do not
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # filled where the network is there: see below
nitpicky = False

OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./([^)]*)\)")
"""Links to files of the repository that are no pages."""


def _name_files(app: object, docname: str, source: list[str]) -> None:
    """A link out of the site becomes the path that it names."""
    source[0] = OUTSIDE.sub(lambda m: f"`{m[2]}`" if m[1].strip("`") == m[2] else f"{m[1]} (`{m[2]}`)", source[0])


def _readme(app: object, docname: str, source: list[str]) -> None:
    """The page "start" is the README."""
    if docname == "start":
        text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        source[0] = re.sub(r"\[([^\]]*)\]\(((?:examples|benchmarks|CONTRIBUTING)[^)]*)\)", r"`\2`", text)


def setup(app: object) -> None:
    """Hooks."""
    app.connect("source-read", _readme)  # type: ignore[attr-defined]
    app.connect("source-read", _name_files)  # type: ignore[attr-defined]
