"""A call that fills `out=`, or a step whose result is dropped for the next, asks nothing of the system: no memory, no lock, no
system call, on every road of a stream.

The calls are made in a Python whose allocator is malloc, with watch.c preloaded: it counts allocations and locks, and a
filter in the kernel ends a process at its first system call. A flag that is set and cleared by one atomic exchange
(that of a stream, that of scratch) is no lock: nobody ever waits on it in the system.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig

import pytest

import shared_files

sys.path.append(str(shared_files.ROOT))
from benchmarks.nets import INPUTS as I
from benchmarks.nets import NETS

HERE = shared_files.ROOT / "tests" / "review"
HALF = I // 2

# name: (net, how it is called, batch, shapes of what is fed, side inputs)
ROADS = {
    "plain": ("plain", "step", 1, {"x": [1, I]}, {}),
    "time axis kept": ("plain", "step", 1, {"x": [1, 1, I]}, {}),
    "a dict": ("plain", "step dict", 1, {"x": [1, I]}, {}),
    "a fresh thread's second call": ("plain", "step thread", 1, {"x": [1, I]}, {}),
    "a fresh thread's second chunk": ("plain", "run thread", 1, {"x": [20, 1, I]}, {}),
    "eight signals": ("plain", "step", 8, {"x": [8, I]}, {}),
    "two inputs": ("two inputs", "step", 1, {"a": [1, HALF], "b": [1, HALF]}, {}),
    "two outputs": ("two outputs", "step", 1, {"x": [1, I]}, {}),
    "two of both": ("two inputs, two outputs", "step", 1, {"a": [1, HALF], "b": [1, HALF]}, {}),
    "two of both, a chunk": ("two inputs, two outputs", "run", 1, {"a": [20, 1, HALF], "b": [20, 1, HALF]}, {}),
    "an ArgMax head": ("ArgMax alone", "step", 1, {"x": [1, I]}, {}),
    "an ArgMax head beside": ("ArgMax beside", "step", 1, {"x": [1, I]}, {}),
    "a bound side input": ("bound side input", "step", 1, {"x": [1, I]}, {"gain": [I]}),
    "batch-first": ("batch-first", "step", 4, {"x": [4, I]}, {}),
    "batch-first, rows in a chunk": ("batch-first", "run", 4, {"x": [4, 5, I]}, {}),
    "a chunk": ("plain", "run", 1, {"x": [16, 1, I]}, {}),
    "a chunk of max_chunk": ("plain", "run", 1, {"x": [64, 1, I]}, {}),
    "a chunk of many blocks": ("plain", "run dict", 1, {"x": [27, 1, I]}, {}),
    "a frame model": ("frame model", "step", 1, {"x": [1, I]}, {}),
    "frames": ("frame model", "run", 1, {"x": [20, 1, I]}, {}),
    "a counter": ("counter", "step", 1, {"x": [1, I]}, {}),
    "GRU": ("GRU", "step", 1, {"x": [1, I]}, {}),
    "RNN": ("RNN", "step", 1, {"x": [1, I]}, {}),
    "a Conv in front": ("causal Conv", "step", 1, {"x": [1, I]}, {}),
    "a Conv in front, a chunk": ("causal Conv", "run", 3, {"x": [3, I, 7]}, {}),
    "an array that comes back": ("plain", "step new", 1, {"x": [1, I]}, {}),
    "a dict that comes back": ("plain", "step dict new", 1, {"x": [1, I]}, {}),
    "two of both that come back": ("two inputs, two outputs", "step new", 1, {"a": [1, HALF], "b": [1, HALF]}, {}),
    "eight signals that come back": ("batch-first", "step new", 8, {"x": [8, I]}, {}),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the worker saw, of all roads in one process."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not sys.platform.startswith("linux") or compiler is None or "asan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("needs Linux, a C compiler, and a process without another allocator")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("a Python without a GIL has an allocator of its own")
    folder = tmp_path_factory.mktemp("quiet")
    watch = folder / "watch.so"
    made = [compiler, "-O1", "-shared", "-fPIC", "-Wl,--no-undefined", "-o", str(watch), str(HERE / "watch.c"), "-ldl"]
    ran = subprocess.run(made, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"the C library is another: {ran.stderr.strip()[-200:]}")
    roads = []
    for name, (net, how, batch, shapes, side) in ROADS.items():
        file = folder / f"{net}.onnx"
        file.write_bytes(NETS[net].make())
        roads.append({"name": name, "file": str(file), "how": how, "batch": batch, "shapes": shapes, "side": side})
    roads.append({**roads[0], "name": "a new array", "how": "run new", "shapes": {"x": [16, 1, I]}})
    (folder / "roads.json").write_text(json.dumps(roads))
    ran = subprocess.run(
        [sys.executable, str(HERE / "quiet_worker.py"), str(watch), str(folder / "roads.json")],
        env={**os.environ, "LD_PRELOAD": str(watch), "PYTHONMALLOC": "malloc"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_watch_sees(found):
    assert found["controls"]["allocations"] > 0 and found["controls"]["locks"] > 0
    if found["controls"]["system_call"] is None:
        pytest.skip("this system filters no system calls")
    assert found["controls"]["system_call"] > 0
    assert found["roads"]["a new array"]["allocations"] > 0


@pytest.mark.parametrize("road", ROADS)
def test_a_call_asks_nothing_of_the_system(found, road):
    seen = found["roads"][road]
    assert seen["allocations"] == 0, f"{seen['allocations']} allocations"
    assert seen["locks"] == 0, f"{seen['locks']} locks"
    assert seen["system_call"] in (-1, None), f"system call {seen['system_call']}"
