"""Base of the dynamical priors: encoder, decoder, bound and sampling."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ...deprecated import warn
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
from ..stored import StoredPrior
from .posterior import DrawnPosterior, LatentRecursion, SequencePosterior, Trajectory
from .sequences import Recurrent, recurrent, run, run_backwards

#: Mean and log-variance of p(z_n | s_1..n-1, z_1..n-1), each (M, N, L); None for N(0, I).
Transition = tuple[torch.Tensor, torch.Tensor] | None


class Dynamical(Standardising, StoredPrior):
    """p(s_1..N, z_1..N) = prod_n p(s_n | s_1..n-1, z_1..n) p(z_n | s_1..n-1, z_1..n-1), with simplifications.

    Girin, Leglaive, Bie, Diard, Hueber and Alameda-Pineda, Dynamical variational autoencoders: a
    comprehensive review, 2021 ("the review"): ch. 4 for the model, the bound, the names, and the posterior,
    whose structure follows from d-separation. Speech s_n is a complex Gaussian frame, as in ``ffvae``; the
    encoder's input is its standardised log-power. Departure from the review: GRU or minGRU in place of LSTM.

    A subclass defines :meth:`make_parts`, :meth:`given` and, where its posterior differs from the one here,
    ``encode``. The layers (their names are part of the stored weights):

    - ``listen``: feed-forward layers on the spectrum of each frame;
    - ``backward_context``, and ``forward_context`` with ``both_ways``: recurrent networks over time. Their
      outputs and that of ``listen`` are the posterior's context;
    - ``direct``: linear, from the context to the moments of q(z_n | ...);
    - ``outer``, ``inner``, ``head``: a hidden layer on the context and the earlier latents, whose output is
      added to those moments;
    - ``follow``: a recurrent network over the earlier latents for q(z_n | ...), where it has its own;
    - ``decoder`` and ``output``: from latents and recurrent states to log-variances.

    ``hidden``: sizes of the decoder's layers, and in reverse of the encoder's; ``latent_dim``: L;
    ``hidden_size``: units of each recurrent network; ``cell``: its kind, "gru" or "mingru"
    (:mod:`.linear_recurrence`); ``chained``: whether q(z_n | ...) depends on the earlier latents, as in the
    table of docs/dynamical.md. Otherwise it is q(z_n | s_1..N), which needs no loop over frames.
    """

    factorised = frame_decoder = False
    standard_normal = False
    #: Whether the posterior's context covers the speech before a frame as well as the speech after it.
    both_ways = False
    #: Number of recurrent states (hidden_size units each) in the input of the context, and of the decoder.
    context_states = decoder_states = 0
    #: Whether q(z_n | ...) depends on all earlier latents, by a recurrent state, or on z_{n-1} alone.
    tracked = False
    #: Whether that recurrent state is one of its own, ``follow``, and not one of the model.
    own_tracker = True

    def __init__(
        self,
        hidden: Sequence[int] = (256, 512),
        latent_dim: int = 16,
        hidden_size: int = 128,
        activation: str = "silu",
        cell: str = "gru",
        chained: bool = True,
        signal: SignalSpec | None = None,
    ) -> None:
        super().__init__()
        self.cell, self.chained = cell, chained
        for name, value in (("latent_dim", latent_dim), ("hidden_size", hidden_size)):
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"{name} = {value!r} of a prior", "it is a whole number above 0")
        self.signal = signal or SignalSpec()
        self.hidden, self.latent_dim, self.hidden_size = tuple(hidden), latent_dim, hidden_size
        self.activation = activation
        bins = self.signal.stft.bins
        self.listen = stack([bins, *reversed(self.hidden)], activation)
        self.make_posterior()
        self.decoder = stack([latent_dim + self.decoder_states * hidden_size, *self.hidden], activation)
        self.output = nn.Linear(self.hidden[-1], bins)
        self.register_buffer("log_power_mean", torch.zeros(bins))
        self.register_buffer("log_power_std", torch.ones(bins))
        own = chained and self.tracked and self.own_tracker
        self.follow = recurrent(cell, latent_dim, hidden_size) if own else None
        self.make_parts()

    def make_posterior(self) -> None:
        """Register the layers from the output of ``listen`` to q(z_n | ...), but for ``follow``."""
        latent_dim, hidden_size = self.latent_dim, self.hidden_size
        context_input = self.hidden[0] + self.context_states * hidden_size
        self.backward_context: Recurrent | None = recurrent(self.cell, context_input, hidden_size)
        both_ways = self.both_ways or not self.chained
        self.forward_context = recurrent(self.cell, context_input, hidden_size) if both_ways else None
        context = self.hidden[0] + hidden_size * (2 if both_ways else 1)
        self.outer: nn.Linear | None = nn.Linear(context, hidden_size)
        nn.init.xavier_normal_(self.outer.weight, gain=1.4)
        self.direct = moments_layer(context, latent_dim)
        self.inner: nn.Linear | None = None
        if self.chained:
            self.inner = nn.Linear(hidden_size if self.tracked else latent_dim, hidden_size, bias=False)
        self.head: nn.Linear | None = moments_layer(hidden_size, latent_dim)

    def make_parts(self) -> None:
        """Register the layers of a subclass."""
        raise NotImplementedError

    @property
    def tracker(self) -> Recurrent | None:
        """Recurrent network over the earlier latents for q; None: q(z_n | ...) depends on z_{n-1} alone."""
        return self.follow

    @property
    def memory(self) -> int:
        """Deprecated name of ``hidden_size``."""
        warn("the attribute memory of a prior", "hidden_size")
        return self.hidden_size

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> DrawnPosterior:
        """q(z | s) for ``power`` (B, N, F)."""
        return self.posterior(self.listen(self.features(power)), mask)

    def posterior(
        self,
        local: torch.Tensor,
        mask: torch.Tensor | None,
        states: torch.Tensor | None = None,
        *,
        past: torch.Tensor | None = None,
        present: torch.Tensor | None = None,
    ) -> SequencePosterior:
        """The posterior for the output of ``listen``, ``local`` (B, N, H).

        ``states`` (B, N, E): further input of the context, or None; ``past`` and ``present``: see
        :class:`~vae_se.priors.dynamical.posterior.SequencePosterior`.
        """
        assert self.backward_context is not None
        assert self.outer is not None
        assert self.head is not None
        sequence = local if states is None else torch.cat([local, states], -1)
        context = [local, run_backwards(self.backward_context, sequence, mask)]
        if self.forward_context is not None:
            context.append(run(self.forward_context, sequence))
        joined = torch.cat(context, -1)
        recursion = LatentRecursion(self.tracker, self.inner, self.head)
        return SequencePosterior(recursion, self.outer(joined), self.direct(joined), past, present)

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """Log-variances (M, N, F) and p(z_n | ...) for latents (M, N, L), given the true past of the speech.

        ``features`` (M, N, F): features of the speech; the result at step n depends on those before n only.
        """
        raise NotImplementedError

    def generate(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-variances (B, R, N, F) and log p(z_n | ...) (B, R, N) of latents (B, R, N, L), without speech."""
        eta, transition = self.without_speech(z.flatten(0, 1), _repeated(mask, z.shape[1]))
        return eta.view(*z.shape[:3], -1), _log_prior(z.flatten(0, 1), transition).view(z.shape[:3])

    def moments_before(self, z: torch.Tensor) -> Transition:
        """Mean and log-variance of p(z_n | z_1..n-1), (M, N, L) each, for latents (M, N, L); here None, for
        models in which it is N(0, I) or depends on speech."""
        return None

    def conditional_prior(self, z: torch.Tensor) -> Transition:
        """As :meth:`moments_before`, for latents (B, R, N, L)."""
        moments = self.moments_before(z.flatten(0, 1))
        return None if moments is None else (moments[0].view_as(z), moments[1].view_as(z))

    def without_speech(self, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, Transition]:
        """As :meth:`given`, for unknown speech; here for models that do not condition on its past."""
        return self.given(z, z.new_zeros(0), mask)

    def decode(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Log-variances (B, R, N, F) of latents (B, R, N, L)."""
        return self.emit(z) if self.frame_decoder else self.generate(z, mask)[0]

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log p(z_n | z_1..n-1), (B, R, N); a roll-out where it depends on speech."""
        transition = None if self.standard_normal else self.conditional_prior(z)
        if transition is None and not self.standard_normal:
            return self.generate(z)[1]
        return _log_prior(z, transition)

    def emit(self, hidden: torch.Tensor) -> torch.Tensor:
        """Log-variances (..., F) for the decoder's input ``hidden``."""
        return self.spectra(self.decoder(hidden))

    def spectra(self, layer: torch.Tensor) -> torch.Tensor:
        """Log-variances (..., F) for the decoder's last hidden layer, clamped to the range of numerics.py."""
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
        """Decode one trajectory from q, given the true past of the speech.

        The divergence of a step, KL(q(z_n | z_1..n-1, x) || p(z_n | ...)), is in closed form given the draws
        before it (the review, ch. 4).
        """
        path = self.encode(power, mask).draw(1, generator)
        return self.along(path, self.features(power), mask)

    def along(self, path: Trajectory, features: torch.Tensor, mask: torch.Tensor | None) -> Reconstruction:
        """As :meth:`reconstruct`, for a given trajectory and features of the speech (B, N, F)."""
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
        """log p(s, z) - log q(z | s), (B, R, N), given the true past of the speech.

        The log-weight of a trajectory is the sum over its steps.
        """
        z, log_q = self.encode(power, mask).rsample(draws, generator)
        flat, features = z.flatten(0, 1), self.features(power).repeat_interleave(draws, 0)
        eta, transition = self.given(flat, features, _repeated(mask, draws))
        nll = self.nll(power.unsqueeze(1), eta.view(*z.shape[:3], -1))
        log_p = _log_prior(flat, transition).view(z.shape[:3])
        return log_p - nll - power.shape[-1] * LOG_PI - log_q

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """Parameters of q(z | s) alone; those that it shares with p are not among them."""
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
        """Reparameterised draw z (M, N, L) from p(z), for standard normal numbers of the same shape."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""
        return {
            "hidden": list(self.hidden), "latent_dim": self.latent_dim, "hidden_size": self.hidden_size,
            "activation": self.activation, "cell": self.cell, "chained": self.chained,
        }  # fmt: skip


def moments_layer(size: int, latent_dim: int) -> nn.Linear:
    """Linear layer from ``size`` numbers to a mean and a log-variance: means of unit spread, variance 1.

    With smaller initial means the noise of the draws dominates and the decoder learns to ignore the latents
    (docs/dynamical.md).
    """
    layer = nn.Linear(size, 2 * latent_dim)
    nn.init.xavier_normal_(layer.weight, gain=1.4)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight[latent_dim:] = 0
    return layer


def transition_net(size: int, hidden_size: int, latent_dim: int, activation: str) -> nn.Sequential:
    """Network from ``size`` inputs to the moments of p(z_n | ...); near N(0, I) before training."""
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
