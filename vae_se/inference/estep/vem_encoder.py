"""Variational E-step that fine-tunes a copy of the encoder for every utterance."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, cast

import torch

from ...errors import UsageError
from ...likelihood import gaussian_entropy, gaussian_kl
from ...priors.base import LatentPrior
from ...priors.posterior import GaussianPosterior
from ...rng import Streams
from ..draws import Draws, frame_mean
from ..target import Target
from .base import ESTEPS, EStep, EStepInfo
from .gradient import Adam


@dataclasses.dataclass(frozen=True)
class FineTunedState:
    """The input ``power`` (B, N, F) of the encoders, their parameters by name, each (B, ...), with Adam's
    moments, and the draws of the last step."""

    power: torch.Tensor
    adam: dict[str, Adam]
    draws: Draws


@ESTEPS.add("vem-encoder")
@dataclasses.dataclass(frozen=True)
class FineTunedEncoder(EStep[FineTunedState]):
    """q(z_n) = N(mu_phi(y_n), diag sigma^2_phi(y_n)), with parameters phi of its own for every utterance.

    phi ascends the mean over frames of E_q[log p(x | z)] - KL(q || p(z)) with reparameterised draws. The
    divergence is in closed form if p(z) = N(0, I), otherwise log p(z) is evaluated at the draws. phi starts at
    the shared encoder, which is never changed; q is the Gaussian with the moments of its posterior. The input y
    is the power less the initial noise, at all iterations. All utterances of a batch move together, each by its
    own gradient.

    ``draws``: R; ``steps``: gradient steps per E-step; ``learning_rate``: step size of Adam.

    Leglaive, Alameda-Pineda, Girin and Horaud, A recurrent variational autoencoder for speech enhancement,
    2020; Bie, Leglaive, Alameda-Pineda and Girin, Unsupervised speech enhancement using dynamical variational
    autoencoders, 2022. Departure: the mean over frames in place of the sum, a factor that Adam cancels.
    """

    contextual: ClassVar[bool] = False
    draws: int = 2
    steps: int = 1
    learning_rate: float = 0.001

    def init(self, target: Target, power: torch.Tensor, streams: Streams) -> FineTunedState:
        """Every utterance gets a copy of the encoder; UsageError if the prior has none."""
        batch, module = power.shape[0], cast(torch.nn.Module, target.prior)
        tuned = {id(parameter) for parameter in target.prior.encoder_parameters()}
        adam = {
            name: Adam.start(parameter.detach().expand(batch, *parameter.shape).clone())
            for name, parameter in module.named_parameters()
            if id(parameter) in tuned
        }
        if not adam:
            raise UsageError("this prior has no encoder to fine-tune", "choose another E-step")
        mean, log_variance = self._encode(target, power, {k: a.parameters for k, a in adam.items()})
        z, _ = GaussianPosterior(mean, log_variance).rsample(self.draws, streams)
        return FineTunedState(power, adam, Draws.equal(z, target.decode(z)))

    def step(self, target: Target, state: FineTunedState, streams: Streams) -> tuple[FineTunedState, EStepInfo]:
        """``steps`` gradient steps of every encoder; the draws are those of the last one."""
        adam = state.adam
        # The objective is the sum over utterances of means over frames: every gradient is that of one
        # utterance.
        share = target.mask / target.mask.sum(-1, keepdim=True)
        for _ in range(self.steps):
            with torch.enable_grad():
                leaves = {name: a.parameters.detach().requires_grad_() for name, a in adam.items()}
                mean, log_variance = self._encode(target, state.power, leaves)
                z, _ = GaussianPosterior(mean, log_variance).rsample(self.draws, streams)
                decoded = target.decode(z)
                kl = _divergence(target, z, mean, log_variance)
            value, slope = target.log_likelihood_and_gradient(decoded.detach())
            slope = slope * (share / self.draws)[:, None, :, None]
            gradients = torch.autograd.grad([decoded, kl], list(leaves.values()), [slope, -share])
            adam = {
                name: adam[name].ascend(gradient, self.learning_rate)
                for name, gradient in zip(leaves, gradients, strict=True)
            }
        draws = Draws.equal(z.detach(), decoded.detach())
        bound = value.mean(1) - kl.detach()
        info = EStepInfo(objective=frame_mean(bound, target.mask), ess=torch.full_like(bound[:, 0], self.draws))
        return FineTunedState(state.power, adam, draws), info

    @staticmethod
    def _encode(
        target: Target, power: torch.Tensor, parameters: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and log-variance (B, N, L); utterance b is encoded with its own parameters."""
        encode = _Encode(target.prior)

        def one(own: dict[str, torch.Tensor], power: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            named = {f"prior.{name}": value for name, value in own.items()}
            mean, log_variance = torch.func.functional_call(encode, named, (power.unsqueeze(0),))
            return mean[0], log_variance[0]

        return torch.func.vmap(one)(parameters, power)


def _divergence(
    target: Target, z: torch.Tensor, mean: torch.Tensor, log_variance: torch.Tensor
) -> torch.Tensor:
    """KL(q || p(z)), (B, N), of the Gaussian q with ``mean`` and ``log_variance`` (B, N, L) and draws z."""
    if target.prior.standard_normal:
        return gaussian_kl(mean, log_variance)
    return -gaussian_entropy(log_variance) - target.prior.log_prior(z).mean(1)


class _Encode(torch.nn.Module):
    """The prior's ``encode`` as the call of a module, which torch.func can make with other parameters."""

    prior: LatentPrior

    def __init__(self, prior: LatentPrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, power: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        posterior = self.prior.encode(power)
        return posterior.mean, posterior.log_variance
