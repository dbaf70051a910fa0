"""The shipped decoder of the high band: weights in safetensors, sizes in JSON, which cannot hold code."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ..errors import PriorError
from ..priors.store import pretrained_folder, stored_tensors, weights_misfit
from ..signal_spec import SignalSpec
from ..storage.atomic import write_atomically
from ..storage.untrusted import load_json, load_tensors
from .decoder import HighBandDecoder

FORMAT = 1

#: Folder of the shipped decoder among the shipped priors, and the name of its description.
FOLDER, DESCRIPTION = "high-band", "decoder.json"


def save_high_band(decoder: HighBandDecoder, folder: Path, **extra: Any) -> None:
    """Write weights.safetensors (matrices in float16) and decoder.json, which includes ``extra``."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {
        "format": FORMAT,
        "model": decoder.config(),
        "signal": dataclasses.asdict(decoder.signal),
        **extra,
    }
    write_atomically(folder / "weights.safetensors", safetensors.torch.save(stored_tensors(decoder)))
    write_atomically(folder / DESCRIPTION, (json.dumps(described, indent=2) + "\n").encode())


def load_high_band(device: str | torch.device = "cpu", folder: str | Path | None = None) -> HighBandDecoder:
    """The decoder in ``folder``, by default the shipped one: in float32, frozen, in evaluation mode.

    Raises PriorError where it is missing, incomplete, or does not fit its description.
    """
    folder = pretrained_folder() / FOLDER if folder is None else Path(folder)
    try:
        described = load_json(folder / DESCRIPTION)
        tensors = load_tensors(folder / "weights.safetensors")
    except (OSError, ValueError) as error:
        raise PriorError(
            f"cannot read the decoder of the high band in {folder}: {error}", "install again, or give --band 8k"
        ) from None
    if described.get("format") != FORMAT:
        raise PriorError(f"{folder} has format {described.get('format')!r}", f"this version reads {FORMAT}")
    try:
        with torch.random.fork_rng(devices=[]):  # layers draw their initial values from the global generator
            decoder = HighBandDecoder(**described["model"], signal=SignalSpec(**described["signal"]))
        decoder.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except Exception as error:  # constructors raise many types for arguments of a wrong type
        raise weights_misfit(folder, error) from None
    return decoder.to(device).eval().requires_grad_(False)
