"""Mixing: exact SNR, balanced draws, and bit-exact reproduction from a manifest."""

from __future__ import annotations

import collections
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from vae_se.audio.level import active_rms
from vae_se.data.manifest import read_manifest, write_manifest
from vae_se.data.mixing import PEAK, MixingRecipe, draw_all, join, mixtures, render, segment
from vae_se.errors import AudioError, OutputError, UsageError

RATE = 16000


def _speechlike(seed: int, seconds: float) -> np.ndarray:
    """Bursts of noise with pauses, whose active level differs from the RMS."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    return 0.1 * rng.standard_normal(t.size) * (np.sin(2 * np.pi * 0.7 * t + seed) > 0)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("data")
    for speaker in ("a", "b", "c"):
        (root / "speech/src" / speaker).mkdir(parents=True)
        for i in range(3):
            samples = _speechlike(ord(speaker) + i, 1.5 + 0.5 * i)
            sf.write(root / f"speech/src/{speaker}/{i}.wav", samples, RATE, "PCM_16")
    for k, category in enumerate(("hum", "hiss")):
        (root / "noise" / category).mkdir(parents=True)
        for i, seconds in enumerate((1.0, 8.0)):
            noise = 0.05 * np.random.default_rng(k * 9 + i).standard_normal(int(seconds * 8000))
            # Half of the rate: the noise must be resampled.
            sf.write(root / f"noise/{category}/{i}.flac", noise, 8000)
    return root / "speech", root / "noise"


def test_the_snr_is_that_of_the_active_level(folders: tuple[Path, Path]) -> None:
    for mixture in mixtures(MixingRecipe(count=8, join_to=2.5), *folders):
        assert mixture.noise is not None
        assert mixture.snr_db is not None
        rms = np.sqrt(np.mean(mixture.noise.astype(float) ** 2))
        snr = 20 * np.log10(active_rms(mixture.clean.astype(float), RATE) / rms)
        assert snr == pytest.approx(mixture.snr_db, abs=1e-3)
        np.testing.assert_array_equal(mixture.noisy, mixture.clean + mixture.noise)
        assert mixture.noisy.dtype == np.float32
        assert np.abs(mixture.noisy).max() <= PEAK + 1e-6
        assert mixture.clean.size >= 2.4 * RATE  # joined, less a cross-fade


def test_balance_over_snrs_categories_and_speakers(folders: tuple[Path, Path]) -> None:
    snrs = (-5.0, 0.0, 5.0, 10.0)
    draws = list(draw_all(MixingRecipe(count=24, snrs_db=snrs), *folders))
    assert set(collections.Counter(d.snr_db for d in draws).values()) == {6}
    assert set(collections.Counter(d.noise_type for d in draws).values()) == {12}
    assert set(collections.Counter(d.speaker for d in draws).values()) == {8}
    assert set(collections.Counter((d.noise_type, d.snr_db) for d in draws).values()) == {3}
    assert len({d.id for d in draws}) == 24


def test_the_same_seed_gives_the_same_draws_and_another_seed_others(folders: tuple[Path, Path]) -> None:
    recipe = MixingRecipe(count=6)
    first, again = list(draw_all(recipe, *folders)), list(draw_all(recipe, *folders))
    assert first == again
    assert [d.rendered_sha256 for d in first] == [d.rendered_sha256 for d in again]
    assert first != list(draw_all(replace(recipe, seed=1), *folders))


def test_a_longer_set_begins_with_the_shorter_one(folders: tuple[Path, Path]) -> None:
    short, long = (list(draw_all(MixingRecipe(count=n), *folders)) for n in (3, 9))
    assert long[:3] == short


def test_a_manifest_rebuilds_bit_for_bit(folders: tuple[Path, Path], tmp_path: Path) -> None:
    recipe = MixingRecipe(count=6, join_to=2.0, max_seconds=2.2, level_dbfs=(-35.0, -15.0))
    draws = list(draw_all(recipe, *folders))
    assert write_manifest(tmp_path / "m.jsonl", recipe, draws) == 6
    recipe_read, draws_read = read_manifest(tmp_path / "m.jsonl")
    assert recipe_read == recipe
    assert draws_read == draws
    assert any(d.noise_looped for d in draws)
    for draw, expected in zip(draws_read, mixtures(recipe, *folders), strict=True):
        got = render(draw, *folders)
        assert got.noisy.tobytes() == expected.noisy.tobytes()


def test_a_changed_source_is_noticed(folders: tuple[Path, Path], tmp_path: Path) -> None:
    speech, noise = folders
    draw = next(draw_all(MixingRecipe(count=1), speech, noise))
    with pytest.raises(AudioError, match="not the file"):
        render(replace(draw, noise_sha256="0" * 64), speech, noise)
    with pytest.raises(AudioError, match="other samples"):
        render(replace(draw, rendered_sha256="0" * 64), speech, noise)
    with pytest.raises(AudioError, match="missing"):
        render(draw, tmp_path, noise)


def test_speech_and_noise_are_scaled_together_against_clipping(folders: tuple[Path, Path]) -> None:
    draws = list(draw_all(MixingRecipe(count=4, snrs_db=(-20.0,), level_dbfs=(-10.0, -10.0)), *folders))
    assert all(d.scaled_against_clipping for d in draws)
    for draw in draws:
        mixture = render(draw, *folders)
        assert mixture.noise is not None
        assert np.abs(mixture.noisy).max() == pytest.approx(PEAK, rel=1e-5)
        rms = np.sqrt(np.mean(mixture.noise.astype(float) ** 2))
        assert 20 * np.log10(active_rms(mixture.clean.astype(float), RATE) / rms) == pytest.approx(
            -20, abs=1e-3
        )


def test_looping_keeps_the_power_and_has_no_click() -> None:
    noise = np.random.default_rng(0).standard_normal(4000)
    looped = segment(noise, 3000, 40000, fade=400)
    assert looped.size == 40000
    assert np.mean(looped**2) == pytest.approx(np.mean(noise**2), rel=0.05)
    np.testing.assert_array_equal(looped[:600], noise[3000:3600])  # what comes before the seam
    # A slow ramp would jump by 2 at a bare seam.
    ramp = segment(np.linspace(-1, 1, 4000), 0, 20000, fade=400)
    assert np.abs(np.diff(ramp)).max() < 0.02


def test_joining_keeps_what_lies_outside_the_fade() -> None:
    out = join([np.ones(100), -np.ones(50)], 10)
    assert out.size == 140
    np.testing.assert_array_equal(out[:90], 1)
    np.testing.assert_array_equal(out[-40:], -1)


def test_one_mixture_for_every_utterance_without_a_count(folders: tuple[Path, Path]) -> None:
    draws = list(draw_all(MixingRecipe(min_utterance=1.9), *folders))
    assert sorted(d.speech[0] for d in draws) == sorted(f"src/{s}/{i}.wav" for s in "abc" for i in (1, 2))


def test_a_silent_noise_and_an_empty_folder_are_errors(folders: tuple[Path, Path], tmp_path: Path) -> None:
    sf.write(tmp_path / "zero.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match="noise is silent"):
        next(draw_all(MixingRecipe(count=1), folders[0], tmp_path))
    with pytest.raises(AudioError, match="speech is silent"):
        next(draw_all(MixingRecipe(count=1), tmp_path, folders[1]))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no usable speech"):
        next(draw_all(MixingRecipe(count=1), tmp_path / "empty", folders[1]))
    with pytest.raises(UsageError, match="no sound file"):
        next(draw_all(MixingRecipe(count=1), folders[0], tmp_path / "empty"))


def test_a_manifest_that_is_none_or_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"format": "other"}\n')
    with pytest.raises(UsageError, match="not a manifest"):
        read_manifest(tmp_path / "bad.jsonl")
    with pytest.raises(OutputError):
        write_manifest(tmp_path / "bad.jsonl" / "under_a_file", MixingRecipe(), [])
