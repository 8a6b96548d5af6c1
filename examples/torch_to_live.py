"""
A PyTorch module, live
======================

Exported in memory, checked against itself, fed frame by frame. Needs torch and onnxscript.

.. code-block:: sh

    python examples/torch_to_live.py
"""

# sphinx_gallery_start_ignore
import contextlib

with contextlib.suppress(ImportError):  # of this folder: says what to install
    import needs  # noqa: F401
# sphinx_gallery_end_ignore

import numpy as np
import torch

import lstm_infer


class Tagger(torch.nn.Module):
    """Three scores a frame of eight numbers."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = torch.nn.LSTM(8, 32, batch_first=True), torch.nn.Linear(32, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


module = Tagger()  # trained, in your case
stream = lstm_infer.from_torch(module, torch.zeros(1, 20, 8)).stream()

frames = np.random.default_rng(0).standard_normal((100, 1, 1, 8)).astype(np.float32)
# one frame after the other, the state stays inside
live = np.concatenate([stream.step(frame) for frame in frames], axis=1)

with torch.no_grad():
    whole = module(torch.from_numpy(frames[:, 0].swapaxes(0, 1).copy())).numpy()
print(f"100 frames live, largest difference from the module over the whole: {np.abs(live - whole).max():.1e}")
assert np.abs(live - whole).max() < 1e-5
