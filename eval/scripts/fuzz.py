"""Damaged files through everything that reads files: no crash, no hang, no memory without end.

python eval/scripts/fuzz.py --count 10000 [--seed 0] [--keep FOLDER]

Files of every container that libsndfile writes, streams, priors, noise dictionaries and manifests of mixtures
are mutated: bits flipped, fields replaced by extreme numbers, parts cut, doubled and swapped; JSON has values
replaced, added and removed. Audio is read and enhanced by log-MMSE, by the EM path without iterations, or in
parts as a long file is, in turn. What is allowed to happen is success, with as many finite samples out as
there were in, or an error with a hint. Children do the work under a limit of memory and of time, so that a
crash is found, too.

Prints a JSON object with the counts. Exit code 1 where something else happened; the file that did it is kept.
"""

from __future__ import annotations

import argparse
import collections
import io
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

MEMORY = 6 << 30  # bytes of address space of a child; torch alone maps half of it
SECONDS = 20.0  # for one file
EXTREMES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1,
            1 << 40, (1 << 63) - 1, (1 << 64) - 1)  # fmt: skip
VALUES = (None, True, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**9, 10**30, "", "x", "../../x", [],
          [[]], {}, [10**9], {"a": 1}, "\0", "é" * 1000)  # fmt: skip


def seeds(folder: Path) -> list[tuple[str, str, bytes]]:
    """(kind, suffix, bytes) of intact files."""
    time_axis = np.arange(1600) / 16000
    sound = 0.3 * np.sin(2 * np.pi * 440 * time_axis) + 0.05 * np.random.default_rng(0).standard_normal(1600)
    found = []
    for container in soundfile.available_formats():
        for subtype in soundfile.available_subtypes(container):
            for channels in (1, 2):
                target = io.BytesIO()
                shaped = np.stack([sound] * channels, 1)
                try:
                    soundfile.write(target, shaped, 16000, format=container, subtype=subtype)
                except (soundfile.LibsndfileError, ValueError, TypeError):
                    continue
                if container != "RAW":
                    found.append(("audio", ".bin", target.getvalue()))
    wavs = []
    for subtype in ("PCM_16", "PCM_24", "PCM_32", "FLOAT"):
        target = io.BytesIO()
        soundfile.write(target, sound, 16000, format="WAV", subtype=subtype)
        wavs.append(("stream", ".wav", target.getvalue()))
    return found + 10 * wavs + 20 * others(folder)


def others(folder: Path) -> list[tuple[str, str, bytes]]:
    """A prior, a recognition network, a noise dictionary and a manifest, all small."""
    import torch

    from vae_se.data.manifest import write_manifest
    from vae_se.data.mixing import Draw, Recipe
    from vae_se.noise.store import NoiseDictionary, save_dictionary
    from vae_se.priors import save_prior

    save_prior(small_prior(), folder / "prior", "ffvae")
    save_dictionary(
        NoiseDictionary(torch.rand(3, 33) + 0.1, 16000, 64, 16, ("a.wav",)), folder / "noise.safetensors"
    )
    draw = Draw("0000_a", ("a.wav",), ("0",), 1.0, 1600, "n.wav", "0", 0, False, 0.5, 5.0, "n", "a", 16000, 0)
    write_manifest(folder / "manifest.jsonl", Recipe(), [draw, draw])
    save_recogniser_of(folder)
    named = {
        "prior-config": folder / "prior/config.json",
        "prior-weights": folder / "prior/weights.safetensors",
        "recogniser-config": folder / "recogniser/config.json",
        "recogniser-weights": folder / "recogniser/weights.safetensors",
        "noise": folder / "noise.safetensors",
        "manifest": folder / "manifest.jsonl",
    }
    return [(kind, path.suffix, path.read_bytes()) for kind, path in named.items()]


def small_prior() -> Any:
    """A prior of the least size, the same every time."""
    import torch

    from vae_se.priors import PRIORS, Signal

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PRIORS["ffvae"]((8,), 2, "tanh", Signal(16000, 64, 16))


def save_recogniser_of(folder: Path) -> None:
    """A recognition network for :func:`small_prior`."""
    from vae_se.recognition.network import Recogniser
    from vae_se.recognition.store import save_recogniser

    save_recogniser(Recogniser(33, 2, 8, 4), small_prior(), folder / "recogniser")


def mutate(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """A damaged copy."""
    text = {"manifest": 0.8, "noise": 0.3}.get(kind, 0.8 if kind.endswith("config") else 0.0)
    if rng.random() < text:
        return mutate_json(data, kind, rng)
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        # Most of what matters stands at the beginning.
        size = len(out) if rng.random() < 0.4 else min(len(out), 128)
        if not size:
            break
        place, choice = int(rng.integers(size)), rng.integers(6)
        if choice == 0:
            out[place] ^= 1 << int(rng.integers(8))
        elif choice == 1:
            width = int(rng.choice([1, 2, 4, 8]))
            number = int(rng.choice(np.array(EXTREMES, np.uint64))) & ((1 << 8 * width) - 1)
            out[place : place + width] = number.to_bytes(width, str(rng.choice(["little", "big"])))
        elif choice == 2:
            out[place : place + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(1, 9)))
        elif choice == 3:
            del out[place : place + int(rng.integers(1, 2 + len(out) // 2))]
        elif choice == 4:
            other = int(rng.integers(size))
            out[place:place] = out[other : other + int(rng.integers(1, 200))]
        else:
            del out[place:]
    return bytes(out)


def mutate_json(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Somewhere in a JSON text (or in one line of several) another value, one more key, or one key less."""
    if kind == "noise":
        length = int.from_bytes(data[:8], "little")
        header = mutate_json(data[8 : 8 + length], "config", rng)
        return len(header).to_bytes(8, "little") + header + data[8 + length :]
    lines = data.split(b"\n") if kind == "manifest" else [data]
    which = int(rng.integers(len(lines)))
    try:
        tree = json.loads(lines[which])
    except ValueError:
        return data[: len(data) // 2]
    node, parent = tree, None
    key: Any = None
    while isinstance(node, (dict, list)) and node and (parent is None or rng.random() < 0.7):
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        parent, key = node, keys[int(rng.integers(len(keys)))]
        node = parent[key]
    value = VALUES[int(rng.integers(len(VALUES)))]
    if parent is None or rng.random() < 0.05:
        tree = value
    elif rng.random() < 0.15:
        del parent[key]
    elif rng.random() < 0.1 and isinstance(parent, dict):
        parent["another"] = value
    else:
        parent[key] = value
    text = json.dumps(tree)
    if rng.random() < 0.02:
        text = "[" * 100_000 + text
    lines[which] = text.encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


class Target:
    """Does with a file what a user's command would do; says what came of it."""

    def __init__(self, folder: Path) -> None:
        import torch

        from vae_se.enhancer import Enhancer
        from vae_se.priors import save_prior

        torch.set_num_threads(1)
        self.folder, self.turn = folder, 0
        save_prior(small_prior(), folder / "prior", "ffvae")
        save_recogniser_of(folder)
        em = {"inference__iterations": 0, "inference__averaging": 1, "device": "cpu"}
        self.em = Enhancer.from_pretrained(folder / "prior", **em)
        self.baseline = Enhancer.from_pretrained(method="log-mmse", device="cpu")

    def run(self, kind: str, path: Path) -> str:
        """Raises whatever the package raises."""
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
        from vae_se.longfile import enhance_long

        self.turn += 1
        out = self.folder / "out.wav"
        if self.turn % 3 == 0:
            enhance_long(self.em, path, out)
            return
        recording = files.read(path)
        if recording.samples.size > 1 << 22:  # sound without end, which is no harm, and takes long
            return
        enhancer = self.em if self.turn % 3 == 1 else self.baseline
        speech = enhancer.enhance(recording.samples, recording.rate)
        assert speech.shape == recording.samples.shape
        assert np.isfinite(speech).all()
        files.write(out, speech, recording)

    def do_stream(self, path: Path) -> None:
        from vae_se.audio.pcm import Decoder, read_wav_header
        from vae_se.streaming import OnlineEnhancer

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
        self._prior("config.json", path)

    def do_prior_weights(self, path: Path) -> None:
        self._prior("weights.safetensors", path)

    def _prior(self, name: str, path: Path) -> None:
        from vae_se.priors import load_prior

        place = self.folder / "prior" / name
        before = place.read_bytes()
        try:
            place.write_bytes(path.read_bytes())
            load_prior(self.folder / "prior")
        finally:
            place.write_bytes(before)

    def do_recogniser_config(self, path: Path) -> None:
        self._recogniser("config.json", path)

    def do_recogniser_weights(self, path: Path) -> None:
        self._recogniser("weights.safetensors", path)

    def _recogniser(self, name: str, path: Path) -> None:
        from vae_se.recognition.store import load_recogniser

        place = self.folder / "recogniser" / name
        before = place.read_bytes()
        try:
            place.write_bytes(path.read_bytes())
            load_recogniser(self.folder / "recogniser", small_prior())
        finally:
            place.write_bytes(before)

    def do_noise(self, path: Path) -> None:
        from vae_se.noise.store import load_dictionary

        load_dictionary(path)

    def do_manifest(self, path: Path) -> None:
        from vae_se.data.manifest import read_manifest

        read_manifest(path)


def child(pipe: Any, folder: Path) -> None:
    """Does one file after the other, under limits."""
    # What a header of libsndfile's decoders say to stderr is not of interest here.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target = Target(folder)
    pipe.send("ready")
    while (work := pipe.recv()) is not None:
        try:
            pipe.send((target.run(*work), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
        except BaseException:
            pipe.send(("failed: " + traceback.format_exc(), 0))


class Fuzzer:
    """A child, and another one where it died."""

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
        """used, refused, or what went wrong."""
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
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    options = parser.parse_args()
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    started, failures = time.perf_counter(), 0
    with tempfile.TemporaryDirectory(prefix="vae-se-fuzz-") as name:
        folder = Path(name)
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
