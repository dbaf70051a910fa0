"""Statistics of the simulated noises: decays, rates, spectra, modulation, in bands that a wrong sampler
misses."""

import math

import numpy as np
import pytest
from scipy.signal import stft

from vae_se.noisy_encoder.simulation import impacts, machines, primitives, textures
from vae_se.noisy_encoder.simulation.classes import MODEL, SIMULATORS, WEIGHTS, simulate
from vae_se.rng import numpy_stream

RATE = 16000


def stream(*names):
    return numpy_stream(0, "test", *names)


def draws(name, count=12, seconds=4):
    return [simulate(name, seconds * RATE, RATE, stream(name, i)) for i in range(count)]


def share(x, low, high):
    """Share of the power between two frequencies."""
    power = np.abs(np.fft.rfft(x)) ** 2
    hertz = np.fft.rfftfreq(x.size, 1 / RATE)
    return power[(hertz >= low) & (hertz < high)].sum() / power.sum()


def frame_level(x, seconds=0.032):
    """Levels in dB of frames without overlap."""
    n = int(seconds * RATE)
    frames = x[: x.size // n * n].reshape(-1, n)
    return 10 * np.log10((frames**2).mean(1) + 1e-9)


def flatness(x):
    """Geometric over arithmetic mean of the mean spectrum: 1 for white noise, near 0 for tones."""
    power = (np.abs(stft(x, RATE, nperseg=1024)[2]) ** 2).mean(1)[3:] + 1e-12
    return np.exp(np.log(power).mean()) / power.mean()


def kurtosis(x):
    return np.mean(x**4) / np.mean(x**2) ** 2


@pytest.mark.parametrize("name", SIMULATORS)
def test_unit_power_finite_and_a_function_of_the_stream(name):
    for samples in (3000, 2 * RATE):
        first, again, other = (simulate(name, samples, RATE, stream(name, seed)) for seed in (1, 1, 2))
        assert first.shape == (samples,)
        assert np.isfinite(first).all()
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
    for i in range(4):
        x = simulate(name, 8 * RATE, RATE, stream(name, "long", i))
        assert np.mean(x**2) == pytest.approx(1)


def test_every_class_has_a_weight():
    assert set(WEIGHTS) == {*SIMULATORS, MODEL}
    assert min(WEIGHTS.values()) > 0


# Building blocks


def test_poisson_counts_have_equal_mean_and_variance():
    counts = np.array([primitives.poisson_times(stream(i), 4.0, 5.0).size for i in range(1500)])
    assert counts.mean() == pytest.approx(20, rel=0.03)
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.12)


def test_renewal_intervals_are_log_normal():
    gaps = np.concatenate([np.diff(primitives.renewal_times(stream(i), 60.0, 0.2, 0.4)) for i in range(20)])
    assert np.median(gaps) == pytest.approx(0.2, rel=0.03)
    assert np.log(gaps).std() == pytest.approx(0.4, rel=0.05)


def test_control_is_an_ornstein_uhlenbeck_process():
    x = np.stack([primitives.control(stream(i), 2 * RATE, RATE, 0.5)[:: RATE // 10] for i in range(3000)])
    assert x.var(0) == pytest.approx(np.ones(x.shape[1]), abs=0.12)
    for lag in (1, 5):
        assert (x[:, lag:] * x[:, :-lag]).mean() == pytest.approx(math.exp(-lag / 10 / 0.5), abs=0.04)


def test_wave_table_has_the_given_harmonics():
    amplitudes = np.array([1.0, 0.0, 0.5])
    phase = primitives.phase_of(np.full(RATE, 100.0), RATE)
    spectrum = np.abs(np.fft.rfft(primitives.wave_table(phase, amplitudes, stream()))) / (RATE / 2)
    assert spectrum[[100, 200, 300]] == pytest.approx(amplitudes, abs=5e-3)


@pytest.mark.parametrize("tilt", [-6.0, 0.0, 3.0])
def test_band_noise_has_its_band_and_tilt(tilt):
    x = primitives.band_noise(stream(), 16 * RATE, RATE, 200, 4000, tilt)
    assert share(x, 150, 5500) > 0.93
    octaves = [10 * np.log10(share(x, f, 2 * f) / f) for f in (400, 800, 1600)]  # per Hz
    assert np.diff(octaves) == pytest.approx(tilt, abs=0.7)


# Impacts


@pytest.mark.parametrize(("friction", "support"), [(0.01, 10.0), (0.001, 0.1), (0.05, 1.0)])
def test_modes_decay_by_friction_and_support(friction, support):
    response = impacts.modal_response(stream(), RATE, np.array([1000.0]), friction, support)
    tau = 1 / (1 / support + math.pi * 1000 * friction)
    n = int(RATE * min(3 * tau, 0.6)) // 64 * 64
    level = 0.5 * np.log((response[:n].reshape(-1, 64) ** 2).mean(1))
    slope = np.polyfit(np.arange(level.size) * 64 / RATE, level, 1)[0]
    assert -1 / slope == pytest.approx(tau, rel=0.05)


def test_steel_rings_longer_than_plastic():
    assert max(impacts.MATERIALS["steel"]) < min(impacts.MATERIALS["wood"]) < max(impacts.MATERIALS["plastic"])


def test_modes_begin_at_the_lowest():
    for i in range(30):
        f = impacts.mode_frequencies(stream(i), 500.0, 12)
        assert f[0] == pytest.approx(500, rel=0.07)
        assert f[-1] > 5 * f[0] ** 0.9


def test_bounces_shrink_by_one_coefficient():
    for i in range(30):
        times, sizes = impacts.bounces(stream(i), 1.0)
        assert times[0] == 1.0
        if times.size > 3:
            gaps = np.diff(times)
            ratio = gaps[1:] / gaps[:-1]
            assert ratio == pytest.approx(ratio[0])
            assert sizes[1:] / sizes[:-1] == pytest.approx(ratio[0])
            assert 0.4 <= ratio[0] <= 0.85


@pytest.mark.parametrize("name", ["clatter", "typing", "footsteps", "knocks"])
def test_impacts_are_short_and_loud(name):
    x = draws(name)
    assert np.median([kurtosis(v) for v in x]) > 12
    # The loudest tenth of the frames holds most of the power.
    hold = [np.sort(10 ** (frame_level(v) / 10))[::-1] for v in x]
    assert np.median([h[: h.size // 10].sum() / h.sum() for h in hold]) > 0.6


def test_footsteps_are_low_and_typing_is_not():
    steps, keys = (np.mean([share(v, 0, 400) for v in draws(name)]) for name in ("footsteps", "typing"))
    assert steps > keys + 0.2


# Textures


def test_shot_noise_becomes_gaussian_with_its_rate():
    """The excess kurtosis of Poisson grains is inversely proportional to their rate."""
    grains = [textures.damped_sine(RATE, 2000, 0.002)]
    excess = [
        np.mean([kurtosis(textures.scatter(8 * RATE, RATE, stream(i), rate, 0.0, grains)) for i in range(4)])
        - 3
        for rate in (50.0, 500.0)
    ]
    assert excess[0] / excess[1] == pytest.approx(10, rel=0.25)


def test_a_drop_rings_at_its_pitch():
    spectrum = np.abs(np.fft.rfft(textures.damped_sine(RATE, 1800, 0.01), RATE))
    assert spectrum.argmax() == pytest.approx(1800, abs=20)


def test_textures_lie_between_clicks_and_steady_noise():
    for name, low, high in (("rain", 2.9, 40), ("gravel", 4, 400), ("crackle", 20, 1e5), ("applause", 3, 100)):
        assert low < np.median([kurtosis(v) for v in draws(name)]) < high


def test_crackle_has_heavy_tails():
    x = draws("crackle")
    top = [np.sort(v**2)[::-1] for v in x]
    assert np.median([t[: t.size // 100].sum() / t.sum() for t in top]) > 0.6


# Machines


def test_hum_is_harmonics_of_the_mains():
    for x in draws("hum"):
        power = np.abs(np.fft.rfft(x * np.hanning(x.size))) ** 2
        hertz = np.fft.rfftfreq(x.size, 1 / RATE)
        near = max(power[np.abs((hertz + f / 2) % f - f / 2) < 0.05 * f].sum() for f in (50, 60)) / power.sum()
        assert near > 0.65


def test_speeds_wander_by_the_percentage_given():
    f = np.concatenate([machines._wandering(stream(i), 8 * RATE, RATE, 50.0, 5.0)[::800] for i in range(60)])
    assert np.median(f) == pytest.approx(50, rel=0.02)
    assert np.log(f).std() == pytest.approx(0.05, rel=0.2)


def test_engines_are_low_and_steady():
    x = draws("engine")
    assert np.median([share(v, 0, 2000) for v in x]) > 0.8
    assert np.median([kurtosis(v) for v in x]) < 6


def test_motors_are_tonal_and_change():
    x = draws("motor", 20)
    assert np.median([flatness(v) for v in x]) < 0.35
    silent = np.mean([(frame_level(v) < -25).mean() > 0.1 for v in x])
    assert 0.03 < silent < 0.6  # those that are switched off


def test_slow_blades_beat():
    """Below 30 Hz the blades are heard as pulses: the envelope has a line at their rate."""
    found = 0
    for i in range(40):
        x = simulate("fan", 4 * RATE, RATE, stream("beat", i))
        envelope = np.sqrt((x[: 4 * RATE].reshape(-1, 80) ** 2).mean(1))  # 200 points a second
        spectrum = np.abs(np.fft.rfft((envelope - envelope.mean()) * np.hanning(envelope.size)))
        band = spectrum[4 * 8 : 4 * 30]
        found += band.max() > 8 * np.median(spectrum)
    assert 6 < found < 34  # a third of the log-uniform rates from 8 to 400 Hz lies below 30 Hz


def test_a_passing_vehicle_comes_and_goes():
    levels = [np.convolve(frame_level(v, 0.1), np.ones(5) / 5, "valid") for v in draws("passing", seconds=8)]
    assert np.median([np.ptp(level) for level in levels]) > 6


# Air, tonal


def test_wind_is_low_and_gusty():
    x = draws("wind", seconds=8)
    assert np.median([share(v, 0, 500) for v in x]) > 0.85
    assert 2.5 < np.median([frame_level(v, 0.1).std() for v in x]) < 12


@pytest.mark.parametrize(
    ("name", "most"), [("whistle", 0.1), ("alarm", 0.03), ("insects", 0.1), ("birds", 0.25)]
)
def test_tones_are_narrow(name, most):
    assert np.median([flatness(v) for v in draws(name)]) < most


def test_birds_and_insects_are_high():
    assert np.median([share(v, 900, 8000) for v in draws("birds")]) > 0.95
    assert np.median([share(v, 1900, 8000) for v in draws("insects")]) > 0.98


def test_birds_pause():
    assert np.median([(frame_level(v) < -20).mean() for v in draws("birds", seconds=8)]) > 0.2


def test_music_has_lines_and_onsets():
    x = draws("music", 10)
    assert np.median([flatness(v) for v in x]) < 0.1
    rises = [np.diff(frame_level(v)).clip(0).max() for v in x]
    assert np.median(rises) > 5
