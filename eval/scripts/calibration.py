"""Is the uncertainty right? Coverage of posterior intervals on validation mixtures.

    python eval/scripts/calibration.py ../shared/data [--mixtures 25] [--presets fast,default,best]

Writes eval/results/calibration.csv, .md and .png. The data folder contains speech/valid and noise/. The
mixtures have other draws than those of the protocol ``validation``. Bins count that lie within 30 dB of the
mean power of the clean speech. Quantities:

- speech: |s - E[s | x]|^2 in the interval from 0; the noise's error is the same, since b = x - s
- every bin: the same in bins that are drawn from all. The clean speech selects the bins above, so those
  that the filter removes by mistake are among them, and most that it removes rightly are not: intervals that
  are right for every bin hold fewer of them.
- power: |s|^2 in the central interval of its posterior, a mixture of non-central chi-square distributions
- noise: |b|^2 in the central interval of the exponential distribution with the estimated noise variance
- z: the mean of the prior's posterior of the clean frame in the central interval of q(z), in frames whose power
  lies within 30 dB of the mean; for E-steps with a Gaussian q(z)

"before" is without calibration (inference.calibrate=false), "after" with it; both are of one run of EM. Also
the model's estimate of SI-SDR against the true one. Takes a minute on one idle core.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.stats import ncx2, norm
from spectra import analysed

from vae_se import Enhancer
from vae_se.data.mixing import MixingRecipe, mixtures
from vae_se.data.mixture import Mixture
from vae_se.enhancement.results import TRUSTED_DB
from vae_se.inference.calibration import Calibration, quadrature
from vae_se.inference.estep.vem import VariationalState
from vae_se.metrics import score
from vae_se.rng import Streams, numpy_stream
from vae_se.storage.atomic import write_atomically

RESULTS = Path(__file__).resolve().parents[1] / "results"
RECIPE = MixingRecipe(
    count=25, seed=47, min_utterance=1.0, join_to=4.0, max_seconds=5.0, level_dbfs=(-32.0, -20.0)
)
LEVELS = (0.5, 0.8, 0.95)
RANGE_DB = 30.0
BANDS = ((0, 500), (500, 1000), (1000, 2000), (2000, 4000), (4000, 8001))
#: Kinds of groups of bins.
ORDER = ("all", "SNR, dB", "noise", "band, Hz")
#: Bins of a mixture that count; the chi-square distributions take a share of them.
BINS, POWER_BINS = 6000, 1000
#: Non-centrality above which |s| is taken for Gaussian.
CENTRAL = 1e4


@dataclasses.dataclass
class Found:
    """One mixture under one preset.

    ``places``: by quantity the value of the posterior's distribution function at the truth, before and after
    calibration, (2, values): uniform in (0, 1) where the posterior is right. ``band``: of the speech's bins.
    """

    preset: str
    snr_db: float
    kind: str
    places: dict[str, np.ndarray]
    band: np.ndarray
    true_db: float
    estimated_db: float


def place_of_error(
    error: np.ndarray, variance: np.ndarray, scales: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """P(|e|^2 <= error) of a scale mixture of complex Gaussians: variances ``variance`` times ``scales``
    (bins, K) with ``weights`` (K,)."""
    return 1 - np.exp(-error[:, None] / (variance[:, None] * scales)) @ weights


def place_of_power(
    power: np.ndarray, mean: np.ndarray, variance: np.ndarray, scales: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """P(|s|^2 <= power) for the same mixture around a mean of squared magnitude ``mean``."""
    half = variance[:, None] * scales / 2
    centre = mean[:, None] / half
    found = norm.cdf((np.sqrt(power) - np.sqrt(mean))[:, None] / np.sqrt(half))
    near = centre < CENTRAL
    found[near] = ncx2.cdf((power[:, None] / half)[near], 2, centre[near])
    return found @ weights


@torch.no_grad()
def run(enhancer: Enhancer, preset: str, mixture: Mixture) -> Found:
    """EM on a mixture, and where the truth lies in its posterior."""
    signal, em = enhancer.signal, enhancer.em
    _, (noisy, clean) = analysed(signal, signal.rate, mixture.noisy, mixture.clean)
    power, mask = noisy.abs().square().unsqueeze(0), torch.ones(1, len(noisy))
    estimate = em.run(power, mask, Streams.from_seed(0, [mixture.id], [len(noisy)]))
    mean, truth = estimate.wiener[0] * noisy, clean.abs().square()
    speech = signal.stft.synthesise(mean, mixture.noisy.size).numpy()

    chosen = torch.nonzero((truth > truth.mean() * 10 ** (-RANGE_DB / 10)).flatten())[:, 0].numpy()
    chosen = numpy_stream(0, "bins", mixture.id).permutation(chosen)[:BINS]
    every = numpy_stream(0, "every bin", mixture.id).permutation(truth.numel())[:BINS]
    nodes, weights = quadrature(33)

    def at(values: torch.Tensor, bins: np.ndarray = chosen) -> np.ndarray:
        return values.flatten().double().numpy()[bins]

    def before_and_after(bins: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]:
        """Log-odds, variance before calibration, its scales after it, and where the errors lie."""
        wiener = at(estimate.wiener[0], bins).clip(1e-7, 1 - 1e-7)
        log_odds = np.log(wiener) - np.log1p(-wiener)
        scales = em.calibration.scales(log_odds, nodes)
        variance = at(estimate.variance[0], bins) / (scales @ weights)
        error, one = at((clean - mean).abs().square(), bins), np.ones((len(bins), 1))
        laws = ((one, np.ones(1)), (scales, weights))
        return log_odds, variance, scales, [place_of_error(error, variance, *law) for law in laws]

    log_odds, variance, scales, speech_places = before_and_after(chosen)
    places = {"speech": speech_places, "every bin": before_and_after(every)[-1]}
    one = np.ones((len(chosen), 1))
    part, (nodes, weights) = slice(0, POWER_BINS), quadrature(11)
    few = em.calibration.scales(log_odds[part], nodes)
    few *= ((scales @ quadrature(33)[1])[part] / (few @ weights))[:, None]
    true_power, mean_power = at(truth)[part], at(mean.abs().square())[part]
    places["power"] = [
        place_of_power(true_power, mean_power, variance[part], *pair)
        for pair in ((one[part], np.ones(1)), (few, weights))
    ]
    noise = 1 - np.exp(-at((noisy - clean).abs().square()) / at(estimate.noise[0]))
    places["noise"] = [noise, noise]
    latents = estimate.state.estep
    if isinstance(latents, VariationalState):
        mean_z, log_variance = (values[0] for values in latents.parameters)
        loud = truth.mean(-1) > truth.mean() * 10 ** (-RANGE_DB / 10)
        clean_z = em.prior.encode(truth.unsqueeze(0)).mean[0]
        z = ((clean_z - mean_z) * torch.exp(-log_variance / 2))[loud].flatten().numpy()
        places["z"] = [norm.cdf(z), norm.cdf(z)]
    energies = estimate.energies[0].double().numpy()
    return Found(
        preset,
        float(mixture.snr_db or 0),
        str(mixture.noise_type),
        {name: np.stack(pair) for name, pair in places.items()},
        np.digitize(chosen % signal.stft.bins * signal.rate / signal.window, [high for _, high in BANDS]),
        float(score(["si_sdr"], mixture.clean, speech, mixture.rate)["si_sdr"].value),
        float(10 * np.log10(energies[0] / energies[1])),
    )


def _place(name: str) -> tuple[float, str]:
    """Sorts numbers and ranges by their first number, other names by the alphabet."""
    first = name.split(" to ")[0]
    return (float(first), "") if first.lstrip("-").isdigit() else (0.0, name)


def inside(quantity: str, places: np.ndarray, level: float) -> np.ndarray:
    """Which values lie in the interval of probability ``level``."""
    if quantity in ("speech", "every bin"):
        return places <= level
    return np.abs(places - 0.5) <= level / 2


def coverages(found: list[Found]) -> Iterator[tuple[str, str, str, str, int, list[float]]]:
    """Preset, quantity, kind of group, group, number of values, and coverage at the levels before and after."""
    for preset in dict.fromkeys(one.preset for one in found):
        of_preset = [one for one in found if one.preset == preset]
        for quantity in of_preset[0].places:
            groups: dict[tuple[str, str], list[np.ndarray]] = {}
            for one in of_preset:
                values = one.places[quantity]
                for group in (("all", ""), ("SNR, dB", f"{one.snr_db:g}"), ("noise", one.kind)):
                    groups.setdefault(group, []).append(values)
                if quantity not in ("z", "every bin"):
                    for number, (low, high) in enumerate(BANDS):
                        name = f"{low} to {min(high, 8000)}"
                        mine = one.band[: values.shape[1]] == number
                        groups.setdefault(("band, Hz", name), []).append(values[:, mine])
            ordered = sorted(groups.items(), key=lambda item: (ORDER.index(item[0][0]), _place(item[0][1])))
            for (kind, name), parts in ordered:
                values = np.concatenate(parts, axis=1)
                shares = [float(inside(quantity, row, level).mean()) for row in values for level in LEVELS]
                yield preset, quantity, kind, name, values.shape[1], shares


def as_csv(found: list[Found]) -> str:
    """All coverages."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = [f"{when}_{level:g}" for when in ("before", "after") for level in LEVELS]
    writer.writerow(["preset", "quantity", "group", "value", "count", *names])
    for *labels, count, shares in coverages(found):
        writer.writerow([*labels, count, *(f"{share:.3f}" for share in shares)])
    return out.getvalue()


def as_markdown(found: list[Found], presets: list[str], count: int) -> str:
    """Tables of coverage and of the estimated SI-SDR."""
    rows = list(coverages(found))
    lines = [
        "# Calibration of the uncertainty",
        "",
        "    python eval/scripts/calibration.py ../shared/data",
        "",
    ]
    lines += [
        f"{count} validation mixtures, other draws than those of the protocol `validation`;",
        "the script's docstring defines the quantities. Entries: percentage of bins inside the intervals of",
        "50 / 80 / 95 %, before and after calibration. The calibration has one constant, a deviation of",
        f"{Calibration.fitted().deviation:g} nats of the local SNR where the filter is near 0, learnt on",
        "simulated mixtures of training speech (`eval/scripts/fit_calibration.py`). The same as a table:",
        "[calibration.csv](calibration.csv).",
        "", "![Reliability](calibration.png)", "",
    ]  # fmt: skip
    titles = {
        "speech": "The speech s, complex",
        "every bin": "The same in bins that the clean speech does not select",
        "power": "The speech power",
    }
    for quantity, title in titles.items():
        lines += [f"## {title}", ""]
        head = " | ".join(f"{preset}, before | {preset}, after" for preset in presets)
        lines += [f"| group | {head} |", "|---" * (1 + 2 * len(presets)) + "|"]
        for kind, name in dict.fromkeys((row[2], row[3]) for row in rows if row[1] == quantity):
            cells = []
            for preset in presets:
                key = (preset, quantity, kind, name)
                (shares,) = (row[5] for row in rows if row[:4] == key)
                cells += [percent(shares[:3]), percent(shares[3:])]
            lines.append(f"| {f'{kind} {name}'.strip()} | {' | '.join(cells)} |")
        lines.append("")
    lines += ["## Noise variance and latents", "", "Neither is changed by the calibration.", ""]
    lines += ["| quantity | group | " + " | ".join(presets) + " |", "|---" * (2 + len(presets)) + "|"]
    for quantity in ("noise", "z"):
        wanted = [row[2:4] for row in rows if row[1] == quantity and row[2] in ("all", "SNR, dB")]
        for kind, name in dict.fromkeys(wanted):
            cells = [percent(r[5][:3]) for p in presets for r in rows if r[:4] == (p, quantity, kind, name)]
            lines.append(f"| {quantity} | {f'{kind} {name}'.strip()} | {' | '.join(cells)} |")
    lines += ["", "## The model's estimate of SI-SDR", ""]
    columns = ("preset", "correlation", "mean error, dB", "RMS error, dB", "trusted", "worst trusted, dB")
    lines += [f"| {' | '.join(columns)} | best other, dB |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for preset in presets:
        pairs = np.array([(one.true_db, one.estimated_db) for one in found if one.preset == preset])
        true, estimated = pairs.T
        error, trusted = estimated - true, estimated >= TRUSTED_DB
        lines.append(
            f"| {preset} | {np.corrcoef(true, estimated)[0, 1]:.2f} | {error.mean():+.1f} "
            f"| {np.sqrt(np.mean(error**2)):.1f} | {trusted.sum()} of {len(trusted)} "
            f"| {extreme(np.min, true[trusted])} | {extreme(np.max, true[~trusted])} |"
        )
    lines += [
        "",
        f"A file is trusted if its estimate is at least {TRUSTED_DB:g} dB. The last two columns are true",
    ]
    lines += ["SI-SDRs, the lowest of a file that is trusted and the highest of one that is not.", ""]
    return "\n".join(lines)


def extreme(pick: Callable[[np.ndarray], float], values: np.ndarray) -> str:
    """The extreme of values, or a dash where there are none."""
    return f"{pick(values):.1f}" if len(values) else "-"


def percent(shares: list[float]) -> str:
    """Shares as percentages, separated by slashes."""
    return " / ".join(f"{100 * share:.0f}" for share in shares)


def picture(found: list[Found], path: Path) -> None:
    """Reliability: coverage against level by SNR, before and after, and the estimated SI-SDR."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    preset = found[-1].preset
    mine = [one for one in found if one.preset == preset]
    levels = np.linspace(0.02, 0.98, 25)
    figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), dpi=80, layout="constrained")
    for axis, row, title in zip(axes, (0, 1), ("before calibration", "after it"), strict=False):
        for snr in sorted({one.snr_db for one in mine}):
            values = np.concatenate([one.places["speech"][row] for one in mine if one.snr_db == snr])
            axis.plot(levels, [(values <= level).mean() for level in levels], label=f"{snr:g} dB")
        axis.plot([0, 1], [0, 1], "k:")
        axis.set(xlabel="probability of the interval", ylabel="share of bins inside", title=title)
    axes[0].legend(fontsize=7)
    axes[2].plot([-10, 25], [-10, 25], "k:")
    axes[2].scatter([one.true_db for one in mine], [one.estimated_db for one in mine], s=12)
    axes[2].set(xlabel="true SI-SDR, dB", ylabel="estimated, dB", title=f"SI-SDR, preset {preset}")
    figure.savefig(path)


def main() -> None:
    """Run the study and write its results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--mixtures", type=int, default=RECIPE.count)
    parser.add_argument("--presets", default="fast,default,best")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    presets = given.presets.split(",")
    recipe = dataclasses.replace(RECIPE, count=given.mixtures)
    items = list(mixtures(recipe, given.data / "speech/valid", given.data / "noise"))
    found = []
    for preset in presets:
        enhancer = Enhancer.from_pretrained(preset=preset, device="cpu")
        for number, mixture in enumerate(items, 1):
            found.append(run(enhancer, preset, mixture))
            print(f"{preset}: {number} of {len(items)}", file=sys.stderr, flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out / "calibration.csv", as_csv(found).encode())
    write_atomically(given.out / "calibration.md", as_markdown(found, presets, len(items)).encode())
    picture(found, given.out / "calibration.png")


if __name__ == "__main__":
    main()
