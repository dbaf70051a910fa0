"""What spectral subtraction and the oracles do to sounds whose answer is known."""

import numpy as np
import pytest
from scipy.ndimage import minimum_filter1d
from scipy.signal import butter, sosfilt

from vae_se.baselines import BASELINES
from vae_se.baselines.spectral import Spectral
from vae_se.metrics import score

RATE = 16000


def db(x) -> float:
    return float(10 * np.log10(np.mean(np.square(x))))


def inside(mask: np.ndarray, seconds: float = 0.1) -> np.ndarray:
    """The part of a mask that is further than this from its edges, without the first two seconds."""
    width = 2 * round(seconds * RATE) + 1
    found = minimum_filter1d(mask.astype(np.uint8), width, mode="constant") > 0
    found[: 2 * RATE] = False  # the noise tracker has not yet seen a pause
    return found


TIME = np.arange(6 * RATE) / RATE
ON = TIME % 0.8 > 0.4
NOISE = np.random.default_rng(0).standard_normal(TIME.size)


def enhanced(speech: np.ndarray) -> np.ndarray:
    """White noise of RMS 1, with ``speech`` in 0.4 of every 0.8 s."""
    return BASELINES["spectral-subtraction"].enhance(NOISE + np.where(ON, speech, 0), RATE)


def test_noise_beside_speech_is_subtracted_and_in_pauses_attenuated() -> None:
    """Speech below 4 kHz; above 5 kHz there is noise alone, of which a residual is left."""
    low, high = (butter(8, f, kind, output="sos", fs=RATE) for f, kind in ((4000, "low"), (5000, "high")))
    out = enhanced(8 * sosfilt(low, np.random.default_rng(1).standard_normal(TIME.size)))
    pauses, speech = inside(~ON), inside(ON)
    assert db(out[pauses]) - db(NOISE[pauses]) == pytest.approx(-30, abs=1)
    # Without the minimum over three frames, more than 12 dB below the noise would not be reached.
    assert db(sosfilt(high, out)[speech]) - db(sosfilt(high, NOISE)[speech]) < -12.5


def test_the_mean_magnitude_of_the_noise_is_subtracted() -> None:
    """It is sqrt(pi / 4) of the RMS: tones come out as after an exact subtraction of that."""
    frequencies = np.arange(250.0, 4001, 250)
    tones = 0.4 * sum(np.cos(2 * np.pi * f * TIME + f) for f in frequencies)
    spectral, speech = Spectral.for_rate(RATE), inside(ON)
    spectrogram = spectral.analyse(np.where(ON, tones, 0))
    magnitude = np.abs(spectrogram)
    assert 4 < np.quantile(magnitude, 0.99) < 8  # the subtraction matters
    gain = np.maximum(magnitude - np.sqrt(np.pi / 4), 0) / np.maximum(magnitude, 1e-9)

    def amplitude(wave: np.ndarray) -> float:
        carrier = np.exp(-2j * np.pi * frequencies[:, None] * TIME[speech])
        return float(np.abs((wave[speech] * carrier).mean(axis=1)).mean())

    expected = amplitude(spectral.synthesise(gain * spectrogram, TIME.size))
    assert amplitude(enhanced(tones)) == pytest.approx(expected, rel=0.08)


def test_the_oracle_s_exponent_is_one(make_speech) -> None:
    """The Wiener gain of the true powers removes more noise than its root, the ratio mask."""
    speech = make_speech(1.5)
    noisy = speech + 0.05 * np.random.default_rng(0).standard_normal(speech.size)
    out = {name: BASELINES[name].enhance(noisy, RATE, clean=speech) for name in ("oracle-wiener", "oracle-irm")}
    found = {name: score(["si_sdr"], speech, wave, RATE)["si_sdr"].value for name, wave in out.items()}
    assert found["oracle-wiener"] > found["oracle-irm"] + 0.5
    spectral = Spectral.for_rate(RATE)
    s, x = spectral.analyse(speech), spectral.analyse(noisy)
    gain = np.abs(s) ** 2 / (np.abs(s) ** 2 + np.abs(x - s) ** 2)
    np.testing.assert_allclose(out["oracle-wiener"], spectral.synthesise(gain * x, noisy.size), atol=1e-9)


def test_padded_frames_are_no_pause_of_the_noise() -> None:
    """The first and last frames reach into the padding; their noise is that of the frames beside them."""
    spectral = Spectral.for_rate(RATE)
    power = spectral.steady_power(spectral.analyse(np.random.default_rng(0).standard_normal(RATE)))
    level = power.mean(axis=1)
    assert level.min() > 0.7
    assert (level[:3] == level[3]).all()
