"""The protocol of a speech prior, and the defaults that all neural priors share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import nn

from ..errors import PriorError
from ..registry import Registry
from ..signal_spec import SignalSpec
from .posterior import Posterior
from .thin_layers import ThinLayers


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """Log-variance and divergence for one draw from the posterior of clean speech.

    ``log_variance`` (B, N, F). ``kl`` (B, N, D): divergence of q(z_n | x) from p(z_n), in nats, both given the
    earlier frames. D = L where the divergence is a sum over latents, else D = 1. The expectation of its sum is
    the KL term of the evidence lower bound, whether it is a closed form or a one-draw estimate.
    """

    log_variance: torch.Tensor
    kl: torch.Tensor


class LatentPrior(Protocol):
    """What E-steps need of a speech prior; shapes and attributes as in :class:`SpeechPrior`."""

    signal: SignalSpec
    latent_dim: int
    factorised: bool
    standard_normal: bool
    frame_decoder: bool

    def encode(self, power: torch.Tensor, mask: torch.Tensor | None = None) -> Posterior:
        """q(z | s) for ``power`` (B, N, F) of speech."""

    def decode(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Log-variances (B, R, N, F) of latents (B, R, N, L).

        An autoregressive prior conditions on its own expected past here, frame by frame.
        """

    def log_prior(self, z: torch.Tensor) -> torch.Tensor:
        """log p(z_n | z_1..n-1), (B, R, N): the terms of the chain rule, which sum to log p(z)."""

    def conditional_prior(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Mean and log-variance of p(z_n | z_1..n-1), (B, R, N, L) each, of latents z (B, R, N, L).

        None where it is N(0, I), where it is no Gaussian, and where it takes a roll-out of the decoder.
        """

    def generate(self, z: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The results of ``decode`` and ``log_prior``, in one pass."""

    def encoder_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters of q(z | s) alone. Inference may copy and fine-tune them, never the decoder's."""


@runtime_checkable
class SpeechPrior(LatentPrior, Protocol):
    """p(s | z) p(z) over power spectra of speech frames, with an encoder q(z | s) as proposal.

    Shapes: power (B, N, F); mask (B, N), 1 where a frame exists, None if all exist; z (B, R, N, L);
    log-variance (B, R, N, F); log prior (B, R, N). Latents are unconstrained real numbers.

    Attributes:

    - ``signal``: sample rate, STFT and level convention of the training speech;
    - ``latent_dim``: L;
    - ``factorised``: frames are independent given the model. Otherwise the latents of a recording are one
      trajectory;
    - ``standard_normal``: p(z) = N(0, I);
    - ``frame_decoder``: the log-variance of a frame depends on the latents of that frame alone;
    - ``takes_activity``: the prior conditions on speech activity, see :meth:`activity` and :meth:`driven_by`;
    - ``summary``, ``caution``: sentences for the model card: the kind of model, and a warning about its figures
      (or "");
    - ``counts_latents``: the divergence is a sum over latents, so that active latents can be counted.
    """

    takes_activity: bool
    summary: str
    caution: str
    counts_latents: bool

    def reconstruct(
        self, power: torch.Tensor, generator: torch.Generator | None = None, mask: torch.Tensor | None = None
    ) -> Reconstruction:
        """Decode one draw from q(z | s), given clean ``power`` (B, N, F). Training uses this."""

    def log_weight(
        self,
        power: torch.Tensor,
        draws: int,
        generator: torch.Generator | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """log p(s, z) - log q(z | s) frame by frame, (B, R, N), at ``draws`` draws from q."""

    def nll(self, power: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
        """-log p(s_n | z_n) less F log(pi), summed over bins: (..., N) of (..., N, F)."""

    def sample(self, frames: int, generator: torch.Generator) -> torch.Tensor:
        """Latents (1, 1, N, L) drawn from p(z)."""

    def activity(self, power: torch.Tensor) -> torch.Tensor:
        """Speech activity (B, N, U) computed from the power of speech; only where ``takes_activity``."""

    def driven_by(self, drive: torch.Tensor) -> SpeechPrior:
        """The same prior, conditioned on the activity ``drive`` (B, N, U); only where ``takes_activity``."""

    def decode_with_derivative(
        self, z: torch.Tensor
    ) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """Log-variances of latents z, and the function that maps the derivative of a scalar by them to its
        derivative by ``z``. Only for priors with ``factorised`` frames."""

    def compress(self, error: float) -> int | None:
        """Make ``decode`` cheaper at a root mean square error of at most ``error`` nats.

        Returns the rank of the approximation, or None where the prior has none that pays; then nothing changes.
        """

    def thin_layers(self, error: float) -> ThinLayers | None:
        """The layers that :meth:`compress` uses for this ``error``, or None."""

    def multiply_in(self, dtype: torch.dtype) -> bool:
        """Round the factors of products in ``decode`` and ``encode`` to ``dtype``; False where it cannot."""

    def finish(self, power: torch.Tensor) -> None:
        """Fit the parameters that are known only after training, to training frames |s|^2 (N, F)."""

    def config(self) -> dict[str, Any]:
        """Keywords of the constructor without ``signal``, JSON-able."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """All parameters, as in ``torch.nn.Module``."""

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """All parameters with their names, as in ``torch.nn.Module``."""

    def state_dict(self) -> dict[str, Any]:
        """Parameters and stored buffers by name, as in ``torch.nn.Module``."""

    def to(self, device: torch.device | str, /) -> Self:
        """Move parameters and buffers to a device, in place, as in ``torch.nn.Module``."""


class PriorModule(nn.Module, SpeechPrior):
    """Base of all neural priors: the capabilities of :class:`SpeechPrior` that most of them lack."""

    #: The form that :meth:`compress` computed before, from the file of the prior.
    stored_layers: ThinLayers | None = None
    takes_activity = False
    summary = "A variational autoencoder"
    caution = ""
    counts_latents = True

    def decode_with_derivative(
        self, z: torch.Tensor
    ) -> tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]:
        """See :class:`SpeechPrior`; by autograd."""
        with torch.enable_grad():
            leaf = z.detach().requires_grad_()
            log_variance = self.decode(leaf)

        def derivative(slope: torch.Tensor) -> torch.Tensor:
            # The gradient of a scalar: with the gradients of outputs as an argument, autograd imports sympy.
            with torch.enable_grad():
                total = (log_variance * slope).sum()
            return torch.autograd.grad(total, leaf)[0]

        return log_variance.detach(), derivative

    def activity(self, power: torch.Tensor) -> torch.Tensor:
        """Not available: the prior does not condition on speech activity."""
        raise NotImplementedError(f"{type(self).__name__} does not condition on speech activity")

    def driven_by(self, drive: torch.Tensor) -> Self:
        """Not available: the prior does not condition on speech activity."""
        raise NotImplementedError(f"{type(self).__name__} does not condition on speech activity")

    def conditional_prior(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """None: p(z_n | z_1..n-1) is N(0, I), or no Gaussian in closed form."""
        return None

    @classmethod
    def tensors_of_frames(cls, frames: SpeechPrior) -> Mapping[str, torch.Tensor]:
        """The tensors by name that those of ``frames``, another prior, determine.

        Raises PriorError where none does.
        """
        raise PriorError(f"a {cls.__name__} has no frames of another prior", "was config.json edited by hand?")

    def compress(self, error: float) -> int | None:
        """None: there is no cheaper form of the decoder."""
        return None

    def thin_layers(self, error: float) -> ThinLayers | None:
        """None: there is no cheaper form of the decoder."""
        return None

    def multiply_in(self, dtype: torch.dtype) -> bool:
        """False: the decoder multiplies in the type of its weights."""
        return False

    def finish(self, power: torch.Tensor) -> None:
        """Nothing: all parameters are trained."""


#: Architectures by name: classes whose keywords are those of their ``config()``.
PRIORS: Registry[Any] = Registry("prior architecture")
