"""Baselines: registered methods with a common contract for shape, rate, level and determinism."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from ..errors import AudioError, UsageError, VaeSeError
from ..numerics import SILENCE_RMS
from ..registry import Registry

#: (noisy (T,) float64 of RMS 1, rate in Hz, clean (T,) on the same scale or None) -> enhanced (T,)
Method = Callable[[np.ndarray, int, "np.ndarray | None"], np.ndarray]


class MissingPackage(VaeSeError, ImportError):
    """A baseline needs a package that is not installed."""


@dataclasses.dataclass(frozen=True)
class Baseline:
    """A method from waveform to waveform.

    ``reference``: its citation. ``oracle``: it uses the clean speech, and serves as an upper reference.
    ``package``: the package of the extra ``baselines`` that it needs, or "".
    """

    name: str
    reference: str
    method: Method
    oracle: bool = False
    package: str = ""

    def enhance(self, noisy: np.ndarray, rate: int, *, clean: np.ndarray | None = None) -> np.ndarray:
        """Enhance floats (T,) or (C, T) at ``rate`` Hz; the result has the same shape, type, rate and level.

        Channels are processed independently, each scaled to an RMS of 1, so that floors and training levels
        inside a method do not depend on the volume. Silent channels are returned unchanged. Only oracles use
        ``clean``. Raises AudioError for an array that is not a finite waveform, UsageError where an oracle
        has no clean speech, MissingPackage where a package is not installed.
        """
        noisy = np.asarray(noisy)
        _check("noisy", noisy)
        if rate != int(rate) or rate <= 0:
            raise AudioError(f"a sampling rate of {rate} Hz", "pass the file's rate in Hz")
        if self.oracle:
            if clean is None:
                raise UsageError(f"{self.name} is an oracle and needs the clean speech", "pass clean=")
            clean = np.asarray(clean)
            _check("clean", clean)
            if clean.shape != noisy.shape:
                raise AudioError(f"clean is {clean.shape}, noisy is {noisy.shape}", "their shapes must agree")
        mixture = np.atleast_2d(noisy).astype(np.float64)
        speech = None if clean is None or not self.oracle else np.atleast_2d(clean).astype(np.float64)
        out = mixture.copy()
        for channel, wave in enumerate(mixture):
            level = float(np.sqrt(np.mean(np.square(wave)))) if wave.size else 0.0
            if level < SILENCE_RMS:
                continue
            known = None if speech is None else speech[channel] / level
            try:
                out[channel] = self.method(wave / level, int(rate), known) * level
            except ImportError as error:
                raise MissingPackage(
                    f"{self.name} needs {self.package or error.name}", "pip install 'vae-se[baselines]'"
                ) from error
        return out.reshape(noisy.shape).astype(noisy.dtype)


def _check(what: str, wave: np.ndarray) -> None:
    if wave.ndim not in (1, 2) or wave.dtype.kind != "f":
        raise AudioError(f"{what} is {wave.dtype} of shape {wave.shape}", "expected floats (T,) or (C, T)")
    if not np.isfinite(wave).all():
        raise AudioError(f"{what} contains samples that are not finite", "repair the file first")


BASELINES: Registry[Baseline] = Registry("baseline")


def baseline(
    name: str, reference: str, *, oracle: bool = False, package: str = ""
) -> Callable[[Method], Method]:
    """Decorator that registers a method as a baseline."""

    def register(method: Method) -> Method:
        BASELINES.add(name)(Baseline(name, reference, method, oracle, package))
        return method

    return register


@baseline("noisy", "the unprocessed recording")
def _unprocessed(noisy: np.ndarray, rate: int, clean: np.ndarray | None) -> np.ndarray:
    return noisy
