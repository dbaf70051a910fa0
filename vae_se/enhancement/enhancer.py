"""The facade: noisy waveform in, enhanced waveform of the same type, shape, rate, level and length out."""

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
from ..audio import files
from ..baselines import BASELINES, Baseline
from ..baselines.base import MissingPackage
from ..config import Config, OutputConfig
from ..device import choose_device, usual_torch
from ..errors import AudioError, OutputError, PriorError, UsageError, nearest
from ..extras import missing
from ..inference.monte_carlo_em import MonteCarloEM
from ..priors import SpeechPrior, load_prior
from ..signal_spec import SignalSpec
from .arrays import as_channels, checked_rate, like
from .long_file import enhance_long, is_long
from .pipeline import ArraySource, EnhancedRecording, enhance_recordings
from .progress import reporting
from .residual_noise import add_residual_noise, residual_gains
from .results import ChannelInfo, Factors, Info
from .sample_buffer import MemoryBuffer
from .segmented_em import ProgressCallback, SegmentedEM


class Enhancer:
    """Speech enhancement by Monte Carlo EM under a VAE prior, or by a baseline.

    Leglaive, Girin and Horaud, A variance modeling framework based on variational autoencoders for speech
    enhancement, 2018. Make one with :meth:`from_pretrained`. Enhancing a recording does not change it: every
    recording meets the same model.
    """

    @usual_torch()
    def __init__(self, config: Config, prior: SpeechPrior | None, device: torch.device) -> None:
        """``prior``: a speech prior on ``device``; None for a baseline."""
        self.config = config
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
        **overrides: Any,
    ) -> Enhancer:
        """An enhancer with a shipped prior (by name) or one of yours (by folder).

        ``overrides`` are settings of :class:`~vae_se.config.Config`, with double underscores for dots, for
        example ``method="mcem"`` or ``estep__name="mh"``. ``config`` replaces the preset. ``device`` is "auto",
        "cpu", "cuda" or "cuda:i".

        Raises UsageError (unknown name or key) or PriorError (weights that cannot be used).
        """
        config = config or Config.preset(preset)
        values = {key.replace("__", "."): value for key, value in overrides.items()}
        if prior is not None:
            values["prior"] = str(prior)
        config = config.override(values)
        chosen = choose_device(device)
        loaded = load_prior(config.prior, chosen) if config.method in assemble.METHODS else None
        if loaded is not None and config.inference.decoder_error > 0:
            loaded.compress(config.inference.decoder_error)
        return cls(config, loaded, chosen)

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
            self.config.noise.noise_segment,
        )  # fmt: skip

    def enhance(
        self,
        noisy: Any,
        rate: int,
        *,
        return_info: bool = False,
        posterior: bool = True,
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
        false; the probability of speech in every frame is added to it with ``speech_presence``. ``name``
        selects the random stream, together with the configured seed. ``progress(done, total)`` is called after
        each EM iteration; True shows a bar, on stderr or in a notebook. More channels than samples, or more
        than 64, are taken for a mistaken axis and refused, unless ``check_shape`` is false.

        Raises AudioError for samples that are missing or not finite, UsageError for another type or shape.
        """
        ((speech, info),) = self._run(
            [noisy], rate, [name], progress, return_info, posterior, speech_presence, check_shape
        )
        return (speech, info) if return_info else speech

    def enhance_batch(
        self,
        noisy: Sequence[Any],
        rate: int,
        *,
        names: Sequence[str] | None = None,
        return_info: bool = False,
        posterior: bool = True,
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
        results = self._run(items, rate, names, progress, return_info, posterior, speech_presence, check_shape)
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
    ) -> list[tuple[Any, Info | None]]:
        started = time.perf_counter()
        rate = checked_rate(rate)
        sources = [ArraySource(as_channels(item, check_shape), rate) for item in items]
        output = self.config.output
        if self._baseline is not None:
            recordings = [_by_baseline(self._baseline, source) for source in sources]
            output = dataclasses.replace(output, floor_db=math.inf)  # baselines set their own floor
        else:
            audio = sum(source.samples.size for source in sources) / rate
            with reporting(progress, audio) as report:
                recordings = enhance_recordings(
                    self.segmented_em, sources, names, MemoryBuffer,
                    keep_posterior=return_info and posterior, keep_presence=speech_presence,
                    progress=report,
                )  # fmt: skip
        seconds = (time.perf_counter() - started) / max(1, len(items))
        return [
            _collect(item, recording, output, seconds, return_info)
            for item, recording in zip(items, recordings, strict=True)
        ]


def enhance(noisy: Any, rate: int, **options: Any) -> Any:
    """Enhance one recording with the defaults: ``vae_se.enhance(x, rate)``.

    ``options`` are those of :meth:`Enhancer.from_pretrained`. Make an :class:`Enhancer` for more recordings.
    """
    return Enhancer.from_pretrained(**options).enhance(noisy, rate)


def _baseline(method: str) -> Baseline:
    """The baseline of that name; UsageError where there is none that works without the clean speech."""
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
    item: Any, recording: EnhancedRecording, output: OutputConfig, seconds: float, return_info: bool
) -> tuple[Any, Info | None]:
    """The output in the type and shape of ``item``, and its :class:`Info` where that is requested."""
    gains = residual_gains(output, recording.blocks(), recording.source.rate)
    shape = (recording.source.channels, recording.samples)
    speech = np.empty(shape, recording.source.dtype)
    noise = np.empty_like(speech) if return_info else None
    start = 0
    for speech_block, noise_block in add_residual_noise(recording.blocks(), gains):
        stop = start + speech_block.shape[1]
        speech[:, start:stop] = speech_block
        if noise is not None:
            noise[:, start:stop] = noise_block
        start = stop
    if noise is None:
        return like(item, speech), None
    info = Info.summary(
        like(item, noise), seconds, recording.diagnostics, recording.warnings, recording.posteriors,
        recording.presence,
    )  # fmt: skip
    return like(item, speech), info


__all__ = ["AudioError", "ChannelInfo", "Enhancer", "Factors", "Info", "PriorError", "enhance"]
