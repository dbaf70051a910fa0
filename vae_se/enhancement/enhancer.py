"""The facade: waveform in, enhanced waveform out; same type, shape, rate, level and length."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import assemble
from ..audio.level import active_rms
from ..audio.reader import LOUDEST, is_sound
from ..audio.resample import check_rate, resample
from ..config import Config
from ..device import choose_device
from ..errors import AudioError, PriorError, UsageError, nearest
from ..inference.diagnostics import Diagnostics, summarise
from ..inference.monte_carlo_em import MonteCarloEM
from ..numerics import SILENCE_RMS
from ..priors import load_prior
from .channel import Channel, ChannelInfo, Factors
from .residual_noise import leaves_noise, noise_left
from .sample_buffer import MemoryBuffer
from .separation import Progress, Separator


@dataclasses.dataclass
class Info:
    """What came with an enhanced recording of C channels.

    ``noise``: the estimated noise, as the input in type, shape and rate (input minus speech); None for
    files that are too long for it.
    ``channels``: for each that is not silent the posterior of the speech at the prior's rate and STFT (see
    :class:`~vae_se.enhancement.channel.ChannelInfo`); none where it was not asked for. ``objective``, ``acceptance``,
    ``ess``, ``rhat`` and ``warnings`` are those of :mod:`vae_se.inference.diagnostics`.
    """

    noise: Any
    channels: list[ChannelInfo]
    objective: list[float]
    acceptance: float | None
    ess: float | None
    rhat: float | None
    iterations: int
    seconds: float
    warnings: list[str]

    @classmethod
    def summary(
        cls,
        noise: Any,
        seconds: float,
        parts: Sequence[Diagnostics],
        warnings: Sequence[str],
        channels: Sequence[ChannelInfo] = (),
    ) -> Info:
        """From the diagnostics of the parts that the recording was cut into, and warnings besides theirs."""
        found = summarise(parts)
        return cls(
            noise=noise,
            channels=list(channels),
            objective=found.objective,
            acceptance=found.acceptance,
            ess=found.ess,
            rhat=found.rhat,
            iterations=len(found.objective),
            seconds=seconds,
            warnings=[*warnings, *found.warnings],
        )

    @property
    def gain(self) -> list[torch.Tensor]:
        """Per channel the gain g of the speech, (N,)."""
        return [channel.gain for channel in self.channels]

    @property
    def uncertainty(self) -> list[torch.Tensor]:
        """Per channel the posterior standard deviation of the speech, (N, F), on the input's scale."""
        return [channel.uncertainty for channel in self.channels]


class Enhancer:
    """Speech enhancement by Monte Carlo EM under a VAE prior; or a baseline of the same name.

    Leglaive, Girin and Horaud, A variance modeling framework based on variational autoencoders for speech
    enhancement, 2018. Make one with :meth:`from_pretrained`. It is not changed by use: the second file is
    enhanced by the same model as the first.
    """

    def __init__(self, config: Config, prior: Any, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.prior = prior
        self._baseline: Any = None
        if config.method in assemble.METHODS:
            self._em = assemble.build_em(config, prior)
        else:
            from ..baselines import BASELINES

            if config.method not in BASELINES:
                raise UsageError(
                    f"unknown method {config.method!r}", nearest(config.method, [*assemble.METHODS, *BASELINES])
                )
            self._baseline = BASELINES[config.method]
            if self._baseline.oracle:
                raise UsageError(
                    f"{config.method} needs the clean speech", "it is a reference for vae-se benchmark only"
                )

    @classmethod
    def from_pretrained(
        cls,
        prior: str | Path | None = None,
        *,
        preset: str = "default",
        config: Config | None = None,
        device: str = "auto",
        **overrides: Any,
    ) -> Enhancer:
        """An enhancer around a shipped prior (by name) or one of yours (by folder).

        ``overrides`` are settings of :class:`~vae_se.config.Config`, dots as double underscores, for
        example ``method="mcem"`` or ``estep__name="mh"``. ``config`` replaces the preset. ``device`` is
        "auto", "cpu", "cuda" or "cuda:i".

        Raises UsageError (unknown name or key) or PriorError (weights that cannot be used).
        """
        config = config or Config.preset(preset)
        values = {key.replace("__", "."): value for key, value in overrides.items()}
        if prior is not None:
            values["prior"] = str(prior)
        config = config.override(values)
        where = choose_device(device)
        loaded = load_prior(config.prior, where) if config.method in assemble.METHODS else None
        compress = getattr(loaded, "compress", None)  # not every prior has a cheaper form
        if compress is not None and config.inference.decoder_error > 0:
            compress(config.inference.decoder_error)
        return cls(config, loaded, where)

    def enhance(
        self,
        noisy: Any,
        rate: int,
        *,
        return_info: bool = False,
        posterior: bool = True,
        name: str = "",
        progress: Progress | None = None,
    ) -> Any:
        """Enhance one recording.

        ``noisy``: NumPy array or torch tensor of floating-point samples, (T,) or (C, T), at ``rate`` Hz.
        Returns the speech in the same type, shape, rate and level; with ``return_info`` also an
        :class:`Info`, whose posterior of every frame and bin (1.4 GB for an hour of a channel) is left out
        where ``posterior`` is false. ``name`` picks the random stream, together with the configured seed.
        ``progress(done, total)`` is called after each EM iteration.

        Raises AudioError for samples that are not finite or not there, UsageError for another type or shape.
        """
        (found,) = self._run([noisy], rate, [name], progress, return_info, posterior)
        return found if return_info else found[0]

    def enhance_batch(
        self,
        noisy: Sequence[Any],
        rate: int,
        *,
        names: Sequence[str] | None = None,
        return_info: bool = False,
        posterior: bool = True,
    ) -> Any:
        """Enhance several recordings of one rate; the same as one by one, and faster."""
        items = list(noisy)
        names = list(names) if names else [""] * len(items)
        found = self._run(items, rate, names, None, return_info, posterior)
        speech, infos = [one[0] for one in found], [one[1] for one in found]
        return (speech, infos) if return_info else speech

    def enhance_file(
        self,
        source: str | Path,
        target: str | Path,
        *,
        overwrite: bool = False,
        clip: str = "clamp",
        posterior: bool = True,
    ) -> Info:
        """Enhance one file into another: container and sample format of the source where possible.

        ``posterior`` as in :meth:`enhance`; without it a long file is never in memory as a whole, with the same
        result, and ``noise`` is None in its :class:`Info`.
        """
        from ..audio import files
        from ..errors import OutputError
        from .long_file import enhance_long, is_long

        source, target = Path(source), Path(target)
        if target.exists() and not overwrite:
            raise OutputError(f"{target} exists already", "pass overwrite=True")
        if not posterior and is_long(self, source):
            return enhance_long(self, source, target, clip=clip)[1]
        recording = files.read(source)
        speech, info = self.enhance(recording.samples, recording.rate, return_info=True, posterior=posterior)
        info.warnings += [*recording.warnings, *files.write(target, speech, recording, clip)]
        return info

    def _run(
        self,
        items: list[Any],
        rate: int,
        names: list[str],
        progress: Progress | None,
        return_info: bool,
        posterior: bool,
    ) -> list[tuple[Any, Info | None]]:
        started = time.perf_counter()
        if rate < 1:
            raise UsageError(f"a rate of {rate} Hz", "give the sampling rate of the samples, in Hz")
        check_rate(rate)
        waves = [_as_channels(item) for item in items]
        if self._baseline is not None:
            results = [_Result(self._baseline.enhance(wave.astype(np.float64), rate)) for wave in waves]
        else:
            results = self._enhance_all(waves, rate, names, return_info and posterior, progress)
        seconds = (time.perf_counter() - started) / max(1, len(items))
        output = self.config.output
        if self._baseline is not None:  # a baseline is heard as it is
            output = dataclasses.replace(output, floor_db=math.inf)
        leaves = leaves_noise(output)
        found: list[tuple[Any, Info | None]] = []
        for item, wave, result in zip(items, waves, results, strict=True):
            out, info = result.speech, None
            # No array as long as the recording is made that nobody asked for.
            if leaves or return_info:
                noise = wave - result.speech
                if leaves:
                    left = noise_left(output, result.speech, noise, rate).astype(noise.dtype)
                    out = np.multiply(noise, left, out=None if return_info else noise)
                    out += result.speech
                info = result.info(_like(item, noise), seconds) if return_info else None
            found.append((_like(item, out), info))
        return found

    def _enhance_all(
        self, waves: list[np.ndarray], rate: int, names: list[str], keep: bool, progress: Progress | None
    ) -> list[_Result]:
        signal = self.prior.signal
        results = [_Result(np.zeros_like(wave)) for wave in waves]
        channels: list[Channel] = []  # those that are not silent
        owners: list[tuple[int, int]] = []  # the item of each, and its place there
        for i, wave in enumerate(waves):
            for c, samples in enumerate(resample(wave, rate, signal.rate)):
                level = active_rms(samples, signal.rate)
                if level < SILENCE_RMS:
                    results[i].speech[c] = wave[c]
                    results[i].warnings.append(silent_channel(c))
                    continue
                scale = level / signal.active_rms
                speech = MemoryBuffer(np.zeros(samples.size, np.float32))
                channels.append(Channel(MemoryBuffer(samples), speech, scale, signal.stft, self.device, keep))
                owners.append((i, c))
        self.separator().run(channels, [names[i] for i, _ in owners], progress)
        for channel, (i, c) in zip(channels, owners, strict=True):
            found = channel.speech.read(0, channel.speech.size)
            results[i].speech[c] = resample(found, signal.rate, rate, waves[i].shape[-1])
            results[i].parts += channel.diagnostics
            if channel.posterior is not None:
                results[i].channels.append(channel.posterior)
        return results

    @property
    def em(self) -> MonteCarloEM:
        """The EM loop, as configured; not for baselines."""
        return self._em

    def separator(self) -> Separator:
        """What runs EM over channels, as configured; not for baselines."""
        settings, signal = self.config.inference, self.prior.signal
        return Separator(
            self._em, signal, self.device, self.config.seed, settings.segment, settings.overlap,
            self.config.noise.noise_segment,
        )  # fmt: skip


@dataclasses.dataclass
class _Result:
    speech: np.ndarray
    channels: list[ChannelInfo] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    parts: list[Diagnostics] = dataclasses.field(default_factory=list)

    def info(self, noise: Any, seconds: float) -> Info:
        return Info.summary(noise, seconds, self.parts, self.warnings, self.channels)


def silent_channel(channel: int) -> str:
    """The warning about channel number ``channel``, counted from 0."""
    return f"channel {channel + 1} is silent: copied"


def enhance(noisy: Any, rate: int, **options: Any) -> Any:
    """Enhance one recording with the defaults: ``vae_se.enhance(x, rate)``.

    ``options`` are those of :meth:`Enhancer.from_pretrained`. Make an :class:`Enhancer` for more files.
    """
    return Enhancer.from_pretrained(**options).enhance(noisy, rate)


def _as_channels(item: Any) -> np.ndarray:
    """Samples (C, T), checked; in double precision where they came so, else in single."""
    array = item.detach().cpu().numpy() if isinstance(item, torch.Tensor) else np.asarray(item)
    if not np.issubdtype(array.dtype, np.floating):
        raise UsageError(f"samples of type {array.dtype}", "pass floating-point samples, full scale at 1.0")
    if array.ndim not in (1, 2):
        raise UsageError(f"samples of shape {array.shape}", "expected (T,) or (C, T)")
    if array.size == 0:
        raise AudioError("the recording has no samples", "is the file empty?")
    if not is_sound(array):
        bad = int(np.count_nonzero(~(np.abs(array) <= LOUDEST)))
        kind = "NaN or infinite" if not np.isfinite(array).all() else f"beyond {LOUDEST:g}"
        raise AudioError(f"{bad} of {array.size} samples are {kind}", "repair the recording first")
    precision = np.float64 if array.dtype.itemsize > 4 else np.float32
    return np.atleast_2d(array).astype(precision, copy=False)


def _like(item: Any, array: np.ndarray) -> Any:
    """``array`` (C, T) in the type and shape of ``item``."""
    out = array.reshape(item.shape)
    if isinstance(item, torch.Tensor):
        return torch.from_numpy(out).to(dtype=item.dtype, device=item.device)
    return out.astype(np.asarray(item).dtype, copy=False)


__all__ = ["AudioError", "ChannelInfo", "Enhancer", "Factors", "Info", "PriorError", "enhance"]
