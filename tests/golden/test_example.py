"""The example that the README enhances: made as its script says, and better afterwards."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import vae_se

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def si_sdr(clean: np.ndarray, estimate: np.ndarray) -> float:
    """Le Roux et al., SDR - half-baked or well done?, 2019, in dB."""
    target = (estimate @ clean) / (clean @ clean) * clean
    return float(10 * np.log10((target @ target) / np.sum((target - estimate) ** 2)))


@pytest.fixture(scope="module")
def sounds():
    return tuple(soundfile.read(EXAMPLES / f"{name}.wav")[0] for name in ("clean", "noisy"))


@pytest.fixture(scope="module")
def enhancer():
    return vae_se.Enhancer.from_pretrained("default", device="cpu")


def test_the_example_gets_better(sounds, enhancer, cli, tmp_path):
    clean, noisy = sounds
    enhanced = enhancer.enhance(noisy, 16000)
    assert si_sdr(clean, enhanced) > si_sdr(clean, noisy) + 3
    # The command writes what the library returns, rounded to the 16 bits of the input.
    assert cli("enhance", EXAMPLES / "noisy.wav", "-o", tmp_path / "x.wav", "--device", "cpu").code == 0
    written, _ = soundfile.read(tmp_path / "x.wav")
    assert np.abs(written - enhanced).max() <= 0.51 / 32768


def test_digital_silence_inside_leaves_the_rest_enhanced(sounds, enhancer):
    clean, noisy = (x.copy() for x in sounds)
    hole = slice(40000, 56000)
    clean[hole] = noisy[hole] = 0
    enhanced = enhancer.enhance(noisy, 16000)
    assert np.isfinite(enhanced).all()
    for part in (slice(0, 40000), slice(56000, None)):
        assert si_sdr(clean[part], enhanced[part]) > si_sdr(clean[part], noisy[part]) + 2


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed (apt-get install flite)")
def test_the_example_is_what_its_script_makes(sounds, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("make_example", EXAMPLES / "make_example.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "make_example.py"))
    module.main()
    for name, kept in zip(("clean", "noisy"), sounds, strict=True):
        made, rate = soundfile.read(tmp_path / f"{name}.wav")
        assert rate == 16000
        assert made.shape == kept.shape
        assert np.abs(made - kept).max() < 1e-3
