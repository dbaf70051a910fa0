"""Rooms, channels and voices in the background."""

import numpy as np
import pytest

from vae_se.noisy_encoder.simulation.channel import band_limit, clip, colour, quantise
from vae_se.noisy_encoder.simulation.primitives import band_noise
from vae_se.noisy_encoder.simulation.room import EARLY, draw_room
from vae_se.noisy_encoder.simulation.voices import crowd, distant, talkers
from vae_se.rng import numpy_stream

RATE = 16000


def stream(*names):
    return numpy_stream(0, "channel", *names)


def noise(samples, random):
    return random.standard_normal(samples)


@pytest.mark.parametrize("t60", [0.2, 0.5, 0.9])
def test_rooms_decay_by_60_db_in_t60(t60):
    """Schroeder's backward integration between -5 and -25 dB; high frequencies decay faster, so a little
    less."""
    found = []
    for i in range(20):
        room = draw_room(RATE, stream(i), (t60, t60 * 1.0001))
        tail = room.response[200:]
        left = 10 * np.log10(np.cumsum(tail[::-1] ** 2)[::-1] / np.sum(tail**2) + 1e-12)
        inside = (left < -5) & (left > -25)
        found.append(-60 / np.polyfit(np.flatnonzero(inside) / RATE, left[inside], 1)[0])
    assert 0.5 * t60 < np.median(found) < 1.05 * t60


def test_the_direct_sound_has_its_ratio_and_the_parts_their_times():
    for i in range(20):
        room = draw_room(RATE, stream(i), direct_db=(3.0, 3.0))
        tail = room.response.copy()
        assert tail[0] == 1.0
        tail[0] = 0
        assert -10 * np.log10(np.sum(tail**2)) == pytest.approx(3.0)
        edge = int(EARLY * RATE)
        assert not room.early[edge:].any()
        assert not room.late[:edge].any()


def test_colour_is_smooth_and_of_its_range():
    spread = []
    for i in range(40):
        gain = colour(stream(i), 257, RATE, 4.0)
        hertz = np.linspace(0, RATE / 2, 257)
        spread.append(gain[hertz > 300].std())
        assert np.abs(np.diff(gain[hertz > 300])).max() < 1.5  # dB in 31 Hz
    assert 2 < np.median(spread) < 6


def test_band_limits_are_shelves():
    for i in range(20):
        gain = band_limit(stream(i), 257, RATE)
        assert -35 <= gain.min() <= -15
        assert gain[np.linspace(0, 8000, 257) == 1000] == 0


def test_clipping_touches_its_share_of_samples():
    x = np.random.default_rng(0).standard_normal(RATE)
    for i in range(20):
        y = clip(x, stream(i))
        changed = np.abs(y - x) > 1e-9
        assert np.abs(y).max() < np.abs(x).max()
        if changed.mean() < 0.5:  # hard
            assert 1e-4 < changed.mean() < 0.031
    assert not clip(np.zeros(100), stream()).any()


def test_quantisation_is_that_of_6_to_8_bits():
    x = np.random.default_rng(0).standard_normal(RATE)
    ratios = [10 * np.log10(np.mean(x**2) / np.mean((quantise(x, stream(i)) - x) ** 2)) for i in range(20)]
    assert 20 < min(ratios) < max(ratios) < 42  # mu-law of 8 bits has 38 dB


def test_distance_takes_high_frequencies_and_keeps_the_length():
    x = band_noise(stream(), 2 * RATE, RATE, 50, 7900)
    loss = []
    for i in range(20):
        y = distant(x, RATE, stream(i))
        assert y.shape == x.shape
        ratio = np.abs(np.fft.rfft(y)) ** 2 / (np.abs(np.fft.rfft(x)) ** 2 + 1e-9)
        hertz = np.fft.rfftfreq(x.size, 1 / RATE)
        loss.append(
            10 * np.log10(np.median(ratio[hertz > 6000]) / np.median(ratio[(hertz > 200) & (hertz < 500)]))
        )
    assert np.median(loss) < -3


@pytest.mark.parametrize(("make", "fewest", "most"), [(talkers, 1, 3), (crowd, 4, 16)])
def test_voices_are_cuts_of_the_speech(make, fewest, most):
    counts = []
    for i in range(60):
        calls = []

        def cut(samples, random, calls=calls):
            calls.append(samples)
            return noise(samples, random)

        out = make(4000, RATE, stream(i), cut)
        assert out.shape == (4000,)
        assert np.isfinite(out).all()
        counts.append(len(calls))
    assert (min(counts), max(counts)) == (fewest, most)
