"""Variants of the filter of the high band, one change at a time, on the same results of EM in the low band.

    python eval/scripts/high_band_variants.py ../data-more/fullband/valid \\
        ../checkpoints/band/train.npz [MIXTURES]

Two of the variants are decoders that it trains itself on clean speech without augmentation
(train_high_band.py): of the low band's power, and of the latents, the encoder's mean of z given the low band's
speech. Prints, as means over the mixtures of full_band.py, the change of SI-SDR from 8 to 20 kHz against the
noisy recording, the log-spectral distance from 8 to 16 kHz, and mean and standard deviation of the gain in
pauses, all without residual noise. eval/experiments.md quotes it.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from full_band import RATE, Mixture, PresenceFilter, TrackedFilter, mixtures, pause_gain
from train_high_band import Features, fitted_without_augmentation

from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.high_band import HighBandFilter
from vae_se.high_band.em import HighBandEM
from vae_se.metrics.bands import band_lsd, band_si_sdr
from vae_se.metrics.base import Pair
from vae_se.numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN
from vae_se.priors import SpeechPrior, load_prior


@dataclasses.dataclass(frozen=True)
class Recorder(HighBandFilter):
    """The filter, which keeps what it is called with."""

    calls: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)

    def filtered(self, *arguments: Any) -> tuple[int, np.ndarray]:
        self.calls.append(arguments)
        return super().filtered(*arguments)


class OwnNoise(HighBandFilter):
    """Without the activations of the low band's noise."""

    def filtered(self, *arguments: Any) -> tuple[int, np.ndarray]:
        return super().filtered(*arguments[:-1], None)


@dataclasses.dataclass(frozen=True)
class FromLatents(HighBandFilter):
    """The decoder reads z, as ``prior`` encodes the speech that EM has found."""

    prior: SpeechPrior | None = None

    def log_variance(self, speech_power: torch.Tensor) -> torch.Tensor:
        assert self.prior is not None, "a decoder of latents needs a prior"
        z = self.prior.encode(speech_power.unsqueeze(0)).mean[0]
        eta: torch.Tensor = self.decoder.net(self.decoder.in_context(z))
        return eta.clamp(LOG_VARIANCE_MIN, LOG_VARIANCE_MAX)


def variants(decoder: Any, data: Features, prior: SpeechPrior) -> dict[str, HighBandFilter]:
    """The filters by name; the first is the shipped one."""
    found: dict[str, HighBandFilter] = {"shipped": HighBandFilter(decoder)}
    clean = [fitted_without_augmentation(data, 3, latents).eval() for latents in (False, True)]
    found["low band, trained on clean speech"] = HighBandFilter(clean[0])
    found["latents, trained on clean speech"] = FromLatents(clean[1], prior=prior)
    for key, values in {
        "concentration": (1.0, 10.0, 30.0), "response_concentration": (20.0, 2000.0), "own": (2, 4),
        "iterations": (6, 30),
    }.items():  # fmt: skip
        for value in values:
            found[f"{key} {value:g}"] = HighBandFilter(decoder, HighBandEM(**{key: value}))
    found["own noise spectra only (4)"] = OwnNoise(decoder, HighBandEM(own=4))
    found["tracked noise, decision-directed"] = HighBandFilter(decoder, TrackedFilter())
    found["the same times presence"] = PresenceFilter(decoder, TrackedFilter())
    return found


def scores(mixture: Mixture, calls: list[tuple[Any, ...]], filtering: HighBandFilter) -> tuple[float, ...]:
    """The four numbers of one mixture."""
    noisy = calls[0][0].samples.read(0, mixture.clean.size).astype(np.float64)
    speech = np.zeros_like(noisy)
    for call in calls:
        start, part = filtering.filtered(*call)
        speech[start : start + part.size] += part[: speech.size - start]
    before, after = (band_si_sdr(Pair(mixture.clean, x, RATE), 8e3, 20e3) for x in (noisy, speech))
    return (
        after - before,
        band_lsd(Pair(mixture.clean, speech, RATE), 8e3, 16e3),
        *pause_gain(mixture, speech),
    )


def main(folder: str, features: str, count: str = "12") -> None:
    torch.set_num_threads(1)
    enhancer = Enhancer.from_pretrained(threads=1)
    recorder = Recorder(enhancer._high_band().decoder)
    enhancer.__dict__["_loaded_high_band"] = recorder
    known = []
    for mixture in mixtures(Path(folder), int(count)):
        recorder.calls.clear()
        enhancer.enhance(mixture.noisy.astype(np.float32), RATE)
        known.append((mixture, list(recorder.calls)))
    for name, filtering in variants(recorder.decoder, Features(features), load_prior("default")).items():
        rows = np.array([scores(mixture, calls, filtering) for mixture, calls in known])
        print(f"{name:34s}", *(f"{value:7.2f}" for value in np.nanmean(rows, 0)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
