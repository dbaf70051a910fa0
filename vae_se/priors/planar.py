"""Planar normalising flows: invertible maps of R^L, each of which moves points along one direction."""

from __future__ import annotations

import dataclasses

import torch
from torch.nn import functional

#: Lower bound on 1 + w.u, the slope of a map across its plane; at 0 the map would not be invertible.
MARGIN = 1e-3
_HALVINGS = 60  # steps of bisection of an interval of length 2 |w.u|: down to the precision of float64
_TINY = 1e-12


@dataclasses.dataclass(frozen=True)
class PlanarFlows:
    """K maps f(z) = z + u tanh(w.z + b), applied one after the other, with parameters for each frame.

    ``u`` and ``w`` (B, N, K, L), ``b`` (B, N, K). Rezende and Mohamed, Variational inference with normalizing
    flows, 2015. Construct one by :meth:`invertible`, which ensures w.u > -1.
    """

    u: torch.Tensor
    w: torch.Tensor
    b: torch.Tensor

    @classmethod
    def invertible(cls, u: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> PlanarFlows:
        """Invertible maps from unconstrained parameters.

        u becomes u + (m(w.u) - w.u) w / |w|^2 with m(x) = log(1 + e^x) - 1, as in the appendix of the paper.
        Departure: MARGIN is added to m, which otherwise underflows to -1.
        """
        along = (w * u).sum(-1, keepdim=True)
        wanted = functional.softplus(along) - 1 + MARGIN
        return cls(u + (wanted - along) * w / w.square().sum(-1, keepdim=True).clamp_min(_TINY), w, b)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """f_K(... f_1(z)) of z (B, R, N, L), and log |det| of its Jacobian (B, R, N)."""
        log_det = torch.zeros_like(z[..., 0])
        for u, w, b in self._each():
            bend = torch.tanh((w * z).sum(-1) + b)
            slope = (1 - bend.square()) * (w * u).sum(-1)
            log_det = log_det + torch.log1p(slope)
            z = z + u * bend.unsqueeze(-1)
        return z, log_det

    def inverse(self, z: torch.Tensor) -> torch.Tensor:
        """The latents (B, R, N, L) whose image under :meth:`forward` is ``z``.

        With a = w.z before a map and c = w.z after it, c = a + w.u tanh(a + b), which increases with a. The
        solution a lies within |w.u| of c and is found by bisection.
        """
        for u, w, b in reversed(self._each()):
            after, reach = (w * z).sum(-1), (w * u).sum(-1)
            low, high = after - reach.abs(), after + reach.abs()
            for _ in range(_HALVINGS):
                middle = 0.5 * (low + high)
                below = middle + reach * torch.tanh(middle + b) < after
                low, high = torch.where(below, middle, low), torch.where(below, high, middle)
            z = z - u * torch.tanh(0.5 * (low + high) + b).unsqueeze(-1)
        return z

    def _each(self) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """u and w (B, 1, N, L), b (B, 1, N) of each map."""
        return [
            (self.u[:, None, :, k], self.w[:, None, :, k], self.b[:, None, :, k])
            for k in range(self.b.shape[-1])
        ]
