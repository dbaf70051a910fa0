"""Small models with known answers, shared by the tests of inference."""

from __future__ import annotations

import dataclasses
import math

import torch

from vae_se.inference.target import Likelihood
from vae_se.likelihood import gaussian_log_prob, standard_normal_log_prob
from vae_se.priors import PRIORS, GaussianPosterior, SignalSpec
from vae_se.priors.ffvae import FFVAE

SIGNAL = SignalSpec(rate=16000, window=64, hop=16)


def tiny_prior(latent_dim: int = 4, seed: int = 0, dtype: torch.dtype = torch.float32) -> FFVAE:
    """An untrained ffvae whose spectra depend on z."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prior = FFVAE((8, 16), latent_dim, "tanh", SIGNAL)
    return prior.to(dtype).eval().requires_grad_(False)


def model_power(prior, batch: int, frames: int, seed: int = 0, noise: float = 0.1) -> torch.Tensor:
    """Power (B, N, F) drawn from the model, with white noise."""
    generator = torch.Generator().manual_seed(seed)
    dtype = prior.output.weight.dtype
    z = torch.randn(batch, 1, frames, prior.latent_dim, generator=generator, dtype=dtype)
    variance = prior.decode(z)[:, 0].exp() + noise
    uniform = torch.rand(variance.shape, generator=generator, dtype=dtype)
    return -variance * torch.log1p(-uniform)


class LinearPrior:
    """decode(z) = A z; the encoder is a wide Gaussian around the origin, so that it covers any posterior."""

    factorised = standard_normal = frame_decoder = True
    takes_activity = False

    def __init__(self, matrix: torch.Tensor, proposal_std: float = 1.3) -> None:
        self.matrix, self.latent_dim, self.proposal_std = matrix, matrix.shape[1], proposal_std

    def encode(self, power, mask=None):
        shape = (*power.shape[:2], self.latent_dim)
        mean = torch.zeros(shape, dtype=power.dtype)
        return GaussianPosterior(mean, torch.full(shape, 2 * math.log(self.proposal_std), dtype=power.dtype))

    def decode(self, z, mask=None):
        return z @ self.matrix.T

    def log_prior(self, z):
        return standard_normal_log_prob(z)

    def conditional_prior(self, z):
        return None

    def generate(self, z, mask=None):
        return self.decode(z), self.log_prior(z)


@dataclasses.dataclass(frozen=True)
class LinearGaussianTarget:
    """y_n = A z_n + e, e ~ N(0, std^2 I), z_n ~ N(0, I): the posterior is Gaussian and known.

    It replaces a Target in the tests of kernels: ``power`` is y, and the decoder's output is A z.
    """

    prior: LinearPrior
    power: torch.Tensor
    std: float
    gain: torch.Tensor
    mask: torch.Tensor

    @property
    def tied(self):
        return not self.prior.factorised

    def encode(self, power):
        return self.prior.encode(power)

    def initial_posterior(self, power):
        return self.encode(power)

    def decode(self, z):
        return self.prior.decode(z)

    def at(self, frames):
        power, gain, mask = self.power[:, frames], self.gain[:, frames], self.mask[:, frames]
        return dataclasses.replace(self, power=power, gain=gain, mask=mask)

    def decode_directions(self, z, frames):
        return self.prior.decode(z)

    def generate(self, z):
        return self.prior.generate(z)

    def log_likelihood(self, mean):
        return -0.5 * ((self.power.unsqueeze(1) - mean) / self.std).square().sum(-1)

    def likelihood_at(self, mean):
        value, slope = self.log_likelihood(mean), (self.power.unsqueeze(1) - mean) / self.std**2
        return Likelihood(value, slope, torch.zeros_like(value), torch.zeros_like(value))

    def fisher(self, mean):
        return torch.full_like(mean, self.std**-2)

    def speech_power(self, log_variance, log_weight):
        return self.power

    def posterior(self):
        """Mean (B, N, L) and covariance (L, L)."""
        a = self.prior.matrix
        precision = torch.eye(a.shape[1], dtype=a.dtype) + a.T @ a / self.std**2
        covariance = torch.linalg.inv(precision)
        return self.power @ a @ covariance / self.std**2, covariance


def linear_target(frames: int = 40, seed: int = 3) -> LinearGaussianTarget:
    """Two latents, five observations, in float64."""
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randn(5, 2, generator=generator, dtype=torch.float64)
    prior = LinearPrior(matrix)
    z = torch.randn(1, frames, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(1, frames, 5, generator=generator, dtype=torch.float64)
    std = 1.5
    ones = torch.ones(1, frames, dtype=torch.float64)
    return LinearGaussianTarget(prior, z @ matrix.T + std * noise, std, ones, ones)


class ChainPrior(LinearPrior):
    """The linear prior with memory: z_n = rate z_{n-1} + sqrt(1 - rate^2) e_n, each still N(0, I)."""

    factorised = standard_normal = False
    takes_activity = False

    def __init__(self, matrix: torch.Tensor, rate: float = 0.8) -> None:
        super().__init__(matrix)
        self.rate = rate

    def log_prior(self, z):
        return gaussian_log_prob(z, *self.moments_before(z))

    def moments_before(self, z):
        before = torch.nn.functional.pad(z, (0, 0, 1, 0))[..., :-1, :]
        variance = torch.full((z.shape[-2], 1), 1 - self.rate**2, dtype=z.dtype)
        variance[0] = 1
        return self.rate * before, variance.log().expand_as(z)


class KnownChainPrior(ChainPrior):
    """The same, with p(z_n | z_{n-1}) in closed form."""

    def conditional_prior(self, z):
        return self.moments_before(z)


def chain_target(frames: int = 6, seed: int = 3):
    """A linear-Gaussian state-space model; the exact mean (N, L) and covariance (NL, NL) of its smoother."""
    toy = linear_target(frames, seed)
    prior = ChainPrior(toy.prior.matrix)
    a, lags = prior.matrix, torch.arange(frames, dtype=torch.float64)
    correlation = prior.rate ** (lags[:, None] - lags[None]).abs()
    eye = torch.eye(a.shape[1], dtype=a.dtype)
    precision = torch.kron(torch.linalg.inv(correlation).contiguous(), eye)
    precision += torch.kron(torch.eye(frames, dtype=a.dtype), (a.T @ a / toy.std**2).contiguous())
    covariance = torch.linalg.inv(precision)
    mean = (covariance @ (toy.power[0] @ a / toy.std**2).flatten()).view(frames, -1)
    return dataclasses.replace(toy, prior=prior), mean, covariance


#: Settings that keep architectures with more settings small.
MORE = {"flow-vae": {"flows": 2}, "flow-vae-zuko": {"bins": 4, "width": 8}, "dsae": {"static": 1}}


def small_prior(architecture: str, dtype: torch.dtype = torch.float64, **settings):
    """An untrained prior of any architecture, with no parameter near zero."""
    generator = torch.Generator().manual_seed(0)
    settings = {"hidden": (6, 12), "latent_dim": 3} | MORE.get(architecture, {}) | settings
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = PRIORS[architecture](**settings, signal=SIGNAL).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return prior.to(dtype).eval().requires_grad_(False)
