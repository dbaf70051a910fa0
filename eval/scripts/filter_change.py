"""Would fewer iterations do, or a stop on the change of the filter? Quality and change by iteration.

    python eval/scripts/filter_change.py [--mixtures 12] [--data-root ../shared/data]

Mixes validation speakers with recorded noise at -2.5 to 12.5 dB, runs ``default`` and prints, every five
iterations, the gain in SI-SDR and ESTOI of the averaged filter at that point, and the change of the posterior
filter since five iterations before: mean square of the difference, weighted by the power, in dB of the filtered
power.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np
import soundfile
import torch
from spectra import analysed

from vae_se import Enhancer
from vae_se.audio.level import active_rms, rms
from vae_se.inference.averaging import averaged_filter
from vae_se.inference.em import posterior_filter, step
from vae_se.metrics.scoring import score_here
from vae_se.rng import Streams, numpy_stream

SNRS = (-2.5, 2.5, 7.5, 12.5)
EVERY, LAST = 5, 40


def mixtures(root: Path, count: int, seconds: float, rate: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of speech and noisy speech, (T,) each."""
    random = numpy_stream(3, "filter-change")
    speech, noise = (
        sorted(path for path in (root / name).rglob("*") if path.suffix in (".wav", ".flac"))
        for name in ("speech/valid", "noise")
    )
    found: list[tuple[np.ndarray, np.ndarray]] = []
    while len(found) < count:
        clean, clean_rate = soundfile.read(random.choice(speech), always_2d=True)  # type: ignore[arg-type]
        other, other_rate = soundfile.read(random.choice(noise), always_2d=True)  # type: ignore[arg-type]
        clean = clean[: round(seconds * rate), 0]
        if (clean_rate, other_rate) != (rate, rate) or clean.size < 0.75 * seconds * rate:
            continue
        other = np.resize(np.roll(other[:, 0], -int(random.integers(len(other)))), clean.size)
        snr = SNRS[len(found) % len(SNRS)]
        gain = active_rms(clean, rate) / max(rms(other, rate), 1e-9) * 10 ** (-snr / 20)
        found.append((clean, clean + gain * other))
    return found


def course(enhancer: Enhancer, clean: np.ndarray, noisy: np.ndarray) -> list[tuple[float, float, float]]:
    """SI-SDR and ESTOI gained, and change of the filter in dB, every EVERY iterations."""
    em, signal = enhancer.em, enhancer.signal
    scale, (spectrum,) = analysed(signal, signal.rate, noisy)
    power, mask = spectrum.abs().square().unsqueeze(0), torch.ones(1, len(spectrum))
    streams = Streams.from_seed(0, ["#0"], [len(spectrum)])
    rows: list[tuple[float, float, float]] = []
    before = None

    def scores(estimate: np.ndarray) -> np.ndarray:
        found = score_here(("si_sdr", "estoi"), clean, estimate, signal.rate)
        return np.array([found["si_sdr"].value, found["estoi"].value])

    state = em.start(power, mask, streams)
    for iteration in range(1, LAST + 1):
        state, _ = step(em, power, mask, state, streams)
        if iteration % EVERY:
            continue
        now = posterior_filter(em, power, mask, state).mean()
        if before is not None:
            kept = streams.state()
            wiener = averaged_filter(em, power, mask, state, streams, em.averaging).wiener[0]
            streams.restore(kept)
            speech = scale * signal.stft.synthesise(wiener * spectrum, noisy.size).numpy()
            change = ((now - before).square() * power).sum() / (now.square() * power).sum()
            rows.append((*(scores(speech) - scores(noisy)), float(10 * change.log10())))
        before = now
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mixtures", type=int, default=12)
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    enhancer = Enhancer.from_pretrained(device="cpu", threads=1)
    with torch.no_grad():
        pairs = mixtures(options.data_root, options.mixtures, 4.0, enhancer.signal.rate)
        courses = [course(enhancer, clean, noisy) for clean, noisy in pairs]
    print("| iterations | SI-SDR gained, dB | largest loss against the last | ESTOI gained | change, dB |")
    print("|---|---|---|---|---|")
    for number, column in enumerate(zip(*courses, strict=True)):
        gained, intelligible, change = (statistics.mean(values) for values in zip(*column, strict=True))
        worst = max(rows[-1][0] - rows[number][0] for rows in courses)
        print(f"| {(number + 2) * EVERY} | {gained:.2f} | {worst:.2f} | {intelligible:.3f} | {change:.1f} |")


if __name__ == "__main__":
    main()
