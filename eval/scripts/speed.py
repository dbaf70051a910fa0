"""Computation time of enhancement: in total, and by stage.

    python eval/scripts/speed.py [--seconds 30] [--threads 2] [--repeats 3] [--out eval/results/speed.md]

Times the presets on the example, repeated to the given duration, in one process after a warm-up; the start-up
is timed separately. Also varies duration, draws, iterations, rank and batch size, and times each stage. All
numbers are medians over repetitions of wall time per second of audio; the start-up is in seconds. Takes three
minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from vae_se.audio import files
from vae_se.audio.level import active_rms
from vae_se.audio.resample import resample
from vae_se.enhancement.channel import Channel
from vae_se.enhancement.enhancer import Enhancer
from vae_se.inference.draws import Draws
from vae_se.inference.estep.gradient import Adam
from vae_se.inference.target import Target
from vae_se.inference.wiener import filter_moments
from vae_se.noise.multiplicative import NMFState, draw_weight, product, update_h, update_w
from vae_se.rng import Streams

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "noisy.wav"
CPU = torch.device("cpu")


def recording(seconds: float) -> tuple[np.ndarray, int]:
    """The example, repeated and cut to a duration."""
    samples, rate = soundfile.read(EXAMPLE, dtype="float32")
    wanted = round(seconds * rate)
    return np.tile(samples, -(-wanted // samples.size))[:wanted], rate


def median(action: Callable[[], Any], repeats: int) -> float:
    """Median wall time of an action in seconds, after a warm-up run."""
    times = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def factor(seconds: float, repeats: int, preset: str = "default", batch: int = 1, **overrides: object) -> float:
    """Real-time factor of a preset with overrides, for ``batch`` recordings together."""
    enhancer = Enhancer.from_pretrained(preset=preset, device="cpu", **overrides)
    samples, rate = recording(seconds)
    items = [samples] * batch
    enhancer.enhance(samples[:rate], rate)
    names = [str(i) for i in range(batch)]
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        enhancer.enhance_batch(items, rate, names=names)
        times.append(time.perf_counter() - started)
    return statistics.median(times) / (batch * seconds)


def totals(seconds: float, repeats: int) -> Iterator[tuple[str, float]]:
    """Rows of the first table."""
    for preset in ("fast", "default", "best"):
        yield preset, factor(seconds, 1 if preset == "best" else repeats, preset)
    for length in (5.0, 15.0, 60.0):
        yield f"default, {length:g} s", factor(length, 1 if length > 30 else repeats)
    yield "default, 6 files of 5 s together", factor(5.0, 1, batch=6)
    short = min(seconds, 15.0)
    for draws in (1, 4):
        yield f"default, {draws} draws, {short:g} s", factor(short, repeats, estep__draws=draws)
    for iterations in (20, 80):
        yield (
            f"default, {iterations} iterations, {short:g} s",
            factor(short, repeats, inference__iterations=iterations),
        )
    for rank in (2, 32):
        yield f"default, rank {rank}, {short:g} s", factor(short, repeats, noise__rank=rank)


def stages(seconds: float, repeats: int) -> Iterator[tuple[str, float, str]]:
    """Rows of the second table: stage, seconds per second of audio, number of times that `default` runs it."""
    enhancer = Enhancer.from_pretrained(device="cpu")
    settings, prior = enhancer.config.inference, enhancer.prior
    estep, rank = enhancer.em.estep, enhancer.em.noise.rank
    samples, rate = recording(seconds)
    with tempfile.TemporaryDirectory() as folder:
        path, other = Path(folder) / "in.wav", Path(folder) / "out.wav"
        soundfile.write(path, samples, rate)
        read = files.read(path)
        yield "read", median(lambda: files.read(path), repeats), "1"
        yield "write", median(lambda: files.write(other, read.samples, read), repeats), "1"
    yield "level", median(lambda: active_rms(samples, rate), repeats), "1"
    twice = median(lambda: resample(resample(samples, rate, 48000), 48000, rate), repeats)
    yield "resample from and to 48 kHz", twice, "1, where the rate is another"

    def channel() -> Channel:
        return Channel(samples, 1.0, prior.signal.stft, CPU, keep=False)

    made = channel()
    frames = made.frames
    yield "STFT", median(lambda: made.power(0, frames), repeats), "2"
    spectrum = made.spectrum(0, frames)
    synthesis = median(lambda: prior.signal.stft.overlap_add(spectrum, 0, made.speech), repeats)
    yield "inverse STFT", synthesis, "1"

    streams = Streams.from_seed(0, ["speed"], [frames])
    power, mask = made.power(0, frames).unsqueeze(0) + 1e-8, torch.ones(1, frames)
    bins, draws = power.shape[-1], estep.draws
    state = NMFState(streams.uniform_table(rank, bins) + 0.1, streams.uniform(rank) + 0.1)
    target = Target(prior, power, product(state), torch.ones(1, frames), mask)
    z = streams.normal(draws, prior.latent_dim).transpose(1, 2).contiguous()
    yield "encode", median(lambda: prior.encode(power), repeats), "1"
    every = f"{settings.iterations + settings.averaging}"
    leaf = z.clone().requires_grad_()
    yield f"E-step: decode {draws} draws", median(lambda: prior.decode(leaf), repeats), every
    log_variance = prior.decode(leaf)
    eta = log_variance.detach()
    slope = target.log_likelihood_and_gradient(eta)[1]
    both = median(lambda: target.log_likelihood_and_gradient(eta), repeats)
    yield "E-step: likelihood and its gradient", both, every
    back = median(lambda: torch.autograd.grad(log_variance, leaf, slope, retain_graph=True), repeats)
    yield "E-step: back through the decoder", back, every
    adam = Adam.start(torch.stack([z[:, 0], z[:, 0]]))
    yield "E-step: Adam", median(lambda: adam.ascend(adam.parameters, 0.1), repeats), every
    samples_drawn = Draws.equal(z, eta)
    with torch.no_grad():
        log_weight, gain = samples_drawn.log_weight, enhancer.em.gain
        each = f"{settings.iterations}"
        yield "M-step: gain", median(lambda: gain.update(target, eta, log_weight), repeats), each
        yield "M-step: speech variance", median(lambda: target.speech_variance(eta), repeats), each
        speech, weight = target.speech_variance(eta), draw_weight(log_weight, mask)
        yield "M-step: H", median(lambda: update_h(state, power, speech, weight), repeats), each
        yield "M-step: W", median(lambda: update_w(state, power, speech, weight), repeats), each
        yield "filter", median(lambda: filter_moments(target, samples_drawn), repeats), f"{settings.averaging}"


def start_up() -> float:
    """Seconds of a process that loads the enhancer and exits."""
    code = "from vae_se.enhancement.enhancer import Enhancer; Enhancer.from_pretrained(device='cpu')"
    return median(lambda: subprocess.run([sys.executable, "-c", code], check=True), 1)


def main() -> None:
    """Print the tables, and write them to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lines: list[str] = []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    say("# Speed\n")
    say(f"    python eval/scripts/speed.py --seconds {options.seconds:g} --threads {options.threads}\n")
    say(f"{_processor()}, {os.cpu_count()} cores, {options.threads} threads; torch {torch.__version__}; load")
    say(f"before the run {os.getloadavg()[0]:.1f}. Seconds of computing (wall) per second of audio.\n")
    say(f"Start-up of a process (apart from what follows): {start_up():.1f} s.\n")
    say(f"{options.seconds:g} s of audio unless a row says otherwise:\n\n| what | s per s |\n|---|---|")
    for name, value in totals(options.seconds, options.repeats):
        say(f"| {name} | {value:.3f} |")
    say("\nStages of `default`, each by itself:\n")
    say("| stage | once, ms per s | times | in all, s per s |\n|---|---|---|---|")
    for stage, value, times in stages(options.seconds, options.repeats):
        once = value / options.seconds
        say(f"| {stage} | {1000 * once:.3f} | {times} | {once * int(times.split(',')[0]):.4f} |")
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n")


def _processor() -> str:
    names = [x.split(":")[1].strip() for x in _cpuinfo() if x.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
