"""Which noise model fits a recording: candidates by the likelihood of bins that they were fitted without."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .. import assemble
from ..config import NoiseConfig
from ..device import usual_torch
from ..errors import AudioError, UsageError
from ..inference.held_out import HeldOut, held_out
from ..inference.monte_carlo_em import MonteCarloEM
from ..rng import Streams
from ..threads import dividing_work
from .arrays import as_channels, checked_rate
from .enhancer import Enhancer
from .pipeline import ArraySource, PreparedRecording
from .sample_buffer import MemoryBuffer

#: The candidates of a comparison by default.
CANDIDATES = ("stationary", "nmf:2", "nmf:4", "nmf:8", "nmf:16", "impulsive:8", "student-t:8")


@dataclasses.dataclass(frozen=True)
class NoiseScore:
    """A noise model and how well it predicts a recording.

    ``name`` of the model; ``rank``: K, or None for its own default; ``score``: mean log-likelihood of the bins
    that were held out, in nats a bin, higher is better; ``behind``: how much lower it is than the best one's,
    and ``error``: the standard error of that difference.
    """

    name: str
    rank: int | None
    score: float
    behind: float = 0.0
    error: float = 0.0

    @property
    def overrides(self) -> dict[str, Any]:
        """The settings that choose this model, by dotted key, for :meth:`vae_se.config.Config.override`."""
        return {"noise.name": self.name} | ({} if self.rank is None else {"noise.rank": self.rank})


def parse_candidate(text: str) -> tuple[str, int | None]:
    """Name and rank of ``NAME`` or ``NAME:RANK``. Raises UsageError for another form.

    >>> parse_candidate("nmf:4"), parse_candidate("stationary")
    (('nmf', 4), ('stationary', None))
    """
    name, colon, rank = (part.strip() for part in text.partition(":"))
    if not name or (colon and not rank.isdigit()):
        raise UsageError(f"{text!r} is not a noise model", "write a name and perhaps a rank, such as nmf:4")
    return name, int(rank) if colon else None


@usual_torch()
def compare_noise(
    noisy: Any,
    rate: int,
    candidates: Sequence[str] = CANDIDATES,
    *,
    enhancer: Enhancer | None = None,
    name: str = "",
) -> list[NoiseScore]:
    """Fit every candidate to part of a recording, and order them by how well each predicts the rest.

    ``noisy``: samples (T,) or (C, T) at ``rate`` Hz, as :meth:`Enhancer.enhance` takes them; of a long
    recording the first segment (``inference.segment``) counts. ``candidates``: ``NAME`` or ``NAME:RANK`` each.
    The other settings of the noise are its model's own, and all others are those of ``enhancer`` (the defaults
    without one). ``name`` and the configured seed select the bins that are held out.

    Returns the candidates from best to worst. Each takes the time of an enhancement. Raises UsageError for an
    unknown model or a rank that it does not have, AudioError for samples that cannot be used or are silent.
    """
    enhancer = enhancer or Enhancer.from_pretrained()
    parsed = [parse_candidate(text) for text in candidates]
    if not parsed or len(set(parsed)) != len(parsed):
        raise UsageError(f"candidates: {', '.join(candidates) or 'none'}", "give each once, and at least one")
    config, prior = enhancer.config, enhancer.em.prior
    noises = [NoiseConfig(name, rank=rank) for name, rank in parsed]
    models = [assemble.build_em(dataclasses.replace(config, noise=noise), prior) for noise in noises]
    with dividing_work(enhancer.threads):
        power = _first_segment(noisy, rate, enhancer)
        results = [_predicted(model, power, config.seed, name) for model in models]
    scores = [float(result.score()) for result in results]
    best = int(np.argmax(scores))
    found = []
    for (model, rank), score, result in zip(parsed, scores, results, strict=True):
        behind, error = (float(value) for value in results[best].advantage(result))
        found.append(NoiseScore(model, rank, score, behind, error))
    return sorted(found, key=lambda one: -one.score)


def _first_segment(noisy: Any, rate: int, enhancer: Enhancer) -> torch.Tensor:
    """|x|^2 of the channels that are not silent, at the prior's level, (B, N, F)."""
    source = ArraySource(as_channels(noisy, True), checked_rate(rate))
    signal = enhancer.signal
    prepared = PreparedRecording.of(source, signal, enhancer.device, MemoryBuffer)
    channels = [channel for channel in prepared.channels if channel is not None]
    if not channels:
        raise AudioError("the recording is silent", "there is no noise to compare models on")
    frames = min(
        channels[0].frames, max(1, round(enhancer.config.inference.segment * signal.rate / signal.hop))
    )
    return torch.stack([channel.power(0, frames) for channel in channels])


def _predicted(model: MonteCarloEM, power: torch.Tensor, seed: int, name: str) -> HeldOut:
    """The predictions for all channels, one channel after the other, (1, channels times N, F)."""
    channels, frames = power.shape[:2]
    streams = Streams.from_seed(seed, [f"{name}#held out"] * channels, [frames] * channels, power.device)
    found = held_out(model, power, torch.ones_like(power[..., 0]), streams)
    return HeldOut(found.log_density.flatten(0, 1)[None], found.held.flatten(0, 1)[None])
