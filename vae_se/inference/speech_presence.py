"""The probability that a frame holds speech, and an attenuation of the frames that hold none."""

from __future__ import annotations

import torch

from ..likelihood import frame_log_prob
from ..signal_spec import SignalSpec
from .draws import Draws
from .target import Target

#: Nats per frame by which the likelihood with speech must exceed that of noise alone. The draws come from the
#: posterior, where the mean log-likelihood exceeds the log-evidence by KL(posterior, prior).
MARGIN = 60.0
#: Mean duration in seconds of a speech segment and of a pause in the hidden Markov chain.
DURATION = 0.16
#: Length in seconds of the window that makes changes of the attenuation gradual.
_WINDOW = 0.08


def stay_probability(signal: SignalSpec) -> float:
    """Probability that the next frame is in the same state, so that states last :data:`DURATION` on average.

    >>> stay_probability(SignalSpec(rate=16000, hop=256))
    0.9
    """
    return max(0.5, 1 - signal.hop / signal.rate / DURATION)


def speech_evidence(target: Target, draws: Draws) -> torch.Tensor:
    """E[log p(x_n | z_n)] - log p(x_n | noise alone), (B, N), under weighted draws."""
    speech = (target.log_likelihood(draws.log_variance) * draws.log_weight.exp()).sum(1)
    return speech - frame_log_prob(target.noise.log(), target.power / target.noise)


def speech_presence(evidence: torch.Tensor, mask: torch.Tensor, signal: SignalSpec) -> torch.Tensor:
    """Posterior probability (B, N) that a frame holds speech, from its ``evidence`` (B, N) in nats.

    The hidden states, speech and pause, form a Markov chain; the log-odds of an observation are
    ``evidence`` - MARGIN, and 0 where ``mask`` (B, N) is 0. This is the forward-backward algorithm (Rabiner, A
    tutorial on hidden Markov models and selected applications in speech recognition, 1989) in log-odds.

    >>> signal, mask = SignalSpec(rate=16000, hop=256), torch.ones(1, 3)
    >>> speech_presence(MARGIN + torch.tensor([[9.0, 0.0, 9.0]]), mask, signal)
    tensor([[1.0000, 0.9878, 1.0000]])
    """
    odds, stay = (evidence - MARGIN) * mask, stay_probability(signal)
    return torch.sigmoid(_messages(odds, stay) + odds + _messages(odds.flip(1), stay).flip(1))


def _messages(odds: torch.Tensor, stay: float) -> torch.Tensor:
    """Log-odds (B, N) of each frame's state given the frames before it."""
    message, messages = torch.zeros_like(odds[:, 0]), []
    for frame in odds.unbind(1):
        messages.append(message)
        before = torch.sigmoid(message + frame)
        message = torch.logit(stay * before + (1 - stay) * (1 - before))
    return torch.stack(messages, 1)


def pause_attenuation(
    presence: torch.Tensor, mask: torch.Tensor, decibels: float, signal: SignalSpec
) -> torch.Tensor:
    """A factor on the filter, (B, N): 1 where there is speech, ``decibels`` lower where there is none.

    It is the expected amplitude under the speech presence (B, N), which a Hann window smooths over time.
    """
    half = round(_WINDOW * signal.rate / signal.hop) // 2
    window = torch.hann_window(2 * half + 3, periodic=False).to(presence)[None, None, 1:-1]

    def smooth(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv1d(values.unsqueeze(1), window, padding=half).squeeze(1)

    speech = smooth(presence * mask) / smooth(mask).clamp(min=1e-6)
    quiet: float = 10 ** (-decibels / 20)
    return speech + (1 - speech) * quiet


def attenuated_variance(
    variance: torch.Tensor, mean_power: torch.Tensor, factor: torch.Tensor, decibels: float
) -> torch.Tensor:
    """The variance of A s, (B, N, F), for s with ``variance`` and squared mean ``mean_power``.

    A is 1 with the probability of speech and q, ``decibels`` lower, otherwise, independent of s. ``factor`` a
    (B, N) is its mean (:func:`pause_attenuation`), so E[A^2] = a (1 + q) - q, and by the law of total variance
    Var[A s] = E[A^2] Var[s] + (E[A^2] - a^2) |E s|^2.

    >>> one, factor = torch.ones(1, 2, 1), torch.tensor([[1.0, 0.1]])  # certainly speech, certainly a pause
    >>> attenuated_variance(3 * one, 5 * one, factor, 20.0).flatten()
    tensor([3.0000, 0.0300])
    """
    quiet = 10 ** (-decibels / 20)
    mean = factor.unsqueeze(-1)
    # E[A^2] - a^2 = (1 - a) (a - q), which is at least 0.
    spread = ((1 - mean) * (mean - quiet)).clamp(min=0)
    return (mean.square() + spread) * variance + spread * mean_power
