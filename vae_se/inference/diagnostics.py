"""Summary of a run of EM, with a warning in plain words where something looks wrong."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch

from .em import EMInfo
from .estep.base import EStep

#: Below this fraction of the draws, self-normalised weights rest on too few of them.
ESS_LOW = 0.2
#: Outside this range of acceptance, chains hardly move or move in steps that are too small.
ACCEPTANCE_LOW, ACCEPTANCE_HIGH = 0.02, 0.95
#: Above this R-hat, chains differ from each other or drift. The usual limit of 1.1 (Gelman et al., Bayesian
#: data analysis, 2013) holds for long chains from scattered starts. Over the ten E-steps of a run vem-mh
#: reaches 1.4 with an accurate filter, and chains whose steps are too small reach 2 and more.
RHAT_HIGH = 1.6


@dataclasses.dataclass
class Diagnostics:
    """Summary of a run.

    ``objective``: one value in nats per frame for every iteration; ``acceptance`` and ``ess``: means over the
    last quarter of the iterations (acceptance: None where nothing is accepted); ``rhat`` of the chains over the
    E-steps that the filter averages over, or None; ``frames``: number of frames; ``speech_energy`` and
    ``error_energy``: sums over frames and bins of |E[s | x]|^2 and of the variance of s on the input's scale;
    ``filter_sum`` and ``filter_square_sum``: of the filter and its square over ``filter_bins`` bins.
    """

    objective: list[float] = dataclasses.field(default_factory=list)
    acceptance: float | None = None
    ess: float | None = None
    rhat: float | None = None
    frames: int = 0
    speech_energy: float = 0.0
    error_energy: float = 0.0
    filter_sum: float = 0.0
    filter_square_sum: float = 0.0
    filter_bins: int = 0
    warnings: list[str] = dataclasses.field(default_factory=list)

    @property
    def snr_db(self) -> float | None:
        """The model's estimate of the SI-SDR of the speech E[s | x] in dB; None where either energy is 0.

        With E[e | x] = 0 for the error e = s - E[s | x], the expectation of <E[s | x], s> is A = |E[s | x]|^2
        and that of |s|^2 is A + B, B the variance. SI-SDR (Le Roux et al., SDR - half-baked or well done?,
        2019) is then A^2 / (A (A + B) - A^2) = A / B.
        """
        if min(self.speech_energy, self.error_energy) <= 0:
            return None
        return 10 * math.log10(self.speech_energy / self.error_energy)

    @property
    def selectivity(self) -> float | None:
        """How much the filter m tells the bins apart: Var m / (M (1 - M)) over all bins, M the mean of m.

        It is 1 for a filter that is 0 or 1 everywhere, and 0 for one that is the same everywhere; None where
        there is no such mean.
        """
        if not 0 < self.filter_sum < self.filter_bins:
            return None
        mean = self.filter_sum / self.filter_bins
        return (self.filter_square_sum / self.filter_bins - mean**2) / (mean * (1 - mean))

    @classmethod
    def of_trace(
        cls,
        trace: Sequence[EMInfo],
        row: int,
        frames: int,
        estep: EStep[Any],
        rhat: torch.Tensor | None = None,
    ) -> Diagnostics:
        """Diagnostics of utterance ``row`` of a batch with its ``frames`` frames; ``rhat`` is (B,) or None."""
        mixed = None if rhat is None else float(rhat[row])
        if not trace:
            return cls(rhat=mixed, frames=frames)
        tail = trace[-max(1, len(trace) // 4) :]
        ess = sum(float(info.ess[row]) for info in tail) / len(tail)
        rates = [float(info.acceptance[row]) for info in tail if info.acceptance is not None]
        acceptance = sum(rates) / len(rates) if len(rates) == len(tail) else None
        found = cls([float(info.objective[row]) for info in trace], acceptance, ess, mixed, frames)
        if ess < max(ESS_LOW * estep.draws, 1.5) and estep.draws > 1:
            found.warnings.append(
                f"the effective sample size is {ess:.1f} of {estep.draws} draws: the estimate rests on few "
                "draws; more draws or another E-step may help"
            )
        if acceptance is not None and not ACCEPTANCE_LOW <= acceptance <= ACCEPTANCE_HIGH:
            found.warnings.append(f"the acceptance is {acceptance:.1%}: the chains explore little")
        if mixed is not None and mixed > RHAT_HIGH:
            found.warnings.append(
                f"R-hat of the chains is {mixed:.2f}: they have not mixed, and the draws that the filter"
                " averages over depend on where the chains started; more sweeps or another E-step may help"
            )
        return found


def summarise(parts: Sequence[Diagnostics]) -> Diagnostics:
    """Diagnostics of a recording from those of its segments and channels, weighted by frames."""
    if not parts:
        return Diagnostics()
    total = sum(part.frames for part in parts)

    def mean(values: Sequence[float]) -> float:
        return sum(v * part.frames for v, part in zip(values, parts, strict=True)) / total

    objective = [mean(values) for values in zip(*(part.objective for part in parts), strict=True)]
    acceptance = [part.acceptance for part in parts if part.acceptance is not None]
    ess = [part.ess for part in parts if part.ess is not None]
    rhat = [part.rhat for part in parts if part.rhat is not None]
    return Diagnostics(
        objective,
        mean(acceptance) if acceptance else None,
        mean(ess) if ess else None,
        max(rhat, default=None),
        total,
        sum(part.speech_energy for part in parts),
        sum(part.error_energy for part in parts),
        sum(part.filter_sum for part in parts),
        sum(part.filter_square_sum for part in parts),
        sum(part.filter_bins for part in parts),
        list(dict.fromkeys(warning for part in parts for warning in part.warnings)),
    )
