"""Memory of long recordings: a fixed amount, and a few bytes a sample."""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from tests.conftest import noisy_like

# The first recording brings the process to the memory that batches of chunks take.
_ENHANCE = """
import resource
import numpy as np
import torch
from vae_se.enhancement.enhancer import Enhancer

torch.set_num_threads(1)
settings = {"inference__iterations": 0, "inference__averaging": 1, "inference__segment": 6.0, "estep__draws": 1}
enhancer = Enhancer.from_pretrained("default", device="cpu", **settings)
for seconds in (200, 500):
    samples = np.random.default_rng(0).standard_normal(seconds * 16000, dtype=np.float32)
    enhancer.enhance(samples, 16000)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in other units elsewhere")
def test_a_long_recording_costs_its_samples_and_nothing_else():
    """Input, speech and output in single precision are 12 bytes a sample. The spectrogram alone would be 16
    more, and each of the three posteriors 8."""
    # Freed arrays go back to the system at once, so that the allocator's habits do not show.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    command = [sys.executable, "-c", _ENHANCE]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    short, long = (1024 * int(line) for line in ran.stdout.split())
    assert (long - short) / (300 * 16000) < 16


_COMMAND = """
import resource, subprocess, sys

options = ["-o", sys.argv[2], "-q", "--set", "inference.iterations=5"]
subprocess.run([sys.executable, "-m", "vae_se", "enhance", sys.argv[1], *options], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in other units elsewhere")
def test_an_hour_in_two_gigabytes(tmp_path):
    """The whole command on 60 minutes of mono at 16 kHz. Memory does not depend on the number of iterations."""
    source, target = tmp_path / "hour.wav", tmp_path / "out.wav"
    soundfile.write(source, np.tile(noisy_like(60.0).astype(np.float32), 60), 16000)
    command = [sys.executable, "-c", _COMMAND, str(source), str(target)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert soundfile.info(target).frames == 3600 * 16000
    assert 1024 * int(ran.stdout.split()[-1]) < 2e9
