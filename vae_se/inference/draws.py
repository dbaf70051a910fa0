"""Weighted draws of the latents: what an E-step hands to the M-step and to the filter."""

from __future__ import annotations

import dataclasses

import torch


@dataclasses.dataclass(frozen=True)
class Draws:
    """Draws of the latents, their log-weights, and the decoder's output for them.

    ``z`` (B, R, N, L); ``log_weight`` (B, R, N), normalised over R; ``log_variance`` (B, R, N, F), the
    decoder's output for ``z``, kept so that no draw is decoded twice. ``gain_sums``: sum_f g v / V and
    sum_f |x|^2 g v / V^2, (B, R, N) each, at the gain and the noise given which they were drawn, where the
    E-step has computed them.
    """

    z: torch.Tensor
    log_weight: torch.Tensor
    log_variance: torch.Tensor
    gain_sums: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def weighted(cls, z: torch.Tensor, log_weight: torch.Tensor, log_variance: torch.Tensor) -> Draws:
        """Draws with log-weights (B, R, N) up to a constant of the frame; they are normalised here."""
        return cls(z, torch.log_softmax(log_weight, dim=1), log_variance)

    @classmethod
    def equal(cls, z: torch.Tensor, log_variance: torch.Tensor) -> Draws:
        """Draws of equal weight."""
        return cls.weighted(z, torch.zeros(z.shape[:3], dtype=z.dtype, device=z.device), log_variance)

    def effective_sample_size(self) -> torch.Tensor:
        """1 / sum_r w_r^2, (B, N): from 1 to R.

        Kong, Liu and Wong, Sequential imputations and Bayesian missing data problems, 1994.

        >>> z, log_variance = torch.zeros(1, 4, 1, 2), torch.zeros(1, 4, 1, 5)
        >>> Draws.equal(z, log_variance).effective_sample_size()
        tensor([[4.]])
        """
        return torch.exp(-torch.logsumexp(2 * self.log_weight, dim=1))


def frame_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the valid frames: values (B, N), mask (B, N) of 0 and 1, result (B,).

    >>> frame_mean(torch.tensor([[1.0, 3.0, 9.0]]), torch.tensor([[1.0, 1.0, 0.0]]))
    tensor([2.])
    """
    return (values * mask).sum(-1) / mask.sum(-1)
