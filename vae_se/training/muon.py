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
            for alike in _of_one_shape(group["params"]):
                updates = orthogonal_factor(
                    torch.stack([self._look_ahead(p, grad, group["momentum"]) for p, grad in alike]),
                    group["steps"],
                )
                for (p, _), update in zip(alike, updates, strict=True):
                    p.add_(update, alpha=-0.2 * group["lr"] * max(p.shape) ** 0.5)
        return loss

    def _look_ahead(self, p: torch.Tensor, grad: torch.Tensor, momentum: float) -> torch.Tensor:
        """Nesterov's gradient of ``p``, after an update of its momentum."""
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        return grad.lerp(state["momentum"].lerp_(grad, 1 - momentum), momentum)


def _of_one_shape(parameters: Iterable[torch.Tensor]) -> Iterable[list[tuple[torch.Tensor, torch.Tensor]]]:
    """The parameters with their gradients, by shape: those of a shape take the iteration as one batch."""
    alike: dict[torch.Size, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for p in parameters:
        if p.grad is not None:
            alike.setdefault(p.shape, []).append((p, p.grad))
    return alike.values()


def orthogonal_factor(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """About U V^T of ``matrix`` (..., m, n) = U S V^T: singular values between 0.7 and 1.2, by a quintic
    iteration."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix / (torch.linalg.matrix_norm(matrix, keepdim=True) + 1e-12)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
