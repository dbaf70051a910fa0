"""Loss of a noisy encoder: speech, latents, noise, deviation, and the risk of the filter."""

from __future__ import annotations

import dataclasses
import math

import torch

from ..likelihood import gaussian_kl_by_dimension
from ..noisy_encoder import NoisyEncoding
from ..noisy_encoder.network import deviation_of
from ..numerics import POWER_FLOOR
from ..priors import SpeechPrior
from ..priors.posterior import GaussianPosterior, Posterior
from .mixtures import MixtureBatch
from .noise_width import width_nll

#: Ratio of power and variance above which the robust likelihood grows as the ratio's logarithm.
RATIO_CAP = 40.0

#: Standard deviation of the prior on the speech's deviation, in nats.
DEVIATION_STD = 1.5

_COMPRESSION = 0.3  # exponent of magnitudes in the distance
_MAGNITUDE_PART = 0.7  # of the distance; the rest compares complex values
_SDR_FLOOR = 1e-3  # the SDR counts up to 30 dB


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights of the noise's log-likelihood, the filter's distance and the filter's SDR (nats per dB); the
    other terms have weight 1."""

    noise: float = 1.0
    filter: float = 0.0
    sdr: float = 0.0


@dataclasses.dataclass(frozen=True)
class Loss:
    """Scalars, means over frames (``distance``, ``sdr``: over mixtures), in nats less constants.

    ``speech``: -log p(s | z, deviation); ``kl``: KL(q(z | x) || p(z)), and where the network has a spread the
    divergence of :func:`spread_divergence`; ``noise``: -log p(b | noise variance); ``deviation``: -log of its
    Gaussian prior; ``width``: -log p(b) under the network's log-normal variance, of which it fits the width
    alone, 0 where the network has none; ``distance``, ``sdr`` (dB, negative): see :func:`filter_risk`.
    """

    speech: torch.Tensor
    kl: torch.Tensor
    noise: torch.Tensor
    deviation: torch.Tensor
    width: torch.Tensor
    distance: torch.Tensor
    sdr: torch.Tensor

    def total(self, weights: LossWeights) -> torch.Tensor:
        """The objective."""
        model = self.speech + self.kl + self.deviation + self.width + weights.noise * self.noise
        return model + weights.filter * self.distance + weights.sdr * self.sdr

    def figures(self, weights: LossWeights) -> torch.Tensor:
        """The objective and its terms, detached, (8,), in the order of :data:`FIGURES`."""
        terms = [getattr(self, name) for name in FIGURES[1:]]
        return torch.stack([self.total(weights), *terms]).detach()


#: Names of the figures of a loss.
FIGURES = ("loss", *(field.name for field in dataclasses.fields(Loss)))


def loss_of(
    prior: SpeechPrior, encoding: NoisyEncoding, batch: MixtureBatch, generator: torch.Generator
) -> Loss:
    """The loss of the network's output ``encoding`` for the mixtures ``batch``.

    E_q[-log p(s | z)] is estimated by one reparameterised draw of z, from which the filter of
    :func:`filter_risk` is computed as well. KL(q || p(z)) is in closed form where p(z) = N(0, I), else
    estimated by that draw. Speech and noise are complex Gaussian, as in EM, with the robust likelihood of
    :func:`robust_nll`; the log-variance of the speech is the decoder's plus the network's deviation.
    """
    z, log_q = encoding.posterior.rsample(1, generator)
    log_variance, log_prior = prior.generate(z)
    deviation = deviation_of(encoding)
    log_speech = log_variance[:, 0] + deviation
    kl = (encoding.posterior.kl() if prior.standard_normal else log_q - log_prior).mean()
    if encoding.spread is not None:
        with torch.no_grad():
            clean = prior.encode(power_of(batch.speech))
        kl = kl + spread_divergence(clean, encoding.spread).mean()
    distance, sdr = filter_risk(torch.sigmoid(log_speech - encoding.log_noise), batch)
    noise_power = power_of(batch.noise)
    width = noise_power.new_zeros(())
    if encoding.noise_std is not None:
        width = width_nll(noise_power, encoding.log_noise, encoding.noise_std).mean()
    return Loss(
        speech=robust_nll(power_of(batch.speech), log_speech).mean(),
        kl=kl,
        noise=robust_nll(noise_power, encoding.log_noise).mean(),
        deviation=0.5 * (deviation / DEVIATION_STD).square().sum(-1).mean(),
        width=width,
        distance=distance,
        sdr=sdr,
    )


def power_of(spectrum: torch.Tensor) -> torch.Tensor:
    """|x|^2 of a complex spectrogram."""
    return spectrum.real.square() + spectrum.imag.square()


def robust_nll(power: torch.Tensor, log_variance: torch.Tensor, cap: float = RATIO_CAP) -> torch.Tensor:
    """-log N_c(x; 0, v) less log(pi), summed over bins, with a bounded influence of outliers.

    ``power`` = |x|^2 and ``log_variance`` = log v are (..., F), the result (...). With r = |x|^2 / v a bin adds
    log v + r up to r = ``cap`` and log v + cap + cap log(r / cap) above it: value and derivative are
    continuous, and the derivative by log v is 1 - cap at the least (compare Huber, Robust estimation of a
    location parameter, 1964). Under the model r is exponential with mean 1, so nothing changes near the optimum
    v = |x|^2. Far from it, a few frames would otherwise determine the whole gradient.
    """
    log_ratio = torch.log(power + POWER_FLOOR) - log_variance
    excess = (log_ratio - math.log(cap)).clamp(min=0)
    return (log_variance + torch.exp(log_ratio.clamp(max=math.log(cap))) + cap * excess).sum(-1)


def spread_divergence(clean: Posterior, spread: GaussianPosterior) -> torch.Tensor:
    """KL(N(m_c, S_c) || N(m, V)) of each frame (B, N), in which m = ``spread.mean`` is held fixed.

    m_c and S_c are the moments of the clean frame's posterior ``clean``, V is the variance of ``spread``. The
    optimum of V given m is E[S_c + (m_c - m)^2 | x]: the variance of z given the noisy recording, the network's
    own error included. The ELBO alone would give E[S_c]. It is the forward divergence of Le, Baydin and Wood,
    Inference compilation and universal probabilistic programming, 2017, for the variance only.
    """
    log_variance = spread.log_variance
    # The divergence is that of N(0, 1) from the clean posterior in units of the spread.
    misfit = (clean.mean.detach() - spread.mean.detach()) * torch.exp(-0.5 * log_variance)
    return gaussian_kl_by_dimension(misfit, clean.log_variance.detach() - log_variance).sum(-1)


def filter_risk(wiener: torch.Tensor, batch: MixtureBatch) -> tuple[torch.Tensor, torch.Tensor]:
    """Distance and negative SDR (dB) between the output of a filter and the clean speech, means over mixtures.

    ``wiener`` (B, N, F) is the filter's gain; y = wiener * (s + b) is compared with s.

    - The distance is 0.7 (|y|^c - |s|^c)^2 + 0.3 | |y|^c e^{i arg y} - |s|^c e^{i arg s} |^2 with c = 0.3,
      relative to the mean of |s|^2c over the mixture (Braun and Tashev, A consolidated view of loss functions
      for supervised deep learning-based speech enhancement, 2021).
    - The SDR is 10 log10 sum |s|^2 / (sum |y - s|^2 + 0.001 sum |s|^2) of the whole mixture. Its expected error
      is least at the true Wiener gain.
    """
    output, clean = wiener * (batch.speech + batch.noise), batch.speech
    out_power, clean_power = power_of(output) + POWER_FLOOR, power_of(clean) + POWER_FLOOR
    out_size, clean_size = out_power ** (_COMPRESSION / 2), clean_power ** (_COMPRESSION / 2)
    magnitude = (out_size - clean_size).square()
    phased = output * (out_size * out_power.rsqrt()) - clean * (clean_size * clean_power.rsqrt())
    scale = clean_size.square().mean((-2, -1), keepdim=True)
    distance = (_MAGNITUDE_PART * magnitude + (1 - _MAGNITUDE_PART) * power_of(phased)) / scale
    error, energy = power_of(output - clean).sum((-2, -1)), clean_power.sum((-2, -1))
    sdr = 10 * torch.log10(energy / (error + _SDR_FLOOR * energy))
    return distance.mean(), -sdr.mean()
