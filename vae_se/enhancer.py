"""The facade: waveform in, enhanced waveform out; same type, shape, rate, level and length."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from . import assemble
from .audio.level import active_rms
from .audio.resample import resample
from .chunks import Chunk, batches, crossfade, cut
from .config import Config
from .device import choose_device
from .errors import AudioError, PriorError, UsageError, nearest
from .inference.diagnostics import Diagnostics, summarise
from .noise.stretch import learn
from .numerics import SILENCE_RMS
from .priors import load_prior
from .rng import Streams

Progress = Callable[[int, int], None]

#: Padded frames that one EM batch holds: about a minute of sound, some tens of megabytes a tensor.
FRAME_BUDGET = 4096


@dataclasses.dataclass
class Info:
    """What came with an enhanced recording of C channels.

    ``noise``: the estimated noise, as the input in type, shape and rate (input minus speech).
    ``spectrum``: per channel the posterior of the speech at the prior's rate and STFT (see
    :class:`ChannelInfo`). ``objective``, ``acceptance``, ``ess``, ``rhat`` and ``warnings`` are those of
    :mod:`vae_se.inference.diagnostics`.
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

    @property
    def gain(self) -> list[torch.Tensor]:
        """Per channel the gain g of the speech, (N,)."""
        return [channel.gain for channel in self.channels]

    @property
    def uncertainty(self) -> list[torch.Tensor]:
        """Per channel the posterior standard deviation of the speech, (N, F), on the input's scale."""
        return [channel.uncertainty for channel in self.channels]


@dataclasses.dataclass
class ChannelInfo:
    """Posterior of one channel: filter ``mask``, ``uncertainty`` (standard deviation) and ``noise_variance``,
    all (N, F), and ``gain`` (N,); ``factors`` of the noise, one for every piece that the recording was cut
    into, where its model is a factorisation. All but mask and gain are on the input's scale."""

    mask: torch.Tensor
    uncertainty: torch.Tensor
    noise_variance: torch.Tensor
    gain: torch.Tensor
    factors: list[Factors] = dataclasses.field(default_factory=list)

    @classmethod
    def zeros(cls, frames: int, bins: int, device: torch.device) -> ChannelInfo:
        """An empty one, to add chunks to."""
        mask, uncertainty, noise = (torch.zeros(frames, bins, device=device) for _ in range(3))
        return cls(mask, uncertainty, noise, torch.zeros(frames))


@dataclasses.dataclass
class Factors:
    """Noise spectra ``w`` (K, F), each of mean 1, and activations ``h`` (N, K) from frame ``start`` on."""

    start: int
    w: torch.Tensor
    h: torch.Tensor


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
            from .baselines import BASELINES

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
        return cls(config, loaded, where)

    def enhance(
        self,
        noisy: Any,
        rate: int,
        *,
        return_info: bool = False,
        name: str = "",
        progress: Progress | None = None,
    ) -> Any:
        """Enhance one recording.

        ``noisy``: NumPy array or torch tensor of floating-point samples, (T,) or (C, T), at ``rate`` Hz.
        Returns the speech in the same type, shape, rate and level; with ``return_info`` also an
        :class:`Info`. ``name`` picks the random stream, together with the configured seed.
        ``progress(done, total)`` is called after each EM iteration.

        Raises AudioError for samples that are not finite or not there, UsageError for another type or shape.
        """
        (speech,), (info,) = self._run([noisy], rate, [name], progress)
        return (speech, info) if return_info else speech

    def enhance_batch(
        self, noisy: Sequence[Any], rate: int, *, names: Sequence[str] | None = None, return_info: bool = False
    ) -> Any:
        """Enhance several recordings of one rate; the same as one by one, and faster."""
        items = list(noisy)
        speech, infos = self._run(items, rate, list(names) if names else [""] * len(items), None)
        return (speech, infos) if return_info else speech

    def enhance_file(
        self, source: str | Path, target: str | Path, *, overwrite: bool = False, clip: str = "clamp"
    ) -> Info:
        """Enhance one file into another: container and sample format of the source where possible."""
        from .audio import files
        from .errors import OutputError

        if Path(target).exists() and not overwrite:
            raise OutputError(f"{target} exists already", "pass overwrite=True")
        recording = files.read(Path(source))
        speech, info = self.enhance(recording.samples, recording.rate, return_info=True)
        info.warnings += files.write(Path(target), speech, recording, clip)
        return info

    def _run(
        self, items: list[Any], rate: int, names: list[str], progress: Progress | None
    ) -> tuple[list[Any], list[Info]]:
        started = time.perf_counter()
        if rate < 1:
            raise UsageError(f"a rate of {rate} Hz", "give the sampling rate of the samples, in Hz")
        waves = [_as_channels(item) for item in items]
        if self._baseline is not None:
            results = [_Result(self._baseline.enhance(wave, rate)) for wave in waves]
        else:
            results = self._enhance_all(waves, rate, names, progress)
        seconds = (time.perf_counter() - started) / max(1, len(items))
        # Both are ways to say how much of the noise is left in.
        left = max(self.config.output.dry, 10 ** (-self.config.output.atten_lim_db / 20))
        speech, infos = [], []
        for item, wave, result in zip(items, waves, results, strict=True):
            noise = wave - result.speech
            out = result.speech + left * noise
            diagnostics = result.diagnostics
            speech.append(_like(item, out))
            infos.append(
                Info(
                    noise=_like(item, noise),
                    channels=result.channels,
                    objective=diagnostics.objective,
                    acceptance=diagnostics.acceptance,
                    ess=diagnostics.ess,
                    rhat=diagnostics.rhat,
                    iterations=len(diagnostics.objective),
                    seconds=seconds,
                    warnings=[*result.warnings, *diagnostics.warnings],
                )
            )
        return speech, infos

    def _enhance_all(
        self, waves: list[np.ndarray], rate: int, names: list[str], progress: Progress | None
    ) -> list[_Result]:
        signal = self.prior.signal
        stft, settings = signal.stft, self.config.inference
        results = [_Result(wave.copy()) for wave in waves]
        spectra: list[torch.Tensor] = []  # one per channel that is not silent
        owners: list[tuple[int, int, float]] = []  # its item, channel and scale
        lengths: list[int] = []  # its samples at the prior's rate
        for i, wave in enumerate(waves):
            inside = resample(wave, rate, signal.rate)
            for c, channel in enumerate(inside):
                level = active_rms(channel, signal.rate)
                if level < SILENCE_RMS:
                    results[i].warnings.append(f"channel {c + 1} is silent: copied")
                    continue
                scale = level / signal.active_rms
                samples = torch.from_numpy((channel / scale).astype(np.float32)).to(self.device)
                spectra.append(stft.analyse(samples))
                owners.append((i, c, scale))
                lengths.append(channel.size)
        if not spectra:
            return results
        segment, overlap = _in_frames(settings.segment, settings.overlap, signal)
        parts = [cut(k, len(x), segment, overlap) for k, x in enumerate(spectra)]
        labels = [names[i] for i, _, _ in owners]
        channels, diagnostics = self._separate(spectra, lengths, parts, overlap, labels, progress)
        for k, (i, c, scale) in enumerate(owners):
            spectrum, found = spectra[k], channels[k]
            speech = stft.synthesise(spectrum * found.mask, lengths[k]).cpu().numpy() * scale
            results[i].speech[c] = resample(speech, signal.rate, rate, waves[i].shape[-1])
            found.uncertainty *= scale
            found.noise_variance *= scale**2
            for part in found.factors:
                part.h = part.h * scale**2
            results[i].channels.append(found)
        for i, result in enumerate(results):
            result.diagnostics = summarise(
                [d for k, (item, _, _) in enumerate(owners) if item == i for d in diagnostics[k]]
            )
        return results

    def _separate(
        self,
        spectra: list[torch.Tensor],
        lengths: list[int],
        parts: list[list[Chunk]],
        overlap: int,
        names: list[str],
        progress: Progress | None,
    ) -> tuple[list[ChannelInfo], list[list[Diagnostics]]]:
        """EM over all chunks of all channels, batched; the masks cross-faded into whole recordings."""
        bins = spectra[0].shape[-1]
        channels = [ChannelInfo.zeros(len(x), bins, self.device) for x in spectra]
        diagnostics: list[list[Diagnostics]] = [[] for _ in spectra]
        stretch = self.config.noise.stretch
        # What is learnt from a recording is that recording's: its chunks make batches of their own.
        together = parts if stretch else [[chunk for chunks in parts for chunk in chunks]]
        groups = [group for chunks in together for group in batches(chunks, FRAME_BUDGET)]
        for number, group in enumerate(groups):
            em = self._em
            if stretch:
                item = group[0].item
                learnt = learn(stretch, spectra[item].abs().square(), lengths[item], self.prior.signal)
                em = dataclasses.replace(em, noise=em.noise.knowing(learnt))
            frames = [chunk.frames for chunk in group]
            power = torch.zeros(len(group), max(frames), bins, device=self.device)
            mask = torch.zeros(power.shape[:2], device=self.device)
            for row, chunk in enumerate(group):
                x = spectra[chunk.item][chunk.start : chunk.stop]
                power[row, : len(x)] = x.real.square() + x.imag.square()
                mask[row, : len(x)] = 1
            keys = [f"{names[chunk.item]}#{chunk.index}" for chunk in group]
            streams = Streams.from_seed(self.config.seed, keys, frames, self.device)
            report = None
            if progress is not None:

                def report(done: int, total: int, number: int = number) -> None:
                    progress(number * total + done, len(groups) * total)

            estimate = em.run(power, mask, streams, progress=report)
            for row, chunk in enumerate(group):
                weight = crossfade(parts[chunk.item], chunk.index, overlap)
                span, here = slice(chunk.start, chunk.stop), slice(0, chunk.frames)
                into, column = channels[chunk.item], weight.to(self.device).unsqueeze(-1)
                into.mask[span] += column * estimate.mask[row, here]
                into.uncertainty[span] += column * estimate.variance[row, here].sqrt()
                into.noise_variance[span] += column * estimate.noise[row, here]
                into.gain[span] += weight * estimate.state.gain[row, here].cpu()
                state = estimate.state.noise
                if hasattr(state, "w"):
                    into.factors.append(Factors(chunk.start, state.w[row].cpu(), state.h[row, here].cpu()))
                diagnostics[chunk.item].append(
                    Diagnostics.of_trace(estimate.state.trace, row, chunk.frames, self._em.estep, estimate.rhat)
                )
        return channels, diagnostics


@dataclasses.dataclass
class _Result:
    speech: np.ndarray
    channels: list[ChannelInfo] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    diagnostics: Diagnostics = dataclasses.field(default_factory=Diagnostics)


def enhance(noisy: Any, rate: int, **options: Any) -> Any:
    """Enhance one recording with the defaults: ``vae_se.enhance(x, rate)``.

    ``options`` are those of :meth:`Enhancer.from_pretrained`. Make an :class:`Enhancer` for more files.
    """
    return Enhancer.from_pretrained(**options).enhance(noisy, rate)


def _in_frames(segment: float, overlap: float, signal: Any) -> tuple[int, int]:
    length, shared = (round(seconds * signal.rate / signal.hop) for seconds in (segment, overlap))
    if not 1 <= shared <= length / 3:
        raise UsageError(
            f"segments of {segment} s with an overlap of {overlap} s",
            "the overlap is at least one frame and at most a third of the segment",
        )
    return length, shared


def _as_channels(item: Any) -> np.ndarray:
    """Samples (C, T), float64, checked."""
    array = item.detach().cpu().numpy() if isinstance(item, torch.Tensor) else np.asarray(item)
    if not np.issubdtype(array.dtype, np.floating):
        raise UsageError(f"samples of type {array.dtype}", "pass floating-point samples, full scale at 1.0")
    if array.ndim not in (1, 2):
        raise UsageError(f"samples of shape {array.shape}", "expected (T,) or (C, T)")
    if array.size == 0:
        raise AudioError("the recording has no samples", "is the file empty?")
    if not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise AudioError(f"{bad} of {array.size} samples are NaN or infinite", "repair the recording first")
    return np.atleast_2d(array).astype(np.float64)


def _like(item: Any, array: np.ndarray) -> Any:
    """``array`` (C, T) in the type and shape of ``item``."""
    out = array.reshape(item.shape)
    if isinstance(item, torch.Tensor):
        return torch.from_numpy(out).to(dtype=item.dtype, device=item.device)
    return out.astype(np.asarray(item).dtype)


__all__ = ["AudioError", "ChannelInfo", "Enhancer", "Info", "PriorError", "enhance"]
