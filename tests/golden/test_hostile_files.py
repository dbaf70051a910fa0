"""Every damaged file that the fuzzer (eval/scripts/fuzz.py) once broke something with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vae_se.audio import files
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.long_file import enhance_long
from vae_se.errors import VaeSeError

FILES = sorted((Path(__file__).parent / "hostile").iterdir())


@pytest.fixture(scope="module")
def enhancers(tiny_prior):
    em = Enhancer.from_pretrained(tiny_prior, inference__iterations=0, inference__averaging=1, device="cpu")
    return em, Enhancer.from_pretrained(method="log-mmse", device="cpu")


def refusal(action: Callable[[], object]) -> VaeSeError | None:
    """The error of the package that an action ends with; None where it succeeds."""
    try:
        action()
    except VaeSeError as error:
        return error
    return None


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_it_is_enhanced_or_refused_in_words(enhancers, path, tmp_path):
    def enhance(enhancer):
        recording = files.read(path)
        speech = enhancer.enhance(recording.samples, recording.rate)
        assert speech.shape == recording.samples.shape
        assert np.isfinite(speech).all()

    em, baseline = enhancers
    actions = (
        lambda: enhance(em),
        lambda: enhance(baseline),
        lambda: enhance_long(em.segmented_em, em.config.output, path, tmp_path / "out.wav"),
    )
    for action in actions:
        error = refusal(action)
        assert error is None or error.hint
