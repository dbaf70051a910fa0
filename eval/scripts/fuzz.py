"""Fuzzing of everything that reads files: no crash, no hang, no unbounded memory.

    python eval/scripts/fuzz.py --count 10000 [--seed 0] [--keep FOLDER]

Mutates files of every container that libsndfile writes, streams, priors, noise dictionaries and manifests:
bits are flipped, fields replaced by extreme numbers, parts removed, repeated and swapped; JSON values are
replaced, added and removed. Audio is read and enhanced in turn by log-MMSE, by EM without iterations, and in
parts like a long file. Two outcomes are allowed: success with as many finite samples as the input has, or an
error with a hint. Child processes with limits of memory and time do the work, so that crashes are detected,
too.

Prints a JSON object with the counts. The exit code is 1 after any other outcome, whose file is kept.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import multiprocessing
import resource
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from damaged_files import mutate, save_noisy_encoder_of, seeds, small_prior

MEMORY = 6 << 30  # address space of a child in bytes; torch alone maps half of it
SECONDS = 20.0  # time limit for one file


class Target:
    """Processes a file as a user's command would, and returns the outcome."""

    def __init__(self, folder: Path) -> None:
        import torch

        from vae_se.enhancement.enhancer import Enhancer
        from vae_se.priors import save_prior

        torch.set_num_threads(1)
        self.folder, self.turn = folder, 0
        save_prior(small_prior(), folder / "prior", "ffvae")
        save_noisy_encoder_of(folder)
        em = {"inference__iterations": 0, "inference__averaging": 1, "device": "cpu"}
        self.em = Enhancer.from_pretrained(folder / "prior", **em)
        self.baseline = Enhancer.from_pretrained(method="log-mmse", device="cpu")

    def run(self, kind: str, path: Path) -> str:
        """The outcome of one file. Raises any exception of the package that is not a VaeSeError."""
        from vae_se.errors import VaeSeError

        try:
            getattr(self, "do_" + kind.replace("-", "_"))(path)
        except VaeSeError as error:
            if not str(error) or not error.hint:
                raise AssertionError(f"no hint: {error}") from error
            return "refused"
        return "used"

    def do_audio(self, path: Path) -> None:
        from vae_se.audio import files
        from vae_se.enhancement.long_file import enhance_long

        self.turn += 1
        out = self.folder / "out.wav"
        if self.turn % 3 == 0:
            enhance_long(self.em.segmented_em, self.em.config.output, path, out)
            return
        recording = files.read(path)
        if recording.samples.size > 1 << 22:  # a damaged header that claims hours of audio: harmless, but slow
            return
        enhancer = self.em if self.turn % 3 == 1 else self.baseline
        speech = enhancer.enhance(recording.samples, recording.rate)
        assert speech.shape == recording.samples.shape
        assert np.isfinite(speech).all()
        files.write(out, speech, recording)

    def do_stream(self, path: Path) -> None:
        from vae_se.audio.pcm import Decoder, read_wav_header
        from vae_se.enhancement.online import OnlineEnhancer

        with path.open("rb") as stream:
            start = read_wav_header(stream)
            decoder = Decoder(start.form)
            online = OnlineEnhancer(self.em, start.form.rate, start.form.channels)
            came = given = 0
            while data := stream.read(1000):
                part = decoder.push(data)
                came, given = came + part.shape[1], given + online.push(part).shape[1]
            assert came == given + online.flush().shape[1]

    def do_prior_config(self, path: Path) -> None:
        self._load("prior/config.json", path)

    def do_prior_weights(self, path: Path) -> None:
        self._load("prior/weights.safetensors", path)

    def do_noisy_encoder_config(self, path: Path) -> None:
        self._load("noisy_encoder/config.json", path)

    def do_noisy_encoder_weights(self, path: Path) -> None:
        self._load("noisy_encoder/weights.safetensors", path)

    def _load(self, name: str, path: Path) -> None:
        """Load the model or manifest in which ``path`` replaces ``name``."""
        from vae_se.noisy_encoder.store import load_noisy_encoder
        from vae_se.priors import load_prior

        place = self.folder / name
        before = place.read_bytes()
        try:
            place.write_bytes(path.read_bytes())
            if name.startswith("prior"):
                load_prior(place.parent)
            else:
                load_noisy_encoder(place.parent, small_prior())
        finally:
            place.write_bytes(before)

    def do_noise(self, path: Path) -> None:
        from vae_se.noise.store import load_dictionary

        load_dictionary(path)

    def do_manifest(self, path: Path) -> None:
        from vae_se.data.manifest import read_manifest

        read_manifest(path)


def child(pipe: Any, folder: Path) -> None:
    """Process files from a pipe under limits of memory and time."""
    # The decoders of libsndfile write to stderr.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target = Target(folder)
    pipe.send("ready")
    with contextlib.suppress(EOFError):  # the parent has closed the pipe
        while True:
            work = pipe.recv()
            try:
                pipe.send((target.run(*work), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
            except BaseException:
                pipe.send(("failed: " + traceback.format_exc(), 0))


class Fuzzer:
    """A child process, which is replaced when it dies."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.peak, self.number = folder, 0, 0
        self._context = multiprocessing.get_context("spawn")
        self._start()

    def _start(self) -> None:
        self.number += 1
        own = self.folder / f"child{self.number}"
        own.mkdir()
        self.pipe, other = self._context.Pipe()
        self.process = self._context.Process(target=child, args=(other, own), daemon=True)
        self.process.start()
        other.close()
        assert self.pipe.recv() == "ready"

    def run(self, kind: str, path: Path) -> str:
        """The outcome: used, refused, or the failure."""
        self.pipe.send((kind, path))
        if not self.pipe.poll(SECONDS):
            self.process.kill()
            self._start()
            return f"failed: more than {SECONDS} s"
        try:
            verdict, peak = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode
            self._start()
            return f"failed: the process died, exit code {code}"
        self.peak = max(self.peak, peak)
        return str(verdict)


def main() -> int:
    """Run all files and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    started, failures = time.perf_counter(), 0
    with tempfile.TemporaryDirectory(prefix="vae-se-fuzz-") as name:
        folder = Path(name)
        with contextlib.chdir(
            folder
        ):  # libsndfile writes the resource fork of an SD2 file into the working directory
            intact = seeds(folder)
        fuzzer = Fuzzer(folder)
        for number in range(options.count):
            rng = np.random.default_rng([options.seed, number])
            kind, suffix, data = intact[int(rng.integers(len(intact)))]
            path = folder / f"mutant{suffix}"
            path.write_bytes(mutate(data, kind, rng))
            verdict = fuzzer.run(kind, path)
            counts[kind][verdict if verdict in ("used", "refused") else "failed"] += 1
            if verdict not in ("used", "refused"):
                failures += 1
                options.keep.mkdir(exist_ok=True)
                (options.keep / f"{options.seed}-{number}-{kind}{suffix}").write_bytes(path.read_bytes())
                print(f"{options.seed}-{number}-{kind}{suffix}: {verdict}", file=sys.stderr, flush=True)
            if number % 500 == 499:
                print(f"{number + 1} files, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    print(json.dumps({
        "files": options.count, "seed": options.seed, "failed": failures,
        "peak_resident_mib": fuzzer.peak // 1024, "seconds": round(time.perf_counter() - started),
        "libsndfile": soundfile.__libsndfile_version__,
        "by_kind": {kind: dict(found) for kind, found in sorted(counts.items())},
    }))  # fmt: skip
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
