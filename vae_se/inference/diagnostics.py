"""What EM says of itself, and a plain sentence where something looks wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

#: Below this fraction of the draws, self-normalised weights rest on too few of them.
ESS_LOW = 0.2
#: Acceptance outside of this range means that chains hardly move, or move in too small steps.
ACCEPTANCE_LOW, ACCEPTANCE_HIGH = 0.02, 0.95


#: Above it, chains differ from each other or drift. 1.1 is the bound of Gelman et al. (2013) for long chains
#: from scattered starts. Over the ten E-steps of a run vem-mh has 1.4 with a filter as close to the posterior's
#: as any (docs/inference.md), chains of smaller steps have 2 and more.
RHAT_HIGH = 1.6


@dataclasses.dataclass
class Diagnostics:
    """Trace of the objective (nats per frame, one value per iteration), mean acceptance (None where nothing
    is accepted) and effective sample size of the last quarter of the iterations, R-hat of the chains over the
    E-steps that the filter averages over (None where there are none or fewer than four), and warnings."""

    objective: list[float] = dataclasses.field(default_factory=list)
    acceptance: float | None = None
    ess: float | None = None
    rhat: float | None = None
    frames: int = 0
    warnings: list[str] = dataclasses.field(default_factory=list)

    @classmethod
    def of_trace(cls, trace: Sequence[Any], row: int, frames: int, estep: Any, rhat: Any = None) -> Diagnostics:
        """Diagnostics of utterance ``row`` of a batch with ``frames`` frames; ``rhat`` (B,) or None."""
        mixed = None if rhat is None else float(rhat[row])
        if not trace:
            return cls(rhat=mixed, frames=frames)
        tail = trace[-max(1, len(trace) // 4) :]
        ess = sum(float(entry[1][row]) for entry in tail) / len(tail)
        acceptance = None
        if tail[0][2] is not None:
            acceptance = sum(float(entry[2][row]) for entry in tail) / len(tail)
        found = cls([float(entry[0][row]) for entry in trace], acceptance, ess, mixed, frames)
        if ess < max(ESS_LOW * estep.draws, 1.5) and estep.draws > 1:
            found.warnings.append(
                f"the effective sample size is {ess:.1f} of {estep.draws} draws: the estimate rests on single "
                "draws; more draws or another E-step helps"
            )
        if acceptance is not None and not ACCEPTANCE_LOW <= acceptance <= ACCEPTANCE_HIGH:
            found.warnings.append(f"the acceptance is {acceptance:.1%}: the chains explore little")
        if mixed is not None and mixed > RHAT_HIGH:
            found.warnings.append(
                f"R-hat of the chains is {mixed:.2f}: they have not mixed, and the draws that the filter"
                " averages over depend on where they started; more sweeps or another E-step helps"
            )
        return found


def summarise(parts: Sequence[Diagnostics]) -> Diagnostics:
    """Diagnostics of a recording from those of its chunks and channels, weighted by frames."""
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
        list(dict.fromkeys(warning for part in parts for warning in part.warnings)),
    )
