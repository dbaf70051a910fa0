"""Real speech in real noise: the default improves noisy mixtures and does not damage those at 15 dB."""

import numpy as np
import pytest

from vae_se.data.mixing import MixingRecipe, mixtures
from vae_se.enhancement.enhancer import Enhancer
from vae_se.metrics import score

pytestmark = pytest.mark.data


def test_default_on_real_mixtures(data_folder):
    recipe = MixingRecipe(seed=11, count=10, snrs_db=(0.0, 15.0), min_utterance=2.5, max_seconds=4.0)
    enhancer = Enhancer.from_pretrained(device="cpu")
    changes = {0.0: [], 15.0: []}
    for mixture in mixtures(recipe, data_folder / "speech" / "valid", data_folder / "noise"):
        enhanced = enhancer.enhance(mixture.noisy, mixture.rate)
        before, after = (
            score(["si_sdr", "estoi"], mixture.clean, x, mixture.rate) for x in (mixture.noisy, enhanced)
        )
        changes[mixture.snr_db].append([after[k].value - before[k].value for k in ("si_sdr", "estoi")])
    low, high = (np.array(changes[snr]) for snr in (0.0, 15.0))
    assert low[:, 0].mean() > 4.0
    assert low[:, 1].mean() > 0.05
    assert high[:, 0].mean() > 1.0
    assert high[:, 0].min() > -0.5
    assert high[:, 1].mean() > 0.0
