"""C: the same bits as the package over many steps, without a warning, with what a C program may ask of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

import lstm_infer
import shared_files
import stream_models
from lstm_infer import ArgumentError, ConvertError, IsaError, _core
from lstm_infer.cli.demo.show import MODEL
from lstm_infer.conversion.c import replay, toolchain, write
from lstm_infer.conversion.c.options import COptions, named_after
from lstm_infer.conversion.c.prove import prove
from lstm_infer.conversion.c.sets import SETS
from lstm_infer.conversion.c.units import record_names, units_for

ZOO = shared_files.ROOT / "tests" / "zoo" / "files"
HERE = [name for name, able in _core.list_isas() if able]
COMPILER = next((c for name in ("gcc", "clang", "cc") if (c := shutil.which(name))), None)
compiled = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")

FILES = {
    "dyn_amp_model": {},
    "ke_film_amp": {},  # a side input with each call
    "dyn_learned_state": {"chunk": 3},
    "dyn_gtcrn_stream": {},  # frames, caches
    "dyn_lookahead": {"chunk": 2},  # lag: a program a phase, and a flush
    "dyn_strided_conv_lstm": {},  # stride over time
    "ts_lagging_loop": {"chunk": 5},
    "tf_old_state_loop": {"chunk": 4},  # a loop
    "fp16_gru_tagger": {},
    "q_gru_tagger": {"chunk": 2},
    "ts_sac_step": {"chunk": 3},  # frames in a row
    "dyn_char_lm": {"batch": 2},
    "dyn_gated_wavenet": {"chunk": 5},  # time behind other axes: no call of any length
}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Objects of the kernels, from test to test."""
    return tmp_path_factory.mktemp("objects")


def loaded(name, **options):
    return lstm_infer.load(ZOO / f"{name}.onnx", **options)


def checked(model, folder, kept, steps=120, **asked):
    """Write C, run it beside the model; the checks, which must be right."""
    options = COptions(**asked)
    made = write.write(model, folder, options)
    proof = prove(made, folder, steps=steps, kept=kept, seconds=300, level="-O1")
    if proof.not_checked:
        pytest.skip(proof.not_checked)
    assert all(check.ok for check in proof.checks), proof.checks
    return proof.checks


@compiled
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("isa", ["scalar", "avx2", "neon"])
@pytest.mark.parametrize("name", FILES)
def test_the_same_bits(name, isa, tmp_path, kept):
    if isa == "neon" and "neon" not in HERE and name not in ("dyn_amp_model", "dyn_lookahead", "q_gru_tagger"):
        pytest.skip("a few under the emulator are enough")
    checks = checked(loaded(name), tmp_path / "c", kept, isa=isa, **FILES[name])
    assert [check.case for check in checks][:2] == ["as recorded", "another signal"]
    assert checks[1].steps >= 120


@compiled
@pytest.mark.parametrize("precision", ["f16", "int8"])
@pytest.mark.parametrize("isa", [isa for isa in SETS if isa in HERE])
def test_other_weights(precision, isa, tmp_path, kept):
    model = lstm_infer.load(MODEL, precision={"/lstm/LSTM": precision})
    checked(model, tmp_path / "c", kept, isa=isa)
    assert (
        f"unit_products_{'i8' if precision == 'int8' else 'f16'}.c"
        in {path.name for path in (tmp_path / "c" / "kernels").iterdir()}
        or isa == "scalar"
    )


@compiled
@pytest.mark.parametrize(
    "make", ["hidden_state", "state_io", "last_step", "frame", "cascade", "bands", "residual_beside"]
)
def test_ways_to_keep_a_state(make, tmp_path, kept):
    model = None if make == "cascade" else lstm_infer.load(getattr(stream_models, make)())
    if model is None:  # the first state is computed from an input
        model = lstm_infer.load(stream_models.cascade(), time_axis={"tgt": 0})
        with pytest.raises(ConvertError, match=r"constants=\{\.\.\.\} for one of 'src'"):
            write.Folder(model, COptions())
        src = np.random.default_rng(0).standard_normal((4, 1, stream_models.INPUTS)).astype(np.float32)
        model = lstm_infer.load(getattr(stream_models, make)(), constants={"src": src})
    for isa in ("scalar", "avx2"):
        checked(model, tmp_path / isa, kept, isa=isa)


@compiled
@pytest.mark.parametrize("seed", [None, 7])
def test_random_numbers(seed, tmp_path, kept):
    """Those of the conversion's seed; others after NAME_seed."""
    nodes = [helper.make_node("RandomUniformLike", ["x"], ["noise"]), helper.make_node("Add", ["x", "noise"], ["n"]),
             helper.make_node("LSTM", ["n", "W", "R", "B"], ["Y"], name="rec", hidden_size=stream_models.HIDDEN),
             helper.make_node("Squeeze", ["Y", "one"], ["y"])]  # fmt: skip
    w = stream_models._lstm_weights()
    ports = [("x", TensorProto.FLOAT, ["T", 2, stream_models.INPUTS])], [("y", TensorProto.FLOAT, None)]
    proto = stream_models._finish(nodes, *ports, {**w, "one": np.array([1])})
    model = lstm_infer.load(proto, seed=seed)
    checked(model, tmp_path / "c", kept, isa="scalar", batch=2)
    assert "void model_seed(void *state, uint64_t seed);" in (tmp_path / "c" / "model.h").read_text()


# ---- what the door does --------------------------------------------------------------------------------------


@compiled
def test_convert(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = lstm_infer.convert(MODEL, "my-amp", to="c", chunk=16)
    assert report.ok and not report.not_checked and report.largest_error == 0
    assert report.facts["instruction set"] == "scalar" and report.facts["steps of a call"] == "16"
    assert {"my_amp.h", "my_amp.c", "Makefile", "my_amp_weights.S", "my_amp_weights.c"} <= {
        path.name for path in (tmp_path / "my-amp").iterdir()
    }
    if shutil.which("make"):
        for weights in ("S", "c"):
            ran = subprocess.run(["make", "clean", "test", f"WEIGHTS={weights}", "CFLAGS=-O1 -Werror"],
                                 cwd=tmp_path / "my-amp", capture_output=True, text=True)  # fmt: skip
            assert ran.returncode == 0, ran.stderr
            assert "200 calls of 16 steps" in ran.stdout


@compiled
def test_nothing_is_left_where_bits_differ(tmp_path, monkeypatch):
    """The last byte of the recorded frames is another one than the code makes."""
    honest = replay.recorded
    monkeypatch.setattr(write, "recorded", lambda *args, **kw: honest(*args, **kw)[:-1] + b"\x7f")
    with pytest.raises(ConvertError, match="output 0 differs"):
        lstm_infer.convert(MODEL, tmp_path / "amp", to="c")
    assert not list(tmp_path.iterdir())


@compiled
def test_every_output_of_every_call_is_compared(tmp_path, kept):
    """A change of any one output value, or of the first state, is seen."""
    model, options = loaded("dyn_lookahead"), COptions()
    write.write(model, tmp_path, options)
    tools = toolchain.toolchain(SETS["scalar"])
    program = toolchain.build(tmp_path, "model", SETS["scalar"], tools, kept, kept=kept)
    frames = (tmp_path / "model_frames.bin").read_bytes()
    assert tools.run([str(program), str(tmp_path / "model_frames.bin")]).returncode == 0
    rng = np.random.default_rng(0)
    for at in rng.integers(24, len(frames), 20):
        (tmp_path / "changed.bin").write_bytes(frames[:at] + bytes([frames[at] ^ 0x40]) + frames[at + 1 :])
        assert tools.run([str(program), str(tmp_path / "changed.bin")]).returncode != 0, at


def test_without_a_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    report = lstm_infer.convert(MODEL, tmp_path / "amp", to="c")
    assert "no C compiler" in report.not_checked and not report.checks
    assert "not checked" in str(report)


# ---- what a program of C may do with it ----------------------------------------------------------------------


@compiled
def test_two_models_in_one_program_of_cpp(tmp_path):
    """Names do not meet, C++ reads the headers, init looks at its buffer."""
    for name, chunk in (("one", 1), ("two", 4)):
        write.write(lstm_infer.load(MODEL), tmp_path / name, COptions(name=name, chunk=chunk))
    (tmp_path / "main.cc").write_text("""
#include "one/one.h"
#include "two/two.h"
#include <cstdio>
#include <cstring>
alignas(64) static unsigned char a[ONE_STATE_BYTES + 64], b[TWO_STATE_BYTES], s[ONE_SCRATCH_BYTES], t[TWO_SCRATCH_BYTES];
int main()
{
    float x[400], y[400], z[400];
    for (int i = 0; i < 400; i++) { x[i] = 0.01f * float(i % 37) - 0.2f; }
    if (one_init(a, 8) == 0 || one_init(a + 4, sizeof(a) - 4) == 0 || one_init(a, one_state_size())) { return 1; }
    if (two_init(b, sizeof(b)) || one_scratch_size() != sizeof(s)) { return 2; }
    for (int i = 0; i < 400; i++) { if (one_step(a, s, x + i, y + i)) { return 3; } }
    if (two_run(b, t, 399, x, z) || two_run(b, t, 1, x + 399, z + 399) || two_run(b, t, 0, x, z)) { return 4; }
    return std::memcmp(y, z, sizeof(y)) ? 5 : 0;
}
""")
    sources = [str(p) for n in ("one", "two") for p in sorted((tmp_path / n).rglob("*.c"))
               if p.name in (f"{n}.c", f"{n}_weights.c") or p.name.startswith("unit_")]  # fmt: skip
    objects = []
    for source in sources:
        folder = tmp_path / source[len(str(tmp_path)) + 1 :].split("/")[0]
        objects.append(source[:-2] + ".o")
        flags = ["-std=c11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
        subprocess.run(
            [COMPILER, *flags, f"-I{folder}", f"-I{folder}/kernels", "-c", source, "-o", objects[-1]], check=True
        )
    cpp = shutil.which("g++") or shutil.which("clang++")
    if cpp is None:
        pytest.skip("needs a compiler of C++")
    cpp_flags = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(
        [cpp, *cpp_flags, str(tmp_path / "main.cc"), *objects, "-lm", "-o", str(tmp_path / "main")], check=True
    )
    assert subprocess.run([str(tmp_path / "main")], check=False).returncode == 0


@compiled
def test_a_value_that_is_refused(tmp_path):
    """A token outside of the table: the status says so, and the state is as before."""
    write.write(loaded("dyn_char_lm"), tmp_path, COptions())
    (tmp_path / "main.c").write_text("""
#include "model.h"
#include <string.h>
_Alignas(64) static unsigned char state[MODEL_STATE_BYTES], before[MODEL_STATE_BYTES], scratch[MODEL_SCRATCH_BYTES];
static float y[MODEL_logits_ELEMENTS];
int main(void)
{
    const int64_t good = 1, bad = 1 << 20;
    if (model_init(state, sizeof(state)) || model_step(state, scratch, &good, y)) { return 1; }
    memcpy(before, state, sizeof(state));
    if (model_step(state, scratch, &bad, y) != MODEL_ERR_INDEX) { return 2; }
    if (memcmp(before, state, sizeof(state))) { return 3; }
    const float kept = y[0];
    return model_step(state, scratch, &good, y) || !memcmp(before, state, sizeof(state)) || kept == y[0];
}
""")
    sources = [str(p) for p in sorted(tmp_path.rglob("*.c")) if p.name in ("main.c", "model.c", "model_weights.c")
               or p.name.startswith("unit_")]  # fmt: skip
    flags = ["-std=c11", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    paths = [f"-I{tmp_path}", f"-I{tmp_path}/kernels"]
    subprocess.run([COMPILER, *flags, *paths, *sources, "-lm", "-o", str(tmp_path / "main")], check=True)
    assert subprocess.run([str(tmp_path / "main")], check=False).returncode == 0


@compiled
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_amplifier_of_the_examples(tmp_path):
    """Blocks of any length through a callback: the bits of the package."""
    folder = tmp_path / "c_amplifier"
    made = shutil.ignore_patterns("amp", "play", "*.f32")
    shutil.copytree(shared_files.ROOT / "examples" / "c_amplifier", folder, ignore=made)
    package = str(Path(lstm_infer.__file__).parents[1])
    wanted = ["make", "test", f"PYTHON={sys.executable}", f"MODEL={MODEL}", "CFLAGS=-O1 -Werror", f"CC={COMPILER}"]
    ran = subprocess.run(wanted, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": package})
    assert ran.returncode == 0, ran.stderr
    assert "the same bits as the package, in blocks of every length" in ran.stdout


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("isa", ["scalar", "avx2"])
def test_every_slot_has_a_unit(isa, compiler, tmp_path):
    """Each slot asked for alone: what is written compiles without a warning and defines it."""
    path = shutil.which(compiler)
    if path is None or (SETS[isa].machine and isa not in HERE):
        pytest.skip(f"needs {compiler}, and a CPU with {isa}")
    flags = [*SETS[isa].flags, "-std=c11", "-O0", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    look = ["-fsyntax-only"] if compiler == "clang" else ["-o", "t.o"]
    seen: dict[str, str] = {}
    for slot in record_names():
        units = units_for([slot], False, SETS[isa], "t")
        for relative, data in {**{k: v.encode() for k, v in units.made.items()}, **units.copied}.items():
            (tmp_path / relative).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / relative).write_bytes(data)
        defined = ""
        for file in units.compiled:
            if units.made[file] not in seen:
                subprocess.run([path, *flags, "-c", file, *look], cwd=tmp_path, check=True)
                names = (
                    subprocess.run(["nm", "t.o"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
                    if compiler == "gcc"
                    else ""
                )
                seen[units.made[file]] = names
            defined += seen[units.made[file]]
        assert compiler != "gcc" or re.search(rf" T _?li_{slot}_t_{isa}\n", defined), slot


def test_flags_are_those_of_the_package():
    text = (shared_files.ROOT / "setup.py").read_text()
    for flag in write_flags():
        assert f'"{flag}"' in text, flag
    rows = dict(re.findall(r'^    "(\w+)": \(\s*"(\w+)"', text, re.MULTILINE))
    assert {name: found.machine for name, found in SETS.items() if found.machine} == rows


def write_flags():
    from lstm_infer.conversion.c.sets import COMMON_FLAGS

    return {flag for found in SETS.values() for flag in (*COMMON_FLAGS, *found.flags)}


# ---- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error", "text"),
    [
        ({"isa": "sse9"}, IsaError, "sse9"),
        ({"name": "1amp"}, ArgumentError, "name"),
        ({"name": "a b"}, ArgumentError, "name"),
        ({"name": "string"}, ArgumentError, "name: 'string' is taken by C"),
        ({"name": "li_plan"}, ArgumentError, "name: 'li_plan' is taken by C"),
        ({"chunk": 0}, ArgumentError, "chunk"),
        ({"batch": 0}, ArgumentError, "batch"),
    ],
)
def test_wrong_options(asked, error, text, tmp_path):
    with pytest.raises(error, match=text):
        lstm_infer.convert(MODEL, tmp_path / "amp", to="c", **asked)
    assert not list(tmp_path.iterdir())


def test_what_cannot_stream_is_refused(tmp_path):
    with pytest.raises(lstm_infer.NotStreamableError, match="bidirectional"):
        lstm_infer.convert(stream_models.both_ways(), tmp_path / "c", to="c")


def test_a_step_of_numpy_is_refused():
    """By its node, with the reason."""
    nodes = [
        helper.make_node("GridSample", ["x", "grid"], ["s"], name="warp"),
        helper.make_node("Add", ["s", "h"], ["y"]),
    ]
    nodes.append(helper.make_node("Tanh", ["y"], ["h_next"]))
    ports = [("x", TensorProto.FLOAT, [1, 1, 4, 4]), ("h", TensorProto.FLOAT, [1, 1, 4, 4])]
    made = [("y", TensorProto.FLOAT, [1, 1, 4, 4]), ("h_next", TensorProto.FLOAT, [1, 1, 4, 4])]
    grid = np.random.default_rng(0).uniform(-1, 1, (1, 4, 4, 2)).astype(np.float32)
    model = lstm_infer.load(stream_models._finish(nodes, ports, made, {"grid": grid}), states={"h": "h_next"})
    with pytest.raises(ConvertError, match=r"'warp' \(GridSample-17\) runs as NumPy"):
        write.Folder(model, COptions())


def test_a_size_that_is_open_is_refused():
    """By the input, with what to say; then it is fixed."""
    nodes = [helper.make_node("Add", ["x", "h"], ["s"]), helper.make_node("Tanh", ["s"], ["h_next"]),
             helper.make_node("Neg", ["s"], ["y"])]  # fmt: skip
    ports = [("x", TensorProto.FLOAT, [1, "F"]), ("h", TensorProto.FLOAT, [1, "F"])]
    made = [("y", TensorProto.FLOAT, [1, "F"]), ("h_next", TensorProto.FLOAT, [1, "F"])]
    proto = stream_models._finish(nodes, ports, made, {})
    with pytest.raises(lstm_infer.LstmInferError, match=r"open.*inputs="):
        write.Folder(lstm_infer.load(proto, states={"h": "h_next"}), COptions())
    fixed = lstm_infer.load(proto, states={"h": "h_next"}, inputs={"x": (1, 6), "h": (1, 6)})
    assert write.Folder(fixed, COptions()).source.inputs[0].shape == (1, 6)


def test_names_of_a_model_end_no_comment(tmp_path):
    """Names come from a file: in C they are text."""
    import onnx

    proto = onnx.ModelProto.FromString(stream_models.hidden_state())
    proto.graph.name = "*/ int x; /* \\ ??/"
    for port in (proto.graph.input[0], proto.graph.output[0]):
        for node in proto.graph.node:
            node.input[:] = ["*/ int;" + name if name == port.name else name for name in node.input]
            node.output[:] = ["*/ int;" + name if name == port.name else name for name in node.output]
        port.name = "*/ int;" + port.name
    folder = write.Folder(lstm_infer.load(proto), COptions())
    text = b"".join(folder.files(b"").values()).decode("utf-8", "replace")
    assert "*/ int x" not in text and "*/ int;" not in text and "int_x (*_ int;x in the model)" in text


def test_names_for_c():
    assert named_after("my-amp.v2") == "my_amp_v2"
    assert named_after("2amp") == "m_2amp"
    assert named_after("é") == "model"
    assert named_after("time") == "m_time" and named_after("li") == "m_li" and named_after("timer") == "timer"


@compiled
@pytest.mark.parametrize("names", [
    ("int64_t", "memcpy", "BYTES", "while"), ("model_step", "model_run", "model", "int"),
    ("NAN", "HUGE_VAL", "size_t", "NULL"), ("INFINITY", "model_weights", "Bytes", "bytes"),
    ("EOF", "BUFSIZ", "I", "PRId64"), ("INPUT", "OUTPUT", "EOF_2", "SEEK_SET"),
])  # fmt: skip
def test_names_that_mean_something_in_c(names, tmp_path, kept):
    """Inputs, outputs and states are called so: it compiles, and the bits are right."""
    import onnx

    proto = onnx.ModelProto.FromString(stream_models.state_io())
    new = dict(zip(("x", "y", "h0", "c0"), names, strict=True))
    for node in proto.graph.node:
        for these in (node.input, node.output):
            these[:] = [new.get(name, name) for name in these]
    for port in (*proto.graph.input, *proto.graph.output):
        port.name = new.get(port.name, port.name)
    checked(lstm_infer.load(proto), tmp_path / "c", kept, isa="scalar", chunk=3)


@compiled
@pytest.mark.parametrize("name", ["int", "main", "test", "kernels", "names", "NULL"])
def test_names_that_a_model_may_have(name, tmp_path, kept):
    checked(lstm_infer.load(MODEL), tmp_path / name, kept, isa="scalar", name=name, steps=4)


def test_a_program_is_not_needed_to_write(tmp_path):
    """The writer itself starts no process and loads no compiler: only the check does."""
    code = f"""
import lstm_infer, sys
from pathlib import Path
from lstm_infer.conversion.c.write import write
from lstm_infer.conversion.c.options import COptions
sys.addaudithook(lambda event, args: (_ for _ in ()).throw(SystemExit(3)) if event.startswith("subprocess") else None)
write(lstm_infer.load({str(MODEL)!r}), Path({str(tmp_path / "c")!r}), COptions())
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
