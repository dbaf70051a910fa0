"""The result of EM: two posteriors of the speech, the noisy encoder's and EM's own, become one."""

from __future__ import annotations

import dataclasses

import torch

from .learnt_gain import LearntGain, corrected
from .noisy_proposal import opinion_pool

#: Mean as a filter, E[s | x] / x, and variance of a posterior of the speech, both (..., F).
Moments = tuple[torch.Tensor, torch.Tensor]


@dataclasses.dataclass(frozen=True)
class FilterPool:
    """``encoder``: weight of the noisy encoder's own posterior in the opinion pool of both; ``learnt``: how far
    the mean is moved from there towards ``learnt_gain``, which None leaves out."""

    encoder: float
    learnt: float = 0.0
    learnt_gain: LearntGain | None = None

    @classmethod
    def of(cls, encoder: float, learnt: float) -> FilterPool:
        """With the shipped gain."""
        return cls(encoder, learnt, LearntGain.fitted() if encoder and learnt else None)

    @property
    def width(self) -> int:
        """Values per bin that :meth:`__call__` holds in memory at a time."""
        return 1 if self.learnt_gain is None else self.learnt_gain.width

    def __call__(self, own: Moments, em: Moments) -> Moments:
        """The pool of the noisy encoder's ``own`` posterior and that of ``em``."""
        if not self.encoder:
            return em
        mean, variance = opinion_pool(own, em, self.encoder)
        if self.learnt_gain is not None:
            mean = corrected(mean, own[0], em[0], self.learnt, self.learnt_gain)
        return mean, variance


#: EM's posterior as it is.
ALONE = FilterPool(0.0)
