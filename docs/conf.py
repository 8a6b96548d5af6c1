"""The site: python -m sphinx -W -b html docs OUT. Needs pip install '.[docs]'.

It runs the examples that need nothing else. With LSTM_INFER_GALLERY=all, and '.[docs,test]' torch onnxscript keras, it runs all:
LSTM_INFER_MODELS names the folder with the models of others, those of them that are not there are shown without a result.
"""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

import lstm_infer

project = "lstm_infer"
author = "the lstm_infer authors"
copyright = author
version = release = lstm_infer.__version__

extensions = [
    "myst_parser", "numpydoc", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.intersphinx", "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]  # fmt: skip
exclude_patterns = ["_build"]
suppress_warnings = ["sphinx_gallery.duplicate_filename"]  # train/forecast.py has the name of what it was made for
html_theme = "furo"
html_title = f"lstm_infer {version}"
html_theme_options = {"navigation_with_keys": True}
html_static_path: list[str] = []
templates_path = ["_templates"]
default_role = "code"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
autosummary_generate = True
autodoc_typehints = "none"  # the sections say shapes and dtypes, which types do not
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
intersphinx_mapping: dict[str, tuple[str, None]] = {}  # filled where the network is there: see below
nitpicky = False

STORIES = [
    "stream", "guitar_callback", "control_loop", "policy", "forecast", "anomaly", "keywords", "tagging", "text", "captions",
]  # fmt: skip
"""Examples that need nothing but the package and matplotlib."""

OTHERS = ["torch_to_live", "keras_to_live", "stateful_onnx", "vad_silero", "denoise_dtln"]
"""Those that need torch, keras, onnxruntime or the models of others: run by LSTM_INFER_GALLERY=all."""

SHOWN = [*STORIES, *OTHERS, "train_amp"]

RUN = STORIES + (OTHERS if os.environ.get("LSTM_INFER_GALLERY") == "all" else [])

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "examples",
    "filename_pattern": rf"/({'|'.join(RUN)})\.py$",
    "ignore_pattern": rf"^(?!.*\b({'|'.join(SHOWN)})\.py$)",  # what is not named has no page
    "within_subsection_order": "FileNameSortKey",
    "nested_sections": False,
    "image_scrapers": ("matplotlib",),
    "min_reported_time": 1e6,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "default_thumb_file": str(Path(__file__).with_name("example.png")),
}

warnings.filterwarnings(
    "ignore", "the file has .* frozen"
)  # a reader is told; on a page it would name a folder of the build

OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./([^)]*)\)")
"""Links to files of the repository that are no pages."""


EMPTY = re.compile(r"^\.\. code-block:: Python\n(?: +:\w+:.*\n)*(?:[ \t]*\n)+(?=\S)", re.MULTILINE)
"""Blocks of an example of which all is left out: how its picture is drawn."""


def _name_files(app: object, docname: str, source: list[str]) -> None:
    """A link out of the site becomes the path that it names; nothing is left of empty blocks."""
    source[0] = EMPTY.sub("", source[0])
    source[0] = OUTSIDE.sub(lambda m: f"`{m[2]}`" if m[1].strip("`") == m[2] else f"{m[1]} (`{m[2]}`)", source[0])


def _readme(app: object, docname: str, source: list[str]) -> None:
    """The page "start" is the README."""
    if docname == "start":
        text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
        text = re.sub(r"\]\(docs/", "](", text)
        source[0] = re.sub(r"\[([^\]]*)\]\(((?:examples|benchmarks|CONTRIBUTING)[^)]*)\)", r"`\2`", text)


def _benchmarks(app: object, docname: str, source: list[str]) -> None:
    """The page "performance" is the README of the benchmarks, below the picture that one of them draws."""
    if docname == "performance":
        text = (Path(__file__).parents[1] / "benchmarks" / "README.md").read_text(encoding="utf-8")
        picture = "![microseconds a step, beside onnxruntime and the reading of the weights](latency.svg)"
        text = re.sub(r"\]\(\.\./docs/", "](", text.partition("\n")[2])
        source[0] = f"# Performance\n\n{picture}\n{text}"


def _headers(app: object) -> None:
    """The header of the gallery is GALLERY_HEADER.rst: a README.md, which folders have for their readers, is none."""
    app.config.sphinx_gallery_conf["source_suffix"] = {".rst": "restructuredtext"}  # type: ignore[attr-defined]


def setup(app: object) -> None:
    """Hooks."""
    app.connect("builder-inited", _headers, priority=400)  # type: ignore[attr-defined]  # before sphinx-gallery's, of 500
    app.connect("source-read", _readme)  # type: ignore[attr-defined]
    app.connect("source-read", _benchmarks)  # type: ignore[attr-defined]
    app.connect("source-read", _name_files)  # type: ignore[attr-defined]
