"""Comparison of all priors: size, training, bounds on validation speech, resynthesis, enhancement.

    vae-se benchmark priors --out runs/priors -j 2
    python eval/scripts/priors.py ../shared/data runs/priors > eval/results/priors.md

The data folder contains speech/valid; the second argument is the folder of that benchmark, or - for none (the
last columns are then empty). Names or folders of priors may follow; the default is all shipped priors. Bounds
and resynthesis use the same 40 validation files, drawn with a seed, for all priors. Takes twenty minutes on
one core.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vae_se.data.features import power_spectra, read_normalised
from vae_se.data.files import list_audio
from vae_se.likelihood import LOG_PI
from vae_se.metrics import score
from vae_se.priors import load_prior, store
from vae_se.rng import numpy_stream, torch_stream
from vae_se.training.bound import importance_bound
from vae_se.training.elbo import elbo_terms
from vae_se.training.resynthesis import Reconstruct, at_posterior_mean, resynthesise

FILES, DRAWS, LONGEST = 40, 100, 6.0
_ENHANCED = ("si_sdr", "pesq_wb", "estoi", "rtf")
_DIGITS = {"si_sdr": 1, "estoi": 3}
METRICS = ("si_sdr", "pesq_wb", "pesq_nb", "estoi")


def choose(folder: Path, prior: Any) -> list[np.ndarray]:
    """FILES waveforms of one to LONGEST seconds, at the level of the prior."""
    paths = list_audio(folder)
    found = []
    for at in numpy_stream(0, "priors").permutation(len(paths)):
        wave = read_normalised(folder / paths[at], prior.signal)
        if 1.5 * prior.signal.rate <= wave.size <= LONGEST * prior.signal.rate:
            found.append(wave)
        if len(found) == FILES:
            break
    return found


@torch.no_grad()
def bounds(prior: Any, powers: Sequence[torch.Tensor]) -> dict[str, float]:
    """Means per frame without F log pi: reconstruction and KL of the negative ELBO, importance bound."""
    total, frames = np.zeros(3), 0
    for number, power in enumerate(powers):
        terms = elbo_terms(prior, power.unsqueeze(0), torch_stream(number, "elbo"))
        bound = importance_bound(prior, power, DRAWS, torch_stream(number, "bound"))
        constant = power.shape[-1] * LOG_PI
        parts = (terms.reconstruction.sum(), terms.kl.sum(), (bound + constant) * len(power))
        total += [float(part) for part in parts]
        frames += len(power)
    return dict(zip(("reconstruction", "kl", "iwae"), total / frames, strict=True))


def with_true_past(prior: Any, power: torch.Tensor) -> torch.Tensor:
    """Log-variance (1, N, F) at the posterior mean, conditioned on the true past instead of a roll-out."""
    eta: torch.Tensor = prior.given(prior.encode(power).mean, prior.features(power))[0]
    return eta


def resynthesis(
    prior: Any, waves: Sequence[np.ndarray], say_again: Reconstruct = at_posterior_mean
) -> dict[str, float]:
    """Mean scores of clean speech resynthesised by the prior with the original phase."""
    rows = []
    for wave in waves:
        scores = score(METRICS, wave, resynthesise(prior, wave, say_again), prior.signal.rate)
        rows.append([scores[name].value for name in METRICS])
    return dict(zip(METRICS, np.nanmean(rows, 0), strict=True))


def enhancement(run: Path | None) -> dict[str, dict[str, float]]:
    """By method: mean scores over the mixtures of the run, and processing time over duration."""
    if run is None:
        return {}
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in (run / "rows.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows.setdefault(row["method"], []).append(row)
    names = _ENHANCED
    found = {}
    for method, many in rows.items():
        values = [[row["scores"].get(n) if n != "rtf" else row.get("rtf") for n in names] for row in many]
        found[method] = dict(zip(names, np.nanmean(np.array(values, float), 0), strict=True))
    return found


def epochs(training: dict[str, Any]) -> str:
    """Numbers of epochs of this training and of those it goes on from, and the prior that initialised them."""
    before = training.get("start", {})
    if "start" in before and "--prior default " not in before["command"]:
        return f"{before['epochs_run']} after `default`, and {training['epochs_run']}"
    donor = training["recipe"]["train"].get("start")
    return f"{training['epochs_run']}" + (f" after `{donor}`" if donor else "")


def spelled(scores: dict[str, Any]) -> list[str]:
    """Scores with the number of digits that suits each metric."""
    return ["" if v is None else f"{v:.{_DIGITS.get(name, 2)}f}" for name, v in scores.items()]


def main(data: Path, run: Path | None, names: Sequence[str]) -> None:
    """Print the tables in Markdown."""
    torch.set_num_threads(1)
    enhanced = enhancement(run)
    waves: list[np.ndarray] = []
    powers: list[torch.Tensor] = []
    lines, again, apart = [], [], []
    for place in names or store.names():
        prior: Any = load_prior(place)
        config = store.read_config(store.locate(place))
        name = Path(place).name
        if not waves:
            waves = choose(data / "speech" / "valid", prior)
            powers = [torch.from_numpy(power_spectra(wave, prior.signal)) for wave in waves]
        started = time.perf_counter()
        bound, training = bounds(prior, powers), config["training"]
        evidence = [
            f"{bound['kl']:.1f}",
            f"{-bound['reconstruction'] - bound['kl']:.0f}" if bound["kl"] else "",
            f"{bound['iwae']:.0f}",
        ]
        if prior.takes_activity:
            apart.append(f"| `{name}` | " + " | ".join(evidence) + " |")
            evidence = ["", "", ""]
        cells = [
            f"`{name}`", training["latent_dim"], f"{training['parameters'] / 1e6:.2f} M",
            epochs(training), f"{training['seconds'] / 60:.0f}",
            f"{bound['reconstruction']:.0f}", *evidence,
            *spelled(resynthesis(prior, waves)), *spelled(enhanced.get(name, {}) or dict.fromkeys(_ENHANCED)),
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
        if hasattr(prior, "roll_out"):
            forced = spelled(resynthesis(prior, waves, with_true_past))
            again.append(f"| `{name}` | " + " | ".join(forced) + " |")
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    print("| prior | L | parameters | epochs | minutes | reconstruction | KL | ELBO | IWAE | SI-SDR | PESQ-wb "
          "| PESQ-nb | ESTOI | SI-SDR | PESQ-wb | ESTOI | s/s |")  # fmt: skip
    print("|---" * 17 + "|")
    print("\n".join(lines))
    if apart:
        print("\nThe input u of these priors, the speech activity, is computed from the speech itself, the "
              "current frame included. Their bounds are on log p(s | u), not on log p(s), and cannot be "
              "compared with the others:\n\n| prior | KL | ELBO | IWAE |\n|---|---|---|---|")  # fmt: skip
        print("\n".join(apart))
    if not again:
        return
    print("\nBounds are computed with the true past of the speech; re-synthesis above is rolled out, as in "
          "enhancement. Re-synthesis with the true past:\n\n"
          "| prior | SI-SDR | PESQ-wb | PESQ-nb | ESTOI |\n|---|---|---|---|---|")  # fmt: skip
    print("\n".join(again))


if __name__ == "__main__":
    where, *others = sys.argv[2:] or ["-"]
    main(Path(sys.argv[1]), None if where == "-" else Path(where), others)
