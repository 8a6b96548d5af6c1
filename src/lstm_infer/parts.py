"""All that a model is made with. It takes a third of a second to import, and a mapped file with a plan that fits does without:
`model` asks for it when the first thing is needed."""

from __future__ import annotations

from dataclasses import replace

from .analysis.find_roles import find_roles
from .answer import Answer
from .feeds import (
    asked_precision,
    check_baked,
    check_fixed,
    check_sizes,
    checked_feeds,
    fed_ports,
    held_ports,
    load_options,
)
from .fingerprint import Fingerprint
from .graph.fact import Fact
from .graph.ir import Port
from .graph.weights import held_bytes, hold_weights
from .importer import read
from .infos import input_infos, layer_infos, output_infos
from .native.reader import restored
from .ops import recurrent, registry
from .ops.registry import is_built
from .program.store import ConstStore
from .programs import Programs
from .recognise import fix_defaults, pad_delays, rewrite, settle_defaults, thaw, warn_once
from .records import StreamInfo, printable
from .shown import model_html, shape_text
from .summary import summarize
from .walk.remembered import remembering

__all__ = [
    "Answer",
    "ConstStore",
    "Fact",
    "Fingerprint",
    "Port",
    "Programs",
    "StreamInfo",
    "asked_precision",
    "check_baked",
    "check_fixed",
    "check_sizes",
    "checked_feeds",
    "fed_ports",
    "find_roles",
    "fix_defaults",
    "held_bytes",
    "held_ports",
    "hold_weights",
    "input_infos",
    "is_built",
    "layer_infos",
    "load_options",
    "model_html",
    "output_infos",
    "pad_delays",
    "printable",
    "read",
    "recurrent",
    "registry",
    "remembering",
    "replace",
    "restored",
    "rewrite",
    "settle_defaults",
    "shape_text",
    "summarize",
    "thaw",
    "warn_once",
]  # fmt: skip
