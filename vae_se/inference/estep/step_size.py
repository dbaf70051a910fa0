"""The step size of Markov chains, adapted frame by frame to an acceptance rate."""

from __future__ import annotations

import dataclasses
import math

import torch


@dataclasses.dataclass(frozen=True)
class StepSize:
    """A step size per frame that follows the acceptance rate, then stays fixed.

    ``log_size`` (B, N); ``acceptance``: the rate to reach; ``adaptation``: number of E-steps that adapt the
    size; ``largest``: its upper limit; ``steps``: E-steps done. After the adaptation the chain is a Markov
    chain with the right stationary distribution.

    Robbins and Monro, A stochastic approximation method, 1951; for Markov chains: Andrieu and Thoms, A tutorial
    on adaptive MCMC, 2008.
    """

    log_size: torch.Tensor
    acceptance: float
    adaptation: int
    largest: float = math.inf
    steps: int = 0

    @classmethod
    def start(
        cls, like: torch.Tensor, size: float, acceptance: float, adaptation: int, largest: float = math.inf
    ) -> StepSize:
        """The step size ``size`` in all frames of ``like`` (B, N)."""
        return cls(torch.full_like(like, size).log(), acceptance, adaptation, largest)

    @property
    def value(self) -> torch.Tensor:
        """The step size, (B, 1, N, 1), to multiply draws (B, R, N, L)."""
        return self.log_size.exp()[:, None, :, None]

    @property
    def adapting(self) -> bool:
        """Whether this E-step still adapts the size."""
        return self.steps < self.adaptation

    def adapted(self, accepted: torch.Tensor) -> StepSize:
        """The size after a move that the chains accepted or not, ``accepted`` (B, R, N).

        log size <- log size + (mean of ``accepted`` over chains - acceptance) / (1 + steps)^0.6

        >>> size = StepSize.start(torch.ones(1, 1), 0.1, acceptance=0.25, adaptation=30)
        >>> size.adapted(torch.tensor([[[True], [True]]])).value.flatten()  # 0.1 exp(0.75)
        tensor([0.2117])
        >>> size.adapted(torch.tensor([[[False], [False]]])).value.flatten()  # 0.1 exp(-0.25)
        tensor([0.0779])
        """
        if not self.adapting:
            return self
        rate = accepted.to(self.log_size.dtype).mean(1)
        log_size = self.log_size + (rate - self.acceptance) / (1 + self.steps) ** 0.6
        return dataclasses.replace(self, log_size=log_size.clamp(max=math.log(self.largest)))

    def frozen(self) -> StepSize:
        """The size, which no later move changes.

        >>> size = StepSize.start(torch.ones(1, 1), 0.1, acceptance=0.25, adaptation=30).frozen()
        >>> size.adapted(torch.tensor([[[True], [True]]])) is size
        True
        """
        return dataclasses.replace(self, adaptation=min(self.adaptation, self.steps))

    def after_step(self) -> StepSize:
        """The size at the end of an E-step."""
        return dataclasses.replace(self, steps=self.steps + 1)
