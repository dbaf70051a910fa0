"""Small files of every kind that the package reads, and mutations of them (for fuzz.py)."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

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
    """A prior, a noisy encoder, a noise dictionary and a manifest, all small."""
    import torch

    from vae_se.data.manifest import write_manifest
    from vae_se.data.mixing import Draw, MixingRecipe
    from vae_se.noise.store import NoiseDictionary, save_dictionary
    from vae_se.priors import save_prior

    save_prior(small_prior(), folder / "prior", "ffvae")
    save_dictionary(
        NoiseDictionary(torch.rand(3, 33) + 0.1, 16000, 64, 16, ("a.wav",)), folder / "noise.safetensors"
    )
    draw = Draw("0000_a", ("a.wav",), ("0",), 1.0, 1600, "n.wav", "0", 0, False, 0.5, 5.0, "n", "a", 16000, 0)
    write_manifest(folder / "manifest.jsonl", MixingRecipe(), [draw, draw])
    save_noisy_encoder_of(folder)
    named = {
        "prior-config": folder / "prior/config.json",
        "prior-weights": folder / "prior/weights.safetensors",
        "noisy_encoder-config": folder / "noisy_encoder/config.json",
        "noisy_encoder-weights": folder / "noisy_encoder/weights.safetensors",
        "noise": folder / "noise.safetensors",
        "manifest": folder / "manifest.jsonl",
    }
    return [(kind, path.suffix, path.read_bytes()) for kind, path in named.items()]


def small_prior() -> Any:
    """A very small prior, the same in every call."""
    import torch

    from vae_se.priors import PRIORS, SignalSpec

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PRIORS["ffvae"]((8,), 2, "tanh", SignalSpec(16000, 64, 16))


def save_noisy_encoder_of(folder: Path) -> None:
    """Save a noisy encoder for :func:`small_prior`."""
    from vae_se.noisy_encoder.network import NoisyEncoder
    from vae_se.noisy_encoder.store import save_noisy_encoder

    save_noisy_encoder(NoisyEncoder(33, 2, 8, 4), small_prior(), folder / "noisy_encoder")


def mutate(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """A damaged copy."""
    text = {"manifest": 0.8, "noise": 0.3}.get(kind, 0.8 if kind.endswith("config") else 0.0)
    if rng.random() < text:
        return mutate_json(data, kind, rng)
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        # Most structure is at the beginning of a file.
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
    """Replace a value, add a key or remove a key in a JSON text, or in one line of several."""
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
