"""Priors that listen to the speech's past; in enhancement, where it is unknown, to their own."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from ..base import Reconstruction
from ..frame import EULER
from ..layers import stack
from .base import Dynamical, Transition
from .posterior import moved
from .sequences import shifted

#: Mean and log-variance of p(z_n | ...), (M, L) each, to z_n.
Choice = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: How often what the model says is put in place of the speech's past, before the pass that is learnt from.
PASSES = 2


class AutoRegressive(Dynamical):
    """A recurrent network h_n over the speech's past (``hear``), which drives the rest.

    Training gives it the true past (teacher forcing), or, with probability ``own_past`` at each step, what
    the model itself said. Bengio, Vinyals, Jaitly and Shazeer, Scheduled sampling for sequence prediction
    with recurrent neural networks, 2015; in whole passes over the sequence, so that no loop over frames is
    needed: Duckworth, Neelakantan, Goodrich, Kaiser and Bengio, Parallel scheduled sampling, 2019.

    :meth:`decode` has no speech to listen to and rolls out: the log-power that the model expects, log v less
    Euler's constant, stands in for the speech's (Bie, Leglaive, Alameda-Pineda and Girin, Unsupervised speech
    enhancement using dynamical variational autoencoders, 2022, sec. III). That loop over frames cannot be
    avoided; TorchScript gains a quarter of its time at best (docs/dynamical.md), and is deprecated.
    """

    caution = (
        "The past that it heard for these figures was its own in as many frames as `own_past` says; in "
        "re-synthesis it rolls out, as in enhancement."
    )
    #: Whether latents enter the recurrent network beside the past.
    driven = False
    emitted = 1

    def make_parts(self) -> None:
        """The ear for the past, and the recurrent network behind it."""
        self.hear = stack([self.signal.stft.bins, self.hidden_size], self.activation)
        size = self.hidden_size + (self.latent_dim if self.driven else 0)
        self.recurrent = nn.GRU(size, self.hidden_size, batch_first=True)

    def past(self, features: torch.Tensor) -> torch.Tensor:
        """What is heard (M, N, E) of the frame before each; nothing before the first."""
        return shifted(self.hear(features))

    def own_features(self, log_variance: torch.Tensor) -> torch.Tensor:
        """The features that the model expects of a frame with these log-variances."""
        return (log_variance - EULER - self.log_power_mean) / self.log_power_std

    def one_step(
        self, state: torch.Tensor, past: torch.Tensor, z: torch.Tensor, choose: Choice
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """From h_{n-1}, the past (M, E) and z_{n-1} to h_n, z_n and the moments of p(z_n | ...)."""
        raise NotImplementedError

    def roll_out(
        self, like: torch.Tensor, choose: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """z (M, N, L), log-variances (M, N, F) and the moments of p(z_n | ...) when the model hears itself.

        ``like`` (M, N, L) gives the shape; ``choose(n, mean, log_variance)`` says z_n. The loop never leaves
        the decoder's hidden layers: the output layer and the ear are linear, one after the other, and make one
        small matrix; the spectra are made afterwards, all at once. (Bounds on log-variances are not heard.)
        """
        ear = cast(nn.Linear, self.hear[0])
        heard = ear.weight / self.log_power_std
        weight = heard @ self.output.weight
        bias = ear.bias + heard @ (self.output.bias - EULER - self.log_power_mean)
        state = like.new_zeros(len(like), self.hidden_size)
        z, past = torch.zeros_like(like[:, 0]), torch.zeros_like(state)
        latents, layers, means, log_variances = [], [], [], []
        for n in range(like.shape[1]):
            state, z, (mean, log_variance) = self.one_step(state, past, z, functools.partial(choose, n))
            layer = self.decoder(torch.cat([z, state], -1))
            past = self.hear[1](nn.functional.linear(layer, weight, bias))
            latents.append(z)
            layers.append(layer)
            means.append(mean)
            log_variances.append(log_variance)
        moments = torch.stack(means, 1), torch.stack(log_variances, 1)
        return torch.stack(latents, 1), self.spectra(torch.stack(layers, 1)), moments

    def unheard(self, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, Transition]:
        """The roll-out along given latents."""
        _, eta, moments = self.roll_out(z, lambda n, mean, log_variance: z[:, n])
        return eta, moments

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """Drawn while the model hears itself."""

        def choose(n: int, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
            return moved(mean, log_variance, epsilon[:, n])

        return self.roll_out(epsilon, choose)[0]

    def reconstruct(
        self,
        power: torch.Tensor,
        generator: torch.Generator | None = None,
        mask: torch.Tensor | None = None,
        own_past: float = 0.0,
    ) -> Reconstruction:
        """As in the base; at each step the past is the model's own with probability ``own_past``."""
        path = self.encode(power, mask).draw(1, generator)
        true = features = self.features(power)
        if own_past:
            shape = (*power.shape[:2], 1)
            uniform = torch.rand(shape, generator=generator, dtype=power.dtype, device=power.device)
            with torch.no_grad():
                for _ in range(PASSES):
                    eta, _ = self.given(path.z, features, mask)
                    features = torch.where(uniform < own_past, self.own_features(eta), true)
        return self.along(path, features, mask)
