"""Noise from spectra that were learnt beforehand, and as many that are not."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import torch

from ..errors import UsageError
from ..rng import Streams, torch_stream
from .base import NOISES, NoiseModel
from .multiplicative import (
    NMFState,
    check_init,
    draw_weight,
    init_spectrum,
    normalise,
    product,
    update_h,
    update_w,
)
from .nmf import NMF
from .store import NoiseDictionary, load_dictionary
from .time_range import parse_time_range

#: What else there is in a recording than in a noise segment of it; worth 0.2 dB on ten kinds of noise.
FREE_BESIDE_SEGMENT = 2


@NOISES.add("dictionary")
@dataclasses.dataclass(frozen=True)
class Dictionary(NoiseModel):
    """b_fn ~ N_c(0, (W H)_fn), W = [atoms of a file, held fixed | ``free`` atoms that are learnt], H learnt.

    Semi-supervised separation: Smaragdis, Raj and Shashanka, Supervised and semi-supervised separation of
    sounds from single-channel mixtures, 2007; here with the updates of :class:`~vae_se.noise.nmf.NMF`, of
    which those of the fixed spectra are left out.

    ``file``: a noise dictionary (:mod:`vae_se.noise.store`); or ``noise_segment``: a part of the recording itself
    that holds the noise alone, such as 0:00-0:02.5, from which :meth:`with_known` makes the model of one
    recording (:mod:`vae_se.noise.noise_segment`). ``init_spectrum``, ``init_scale`` and ``init_jitter`` are those
    of ``nmf``: the activations start where all atoms together are as loud, on average over bins, as that
    spectrum of the recording times that level; the free atoms start as that spectrum times seeded uniform
    numbers. Atoms of a noise segment start as loud as the noise segment, times ``init_scale``. ``free``: 0 unless given, or 2
    with a noise segment.
    """

    file: str = ""
    noise_segment: str = ""
    free: int | None = None
    init_spectrum: str = "quiet"
    init_scale: float = 2.0
    init_jitter: float = 0.8
    learnt: NoiseDictionary | None = dataclasses.field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        if bool(self.file) == bool(self.noise_segment):
            raise UsageError(
                "the noise model dictionary needs a file, or a noise segment of the recording",
                "vae-se noise fit DIR --out noise.safetensors, then --noise noise.safetensors; "
                "or --noise-from 0:00-0:02.5",
            )
        if self._free < 0:
            raise UsageError(f"noise.free = {self.free}", "it is 0 or more")
        check_init(self.init_spectrum, self.init_scale, self.init_jitter)
        if self.file:
            object.__setattr__(self, "learnt", load_dictionary(self.file))
        else:
            parse_time_range(self.noise_segment)

    def with_known(self, learnt: NoiseDictionary) -> Dictionary:
        """The same with these atoms."""
        made = copy.copy(self)
        object.__setattr__(made, "learnt", learnt)
        return made

    @property
    def _free(self) -> int:
        if self.free is None:
            return FREE_BESIDE_SEGMENT if self.noise_segment else 0
        return self.free

    @property
    def _atoms(self) -> torch.Tensor:
        return self._known.atoms

    @property
    def _known(self) -> NoiseDictionary:
        if self.learnt is None:
            raise UsageError("the noise segment belongs to a recording", "Enhancer learns from it")
        return self.learnt

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> NMFState:
        """The file's spectra and the free ones, equally loud."""
        bins = power.shape[-1]
        spectrum = init_spectrum(self.init_spectrum, power, mask)
        fixed = self._atoms.to(power).expand(power.shape[0], -1, -1)
        table = streams.uniform_table(self._free, bins, dtype=power.dtype)
        free = spectrum.unsqueeze(1) * (1 + self.init_jitter * (2 * table - 1))
        free = normalise(free, free.new_zeros(len(free), 1, self._free)).w
        w = torch.cat([fixed, free], 1)
        loudness = spectrum.mean(-1) if self._known.loudness is None else self._known.loudness
        each = self.init_scale * loudness * torch.ones_like(spectrum[:, 0]) / w.shape[1]
        return NMFState(w, (each[:, None] * mask).unsqueeze(-1).repeat(1, 1, w.shape[1]))

    def factors(self, state: NMFState) -> tuple[torch.Tensor, torch.Tensor]:
        """Spectra W (B, K, F) and activations H (B, N, K)."""
        return state.w, state.h

    def variance(self, state: NMFState) -> torch.Tensor:
        """W H, (B, N, F)."""
        return product(state)

    def update(
        self,
        state: NMFState,
        power: torch.Tensor,
        speech_variance: torch.Tensor,
        log_weight: torch.Tensor,
        mask: torch.Tensor,
    ) -> NMFState:
        """H, then the free part of W, with fresh statistics."""
        weight = draw_weight(log_weight, mask)
        h = update_h(state, power, speech_variance, weight)
        if not self._free:
            return NMFState(state.w, h)
        fixed = self._atoms.shape[0]
        w = update_w(NMFState(state.w, h), power, speech_variance, weight, fixed)
        free = normalise(w, h[..., fixed:])
        return NMFState(torch.cat([state.w[:, :fixed], free.w], 1), torch.cat([h[..., :fixed], free.h], -1))


def fit(
    power: torch.Tensor,
    rank: int,
    iterations: int,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[torch.Tensor, float]:
    """Spectra (K, F), each of mean 1, of noise with ``power`` (N, F) above 0, and how well they fit.

    The M-step of ``nmf`` where there is no speech, which is plain Itakura-Saito NMF. W starts at frames of
    the noise itself, drawn with ``seed`` and blended with the mean spectrum, so that none holds a zero
    that the multiplicative updates could not leave. The fit is the mean
    Itakura-Saito divergence over frames and bins; that of exponentially distributed powers from their own
    variances is Euler's constant, 0.577 (the expectation of p - log p - 1).

    Raises UsageError where there are fewer frames than atoms.
    """
    frames = power.shape[0]
    model = NMF(rank)
    if frames < rank:
        raise UsageError(f"{frames} frames of noise for {rank} atoms", "give more noise, or a lower --rank")
    generator = torch_stream(seed, "noise fit")
    chosen = power[torch.randperm(frames, generator=generator, device="cpu")[:rank].to(power.device)]
    mean = power.mean(0)
    shapes = 0.8 * chosen / chosen.mean(-1, keepdim=True) + 0.2 * mean / mean.mean()
    level = power.mean(-1, keepdim=True) / rank
    state = normalise(shapes.unsqueeze(0), level.expand(-1, rank).unsqueeze(0))
    batch, silence = power.unsqueeze(0), power.new_zeros(1, 1, 1, 1)
    weight, mask = power.new_zeros(1, 1, frames), power.new_ones(1, frames)
    for done in range(iterations):
        state = model.update(state, batch, silence, weight, mask)
        if progress is not None:
            progress(done + 1, iterations)
    ratio = power / model.variance(state)[0]
    return state.w[0], float((ratio - torch.log(ratio) - 1).mean())
