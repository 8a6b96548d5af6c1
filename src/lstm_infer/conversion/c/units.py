"""The kernel sources that a folder of C needs: those that define the slots of its plans, for one instruction set.

A unit is a short file that reads the sources of the package in the order they want, and gives their functions names of this
model, so that several models can be linked into one program.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ...errors import ConvertError
from .sets import InstructionSet

__all__ = ["Units", "record_names", "units_for"]

PLAN_NAMES = ("li_plan_run", "li_steps_run", "li_loop", "li_branch")

PRODUCTS = {
    "f32": (
        "#define LI_BYTES 0",
        "#define LI_WEIGHTS f32",
        "#define LI_HALVES 0",
        '#include "body/weights_f32.h"',
        '#include "body/products.h"',
        '#include "body/matmul_dyn.h"',
    ),
    "f16": (
        "#define LI_BYTES 0",
        "#define LI_WEIGHTS f16",
        "#define LI_HALVES LI_HAS_HALVES",
        '#include "body/weights_f16.h"',
        '#include "body/products.h"',
    ),
    "i8": ('#include "body/bytes.h"',),
}
"""How body/all.h reads the products, by the ending of their slots."""

BODIES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "map": (("map_f32", "map_i64"), ()),
    "move": (("copy", "gather", "reverse"), ()),
    "indexed": (("gather_nd", "scatter_nd"), ("map",)),
    "random": (("random", "choose"), ()),
    "reduce_f32": (("reduce_f32", "softmax_f32", "layernorm_f32"), ()),
    "pool_f32": (("pool_f32",), ()),
    "reduce_i64": (("reduce_i64",), ("map",)),
    "arg_reduce": (("arg_reduce",), ("map", "reduce_f32", "reduce_i64")),
    "topk": (("topk",), ("map", "reduce_f32", "reduce_i64", "arg_reduce")),
    "matmul_i64": (("matmul_i64",), ("map", "reduce_i64")),
}
"""The other bodies in the order of body/all.h: the slots of each, and the bodies before it that it uses."""


@dataclass(frozen=True)
class Units:
    """What goes into the folder `kernels/`: `made` the text of each file that is written, `copied` those that are taken as they
    are, by path; `compiled` the files to hand to a compiler."""

    made: dict[str, str]
    copied: dict[str, bytes]
    compiled: tuple[str, ...]


@cache
def kernel_folder() -> Path:
    """Where the sources of the kernels are: inside an installation, or in the tree that the package is run from."""
    for folder in (Path(__file__).with_name("kernels"), Path(__file__).parents[4] / "kernels"):
        if (folder / "li_kernels.h").is_file():
            return folder
    raise ConvertError("the sources of the kernels are not beside the package; install it again")


@cache
def record_names() -> dict[str, str]:
    """The struct of the arguments of each slot; "li_words" where they are plain words."""
    text = (kernel_folder() / "li_slots.def").read_text(encoding="utf-8")
    return dict(re.findall(r"^LI_SLOT\w*\((\w+), (\w+)\)", text, re.MULTILINE))


def units_for(slots: Iterable[str], loops: bool, isa: InstructionSet, name: str) -> Units:
    """The units of these slots. loops: do the plans have loops or branches."""
    wanted = set(slots)
    made = {"names.h": _names(isa, name)}
    plan = ["plan.c", "control.c"] if loops else ["plan.c"]
    made["unit_plan.c"] = _unit("Runs the steps of a plan.", plan)
    made |= _vector_units(wanted, isa) if isa.vocabulary else _scalar_units(wanted)
    copied = _closure(made)
    return Units(made, copied, tuple(sorted(file for file in made if file.endswith(".c"))))


def _names(isa: InstructionSet, name: str) -> str:
    """The header that gives functions the names of this model."""
    renamed = [f"#define {one} {one}_{name}" for one in PLAN_NAMES]
    if isa.vocabulary:
        renamed.append(f"#define LI_ISA_NAME {name}_{isa.name}")
    else:
        renamed += [f"#define li_{slot}_scalar li_{slot}_{name}_scalar" for slot in record_names()]
    return "/* Names of the functions of this model. */\n#ifndef LI_NAMES_H\n#define LI_NAMES_H\n{}\n#endif\n".format(
        "\n".join(renamed)
    )


def _unit(title: str, included: Sequence[str], lines: Sequence[str] = ()) -> str:
    text = [f"/* {title} */", '#include "names.h"', *(f'#include "{path}"' for path in included), *lines]
    return "\n".join(text) + "\n"


def _vector_units(wanted: set[str], isa: InstructionSet) -> dict[str, str]:
    made, base = {}, [isa.vocabulary, "body/base.h"]
    of_bodies = {slot for slots, _ in BODIES.values() for slot in slots}
    for kind, lines in PRODUCTS.items():
        if any(slot.endswith(f"_{kind}") and slot not in of_bodies for slot in wanted):
            rows = [] if kind == "i8" else ["body/conv_rows.h"]
            made[f"unit_products_{kind}.c"] = _unit(f"Products with weights in {kind}.", [*base, *rows], lines)
    needed = {body for body, (slots, _) in BODIES.items() if wanted & set(slots)}
    needed |= {under for body in needed for under in BODIES[body][1]}
    if needed:
        bodies = [f"body/{body}.h" for body in BODIES if body in needed]
        made["unit_others.c"] = _unit("All that multiplies no weights.", [*base, *bodies])
    return made


def _scalar_units(wanted: set[str]) -> dict[str, str]:
    made = {}
    for path in sorted(kernel_folder().glob("isa/scalar_*.c")):
        defined = set(re.findall(r"^li_status li_(\w+)_scalar\(", path.read_text(encoding="utf-8"), re.MULTILINE))
        if defined & wanted:
            made[f"unit_{path.name}"] = _unit("Kernels in plain C.", [f"isa/{path.name}"])
    return made


def _closure(made: dict[str, str]) -> dict[str, bytes]:
    """The sources that these files read, and those that they read in turn."""
    found: dict[str, bytes] = {}
    todo = [(".", text) for text in made.values()]
    while todo:
        folder, text = todo.pop()
        for named in re.findall(r'^#include "([^"]+)"', text, re.MULTILINE):
            path = (kernel_folder() / folder / named).resolve()
            relative = path.relative_to(kernel_folder().resolve()).as_posix()
            if relative not in found and relative not in made:
                found[relative] = path.read_bytes()
                todo.append((str(Path(relative).parent), found[relative].decode("utf-8")))
    return found
