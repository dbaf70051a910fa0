"""Noise with known spectra: atoms learnt beforehand and held fixed, beside atoms that are free."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch

from ..errors import UsageError
from ..rng import Streams, torch_stream
from .base import NOISES, NOT_A_SETTING, NoiseModel
from .multiplicative import (
    NMFState,
    check_init,
    draw_weight,
    initial_spectrum,
    normalise,
    product,
    update_h,
    update_w,
)
from .nmf import NMF
from .store import NoiseDictionary, load_dictionary
from .time_range import parse_time_range

#: Free atoms beside those of a noise segment, for noise that the segment does not contain.
FREE_BESIDE_SEGMENT = 2


@NOISES.add("dictionary")
@dataclasses.dataclass(frozen=True)
class Dictionary(NoiseModel[NMFState]):
    """b_fn ~ N_c(0, (W H)_fn) with W = [known atoms, held fixed | ``free`` atoms, fitted] and H fitted.

    Smaragdis, Raj and Shashanka, Supervised and semi-supervised separation of sounds from single-channel
    mixtures, 2007, with the updates of :class:`~vae_se.noise.nmf.NMF`; the known atoms are not updated.

    The known atoms come from ``file``, a noise dictionary (:mod:`vae_se.noise.store`), or from
    ``noise_segment``, a part of the recording that holds noise alone, such as 0:00-0:02.5; :meth:`with_known`
    then makes the model of one recording (:mod:`vae_se.noise.noise_segment`). ``free``: by default 0 with a
    file and 2 with a noise segment.

    ``init_spectrum``, ``init_scale`` and ``init_jitter`` as in ``nmf``: all atoms start equally loud, and
    together at ``init_scale`` times the mean over bins of that spectrum of the recording; the free atoms
    start as that spectrum times seeded uniform numbers. Atoms of a noise segment start at ``init_scale``
    times the level of the segment.

    ``known``: the atoms; read from ``file`` unless given.

    Raises UsageError unless exactly one of ``file`` and ``noise_segment`` is given, and for a setting outside
    its range; NoiseError for a file that cannot be read.
    """

    file: str = ""
    noise_segment: str = ""
    free: int | None = None
    init_spectrum: str = "quiet"
    init_scale: float = 2.0
    init_jitter: float = 0.8
    known: NoiseDictionary | None = dataclasses.field(
        default=None, kw_only=True, repr=False, compare=False, metadata=NOT_A_SETTING
    )

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
        if self.noise_segment:
            parse_time_range(self.noise_segment)
        elif self.known is None:
            object.__setattr__(self, "known", load_dictionary(self.file))

    def with_known(self, dictionary: NoiseDictionary) -> Dictionary:
        """The same model with these atoms."""
        return dataclasses.replace(self, known=dictionary)

    def other_initialisations(self) -> Sequence[NoiseModel[NMFState]]:
        """The model that starts at the tracked spectrum, unless this one does."""
        return [] if self.init_spectrum == "tracked" else [dataclasses.replace(self, init_spectrum="tracked")]

    @property
    def _free(self) -> int:
        if self.free is None:
            return FREE_BESIDE_SEGMENT if self.noise_segment else 0
        return self.free

    @property
    def _known(self) -> NoiseDictionary:
        if self.known is None:
            raise UsageError(
                "the atoms of a noise segment belong to one recording",
                "learn them with vae_se.noise.noise_segment and call with_known",
            )
        return self.known

    def init(self, power: torch.Tensor, mask: torch.Tensor, streams: Streams) -> NMFState:
        """All atoms equally loud in every frame."""
        bins = power.shape[-1]
        spectrum = initial_spectrum(self.init_spectrum, power, mask, self.signal)
        fixed = self._known.atoms.to(power).expand(power.shape[0], -1, -1)
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
        """Update H, then the free atoms of W; each step recomputes the statistics."""
        weight = draw_weight(log_weight, mask)
        h = update_h(state, power, speech_variance, weight)
        if not self._free:
            return NMFState(state.w, h)
        fixed = self._known.atoms.shape[0]
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
    """Spectra (K, F), each of mean 1, of noise with ``power`` (N, F) above 0, and the divergence of the fit.

    Plain Itakura-Saito NMF: the M-step of ``nmf`` without speech. W starts at frames of the noise, drawn with
    ``seed`` and blended with the mean spectrum, because the multiplicative updates could not leave a zero.
    The divergence is the mean Itakura-Saito divergence over frames and bins. If every power is exponentially
    distributed around its modelled variance, it is Euler's constant, 0.577 (the expectation of p - log p -
    1).

    ``progress(done, iterations)`` is called after every iteration. Raises UsageError where there are fewer
    frames than atoms.
    """
    frames = power.shape[0]
    model = NMF(rank, exponent=0.5)
    if frames < rank:
        raise UsageError(f"{frames} frames of noise for {rank} atoms", "give more noise, or a lower --rank")
    generator = torch_stream(seed, "noise fit")
    chosen = power[torch.randperm(frames, generator=generator, device="cpu")[:rank].to(power.device)]
    mean = power.mean(0)
    shapes = 0.8 * chosen / chosen.mean(-1, keepdim=True) + 0.2 * mean / mean.mean()
    level = power.mean(-1, keepdim=True) / rank
    state = normalise(shapes.unsqueeze(0), level.expand(-1, rank).unsqueeze(0))
    batch = power.unsqueeze(0)
    silence = power.new_zeros(()).expand(1, 1, *power.shape)
    weight, mask = power.new_zeros(1, 1, frames), power.new_ones(1, frames)
    for done in range(iterations):
        state = model.update(state, batch, silence, weight, mask)
        if progress is not None:
            progress(done + 1, iterations)
    ratio = power / model.variance(state)[0]
    return state.w[0], float((ratio - torch.log(ratio) - 1).mean())
