"""A riff through `play`, in blocks of several lengths, beside the package: python compare.py MODEL ISA"""

import contextlib
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
with contextlib.suppress(ImportError):  # of the folder above: says what to install
    import needs  # noqa: F401

import subprocess

import numpy as np

import lstm_infer
from lstm_infer.cli.demo.pluck import riff

model, isa = sys.argv[1:]
dry = riff(1.0)
try:
    wet = lstm_infer.load(model, isa=isa).stream().run(dry.reshape(-1, 1, 1)).reshape(-1)
except lstm_infer.IsaError:  # a set of another machine: all but scalar give the same bits
    wet = lstm_infer.load(model).stream().run(dry.reshape(-1, 1, 1)).reshape(-1)
dry.tofile("dry.f32")
for block in (1, 64, 480, 0):
    subprocess.run(["./play", "dry.f32", "wet.f32", str(block)], check=True)
    made = np.fromfile("wet.f32", np.float32)
    if made.shape != wet.shape or not np.array_equal(made.view(np.uint32), wet.view(np.uint32)):
        sys.exit(f"blocks of {block or 'all lengths'}: WRONG, not the bits of the package")
print("the same bits as the package, in blocks of every length")
