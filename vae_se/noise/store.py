"""Noise dictionaries on disk: one safetensors file with a JSON header; reading one cannot run code."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from ..errors import NoiseError, OutputError
from ..signal_spec import SignalSpec
from ..storage.atomic import write_atomically
from ..storage.untrusted import load_tensors, parse_object

FORMAT = 1
#: Suffix by which ``--noise`` tells the path of a dictionary from the name of a noise model.
SUFFIX = ".safetensors"
_KEY = "vae-se noise dictionary"
_REFIT = "make it with vae-se noise fit"


@dataclasses.dataclass(frozen=True)
class NoiseDictionary:
    """Spectra of noise that were learnt beforehand.

    ``atoms`` (K, F): power spectra, each of mean 1 over bins, so that they carry no level. ``rate`` in Hz,
    ``window`` and ``hop`` in samples: the STFT of the atoms. ``sources``: names of the recordings that they
    were learnt from. ``loudness``: mean power of the noise segment that they were learnt from, where it is a
    part of the recording; not stored.
    """

    atoms: torch.Tensor
    rate: int
    window: int
    hop: int
    sources: tuple[str, ...] = ()
    loudness: float | None = None

    def header(self) -> dict[str, Any]:
        """The header of the file: format, STFT, rank and sources."""
        return {
            "format": FORMAT,
            "rate": self.rate,
            "window": self.window,
            "hop": self.hop,
            "rank": self.atoms.shape[0],
            "sources": list(self.sources),
        }

    def check(self, signal: SignalSpec, name: str | Path) -> None:
        """Raise NoiseError unless rate, window and hop are those of ``signal``, a prior's."""
        own, expected = (self.rate, self.window, self.hop), (signal.rate, signal.window, signal.hop)
        if own != expected:
            raise NoiseError(
                f"{name} was made at {own[0]} Hz with window {own[1]} and hop {own[2]}; "
                f"the prior has {expected[0]} Hz, {expected[1]} and {expected[2]}",
                "make it again with vae-se noise fit --prior and this prior",
            )


def save_dictionary(dictionary: NoiseDictionary, path: str | Path) -> None:
    """Write the file atomically. Raises OutputError where it cannot be written."""
    # safetensors headers hold strings in no fixed order; a single string makes equal dictionaries equal files.
    header = {_KEY: json.dumps(dictionary.header())}
    atoms = dictionary.atoms.detach().to("cpu", torch.float32).contiguous()
    try:
        write_atomically(Path(path), safetensors.torch.save({"atoms": atoms}, header))
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}", "name another file") from None


def load_dictionary(path: str | Path) -> NoiseDictionary:
    """Read a file that :func:`save_dictionary` wrote.

    Raises NoiseError where the file is missing, truncated, not a noise dictionary, of another format or
    inconsistent, and where it holds values that are not finite and positive.
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
    # A bin of zero power would assert that this noise never has power there.
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
    """The header, with keys and types checked."""
    try:
        header = parse_object(strings[_KEY])
    except (KeyError, ValueError):
        raise NoiseError(f"{path} is no noise dictionary: its header lacks the entry of one", _REFIT) from None
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
