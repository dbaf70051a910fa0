"""Variational E-step that fine-tunes a copy of the encoder for every utterance."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from ...errors import UsageError
from ...likelihood import gaussian_kl
from ...priors.posterior import GaussianPosterior
from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import ESTEPS, Info
from .gradient import Adam


@dataclasses.dataclass(frozen=True)
class FineTunedState:
    """What the encoders see (B, N, F), their parameters by name, each (B, ...), with Adam's moments, and the
    draws of the last step."""

    shown: torch.Tensor
    adam: dict[str, Adam]
    samples: Draws


@ESTEPS.add("vem-encoder")
@dataclasses.dataclass(frozen=True)
class FineTunedEncoder:
    """q(z_n) = N(mu_phi(y_n), diag sigma^2_phi(y_n)); every utterance has a phi of its own, which ascends
    the mean over frames of E_q[log p(x | z)] - KL(q || N(0, I)) by reparametrised draws.

    The shared encoder is where phi starts and is never changed. y is what the kernel is shown at its start
    (the recording less the start of the noise) at all iterations. All utterances of a batch move together,
    each by its own gradient. ``draws``: R; ``steps``: gradient steps per E-step; ``learning_rate``: Adam's step size.

    Leglaive, Alameda-Pineda, Girin and Horaud, A recurrent variational autoencoder for speech enhancement,
    2020, sec. 4 and algorithm 1; Bie, Leglaive, Alameda-Pineda and Girin, Unsupervised speech enhancement using
    dynamical variational autoencoders, 2022, sec. IV. Departure: the mean over frames in place of the sum, to
    which Adam is blind.
    """

    draws: int = 2
    steps: int = 1
    learning_rate: float = 0.001

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> FineTunedState:
        """Every utterance gets a copy of the encoder."""
        batch = power.shape[0]
        tuned = {id(parameter) for parameter in target.prior.encoder_parameters()}
        adam = {
            name: Adam.start(parameter.detach().expand(batch, *parameter.shape).clone())
            for name, parameter in target.prior.named_parameters()
            if id(parameter) in tuned
        }
        if not adam:
            raise UsageError("this prior has no encoder to fine-tune", "choose another E-step")
        mean, log_variance = self._encode(target, power, {k: a.parameters for k, a in adam.items()})
        z, _ = GaussianPosterior(mean, log_variance).rsample(self.draws, streams)
        return FineTunedState(power, adam, Draws.equal(z, target.decode(z)))

    def step(self, target: Target, state: FineTunedState, streams: Streams) -> tuple[FineTunedState, Info]:
        """``steps`` gradient steps of every encoder; the draws handed on are those of the last one."""
        adam = state.adam
        # Each utterance has the mean over its own frames; the sum over utterances keeps gradients apart.
        share = target.mask / target.mask.sum(-1, keepdim=True)
        for _ in range(self.steps):
            with torch.enable_grad():
                leaves = {name: a.parameters.detach().requires_grad_() for name, a in adam.items()}
                mean, log_variance = self._encode(target, state.shown, leaves)
                z, _ = GaussianPosterior(mean, log_variance).rsample(self.draws, streams)
                decoded = target.decode(z)
                kl = gaussian_kl(mean, log_variance)
            value, slope = target.log_likelihood_and_gradient(decoded.detach())
            slope = slope * (share / self.draws)[:, None, :, None]
            gradients = torch.autograd.grad([decoded, kl], list(leaves.values()), [slope, -share])
            adam = {
                name: adam[name].ascend(gradient, self.learning_rate)
                for name, gradient in zip(leaves, gradients, strict=True)
            }
        samples = Draws.equal(z.detach(), decoded.detach())
        bound = value.mean(1) - kl.detach()
        info = Info(objective=frame_mean(bound, target.mask), ess=torch.full_like(bound[:, 0], self.draws))
        return FineTunedState(state.shown, adam, samples), info

    @staticmethod
    def _encode(
        target: Target, shown: torch.Tensor, parameters: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance (B, N, L), utterance b by its own parameters."""
        encode = _Encode(target.prior)

        def one(own: dict[str, torch.Tensor], power: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            named = {f"prior.{name}": value for name, value in own.items()}
            mean, log_variance = torch.func.functional_call(encode, named, (power.unsqueeze(0),))
            return mean[0], log_variance[0]

        return torch.func.vmap(one)(parameters, shown)


class _Encode(torch.nn.Module):
    """The prior's ``encode`` as a module's call, which is what torch can make with other parameters."""

    prior: Any

    def __init__(self, prior: torch.nn.Module) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, power: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        posterior = self.prior.encode(power)
        return posterior.mean, posterior.log_variance
