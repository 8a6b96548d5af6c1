"""Settings of the whole suite: Hypothesis profiles, its seed in the header, and this folder on the path."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import hypothesis
import hypothesis.core
import pytest

sys.path.insert(0, str(Path(__file__).parent))

hypothesis.settings.register_profile(
    "default", deadline=None, print_blob=True,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
)  # fmt: skip
hypothesis.settings.load_profile("default")


def pytest_configure(config):
    config.addinivalue_line("markers", "gru: needs the GRU operator")
    config.addinivalue_line("markers", "rnn: needs the RNN operator")
    config.addinivalue_line("markers", "files: needs the folders of shared_files.py")
    if getattr(hypothesis.core, "global_force_seed", None) is None:
        given = os.environ.get("LSTM_INFER_SEED")
        hypothesis.core.global_force_seed = int(given) if given else random.SystemRandom().getrandbits(31)


def pytest_report_header(config):
    seed = hypothesis.core.global_force_seed
    engine = os.environ.get("LSTM_INFER_TEST_ENGINE", "lstm_infer")
    return f"engine under test: {engine}; hypothesis seed: {seed} (LSTM_INFER_SEED={seed} repeats this run)"


@pytest.fixture
def rng(request):
    """A generator seeded by the test's own name: the same numbers in every run."""
    import zlib

    import numpy as np

    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
