"""What the dynamical priors share: how they hear speech, train on it, and are used without it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...errors import UsageError
from ...likelihood import (
    LOG_PI,
    gaussian_kl_between,
    gaussian_kl_by_dimension,
    gaussian_log_prob,
    standard_normal_log_prob,
)
from ...numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN
from ...signal_spec import SignalSpec
from ..base import Reconstruction
from ..frame import complex_gaussian_nll
from ..layers import stack
from ..statistics import Standardising
from .posterior import SequencePosterior, Trajectory
from .sequences import run, run_backwards

#: Mean and log-variance of p(z_n | what came before), each (M, N, L); None for N(0, I).
Transition = tuple[torch.Tensor, torch.Tensor] | None


class Dynamical(Standardising, nn.Module):
    """p(s_1..N, z_1..N) = prod_n p(s_n | s_1..n-1, z_1..n) p(z_n | s_1..n-1, z_1..n-1), with simplifications.

    Girin, Leglaive, Bie, Diard, Hueber and Alameda-Pineda, Dynamical variational autoencoders: a
    comprehensive review, 2021, eq. 4.3 for the model, ch. 4 for the posterior (structured as d-separation
    says), the bound and the names. Speech s_n is a complex Gaussian frame, as in ``ffvae``, and is heard as
    standardised log-power.

    A subclass defines :meth:`make_parts`, :meth:`given` and, where its posterior differs from the one here,
    ``encode``. Parts that all have: ``listen``, then recurrent networks over time (from the end, with
    ``both_ways`` also from the start), which make the posterior's context; ``direct``, what this alone says of
    the latents; ``inner``, ``outer`` and ``head``, which weigh it against the latents before; ``decoder`` and
    ``output``.

    ``hidden``: sizes of the decoder's layers, the encoder's backwards; ``latent_dim``: L; ``hidden_size``: units of
    every recurrent network. Departure from the review: GRU in place of LSTM.
    """

    factorised = False
    standard_normal = False
    takes_activity = False
    both_ways = False
    #: What the context hears beside the speech, and what the decoder sees beside z: so many recurrent states.
    heard = emitted = 0
    #: Whether the posterior knows all earlier latents, by a recurrent state, or the last one alone.
    tracked = False

    def __init__(
        self,
        hidden: Sequence[int] = (256, 512),
        latent_dim: int = 16,
        hidden_size: int = 128,
        activation: str = "silu",
        signal: SignalSpec | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("latent_dim", latent_dim), ("hidden_size", hidden_size)):
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} = {value!r} of a prior", "it is a whole number above 0")
        self.signal = signal or SignalSpec()
        self.hidden, self.latent_dim, self.hidden_size = tuple(hidden), latent_dim, hidden_size
        self.activation = activation
        bins = self.signal.stft.bins
        self.listen = stack([bins, *reversed(self.hidden)], activation)
        listened = self.hidden[0] + self.heard * hidden_size
        self.backward_context = nn.GRU(listened, hidden_size, batch_first=True)
        self.forward_context: nn.GRU | None = None
        if self.both_ways:
            self.forward_context = nn.GRU(listened, hidden_size, batch_first=True)
        known = self.hidden[0] + hidden_size * (2 if self.both_ways else 1)
        self.outer = nn.Linear(known, hidden_size)
        nn.init.xavier_normal_(self.outer.weight, gain=1.4)
        self.direct = moments_layer(known, latent_dim)
        self.inner = nn.Linear(hidden_size if self.tracked else latent_dim, hidden_size, bias=False)
        self.head = moments_layer(hidden_size, latent_dim)
        self.decoder = stack([latent_dim + self.emitted * hidden_size, *self.hidden], activation)
        self.output = nn.Linear(self.hidden[-1], bins)
        self.register_buffer("log_power_mean", torch.zeros(bins))
        self.register_buffer("log_power_std", torch.ones(bins))
        self.follow: nn.GRU | None = None
        self.make_parts()

    def make_parts(self) -> None:
        """Register what a subclass has besides; ``follow`` where its posterior has a tracker of its own."""
        raise NotImplementedError

    @property
    def tracker(self) -> nn.GRU | None:
        """The recurrent network by which the posterior knows earlier latents; None: it knows the last one."""
        return self.follow

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> SequencePosterior:
        """Posterior of the latents of |s|^2 (B, N, F)."""
        return self.posterior(self.listen(self.features(power)), mask)

    def posterior(
        self, local: torch.Tensor, mask: torch.Tensor | None, heard: torch.Tensor | None = None, **more: Any
    ) -> SequencePosterior:
        """From what was heard of each frame (B, N, H), and what the context hears beside it."""
        sequence = local if heard is None else torch.cat([local, heard], -1)
        context = [local, run_backwards(self.backward_context, sequence, mask)]
        if self.forward_context is not None:
            context.append(run(self.forward_context, sequence))
        known = torch.cat(context, -1)
        return SequencePosterior(self, self.outer(known), self.direct(known), **more)

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """Log-variances (M, N, F) and p(z_n | ...) for latents (M, N, L), with the speech's true past.

        ``features`` (M, N, F) are those of the speech itself; step n may look at those before n only.
        """
        raise NotImplementedError

    def generate(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-variances (B, R, N, F) and log p(z_n | ...) (B, R, N) of latents alone, (B, R, N, L)."""
        eta, transition = self.unheard(z.flatten(0, 1), _repeated(mask, z.shape[1]))
        return eta.view(*z.shape[:3], -1), _log_prior(z.flatten(0, 1), transition).view(z.shape[:3])

    def unheard(self, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, Transition]:
        """As :meth:`given`, where there is no speech to look back at; such models do not look."""
        return self.given(z, z.new_zeros(0), mask)

    def decode(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Log-variances (B, R, N, F) of latents (B, R, N, L)."""
        return self.generate(z, mask)[0]

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log p(z_n | z_1..n-1), (B, R, N)."""
        return self.generate(z)[1]

    def emit(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-variances (..., F) of what the decoder sees."""
        return self.spectra(self.decoder(hidden))

    def spectra(self, layer: torch.Tensor) -> torch.Tensor:
        """Log-variances (..., F) of the decoder's last hidden layer, within the range of numerics.py."""
        return functional.hardtanh(self.output(layer), LOG_VARIANCE_MIN, LOG_VARIANCE_MAX)

    def nll(self, power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """-log p(s_n | ...) less F log(pi), (..., N)."""
        return complex_gaussian_nll(power, log_variance)

    def reconstruct(
        self,
        power: torch.Tensor,
        generator: torch.Generator | None = None,
        mask: torch.Tensor | None = None,
    ) -> Reconstruction:
        """One trajectory from q, decoded with the speech's true past; the divergence step by step.

        The review's eq. 4.24: KL(q(z_n | z_1..n-1, x) || p(z_n | ...)) in closed form, given the draw.
        """
        path = self.encode(power, mask).draw(1, generator)
        return self.along(path, self.features(power), mask)

    def along(self, path: Trajectory, features: torch.Tensor, mask: torch.Tensor | None) -> Reconstruction:
        """The same for a trajectory that was drawn, and features of the speech (B, N, F)."""
        eta, transition = self.given(path.z, features, mask)
        if transition is None:
            return Reconstruction(eta, gaussian_kl_by_dimension(path.mean, path.log_variance))
        return Reconstruction(eta, gaussian_kl_between(path.mean, path.log_variance, *transition))

    def log_weight(
        self,
        power: torch.Tensor,
        draws: int,
        generator: torch.Generator | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """log p(s, z) - log q(z | s), (B, R, N), with the speech's true past; a trajectory's is its sum."""
        z, log_q = self.encode(power, mask).rsample(draws, generator)
        flat, heard = z.flatten(0, 1), self.features(power).repeat_interleave(draws, 0)
        eta, transition = self.given(flat, heard, _repeated(mask, draws))
        nll = self.nll(power.unsqueeze(1), eta.view(*z.shape[:3], -1))
        log_p = _log_prior(flat, transition).view(z.shape[:3])
        return log_p - nll - power.shape[-1] * LOG_PI - log_q

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of q(z | s) alone: what it shares with p is not among them."""
        parts = (
            self.listen, self.backward_context, self.forward_context, self.outer, self.direct, self.inner,
            self.head, self.follow,
        )  # fmt: skip
        return itertools.chain.from_iterable(part.parameters() for part in parts if part is not None)

    def sample(self, frames: int, generator: torch.Generator) -> torch.Tensor:
        """Latents (1, 1, N, L) from p(z), step by step where they depend on each other."""
        epsilon = torch.randn(
            1, frames, self.latent_dim, generator=generator, dtype=self.output.weight.dtype,
            device=self.output.weight.device,
        )  # fmt: skip
        return self.ancestral(epsilon).unsqueeze(1)

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """z (M, N, L) that standard normal numbers of the same shape drive through p(z)."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor, JSON-able, less the signal."""
        return {
            "hidden": list(self.hidden), "latent_dim": self.latent_dim, "hidden_size": self.hidden_size,
            "activation": self.activation,
        }  # fmt: skip


def moments_layer(size: int, latent_dim: int) -> nn.Linear:
    """From ``size`` numbers to a mean and a log-variance: means that spread as the latents do, variance 1.

    With the usual smaller weights the draws hardly follow the means at first, the decoder learns to ignore
    them, and the bound stays hundreds of nats behind (docs/dynamical.md).
    """
    layer = nn.Linear(size, 2 * latent_dim)
    nn.init.xavier_normal_(layer.weight, gain=1.4)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight[latent_dim:] = 0
    return layer


def transition_net(size: int, hidden_size: int, latent_dim: int, activation: str) -> nn.Sequential:
    """From what p(z_n | ...) depends on, to its mean and log-variance; N(0, I) before training."""
    net = stack([size, hidden_size], activation)
    last = nn.Linear(hidden_size, 2 * latent_dim)
    nn.init.normal_(last.weight, std=1e-2)
    nn.init.zeros_(last.bias)
    net.append(last)
    return net


def _log_prior(z: torch.Tensor, transition: Transition) -> torch.Tensor:
    return standard_normal_log_prob(z) if transition is None else gaussian_log_prob(z, *transition)


def _repeated(mask: torch.Tensor | None, draws: int) -> torch.Tensor | None:
    return None if mask is None else mask.repeat_interleave(draws, 0)
