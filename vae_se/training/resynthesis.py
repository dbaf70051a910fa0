"""Re-synthesis: clean speech through encoder and decoder of a prior, and its scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.features import Utterance, read_normalised
from ..deprecated import renamed_attribute
from ..errors import VaeSeError
from ..metrics import Score, score
from ..priors import SpeechPrior
from ..rng import numpy_stream

METRICS = ("si_sdr", "pesq_wb", "estoi")
_SHORTEST_SECONDS = 1.0  # PESQ and STOI need that much speech

#: A function from a prior and power (1, N, F) of clean speech to its reconstructed log-variance (1, N, F).
Reconstruct = Callable[[SpeechPrior, torch.Tensor], torch.Tensor]


def at_posterior_mean(prior: SpeechPrior, power: torch.Tensor) -> torch.Tensor:
    """Log-variance (B, N, F) at the posterior mean of z, for ``power`` (B, N, F)."""
    return prior.decode(prior.encode(power).mean.unsqueeze(1))[:, 0]


@torch.no_grad()
def resynthesise(
    prior: SpeechPrior, waveform: np.ndarray, reconstruct: Reconstruct = at_posterior_mean
) -> np.ndarray:
    """Replace the magnitudes of a waveform by the decoder's and keep its phases: (T,) to (T,) float32.

    s_hat = exp(eta / 2) * s / |s| with eta = ``reconstruct(prior, |s|^2)``, as in the re-synthesis
    experiments of Girin et al., Dynamical variational autoencoders: a comprehensive review, 2021.
    ``waveform`` is at the level that the prior expects.
    """
    stft = prior.signal.stft
    spectrum = stft.analyse(torch.from_numpy(np.asarray(waveform, np.float32)))
    power = torch.view_as_real(spectrum).square().sum(-1)
    eta = reconstruct(prior, power.unsqueeze(0))[0]
    phase = torch.polar(torch.ones_like(power), torch.angle(spectrum))
    return np.asarray(stft.synthesise(torch.exp(0.5 * eta) * phase, waveform.size).numpy())


def score_prior(
    prior: SpeechPrior,
    root: Path,
    utterances: Sequence[Utterance],
    count: int,
    seed: int,
    report: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Mean re-synthesis scores over ``count`` utterances, chosen by seed among those of at least a second.

    Returns {"files": n, "si_sdr": ..., "pesq_wb": ..., "estoi": ...}; a metric without any valid score is None.
    """
    signal = prior.signal
    shortest = _SHORTEST_SECONDS * signal.rate / signal.hop
    candidates = [u for u in utterances if u.frames >= shortest]
    order = numpy_stream(seed, "score").permutation(len(candidates))[:count]
    rows: list[dict[str, Score]] = []
    for done, position in enumerate(sorted(order), 1):
        try:
            waveform = read_normalised(root / candidates[position].path, signal)
        except VaeSeError:
            continue
        rows.append(score(METRICS, waveform, resynthesise(prior, waveform), signal.rate))
        if report:
            report(done, len(order))
    summary: dict[str, Any] = {"files": len(rows)}
    for name in METRICS:
        values = np.array([row[name].value for row in rows])
        usable = values[np.isfinite(values)]
        summary[name] = round(float(usable.mean()), 3) if usable.size else None
    return summary


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name, {"SayAgain": "Reconstruct"})
