"""Imports point one way (docs/architecture.md): reads every module's imports, fails on an arrow that is not drawn."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

import shared_files

PACKAGE = shared_files.ROOT / "src" / "lstm_infer"

# layer: the layers it may import, directly or through others. A layer is a folder of the package, or a file beside them.
# The order is that of the story: a file becomes a graph, the graph is walked, its time is understood, it is lowered to
# a program, a stream runs the program. Imports for types count as others do.
DIRECT = {
    "frozen": set(),
    "imported": set(),  # classes of others, where somebody has imported them
    "errors": set(),
    "within": {"errors"},  # errors of Python about memory and depth
    "misnamed": set(),  # what an AttributeError says beyond the name
    "later": set(),  # a module of the package, imported when something of it is asked for
    "bounds": {"errors"},
    "_core": {"bounds", "later"},
    "_check": {"_core"},
    "views": {"errors", "imported"},  # arrays of others
    "typing": set(),  # types of the public interface
    "_stream": {"_core", "views", "typing"},
    "_states": {"bounds"},
    "_rig": {"_core"},
    "_pool": {"_rig", "_stream", "typing"},
    "isa": {"_core"},
    "given": {"errors", "imported"},
    "records": {"errors", "frozen"},
    "graph": {"errors", "frozen"},
    "importer": {"graph", "typing", "imported"},
    "program": {"graph", "_core"},  # what operators lower themselves to
    "ops": {"program"},  # each operator brings its shape, value, time and calls
    "walk": {"ops"},
    "analysis": {"walk", "records"},
    "recognise": {"analysis"},
    "lower": {"walk"},
    "streams": {"analysis", "lower", "within", "_stream", "_states", "fingerprint", "given", "later", "views"},
    "stream": {"streams", "later", "within", "misnamed"},
    "pools": {"stream", "_pool"},  # batches of many signals
    "pool": {"pools"},
    "progress": set(),
    "many": {"pool", "answer", "later", "progress"},  # what a model does with many signals
    "feeds": {"analysis", "given", "views"},
    "shown": {"records"},  # HTML of what a model says
    "summary": {"analysis"},
    "infos": {"analysis"},
    "fingerprint": {"graph"},
    "programs": {"streams", "log"},  # made when first used, kept by sizes
    "answer": {"programs", "feeds", "log"},  # the analysis, asked once
    "native": {"feeds", "streams", "later", "isa", "misnamed"},  # a file as it runs
    "_keys": set(),
    "log": set(),  # what is said through logging
    "parts": {
        "importer",
        "native",
        "recognise",
        "answer",
        "summary",
        "shown",
        "infos",
        "fingerprint",
    },  # all that a model is made with
    "model": {"parts", "many", "isa", "later", "log"},
    "drive": {"model"},  # signals through a model, calls in turns
    "comparison": {"drive"},  # one precision beside another
    "conversion": {"drive"},  # a model in another form
    "keyed": {"model", "_keys"},  # tables, with a state for each key
    "ray": {"keyed"},  # an adapter
    "doors": {"drive", "misnamed"},
    "onnx_backend": {"doors"},
    "onnxruntime": {"doors"},  # the names of another package, for code that was written for it
    "cli": {"doors", "comparison", "conversion"},
    "__main__": {"cli"},
    "__init__": {"model", "misnamed", "doors", "comparison", "conversion"},
}

# These use the package as its users do, so they may import its public names.
THROUGH_THE_FRONT_DOOR = {"doors", "cli", "conversion", "onnxruntime"}

COMPILED = {"_core", "_check", "_stream", "_states", "_rig", "_pool", "_keys"}

OUTSIDE = {
    # the demo opens the state of onnxruntime's copy of its model; verify falls back to the reference evaluator
    "onnx": {"importer", "doors", "cli", "model", "conversion"},
    "google": {"importer"},  # protobuf, under onnx
    "onnxruntime": {"cli", "conversion"},
    "matplotlib": {"cli"},
    "rich": {"cli", "progress"},
    "torch": {"doors"},
    "keras": {"doors"},
    "pyarrow": {"keyed", "ray"},
    "ray": {"ray"},
    "numpy": None,  # everywhere
}


def below(layer):
    """The layers that `layer` may import, at any distance."""
    found, todo = set(), [layer]
    while todo:
        for lower in DIRECT[todo.pop()] - found:
            found.add(lower)
            todo.append(lower)
    return found


def layer_of(parts):
    """Layer of a module given as parts below lstm_infer: () is the package itself."""
    return parts[0] if parts else "__init__"


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield path, parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts


def imports(path, parts, package):
    """(top-level module or None, parts below lstm_infer, line, inside `if TYPE_CHECKING`) of every import."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                here = ["lstm_infer", *parts] if package else ["lstm_infer", *parts[:-1]]
                base = here[: len(here) - node.level + 1] + base
            # "from lstm_infer import ops" names a module; "from lstm_infer import load" a name of the package
            targets = [
                [*base, alias.name] if base == ["lstm_infer"] and layer_of([alias.name]) in DIRECT else base
                for alias in node.names
            ]
        else:
            continue
        for target in targets:
            yield target, node.lineno, id(node) in typing_only


def breaches():
    for path, parts in modules():
        layer = layer_of(() if parts == ("__init__",) else parts)
        if layer not in DIRECT:
            yield f"{path.name}: layer {layer!r} is not drawn; add it to tests/test_layers.py and docs/architecture.md"
            continue
        for target, line, typing_only in imports(path, parts, path.name == "__init__.py"):
            where = f"{path.relative_to(PACKAGE)}:{line}"
            if target[0] == "lstm_infer":
                lower = layer_of([part for part in target[1:] if part != "__init__"])
                front = lower == "__init__" and layer in THROUGH_THE_FRONT_DOOR
                if lower != layer and lower not in below(layer) and not front:
                    yield f"{where}: {layer} imports {lower}"
            elif target[0] not in sys.stdlib_module_names:
                allowed = OUTSIDE.get(target[0], set())
                if allowed is not None and layer not in allowed and not typing_only:
                    yield f"{where}: {layer} imports {target[0]}"


def test_imports_point_one_way():
    assert not (found := list(breaches())), "\n".join(found)


def test_the_drawing_has_no_circle():
    assert not [layer for layer in DIRECT if layer in below(layer)]


def imported_modules():
    """Module of the package: the modules of the package that it imports, for types too."""
    known = {tuple(part for part in parts if part != "__init__"): path for path, parts in modules()}
    graph = {}
    for name, path in known.items():
        package = path.name == "__init__.py"
        tree = ast.parse(path.read_text())
        found = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                if node.level:
                    here = name if package else name[:-1]
                    base = here[: len(here) - node.level + 1]
                elif (node.module or "").split(".")[0] == "lstm_infer":
                    base = ()
                else:
                    continue
                whole = node.module or ""
                base = (
                    (*base, *whole.removeprefix("lstm_infer" if not node.level else "").split(".")) if whole else base
                )
                base = tuple(part for part in base if part)
                # "from . import tree" names a module; "from .tree import Node" a name inside one
                found |= {
                    (*base, a.name) if (*base, a.name) in known else base for a in node.names if a.name not in COMPILED
                }
            elif isinstance(node, ast.Import):
                found |= {tuple(a.name.split(".")[1:]) for a in node.names if a.name.split(".")[0] == "lstm_infer"}
        graph[name] = {other for other in found if other in known and other != name}
    return graph


def test_no_module_imports_itself_in_a_circle():
    """Not for types either, nor inside a function: what two files need of each other belongs in a third one below."""
    graph = imported_modules()
    left = dict(graph)
    while free := [name for name, needs in left.items() if not needs & left.keys()]:  # ends where only circles are left
        for name in free:
            del left[name]
    while users := [name for name in left if not any(name in needs for needs in left.values())]:
        for name in users:
            del left[name]
    assert not left, "\n".join(
        f"{'.'.join(name)} imports {', '.join('.'.join(other) for other in sorted(needs & left.keys()))}"
        for name, needs in sorted(left.items())
    )


def loaded_by(*argv):
    """Names in sys.modules after this Python ended, in a process of its own."""
    probe = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr)); "
    code = argv[0] if len(argv) == 1 else f"import runpy; sys.argv = {list(argv[1:])}; {argv[0]}"
    ran = subprocess.run([sys.executable, "-c", probe + code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.split())


def foreign(names):
    """Top-level packages of others; Cython's run-time modules are made by our own."""
    found = {name.split(".")[0] for name in names if "cython" not in name}
    return found - set(sys.stdlib_module_names) - {"lstm_infer", "__main__"}


HEAVY = {
    "argparse",
    "asyncio",
    "email",
    "inspect",
    "json",
    "logging",
    "multiprocessing",
    "socket",
    "unittest",
    "urllib",
}
"""Of the standard library: what takes milliseconds, and what only the command line or a test needs."""


def always_there():
    """What this environment loads before anybody asks: an editable install's finder, say."""
    return foreign(loaded_by("pass"))


def test_import_lstm_infer_loads_nothing_else():
    found = loaded_by("import lstm_infer")
    assert {name for name in found if name.startswith("lstm_infer")} == {"lstm_infer"}
    assert not foreign(found) - always_there(), "NumPy is loaded with the first model"
    assert not found & HEAVY


@pytest.mark.parametrize(
    "code",
    ["import lstm_infer; lstm_infer.load", "from lstm_infer import Model, Stream, load", "from lstm_infer import *"],
)
def test_the_engine_stays_light(code):
    """onnx is loaded when a file is read, onnxruntime when results are compared, the command line when it is called."""
    found = loaded_by(code)
    assert "lstm_infer.model" in found, "nothing was loaded: this test sees nothing"
    assert foreign(found) - always_there() == {"numpy"}
    assert not [name for name in found if name.startswith(("lstm_infer.cli", "lstm_infer.doors.onnx_backend"))]
    assert not found & {"argparse", "asyncio", "multiprocessing", "unittest"}


def test_help_loads_no_engine():
    found = loaded_by("runpy.run_module('lstm_infer', run_name='__main__')", "lstm-infer", "--help")
    assert "argparse" in found and "lstm_infer.cli.command" in found
    assert not foreign(found) - always_there()
    assert not found & {"lstm_infer.model", "lstm_infer.cli.bench", "lstm_infer.cli.verify", "lstm_infer._core"}


def test_every_public_name_is_there():
    import lstm_infer

    assert all(getattr(lstm_infer, name) is not None for name in lstm_infer.__all__)
    assert set(lstm_infer.__all__) <= set(dir(lstm_infer))
    with pytest.raises(AttributeError, match="lod"):
        lstm_infer.lod  # noqa: B018


ROUNDS, ALLOWED_S = 5, 0.03
"""Seconds of CPU that `import lstm_infer` may take where NumPy is there; the least of so many processes."""


def test_import_takes_hardly_longer_than_numpy():
    """Timed inside one process: how long a process starts, and NumPy with it, differs by more than what is allowed."""
    code = "import time, numpy; begin = time.process_time(); import lstm_infer; print(time.process_time() - begin)"
    took = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(ROUNDS)
    ]
    assert min(float(one.stdout) for one in took) < ALLOWED_S
