"""The facade: noisy waveform in, enhanced waveform of the same type, shape, rate, level and length out."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .. import assemble
from ..audio import files
from ..config import BANDS, Config, OutputConfig, effective
from ..device import choose_device, factor_type, usual_torch
from ..errors import AudioError, OutputError, PriorError, UsageError, nearest
from ..extras import missing
from ..high_band.store import load_high_band
from ..inference.monte_carlo_em import MonteCarloEM
from ..priors import SpeechPrior, load_prior
from ..signal_spec import SignalSpec
from ..threads import dividing_work
from .arrays import as_channels, checked_rate, like
from .high_band import HighBandFilter
from .long_file import enhance_long, is_long
from .pipeline import ArraySource, EnhancedRecording, enhance_recordings
from .posterior_draws import check_draws, drawn_recordings
from .progress import reporting
from .residual_noise import ResidualGains, add_residual_noise, residual_gains
from .results import ChannelInfo, Factors, Info
from .sample_buffer import MemoryBuffer
from .segmented_em import ProgressCallback, SegmentedEM

if TYPE_CHECKING:
    from ..baselines import Baseline


class Enhancer:
    """Speech enhancement by Monte Carlo EM under a VAE prior, or by a baseline.

    Leglaive, Girin and Horaud, A variance modeling framework based on variational autoencoders for speech
    enhancement, 2018. Make one with :meth:`from_pretrained`. Enhancing a recording does not change it: every
    recording meets the same model.
    """

    @usual_torch()
    def __init__(
        self, config: Config, prior: SpeechPrior | None, device: torch.device, threads: int | None = None
    ) -> None:
        """``prior``: a speech prior on ``device``; None for a baseline. ``threads``: as for
        :meth:`from_pretrained`."""
        if threads is not None and threads < 1:
            raise UsageError(f"{threads} threads", "give 1 or more")
        if config.output.band not in BANDS:
            raise UsageError(f"output.band = {config.output.band!r}", nearest(config.output.band, BANDS))
        self.config = config = effective(config)
        self.threads = threads
        self.device = device
        self.prior = prior
        self._em: MonteCarloEM | None = None
        self._baseline: Baseline | None = None
        if config.method in assemble.METHODS:
            if prior is None:
                raise UsageError(f"{config.method} needs a speech prior", "use Enhancer.from_pretrained")
            self._em = assemble.build_em(config, prior)
        else:
            self._baseline = _baseline(config.method)

    def __repr__(self) -> str:
        """Method and device, and for EM the names of prior, E-step and noise model.

        They are the names in the configuration; the prior may be another that the caller made.
        """
        config, name = self.config, type(self).__name__
        if self.prior is None:
            return f"<{name}: {config.method}, {self.device}>"
        return (
            f"<{name}: {config.method}, prior {config.prior}, E-step {config.estep.name}, "
            f"noise {config.noise.name}, {self.device}>"
        )

    @classmethod
    @usual_torch()
    def from_pretrained(
        cls,
        prior: str | Path | None = None,
        *,
        preset: str = "default",
        config: Config | None = None,
        device: str = "auto",
        threads: int | None = None,
        **overrides: Any,
    ) -> Enhancer:
        """An enhancer with a shipped prior (by name) or one of yours (by folder).

        ``overrides`` are settings of :class:`~vae_se.config.Config`, with double underscores for dots, for
        example ``method="mcem"`` or ``estep__name="mh"``. ``config`` replaces the preset. ``device`` is "auto",
        "cpu", "cuda" or "cuda:i". ``threads``: CPU threads that divide the work on a recording; None: as many
        as torch is set to use. The result is the same for any number, and torch's setting is left as it is.

        Raises UsageError (unknown name or key) or PriorError (weights that cannot be used).
        """
        config = config or Config.preset(preset)
        values = {key.replace("__", "."): value for key, value in overrides.items()}
        if prior is not None:
            values["prior"] = str(prior)
        config = config.override(values)
        chosen = choose_device(device)
        with dividing_work(threads):
            loaded = load_prior(config.prior, chosen) if config.method in assemble.METHODS else None
            if loaded is not None and config.inference.decoder_error > 0:
                loaded.compress(config.inference.decoder_error)
            factors = factor_type(config.inference.precision, chosen)
            if loaded is not None and factors is not None:
                loaded.multiply_in(factors)
            return cls(config, loaded, chosen, threads)

    @property
    def em(self) -> MonteCarloEM:
        """The EM loop, as configured. Raises UsageError for a baseline."""
        if self._em is None:
            raise UsageError(f"{self.config.method} has no EM loop", "use the method mcem")
        return self._em

    @property
    def signal(self) -> SignalSpec:
        """Rate, STFT and level of the prior. Raises UsageError for a baseline."""
        return self.em.prior.signal

    @property
    def segmented_em(self) -> SegmentedEM:
        """EM over segments, as configured. Raises UsageError for a baseline."""
        settings = self.config.inference
        return SegmentedEM(
            self.em, self.signal, self.device, self.config.seed, settings.segment, settings.overlap,
            self.config.noise.noise_segment, self.threads,
            factor_type(settings.precision, self.device) is not None,
            self._high_band if self._whole_band else None,
        )  # fmt: skip

    @property
    def _whole_band(self) -> bool:
        """Whether what lies above the prior's band is enhanced: the decoder of it is for one rate and STFT."""
        return self.config.output.band == "full" and self.signal == SignalSpec()

    def high_band_at(self, rate: int) -> HighBandFilter | None:
        """The filter of what a recording of ``rate`` Hz has above the prior's band; None where it has nothing
        there, or that is not enhanced (``output.band``)."""
        return self._high_band() if self._whole_band and rate > self.signal.rate else None

    def _high_band(self) -> HighBandFilter:
        """The filter of what lies above the prior's band; it is loaded when a recording first needs it."""
        self._loaded_high_band.decoder.to(self.device)  # the enhancer may have moved since
        return self._loaded_high_band

    @functools.cached_property
    def _loaded_high_band(self) -> HighBandFilter:
        return HighBandFilter(load_high_band(self.device))

    def enhance(
        self,
        noisy: Any,
        rate: int,
        *,
        return_info: bool = False,
        posterior: bool = True,
        draws: int = 0,
        speech_presence: bool = False,
        name: str = "",
        progress: ProgressCallback | bool | None = None,
        check_shape: bool = True,
    ) -> Any:
        """Enhance one recording.

        ``noisy``: NumPy array, torch tensor or list of samples, (T,) or (C, T), at ``rate`` Hz: floating-point
        numbers with full scale at 1.0, or int16, int32 or uint8 with theirs. Returns the speech in the same
        type, shape, rate and level (integers saturate); with ``return_info`` also an :class:`Info`. Its
        posterior of every frame and bin (1.4 GB for an hour of a channel) is left out if ``posterior`` is
        false; the probability of speech in every frame is added to it with ``speech_presence``. ``draws``:
        number of posterior draws in :attr:`Info.draws` (see :meth:`sample`). ``name`` selects the random
        stream, together with the configured seed. ``progress(done, total)`` is called after each EM iteration;
        True shows a bar, on stderr or in a notebook. More channels than samples, or more than 64, are taken
        for a mistaken axis and refused, unless ``check_shape`` is false.

        Raises AudioError for samples that are missing or not finite, UsageError for another type or shape, and
        for draws of a baseline.
        """
        ((speech, info),) = self._run(
            [noisy], rate, [name], progress, return_info, posterior, speech_presence, check_shape, draws
        )
        return (speech, info) if return_info else speech

    def sample(
        self,
        noisy: Any,
        rate: int,
        *,
        draws: int = 5,
        name: str = "",
        progress: ProgressCallback | None = None,
        check_shape: bool = True,
    ) -> list[Any]:
        """Posterior draws of the speech: ``draws`` plausible versions of it, each like the result of
        :meth:`enhance`.

        Their mean approaches the estimate as ``draws`` grows, and their spread is the reported uncertainty
        (:mod:`.posterior_draws`). They depend on the configured seed and on ``name``; the first ones are the
        same for any number. For the other arguments and the errors see :meth:`enhance`.
        """
        _, info = self.enhance(
            noisy, rate, return_info=True, posterior=False, draws=draws, name=name, progress=progress,
            check_shape=check_shape,
        )  # fmt: skip
        return list(info.draws)

    def enhance_batch(
        self,
        noisy: Sequence[Any],
        rate: int,
        *,
        names: Sequence[str] | None = None,
        return_info: bool = False,
        posterior: bool = True,
        draws: int = 0,
        speech_presence: bool = False,
        progress: ProgressCallback | bool | None = None,
        check_shape: bool = True,
    ) -> Any:
        """Enhance several recordings of one rate: the same result as one by one, and faster.

        Returns a list of speech; with ``return_info`` also a list of :class:`Info`. For the arguments and the
        errors see :meth:`enhance`.
        """
        items = list(noisy)
        names = list(names) if names else [""] * len(items)
        results = self._run(
            items, rate, names, progress, return_info, posterior, speech_presence, check_shape, draws
        )
        speech, infos = [one for one, _ in results], [info for _, info in results]
        return (speech, infos) if return_info else speech

    @usual_torch()
    def enhance_file(
        self,
        source: str | Path,
        target: str | Path,
        *,
        overwrite: bool = False,
        clip: str = "clamp",
        posterior: bool = True,
    ) -> Info:
        """Enhance a file into another, in the container and sample format of the source where possible.

        ``clip``: see :class:`~vae_se.audio.writer.Limiter`. ``posterior``: see :meth:`enhance`; if it is false,
        a long file is enhanced in blocks with the same result, and ``noise`` is None in its :class:`Info`.

        Raises AudioError where the source cannot be read, OutputError where the target exists or cannot be
        written.
        """
        source, target = Path(source), Path(target)
        if target.exists() and not overwrite:
            raise OutputError(f"{target} exists already", "pass overwrite=True")
        if self._baseline is None and not posterior and is_long(source):
            return enhance_long(self.segmented_em, self.config.output, source, target, clip=clip)[1]
        recording = files.read(source)
        speech, info = self.enhance(
            recording.samples, recording.rate, return_info=True, posterior=posterior, check_shape=False
        )
        info.warnings += [*recording.warnings, *files.write(target, speech, recording, clip)]
        return info

    @usual_torch()
    def _run(
        self,
        items: list[Any],
        rate: int,
        names: list[str],
        progress: ProgressCallback | bool | None,
        return_info: bool,
        posterior: bool,
        speech_presence: bool,
        check_shape: bool,
        draws: int,
    ) -> list[tuple[Any, Info | None]]:
        started = time.perf_counter()
        check_draws(draws)
        rate = checked_rate(rate)
        sources = [ArraySource(as_channels(item, check_shape), rate) for item in items]
        output = self.config.output
        drawn: Sequence[Sequence[EnhancedRecording]] = [[] for _ in items]
        if self._baseline is not None:
            if draws:
                raise UsageError(f"{self.config.method} has no posterior to draw from", "use the method mcem")
            recordings = [_by_baseline(self._baseline, source) for source in sources]
            output = dataclasses.replace(output, floor_db=math.inf)  # baselines set their own floor
        else:
            audio = sum(source.samples.size for source in sources) / rate
            with reporting(progress, audio) as report:
                recordings = enhance_recordings(
                    self.segmented_em, sources, names, MemoryBuffer,
                    keep_posterior=return_info and (posterior or draws > 0), keep_presence=speech_presence,
                    progress=report,
                )  # fmt: skip
            if draws and return_info:
                stft, seed = self.signal.stft, self.config.seed
                drawn = [
                    list(drawn_recordings(recording, stft, draws, seed, name))
                    for recording, name in zip(recordings, names, strict=True)
                ]
            if not posterior:
                recordings = [dataclasses.replace(recording, posteriors=[]) for recording in recordings]
        seconds = (time.perf_counter() - started) / max(1, len(items))
        return [
            _collect(item, recording, versions, output, seconds, return_info)
            for item, recording, versions in zip(items, recordings, drawn, strict=True)
        ]


def enhance(noisy: Any, rate: int, **options: Any) -> Any:
    """Enhance one recording with the defaults: ``vae_se.enhance(x, rate)``.

    ``options`` are those of :meth:`Enhancer.from_pretrained`. Make an :class:`Enhancer` for more recordings.
    """
    return Enhancer.from_pretrained(**options).enhance(noisy, rate)


def _baseline(method: str) -> Baseline:
    """The baseline of that name; UsageError where there is none that works without the clean speech."""
    from ..baselines import BASELINES  # here, since they import much of scipy
    from ..baselines.base import MissingPackage

    if method not in BASELINES:
        raise UsageError(f"unknown method {method!r}", nearest(method, [*assemble.METHODS, *BASELINES]))
    baseline: Baseline = BASELINES[method]
    if baseline.oracle:
        raise UsageError(f"{method} needs the clean speech", "it is a reference for vae-se benchmark only")
    if missing([baseline.package]):
        raise MissingPackage(f"{method} needs {baseline.package}", "pip install 'vae-se[baselines]'")
    return baseline


def _by_baseline(baseline: Baseline, source: ArraySource) -> EnhancedRecording:
    """A baseline's speech, in double precision."""
    source = ArraySource(source.samples.astype(np.float64), source.rate)
    speech = baseline.enhance(source.samples, source.rate)
    buffers = []
    for row in speech:
        buffers.append(MemoryBuffer(np.float64))
        buffers[-1].append(row)
    return EnhancedRecording(
        source, [*buffers], source.rate, source.samples.shape[1], files.peak(source.samples)
    )


def _collect(
    item: Any,
    recording: EnhancedRecording,
    drawn: Sequence[EnhancedRecording],
    output: OutputConfig,
    seconds: float,
    return_info: bool,
) -> tuple[Any, Info | None]:
    """The output in the type and shape of ``item``, and its :class:`Info` where that is requested.

    The posterior draws ``drawn`` get the same part of their noise as the estimate, so that their mean
    approaches the output.
    """
    gains = residual_gains(output, recording.blocks(), recording.source.rate, recording.summary)
    shape = (recording.source.channels, recording.samples)
    noise = np.empty(shape, recording.source.dtype) if return_info else None
    speech = _output(recording, gains, noise)
    if noise is None:
        return like(item, speech), None
    info = Info.summary(
        like(item, noise), seconds, recording.diagnostics, recording.warnings, recording.posteriors,
        recording.presence,
    )  # fmt: skip
    info.draws = [like(item, _output(version, gains)) for version in drawn]
    return like(item, speech), info


def _output(
    recording: EnhancedRecording, gains: ResidualGains | None, noise: np.ndarray | None = None
) -> np.ndarray:
    """The output (C, T) with its residual noise; writes the estimated noise to ``noise`` (C, T)."""
    speech = np.empty((recording.source.channels, recording.samples), recording.source.dtype)
    start = 0
    for speech_block, noise_block in add_residual_noise(recording.blocks(), gains):
        stop = start + speech_block.shape[1]
        speech[:, start:stop] = speech_block
        if noise is not None:
            noise[:, start:stop] = noise_block
        start = stop
    return speech


__all__ = ["AudioError", "ChannelInfo", "Enhancer", "Factors", "Info", "PriorError", "enhance"]
