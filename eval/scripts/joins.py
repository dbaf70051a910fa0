"""Loss by segmenting a long recording: segments compared with the whole, at the joins and elsewhere.

    python eval/scripts/joins.py ../shared/data [--minutes 5] [--segments 10 30] [--preset default] [--forget]

The data folder contains speech/valid and noise/KIND/. Makes a recording of utterances at 5 dB in a noise that
changes to another kind half-way, and enhances it as a whole and in segments. Prints the SI-SDR in dB against
the clean speech, and of one result against the other: in the cross-fades, in equally long parts in the middle
of segments, and overall. A click would show in the largest step between neighbouring samples (in dB relative
to that of the whole). With --forget, segments do not take over the noise spectra of the segment before.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np

from vae_se import Enhancer, load_prior
from vae_se.enhancement import separation
from vae_se.audio.level import active_rms
from vae_se.data.files import list_audio, read_at
from vae_se.enhancement.segments import cut
from vae_se.priors import SignalSpec

RATE, SNR_DB, OVERLAP = 16000, 5.0, 2.0
KINDS = ("aircon", "rain")


def recording(data: Path, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Clean and noisy, (T,) each."""
    clean = _join(data / "speech" / "valid", samples)
    half = -(-samples // 2)
    noise = np.concatenate([_join(data / "noise" / kind, half) for kind in KINDS])[:samples]
    return clean, clean + noise * active_rms(clean, RATE) / active_rms(noise, RATE) * 10 ** (-SNR_DB / 20)


def _join(folder: Path, samples: int) -> np.ndarray:
    """The files of a folder, concatenated at equal level and repeated as often as necessary."""
    pieces, total = [], 0
    for name in itertools.cycle(list_audio(folder)):
        piece = read_at(folder / name, RATE)
        level = active_rms(piece, RATE)
        if level > 0:
            pieces.append(0.1 * piece / level)
            total += piece.size
        if total >= samples:
            return np.concatenate(pieces)[:samples]
    raise AssertionError("a cycle does not end")


def si_sdr(clean: np.ndarray, estimate: np.ndarray) -> float:
    """Le Roux et al., SDR - half-baked or well done?, 2019, in dB."""
    target = (estimate @ clean) / (clean @ clean) * clean
    return float(10 * np.log10((target @ target) / np.sum((target - estimate) ** 2)))


def stretches(samples: int, segment: float, signal: SignalSpec) -> tuple[np.ndarray, np.ndarray]:
    """Masks (T,) of the samples in cross-fades, and in equally long parts half-way between them."""
    length, overlap = (round(seconds * signal.rate / signal.hop) for seconds in (segment, OVERLAP))
    chunks = cut(0, signal.stft.frames(samples), length, overlap)
    middles = [(a.stop + b.start) / 2 * signal.hop for a, b in itertools.pairwise(chunks)]
    # Frames at the end of a cross-fade extend beyond it by one window.
    reach = round(OVERLAP * signal.rate / 2) + signal.window
    time = np.arange(samples)
    half = (middles[1] - middles[0]) / 2 if len(middles) > 1 else middles[0] / 2
    near, far = np.zeros(samples, bool), np.zeros(samples, bool)
    for middle in middles:
        near |= np.abs(time - middle) < reach
        far |= np.abs(time - middle + half) < reach
    return near, far & ~near


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--segments", type=float, nargs="+", default=[10.0, 30.0])
    parser.add_argument("--preset", default="default")
    parser.add_argument("--forget", action="store_true")
    options = parser.parse_args()
    if options.forget:
        separation.follow = lambda state, spectra, mask: state
    samples = round(options.minutes * 60 * RATE)
    clean, noisy = recording(options.data, samples)

    def enhanced(segment: float) -> np.ndarray:
        settings = {"inference__segment": segment, "inference__overlap": OVERLAP}
        enhancer = Enhancer.from_pretrained(preset=options.preset, device="cpu", **settings)
        return enhancer.enhance(noisy, RATE)

    whole = enhanced(options.minutes * 60 + 3 * OVERLAP)
    print(f"preset {options.preset}, {options.minutes:g} min, noisy {si_sdr(clean, noisy):.2f} dB\n")
    print("| segment, s | where | whole | segments | segments against whole | largest step, dB |")
    print("|---|---|---|---|---|---|")
    for segment in options.segments:
        result = enhanced(segment)
        signal = load_prior("default").signal
        near, far = stretches(samples, segment, signal)
        for where, mask in (("joins", near), ("between", far), ("all", np.ones(samples, bool))):
            one, other, truth = whole[mask], result[mask], clean[mask]
            steps = [np.abs(np.diff(x))[mask[1:]].max() for x in (result, whole)]
            print(
                f"| {segment:g} | {where} | {si_sdr(truth, one):.2f} | {si_sdr(truth, other):.2f} "
                f"| {si_sdr(one, other):.2f} | {20 * np.log10(steps[0] / steps[1]):+.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
