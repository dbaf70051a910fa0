"""Weighted draws: the one currency between E-step, M-step and filter."""

from __future__ import annotations

import dataclasses

import torch


@dataclasses.dataclass(frozen=True)
class Draws:
    """Draws of the latents with their log-weights, and what decoding them gave.

    ``z`` (B, R, N, L); ``log_weight`` (B, R, N), normalised over R; ``log_variance`` (B, R, N, F), the
    decoder's output for ``z``, kept so that no draw is decoded twice.
    """

    z: torch.Tensor
    log_weight: torch.Tensor
    log_variance: torch.Tensor

    @classmethod
    def weighted(cls, z: torch.Tensor, log_weight: torch.Tensor, log_variance: torch.Tensor) -> Draws:
        """Draws with any log-weights; they are normalised here."""
        return cls(z, torch.log_softmax(log_weight, dim=1), log_variance)

    @classmethod
    def equal(cls, z: torch.Tensor, log_variance: torch.Tensor) -> Draws:
        """Draws of equal weight."""
        return cls.weighted(z, torch.zeros(z.shape[:3], dtype=z.dtype, device=z.device), log_variance)

    def effective_sample_size(self) -> torch.Tensor:
        """1 / sum of squared weights, (B, N): from 1 to R.

        Kong, Liu and Wong, Sequential imputations and Bayesian missing data problems, 1994.
        """
        return torch.exp(-torch.logsumexp(2 * self.log_weight, dim=1))


def frame_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean over the frames that exist: values (B, N), mask (B, N) of 0 and 1, result (B,)."""
    return (values * mask).sum(-1) / mask.sum(-1)
