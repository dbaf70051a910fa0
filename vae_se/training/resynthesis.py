"""How well a prior can say what it hears: clean speech through encoder and decoder, and scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.features import Utterance, read_normalised
from ..errors import VaeSeError
from ..metrics import Score, score
from ..rng import numpy_stream

METRICS = ("si_sdr", "pesq_wb", "estoi")
_SHORTEST_SECONDS = 1.0  # PESQ and STOI need some speech to look at


#: A prior and power (1, N, F) of clean speech to the log-variance (1, N, F) that it makes of it.
SayAgain = Callable[[Any, torch.Tensor], torch.Tensor]


def at_posterior_mean(prior: Any, power: torch.Tensor) -> torch.Tensor:
    """eta(mu(|s|^2)), with mu the posterior mean of z."""
    log_variance: torch.Tensor = prior.decode(prior.encode(power).mean.unsqueeze(1))[:, 0]
    return log_variance


@torch.no_grad()
def resynthesise(prior: Any, waveform: np.ndarray, say_again: SayAgain = at_posterior_mean) -> np.ndarray:
    """Replace the modulus by the decoder's, keep the phase: (T,) to (T,) float32.

    s_hat = exp(eta / 2) * s / |s|, with eta = ``say_again(prior, |s|^2)``. Bie, Leglaive, Girin and
    Horaud's re-synthesis experiments (Dynamical variational autoencoders: a comprehensive review, 2021,
    sec. 13) combine the same modulus and phase. Level as given: the prior's convention is the caller's affair.
    """
    stft = prior.signal.stft
    spectrum = stft.analyse(torch.from_numpy(np.asarray(waveform, np.float32)))
    power = torch.view_as_real(spectrum).square().sum(-1)
    eta = say_again(prior, power.unsqueeze(0))[0]
    phase = torch.polar(torch.ones_like(power), torch.angle(spectrum))
    return np.asarray(stft.synthesise(torch.exp(0.5 * eta) * phase, waveform.size).numpy())


def score_prior(
    prior: Any,
    root: Path,
    utterances: Sequence[Utterance],
    count: int,
    seed: int,
    report: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Mean re-synthesis scores over ``count`` utterances (a seeded choice among those of a second
    or more).

    Returns {"files": n, "si_sdr": ..., "pesq_wb": ..., "estoi": ...}; a metric that no file could be
    scored by is None.
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
