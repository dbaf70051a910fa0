"""Noise dictionaries on disk: one safetensors file whose header is JSON, nothing that can run code."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from ..errors import NoiseError, OutputError
from ..storage.atomic import write_atomically
from ..storage.untrusted import load_tensors, parse_object

FORMAT = 1
#: What a path must end in to be taken for a dictionary rather than for the name of a noise model.
SUFFIX = ".safetensors"
_KEY = "vae-se noise dictionary"
_REFIT = "make it with vae-se noise fit"


@dataclasses.dataclass(frozen=True)
class NoiseDictionary:
    """Spectra of noise, learnt beforehand.

    ``atoms`` (K, F) are power spectra, each of mean 1 over bins: shapes, without a level. ``rate`` in Hz,
    ``window`` and ``hop`` in samples are the analysis that they belong to; ``sources`` the names of the
    recordings that they were learnt from. ``loudness``: the mean power of what they were learnt from, where
    that is a part of the recording itself; not stored.
    """

    atoms: torch.Tensor
    rate: int
    window: int
    hop: int
    sources: tuple[str, ...] = ()
    loudness: float | None = None

    def header(self) -> dict[str, Any]:
        """What is known about the atoms, as it stands in the file."""
        return {
            "format": FORMAT,
            "rate": self.rate,
            "window": self.window,
            "hop": self.hop,
            "rank": self.atoms.shape[0],
            "sources": list(self.sources),
        }

    def check(self, signal: Any, name: str | Path) -> None:
        """NoiseError unless the analysis is ``signal``'s (rate, window and hop of a prior)."""
        mine, its = (self.rate, self.window, self.hop), (signal.rate, signal.window, signal.hop)
        if mine != its:
            raise NoiseError(
                f"{name} was made at {mine[0]} Hz with window {mine[1]} and hop {mine[2]}; "
                f"the prior has {its[0]} Hz, {its[1]} and {its[2]}",
                "make it again with vae-se noise fit --prior and this prior",
            )


def save_dictionary(dictionary: NoiseDictionary, path: str | Path) -> None:
    """Write the file, whole or not at all; OutputError where it cannot be written."""
    # The format's header holds strings only, in no certain order: one string makes equal files equal.
    header = {_KEY: json.dumps(dictionary.header())}
    atoms = dictionary.atoms.detach().to("cpu", torch.float32).contiguous()
    try:
        write_atomically(Path(path), safetensors.torch.save({"atoms": atoms}, header))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", "name another file") from None


def load_dictionary(path: str | Path) -> NoiseDictionary:
    """Read what :func:`save_dictionary` wrote.

    Raises NoiseError where the file is missing, cut off, not a noise dictionary, of another format,
    inconsistent, or holds values that are not finite and positive.
    """
    path = Path(path)
    if not path.is_file():
        raise NoiseError(f"the noise dictionary {path} does not exist", _REFIT)
    try:
        with safetensors.safe_open(path, "pt") as file:
            strings = file.metadata() or {}
        tensors = load_tensors(path)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise NoiseError(f"cannot read {path}: {error}", "is the file complete?") from None
    header = _header(strings, path)
    if set(tensors) != {"atoms"}:
        raise NoiseError(f"{path} holds {', '.join(sorted(tensors)) or 'nothing'}, expected atoms", _REFIT)
    atoms, expected = tensors["atoms"], (header["rank"], header["window"] // 2 + 1)
    if tuple(atoms.shape) != expected:
        raise NoiseError(f"{path}: atoms are {tuple(atoms.shape)}, its header says {expected}", _REFIT)
    # A bin of zero power would be a certainty that no recording bears out.
    if not atoms.is_floating_point() or not bool((torch.isfinite(atoms) & (atoms > 0)).all()):
        raise NoiseError(f"{path} holds values that are not finite and above 0", _REFIT)
    atoms = atoms.float()
    return NoiseDictionary(
        atoms / atoms.mean(-1, keepdim=True),
        header["rate"],
        header["window"],
        header["hop"],
        tuple(header["sources"]),
    )


def _header(strings: dict[str, str], path: Path) -> dict[str, Any]:
    """The header, its keys and types checked."""
    try:
        header = parse_object(strings[_KEY])
    except (KeyError, ValueError):
        raise NoiseError(f"{path} is no noise dictionary: its header does not say so", _REFIT) from None
    if header.get("format") != FORMAT:
        raise NoiseError(
            f"{path} has format {header.get('format')!r}, this version reads {FORMAT}",
            "update vae-se or fit again",
        )
    types = {"format": int, "rate": int, "window": int, "hop": int, "rank": int, "sources": list}
    unknown = sorted(header.keys() - types.keys())
    if unknown:
        raise NoiseError(f"{path} has an unknown key {unknown[0]!r} in its header", _REFIT)
    for key, kind in types.items():
        if key not in header:
            raise NoiseError(f"{path} has no {key!r} in its header", _REFIT)
        value = header[key]
        if type(value) is not kind or (isinstance(value, int) and value < 1):
            raise NoiseError(f"{path}: {key} is {value!r} in its header", _REFIT)
    return header
