"""Which frames hold speech, as far as the model itself can tell, and how far the others are turned down."""

from __future__ import annotations

import torch

from ..likelihood import LOG_PI
from .draws import Draws
from .target import Target

#: Nats by which speech must explain a frame better than noise alone. The draws are from the posterior, whose
#: mean log-likelihood exceeds the log-evidence by KL(posterior, prior); 5 and 20 find next to no pause, 100
#: takes weak speech for one (docs/noise.md).
MARGIN = 60.0
#: Probability that the next frame is of the same kind.
STAY = 0.9
# Frames of the window that makes a change of attenuation gradual: 5 are 80 ms at the shipped priors.
_WINDOW = 5


def speech_evidence(target: Target, samples: Draws) -> torch.Tensor:
    """E[log p(x_n | z_n)] - log p(x_n | noise alone), (B, N), under weighted draws."""
    spoken = (target.log_likelihood(samples.log_variance) * samples.log_weight.exp()).sum(1)
    silent = -(target.noise.log() + target.power / target.noise).sum(-1) - LOG_PI * target.noise.shape[-1]
    return spoken - silent


def speech_presence(evidence: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Posterior probability (B, N) that a frame holds speech.

    Two hidden states, speech and pause, as a Markov chain that stays with STAY, seen through log-odds
    ``evidence`` - MARGIN; the forward-backward algorithm (Rabiner, A tutorial on hidden Markov models and
    selected applications in speech recognition, 1989, sec. III A), in log-odds. Padded frames say nothing.
    """
    odds = (evidence - MARGIN) * mask
    return torch.sigmoid(_messages(odds) + odds + _messages(odds.flip(1)).flip(1))


def _messages(odds: torch.Tensor) -> torch.Tensor:
    """Log-odds (B, N) of each frame's state given the frames before it."""
    message, found = torch.zeros_like(odds[:, 0]), []
    for here in odds.unbind(1):
        found.append(message)
        before = torch.sigmoid(message + here)
        message = torch.logit(STAY * before + (1 - STAY) * (1 - before))
    return torch.stack(found, 1)


def pause_attenuation(presence: torch.Tensor, mask: torch.Tensor, decibels: float) -> torch.Tensor:
    """A factor on the filter, (B, N): 1 where there is speech, ``decibels`` down where there is none.

    The expected amplitude, with the presence smoothed over a Hann window, so that nothing switches.
    """
    window = torch.hann_window(_WINDOW + 2, periodic=False).to(presence)[None, None, 1:-1]

    def smooth(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv1d(values.unsqueeze(1), window, padding=_WINDOW // 2).squeeze(1)

    speech = smooth(presence * mask) / smooth(mask).clamp(min=1e-6)
    quiet: float = 10 ** (-decibels / 20)
    return speech + (1 - speech) * quiet
