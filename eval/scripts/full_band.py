"""The whole band of 48 kHz recordings: quality by band, clean speech, gain in pauses, and cost.

    python eval/scripts/full_band.py ../data-more/fullband/valid eval/results/full-band
    python eval/scripts/full_band.py cost
    python eval/scripts/full_band.py picture ../data-more/fullband/valid docs/full-band.png

Mixtures of speakers whom the training of the high band has not heard with noise simulated at 48 kHz, at 0 to
15 dB over the whole band. Constants were chosen on the first sentences of rhasspy nathalie and on VCTK p225
(:func:`mixtures`, for high_band_variants.py); the study has later sentences of nathalie, VCTK p226 and p227,
and other seeds (:func:`fresh_mixtures`). Methods: the noisy recording; the low band alone (``--band 8k``); the
whole band; both as a stream; two simpler filters of the high band; and the ideal filter. ``tracked``: a Wiener
filter with the decision-directed SNR, the noise by an MMSE tracker. ``presence``: the same times a probability
of speech from the low band. ``ideal filter``: the Wiener filter of the true powers, bin by bin.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from vae_se.audio import files
from vae_se.audio.level import active_rms
from vae_se.audio.resample import resample
from vae_se.config import Config
from vae_se.enhancement.enhancer import Enhancer
from vae_se.enhancement.high_band import HighBandFilter
from vae_se.enhancement.live import LiveEnhancer
from vae_se.enhancement.online import OnlineEnhancer
from vae_se.enhancement.stream import Stream
from vae_se.high_band.em import HighBandEM
from vae_se.metrics import METRICS
from vae_se.metrics.bands import band_lsd, band_si_sdr
from vae_se.metrics.base import CannotScore, Pair
from vae_se.noise.tracking import mmse_tracker
from vae_se.noisy_encoder.simulation.classes import simulate
from vae_se.noisy_encoder.simulation.primitives import shaped_noise, unit_power
from vae_se.plots.canvas import figure, save
from vae_se.stft import STFT

RATE = 48000
NOISES = (
    "hiss", "tilted", "fan", "rain", "clatter", "scrape", "gravel", "crackle", "applause", "music", "hum",
    "typing",
)  # fmt: skip
SNRS = (0, 5, 10, 15)
TUNED = "nl_rhasspy_588"  # the last sentence of nathalie, by name, on which constants were chosen
TUNED_SPEAKERS = ("nathalie", "p225")
FRESH_SPEAKERS, FRESH_SEED = ("nathalie", "p226", "p227"), 1000
LEAST_GAIN = -30.0  # dB, of a frame in a pause
COLOURS = 16  # of the picture's palette, for a file below 60 kB
BANDS = {"0-4": (0, 4e3), "4-8": (4e3, 8e3), "8-16": (8e3, 16e3), "16-24": (16e3, 24e3), "8-20": (8e3, 20e3)}


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Clean speech and noise (T,) at 48 kHz, and where they come from."""

    speaker: str
    noise_name: str
    snr: float
    clean: np.ndarray
    noise: np.ndarray

    @property
    def noisy(self) -> np.ndarray:
        """Their sum."""
        return self.clean + self.noise


def clean_speech(folder: Path, count: int) -> list[tuple[str, np.ndarray]]:
    """``count`` utterances of 2 to 6 s on which constants were chosen, the speakers in turn, spread over their
    files."""
    found = []
    speakers = {
        name: sorted(path for path in (folder / name).glob("*") if path.stem <= TUNED or name != "nathalie")
        for name in TUNED_SPEAKERS
    }
    for number in range(count):
        name = sorted(speakers)[number % len(speakers)]
        paths = speakers[name]
        start = (number // len(speakers)) * len(paths) // (count // len(speakers) + 1)
        for path in paths[start:]:
            recording = files.read(path)
            if 2 <= recording.seconds <= 6 and recording.rate >= 44100:
                samples = resample(recording.samples[0].astype(np.float64), recording.rate, RATE)
                found.append((name, samples * 0.05 / active_rms(samples, RATE)))
                break
    return found


def noise_of(name: str, samples: int, seed: int) -> np.ndarray:
    """Noise (samples,) of unit power at 48 kHz."""
    random = np.random.default_rng([seed, NOISES.index(name)])
    if name == "hiss":
        return unit_power(shaped_noise(random, samples, RATE, np.zeros(8)))
    if name == "tilted":
        return unit_power(shaped_noise(random, samples, RATE, np.linspace(0, -25, 64)))
    return simulate(name, samples, RATE, random)


def fresh_speech(folder: Path, count: int) -> list[tuple[str, np.ndarray]]:
    """``count`` utterances of 2 to 9 s on which nothing was tuned, the speakers in turn."""
    readings = {}
    for speaker in FRESH_SPEAKERS:
        paths = sorted(path for path in (folder / speaker).glob("*") if path.stem > TUNED)
        recordings = (files.read(path) for path in paths[:: max(1, len(paths) // count)])
        readings[speaker] = [one for one in recordings if 2 <= one.seconds <= 9 and one.rate >= 44100]
    found = []
    for number in range(count):
        speaker = FRESH_SPEAKERS[number % len(FRESH_SPEAKERS)]
        own = readings[speaker]
        recording = own[number // len(FRESH_SPEAKERS) % len(own)]
        samples = resample(recording.samples[0].astype(np.float64), recording.rate, RATE)
        found.append((speaker, samples * 0.05 / active_rms(samples, RATE)))
    return found


def mixtures(folder: Path, count: int = 12) -> list[Mixture]:
    """The mixtures on which constants of the high band were chosen."""
    return mixed(clean_speech(folder, count), 0)


def fresh_mixtures(folder: Path, count: int = 24) -> list[Mixture]:
    """Mixtures on which nothing was tuned."""
    return mixed(fresh_speech(folder, count), FRESH_SEED)


def mixed(speech: list[tuple[str, np.ndarray]], seed: int) -> list[Mixture]:
    """Speech and noise in turn, at the SNR in turn; the SNR is that of the active speech in the whole band."""
    made = []
    for number, (speaker, clean) in enumerate(speech):
        name, snr = NOISES[number % len(NOISES)], SNRS[(number + number // len(NOISES)) % len(SNRS)]
        noise = noise_of(name, clean.size, seed + number)
        noise = noise * active_rms(clean, RATE) * 10 ** (-snr / 20)
        made.append(Mixture(speaker, name, snr, clean, noise))
    return made


class TrackedFilter(HighBandEM):
    """A gain from tracked noise: Ephraim and Malah's decision-directed SNR in a Wiener filter."""

    def filter(
        self,
        power: torch.Tensor,
        log_variance: torch.Tensor,
        triangles: torch.Tensor,
        activations: torch.Tensor | None = None,
    ) -> torch.Tensor:
        noisy = power.double().numpy()
        noise = mmse_tracker(noisy, 0.016) + 1e-12
        out, last = np.empty_like(noisy), np.zeros(noisy.shape[1])
        for n in range(len(noisy)):
            snr = 0.94 * last / noise[n] + 0.06 * np.maximum(noisy[n] / noise[n] - 1, 0)
            out[n] = np.maximum(snr, 0.003) / (1 + np.maximum(snr, 0.003))
            last = np.square(out[n]) * noisy[n]
        return torch.from_numpy(out.astype(np.float32))


class PresenceFilter(HighBandFilter):
    """The tracked gain times the part of the low band (2 to 8 kHz) that is speech, frame by frame."""

    def filtered(self, high, scale, frames, weight, speech_power, activations):  # type: ignore[no-untyped-def]
        level = speech_power[:, 128:].mean(-1)
        presence = level / (level + 10 ** (-4.5))
        return super().filtered(high, scale, frames, weight * presence, speech_power, activations)


def enhancers() -> dict[str, Enhancer]:
    """The methods by name."""
    made = {"low band": Enhancer.from_pretrained(threads=1, output__band="8k")}
    for name in ("whole band", "tracked", "presence"):
        made[name] = Enhancer.from_pretrained(threads=1)
    decoder = made["whole band"]._high_band().decoder
    made["tracked"].__dict__["_loaded_high_band"] = HighBandFilter(decoder, TrackedFilter())
    made["presence"].__dict__["_loaded_high_band"] = PresenceFilter(decoder, TrackedFilter())
    return made


def streams() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Functions (noisy (T,)) -> speech (T,) of streams by name."""

    def stream(band: str) -> Callable[[np.ndarray], np.ndarray]:
        config = Config().override({**OnlineEnhancer.settings, "output.band": band})
        enhancer = OnlineEnhancer.from_pretrained(RATE, config=config, threads=1).enhancer

        def enhanced(noisy: np.ndarray) -> np.ndarray:
            online = OnlineEnhancer(enhancer, RATE)
            return np.concatenate([online.push(noisy), online.flush()[0]])

        return enhanced

    return {"stream, low band": stream("8k"), "stream, whole band": stream("full")}


def ideal(mixture: Mixture) -> np.ndarray:
    """The noisy recording through the Wiener filter of the true powers."""
    stft = STFT(window=3072, hop=768)
    clean, noise = (stft.analyse(torch.from_numpy(x)) for x in (mixture.clean, mixture.noise))
    wiener = clean.abs().square() / (clean.abs().square() + noise.abs().square() + 1e-20)
    return stft.synthesise(wiener * (clean + noise), mixture.clean.size).numpy()


def band_scores(clean: np.ndarray, estimate: np.ndarray) -> dict[str, float]:
    """SI-SDR and LSD by band, and PESQ-wb of the 16 kHz version."""
    pair, scores = Pair(clean, estimate, RATE), {}
    for name, (low, high) in BANDS.items():
        for kind, function in (("si_sdr", band_si_sdr), ("lsd", band_lsd)):
            try:
                scores[f"{kind} {name}"] = function(pair, low, high)
            except CannotScore:
                scores[f"{kind} {name}"] = float("nan")
    scores["pesq_wb"] = METRICS["pesq_wb"].function(pair)
    return scores


def frame_levels(samples: np.ndarray, low: float = 8e3) -> np.ndarray:
    """Level in dB above ``low`` Hz of frames of 20 ms."""
    size = RATE // 50
    cut = samples[: samples.size // size * size].reshape(-1, size) * np.hanning(size)
    power = np.square(np.abs(np.fft.rfft(cut)))[:, int(low * size / RATE) :].sum(1)
    return np.asarray(10 * np.log10(power + 1e-14))


def pause_gain(mixture: Mixture, estimate: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation in dB of the gain above 8 kHz in pauses of the speech.

    The gain of a frame is the level of the estimate less that of the noisy recording, at least
    :data:`LEAST_GAIN`: noise that is 30 dB down is gone, by how much makes no difference. Frames whose noise
    lies more than 60 dB below the speech are inaudible at any gain and do not count. A constant gain has a
    standard deviation of 0.
    """
    clean, noisy = frame_levels(mixture.clean, 0), frame_levels(mixture.noisy)
    speech = np.median(clean[clean > clean.max() - 25])
    pauses = (clean < clean.max() - 45) & (noisy > speech - 60)
    if pauses.sum() < 8:
        return float("nan"), float("nan")
    gain = np.maximum(frame_levels(estimate) - noisy, LEAST_GAIN)[pauses]
    return float(gain.mean()), float(gain.std())


def study(folder: str, target: str, count: str = "24") -> None:
    torch.set_num_threads(1)
    methods: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        name: functools.partial(enhancer.enhance, rate=RATE) for name, enhancer in enhancers().items()
    }
    methods |= streams()
    rows: list[dict[str, object]] = []
    for number, mixture in enumerate(fresh_mixtures(Path(folder), int(count))):
        about = {"speaker": mixture.speaker, "noise": mixture.noise_name, "snr": mixture.snr}
        noisy, clean = mixture.noisy.astype(np.float32), mixture.clean.astype(np.float32)
        found = {name: method(noisy).astype(np.float64) for name, method in methods.items()}
        found["ideal filter"] = ideal(mixture)
        rows.append({"method": "noisy", **about, **band_scores(mixture.clean, mixture.noisy)})
        for name, speech in found.items():
            mean, spread = pause_gain(mixture, speech)
            rows.append(
                {"method": name, **about, **band_scores(mixture.clean, speech),
                 "pause gain": mean, "pause gain sd": spread}
            )  # fmt: skip
        if number % 4 == 0:
            for name in ("low band", "whole band", "stream, whole band"):
                speech = methods[name](clean).astype(np.float64)
                rows.append({"method": f"clean in, {name}", **about, **band_scores(mixture.clean, speech)})
        print(number, flush=True)
        write(rows, Path(target))


def write(rows: list[dict[str, object]], target: Path) -> None:
    """The CSV of all rows, and the Markdown of their means."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with target.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.3f}" if isinstance(v, float) else v for k, v in row.items()})
    target.with_suffix(".md").write_text(summary(rows))


def summary(rows: list[dict[str, object]]) -> str:
    """Means over the mixtures, as Markdown."""
    names = list(dict.fromkeys(str(row["method"]) for row in rows))

    def mean(name: str, column: str) -> str:
        values = [float(row.get(column, np.nan)) for row in rows if row["method"] == name]  # type: ignore[arg-type]
        values = [value for value in values if np.isfinite(value)]
        return f"{np.mean(values):.1f}" if values else ""

    lines = [
        "# The whole band",
        "",
        "`python eval/scripts/full_band.py ../data-more/fullband/valid eval/results/full-band`: "
        f"{sum(row['method'] == 'noisy' for row in rows)} mixtures of {len({row['speaker'] for row in rows})} "
        "speakers with simulated noise at 48 kHz, 0 to 15 dB; [full_band.py](../scripts/full_band.py) describes"
        " the methods. Means over mixtures, in dB; bands in kHz. [docs/full-band.md](../../docs/full-band.md) "
        "explains the model.",
    ]
    titles = {"si_sdr": "SI-SDR by band", "lsd": "Log-spectral distance by band (lower is better)"}
    for kind, title in titles.items():
        lines += [
            "",
            f"## {title}",
            "",
            "| method | " + " | ".join(BANDS) + " |",
            "|---|" + "---|" * len(BANDS),
        ]
        lines += [
            f"| {name} | " + " | ".join(mean(name, f"{kind} {band}") for band in BANDS) + " |" for name in names
        ]
    lines += [
        "", "## Low band, and the gain above 8 kHz in pauses", "",
        "The gain in pauses (frames of 20 ms, 45 dB below the loudest): its mean says how much of the noise is "
        "left, its standard deviation within a recording how steady that is. A gain below -30 dB counts as "
        "-30 dB. A constant gain has a standard deviation of 0.", "",
        "| method | PESQ-wb (16 kHz) | mean gain in pauses | standard deviation |", "|---|---|---|---|",
    ]  # fmt: skip
    for name in names:
        values = [float(row["pesq_wb"]) for row in rows if row["method"] == name]  # type: ignore[arg-type]
        gains = mean(name, "pause gain"), mean(name, "pause gain sd")
        lines.append(f"| {name} | {np.mean(values):.2f} | {gains[0]} | {gains[1]} |")
    return "\n".join(lines) + "\n"


def cost() -> None:
    """Processor seconds for the same sound at 16 and 48 kHz, alternately: the ratio of the medians."""
    random = np.random.default_rng(0)
    wide = (0.1 * random.standard_normal(8 * RATE)).astype(np.float32)
    sounds = {16000: resample(wide, RATE, 16000), RATE: wide}
    whole = Enhancer.from_pretrained(threads=1)

    def of_stream(kind: type[Stream]) -> Callable[[np.ndarray, int], np.ndarray]:
        enhancer = kind.from_pretrained(RATE, threads=1).enhancer

        def streamed(samples: np.ndarray, rate: int) -> np.ndarray:
            stream = kind(enhancer, rate)
            return np.concatenate([stream.push(samples), stream.flush()[0]])

        return streamed

    kinds = {"stream": of_stream(OnlineEnhancer), "call": of_stream(LiveEnhancer)}
    for name, method in {"recording": whole.enhance, **kinds}.items():
        times: dict[int, list[float]] = {rate: [] for rate in sounds}
        for _ in range(4):
            for rate, samples in sounds.items():
                started = time.process_time()
                method(samples, rate)
                times[rate].append(time.process_time() - started)
        low, high = (float(np.median(times[rate][1:])) for rate in sounds)
        print(f"{name}: 16 kHz {low:.2f} s, 48 kHz {high:.2f} s, ratio {high / low:.2f}")


def picture(folder: str, target: str, number: str = "3") -> None:
    """Spectrograms up to 24 kHz of one mixture: noisy, low band alone, whole band, clean."""
    from PIL import Image

    mixture = fresh_mixtures(Path(folder))[int(number)]
    noisy = mixture.noisy.astype(np.float32)
    methods = enhancers()
    panels = {
        f"noisy: {mixture.noise_name}, {mixture.snr:g} dB": mixture.noisy,
        "--band 8k": methods["low band"].enhance(noisy, RATE),
        "the whole band": methods["whole band"].enhance(noisy, RATE),
        "clean": mixture.clean,
    }
    made = figure(9.0, 5.0)
    axes = made.subplots(2, 2, sharex=True, sharey=True).flat
    for axis, (title, samples) in zip(axes, panels.items(), strict=True):
        spectrum = STFT(window=1536, hop=512).analyse(torch.from_numpy(np.asarray(samples, np.float32)))
        level = 10 * np.log10(spectrum.abs().square().numpy().T + 1e-12)
        axis.imshow(
            level, origin="lower", aspect="auto", vmin=-85, vmax=-15, cmap="magma",
            extent=(0, samples.size / RATE, 0, 24),
        )  # fmt: skip
        axis.set_title(title, fontsize=9)
        axis.axhline(8, color="white", linewidth=0.5)
    made.supylabel("kHz", fontsize=9)
    made.supxlabel("s", fontsize=9)
    save(made, target, dpi=80)
    Image.open(target).convert("RGB").quantize(COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    commands = {"cost": cost, "picture": picture}
    if sys.argv[1] in commands:
        commands[sys.argv[1]](*sys.argv[2:])
    else:
        study(*sys.argv[1:])
