"""A frame-wise decoder whose latents have recurrent dynamics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from ...errors import UsageError
from ...numerics import LOG_VARIANCE_MAX, LOG_VARIANCE_MIN
from ...signal_spec import SignalSpec
from ..base import PRIORS, SpeechPrior
from ..ffvae import FFVAE
from ..thin_layers import ThinLayers
from .base import Dynamical, Transition, moments_layer, transition_net
from .posterior import DrawnPosterior, FramewisePosterior, generated, moments
from .sequences import Recurrent, recurrent, run, shifted, step


@PRIORS.add("latent-rnn")
class LatentRNN(Dynamical):
    """z_n given z_1..n-1, by two recurrent layers; s_n given z_n; q(z_n | s_1..N), or as ``chained`` says.

    Without ``context`` it is q(z_n | s_n), as of ``ffvae``: such a prior is an ``ffvae``, its frames, with
    dynamics. Its file may hold the dynamics alone (see :func:`~vae_se.priors.store.load_prior`).

    It is ``ffvae`` with another p(z), and ``dsae`` without the latents of the whole sequence. A frame's
    spectrum depends on its own latents alone, so the decoder costs in enhancement what that of ``ffvae`` does.
    The general model is that of Girin et al., Dynamical variational autoencoders: a comprehensive review, 2021,
    ch. 4.
    """

    summary = "A variational autoencoder with recurrent dynamics of the latents"
    tracked = frame_decoder = True
    thin_in: torch.Tensor | None
    thin_out: torch.Tensor
    thin_bias: torch.Tensor

    def __init__(
        self,
        hidden: Sequence[int] = (256, 512),
        latent_dim: int = 32,
        hidden_size: int = 256,
        activation: str = "silu",
        cell: str = "mingru",
        chained: bool = False,
        context: bool = True,
        signal: SignalSpec | None = None,
    ) -> None:
        if chained and not context:
            raise UsageError("chained = true without context", "a chained posterior has a context")
        self.context = context
        super().__init__(hidden, latent_dim, hidden_size, activation, cell, chained, signal)
        for name in ("thin_in", "thin_out", "thin_bias"):  # see compress()
            self.register_buffer(name, None, persistent=False)

    def make_posterior(self) -> None:
        """One linear layer without ``context``."""
        if self.context:
            super().make_posterior()
            return
        self.backward_context = self.forward_context = self.outer = self.inner = self.head = None
        self.direct = moments_layer(self.hidden[0], self.latent_dim)

    def make_parts(self) -> None:
        """Two recurrent layers over the latents, and the network from their states to p(z_n | ...)."""
        self.first: Recurrent = recurrent(self.cell, self.latent_dim, self.hidden_size)
        self.second: Recurrent = recurrent(self.cell, self.hidden_size, self.hidden_size)
        size = self.latent_dim + 2 * self.hidden_size
        self.transition = transition_net(size, self.hidden_size, self.latent_dim, self.activation)

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> DrawnPosterior:
        """q(z | s) for ``power`` (B, N, F)."""
        if self.context:
            return super().encode(power, mask)
        return FramewisePosterior(*moments(self.direct(self.listen(self.features(power)))))

    @classmethod
    def tensors_of_frames(cls, frames: SpeechPrior) -> Mapping[str, torch.Tensor]:
        """The tensors of a prior without ``context`` that those of its ``frames``, an ``ffvae``, determine."""
        if not isinstance(frames, FFVAE):
            return super().tensors_of_frames(frames)
        state = frames.state_dict()
        heads = ("mean_head", "log_variance_head")
        return {
            **{
                f"direct.{key}": torch.cat([state.pop(f"{h}.{key}") for h in heads])
                for key in ("weight", "bias")
            },
            **{name.replace("encoder.", "listen."): tensor for name, tensor in state.items()},
        }

    def frames(self) -> FFVAE:
        """The same decoder without memory, and its encoder where q(z_n | ...) depends on s_n alone.

        It shares the weights.
        """
        with torch.device("meta"):  # without initial values, which would be drawn from torch's global generator
            frames = FFVAE(self.hidden, self.latent_dim, self.activation, self.signal)
        weights = {"log_power_mean": self.log_power_mean, "log_power_std": self.log_power_std}
        for name, part in (("encoder", self.listen), ("decoder", self.decoder), ("output", self.output)):
            weights |= {f"{name}.{key}": tensor for key, tensor in part.state_dict().items()}
        heads = zip(self.direct.weight.detach().chunk(2), self.direct.bias.detach().chunk(2), strict=True)
        for name, (weight, bias) in zip(("mean_head", "log_variance_head"), heads, strict=True):
            weights |= {f"{name}.weight": weight[:, : self.hidden[0]], f"{name}.bias": bias}
        frames.load_state_dict(weights, assign=True)
        return frames.eval()

    def given(
        self, z: torch.Tensor, features: torch.Tensor, mask: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, Transition]:
        """All steps at once; the model does not condition on the past of the speech."""
        return self.emit(z), self.moments_before(z)

    def spectra(self, layer: torch.Tensor) -> torch.Tensor:
        """Log-variances (..., F) for the decoder's last hidden layer, clamped to the range of numerics.py."""
        if self.thin_in is None:
            return super().spectra(layer)
        thin = functional.linear(functional.linear(layer, self.thin_in), self.thin_out, self.thin_bias)
        return functional.hardtanh(thin, LOG_VARIANCE_MIN, LOG_VARIANCE_MAX)

    def compress(self, error: float) -> int | None:
        """Decode with the thin layers of the frames, see
        :meth:`~vae_se.priors.feedforward.FeedForward.compress`."""
        frames = self.frames()
        frames.stored_layers = self.stored_layers
        rank = frames.compress(error)
        self.thin_in, self.thin_out, self.thin_bias = frames.thin_in, frames.thin_out, frames.thin_bias
        return rank

    def thin_layers(self, error: float) -> ThinLayers | None:
        """Those of the frames."""
        return self.frames().thin_layers(error)

    def moments_before(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """All steps at once."""
        before = shifted(z)
        first = run(self.first, before)
        return moments(self.transition(torch.cat([before, first, run(self.second, first)], -1)))

    def ancestral(self, epsilon: torch.Tensor) -> torch.Tensor:
        """Step by step."""
        z, steps = torch.zeros_like(epsilon[:, 0]), []
        first = second = z.new_zeros(len(z), self.hidden_size)
        for n in range(epsilon.shape[1]):
            first = step(self.first, z, first)
            second = step(self.second, first, second)
            z = generated(*moments(self.transition(torch.cat([z, first, second], -1))), epsilon[:, n])
            steps.append(z)
        return torch.stack(steps, 1)

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""
        return super().config() | {"context": self.context}
