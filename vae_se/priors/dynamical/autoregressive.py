"""Autoregressive priors: they condition on the past of the speech; in enhancement on their own past output."""

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
from .own_past import Loop
from .own_past import roll_out as roll_out_given
from .posterior import generated
from .sequences import recurrent, run, shifted

#: A function from the mean and log-variance of p(z_n | ...), (M, L) each, to z_n (M, L).
Choice = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

#: Passes of scheduled sampling in which the model's output replaces the past, before the pass that is trained.
PASSES = 2


class AutoRegressive(Dynamical):
    """A recurrent network h_n over the past of the speech, on which the rest of the model conditions.

    In training the past is the true one (teacher forcing) or, with probability ``own_past`` at each step, the
    model's own output: Bengio, Vinyals, Jaitly and Shazeer, Scheduled sampling for sequence prediction with
    recurrent neural networks, 2015. It is done in whole passes over the sequence, without a loop over frames:
    Duckworth, Neelakantan, Goodrich, Kaiser and Bengio, Parallel scheduled sampling, 2019.

    :meth:`decode` has no speech to condition on and rolls out: it replaces the log-power of the speech by its
    expectation under the model, log v less Euler's constant (Bie, Leglaive, Alameda-Pineda and Girin,
    Unsupervised speech enhancement using dynamical variational autoencoders, 2022). This is a loop over frames.
    """

    caution = (
        "For these figures the past was the model's own output in a fraction `own_past` of the frames, and "
        "the true speech in the others. Re-synthesis conditions on the model's own output alone, like "
        "enhancement."
    )
    #: Whether the latents are an input of the recurrent network beside the past.
    driven = False
    decoder_states = 1

    def make_parts(self) -> None:
        """``hear``, a layer on the spectrum of the previous frame, and the recurrent network after it."""
        self.hear = stack([self.signal.stft.bins, self.hidden_size], self.activation)
        size = self.hidden_size + (self.latent_dim if self.driven else 0)
        self.recurrent = recurrent(self.cell, size, self.hidden_size)

    def past(self, features: torch.Tensor) -> torch.Tensor:
        """The output of ``hear`` (M, N, E) for the frame before each; zeros before the first frame."""
        return shifted(self.hear(features))

    def own_features(self, log_variance: torch.Tensor) -> torch.Tensor:
        """Expected features of a frame with these log-variances, (..., F)."""
        return (log_variance - EULER - self.log_power_mean) / self.log_power_std

    def drive_of(self, z: torch.Tensor) -> torch.Tensor:
        """The latents that are an input of the recurrent network beside the past, (M, N, D)."""
        raise NotImplementedError

    def moments_at(self, z: torch.Tensor, states: torch.Tensor) -> Transition:
        """p(z_n | ...) for latents z (M, N, L) and states h (M, N, H)."""
        raise NotImplementedError

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once, conditioned on the true past of the speech."""
        states = run(self.recurrent, torch.cat([self.past(features), self.drive_of(z)], -1))
        return self.emit(torch.cat([z, states], -1)), self.moments_at(z, states)

    def one_step(
        self, state: torch.Tensor, past: torch.Tensor, z: torch.Tensor, choose: Choice
    ) -> tuple[torch.Tensor, torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        """From h_{n-1}, the past (M, E) and z_{n-1} to h_n, z_n and the moments of p(z_n | ...)."""
        raise NotImplementedError

    def roll_out(
        self, like: torch.Tensor, choose: Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """z (M, N, L), log-variances (M, N, F) and states h (M, N, H), conditioned on the own output.

        ``like`` (M, N, L) gives the shape; ``choose(n, mean, log_variance)`` returns z_n. The loop runs over
        the decoder's hidden layers only and the spectra are computed afterwards, all at once. The clamp on the
        log-variances is not applied within the loop.
        """
        weight, bias = self._own_layer()
        state = like.new_zeros(len(like), self.hidden_size)
        z, past = torch.zeros_like(like[:, 0]), torch.zeros_like(state)
        latents, layers, states = [], [], []
        for n in range(like.shape[1]):
            state, z, _ = self.one_step(state, past, z, functools.partial(choose, n))
            layer = self.decoder(torch.cat([z, state], -1))
            past = self.hear[1](nn.functional.linear(layer, weight, bias))
            latents.append(z)
            layers.append(layer)
            states.append(state)
        return torch.stack(latents, 1), self.spectra(torch.stack(layers, 1)), torch.stack(states, 1)

    def _own_layer(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of the output layer and the first layer of ``hear``, which are linear, in one."""
        first = cast(nn.Linear, self.hear[0])
        scaled = first.weight / self.log_power_std
        bias = first.bias + scaled @ (self.output.bias - EULER - self.log_power_mean)
        return scaled @ self.output.weight, bias

    def without_speech(self, z: torch.Tensor, mask: torch.Tensor | None) -> tuple[torch.Tensor, Transition]:
        """The roll-out for given latents; by :mod:`.own_past` where it can."""
        trained = torch.is_grad_enabled() and any(weight.requires_grad for weight in self.parameters())
        if trained or self.activation != "silu" or not isinstance(self.recurrent, nn.GRU):
            _, eta, states = self.roll_out(z, lambda n, mean, log_variance: z[:, n])
            return eta, self.moments_at(z, states)
        loop = Loop.of(self.recurrent, self.decoder, *self._own_layer())
        first, (by_input, _, bias, _) = cast(nn.Linear, self.decoder[0]), self.recurrent.all_weights[0]
        drive = nn.functional.linear(self.drive_of(z), by_input[:, self.hidden_size :], bias)
        entry = nn.functional.linear(z, first.weight[:, : self.latent_dim], first.bias)
        states, layer = roll_out_given(loop, drive, entry)
        return self.spectra(layer), self.moments_at(z, states)

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """Drawn in a roll-out."""

        def choose(n: int, mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
            return generated(mean, log_variance, epsilon[:, n])

        return self.roll_out(epsilon, choose)[0]

    def reconstruct(
        self,
        power: torch.Tensor,
        generator: torch.Generator | None = None,
        mask: torch.Tensor | None = None,
        own_past: float = 0.0,
    ) -> Reconstruction:
        """As in the base class; at each step the past is the own output with probability ``own_past``."""
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
