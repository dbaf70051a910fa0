"""Muon: momentum whose matrices are orthogonalised before the step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonal factor of the momentum of each matrix.

    Jordan et al., Muon: an optimizer for hidden layers in neural networks, 2024; the size of the step is
    scaled so that learning rates of AdamW apply (Liu et al., Muon is scalable for LLM training, 2025). In
    single precision: torch.optim.Muon computes in bfloat16, which processors without that format emulate
    slowly.

    ``params``: matrices; ``lr``: learning rate; ``momentum`` with Nesterov's look-ahead; ``steps`` of Newton
    and Schulz.
    """

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float = 1e-3, momentum: float = 0.95, steps: int = 5
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "steps": steps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; ``closure`` is evaluated first where there is one."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                momentum = state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = orthogonal_factor(p.grad.lerp(momentum, group["momentum"]), group["steps"])
                p.add_(update, alpha=-0.2 * group["lr"] * max(p.shape) ** 0.5)
        return loss


def orthogonal_factor(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """About U V^T of ``matrix`` = U S V^T: singular values between 0.7 and 1.2, by a quintic iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (matrix.norm() + 1e-12)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x
