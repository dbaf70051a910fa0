"""The protocol of a speech prior, and the signal convention that travels with its weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch

from ..registry import Registry
from ..signal_spec import SignalSpec


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """What one reparametrised draw from the posterior of clean speech gives.

    ``log_variance`` (B, N, F); ``kl`` (B, N, D), the divergence of q(z_n | x) from p(z_n), both given what came
    before: latent by latent (D = L) where it is a sum over latents, else D = 1. Its expectation is what the
    evidence lower bound takes off, whether it is in closed form or estimated at the draw.
    """

    log_variance: torch.Tensor
    kl: torch.Tensor


@runtime_checkable
class SpeechPrior(Protocol):
    """p(s | z) p(z) over power spectra of speech frames, with an encoder as proposal.

    Shapes: power (B, N, F), mask (B, N) with 1 where a frame exists (None: all do), z (B, R, N, L),
    log-variance (B, R, N, F), log prior (B, R, N). Latents are unconstrained real numbers, so that a kernel
    may move them anywhere.

    ``factorised``: frames are independent; otherwise the prior ties them together, and kernels treat a
    recording's latents as one trajectory. ``standard_normal``: p(z) = N(0, I). ``takes_activity``: the prior is
    driven by a track of speech activity (:class:`~vae_se.priors.dynamical.driven_dkf.DrivenDKF`).
    """

    signal: SignalSpec
    latent_dim: int
    factorised: bool
    standard_normal: bool
    takes_activity: bool

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
        """Posterior object over the latents of ``power`` (B, N, F)."""

    def decode(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Log-variances (B, R, N, F) of latents (B, R, N, L).

        A prior that conditions on the speech's past is given its own: it rolls out.
        """

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log p(z_n | z_1..n-1), (B, R, N): the terms of the chain rule, which sum to log p(z)."""

    def reconstruct(
        self, power: torch.Tensor, generator: torch.Generator | None = None, mask: torch.Tensor | None = None
    ) -> Reconstruction:
        """One draw from q given clean ``power`` (B, N, F), decoded: what training needs."""

    def log_weight(
        self,
        power: torch.Tensor,
        draws: int,
        generator: torch.Generator | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """log p(s, z) - log q(z | s), frame by frame (B, R, N), at draws from q."""

    def nll(self, power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """-log p(s_n | z_n) less F log(pi), summed over bins: (..., N) of (..., N, F)."""

    def generate(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """What ``decode`` and ``log_prior`` give, in one pass."""

    def sample(self, frames: int, generator: torch.Generator) -> torch.Tensor:
        """Latents (1, 1, N, L) drawn from p(z)."""

    def encoder_parameters(self) -> Iterator[torch.nn.Parameter]:
        """The parameters that inference may copy and fine-tune; the decoder's are never touched."""

    def config(self) -> dict[str, Any]:
        """The architecture as JSON-able keywords of the constructor."""


#: Architectures by name: classes whose keywords are those of their ``config()``.
PRIORS: Registry[Any] = Registry("prior architecture")
