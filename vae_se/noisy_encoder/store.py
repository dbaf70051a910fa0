"""Noisy encoders on disk: safetensors and JSON in a folder, tied to the prior that they belong to."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ..errors import PriorError, VaeSeError
from ..storage.atomic import write_atomically
from ..storage.untrusted import load_json, load_tensors
from .convolutional import ConvolutionalNoisyEncoder
from .network import NoisyEncoder

FORMAT = 1

#: Classes by the ``architecture`` of config.json; a file without the key holds the recurrent network.
ARCHITECTURES: dict[str, Any] = {"recurrent": NoisyEncoder, "convolutional": ConvolutionalNoisyEncoder}


def prior_digest(prior: Any) -> str:
    """A fingerprint of the prior's weights: another prior's latents mean something else."""
    digest = hashlib.blake2b(digest_size=12)
    for name, tensor in sorted(prior.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def architecture_of(model: Any) -> str:
    """The key of the model's class in ARCHITECTURES."""
    return next(name for name, build in ARCHITECTURES.items() if type(model) is build)


def save_noisy_encoder(
    model: NoisyEncoder | ConvolutionalNoisyEncoder, prior: Any, folder: Path, **extra: Any
) -> dict[str, Any]:
    """Write weights.safetensors (float16) and config.json, which is returned and has ``extra`` in it."""
    config = {
        "format": FORMAT, "kind": "noisy_encoder", "architecture": architecture_of(model),
        "model": model.config(), "prior": prior_digest(prior), **extra,
    }  # fmt: skip
    # Half precision: half the size, and an error far below what the network itself makes.
    tensors = {name: t.detach().cpu().half().contiguous() for name, t in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "weights.safetensors", safetensors.torch.save(tensors))
    write_atomically(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode())
    return config


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a noisy encoder; PriorError where there is none."""
    try:
        config = load_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise PriorError(
            f"cannot read the noisy encoder in {folder}: {error}", "vae-se train --amortise writes one"
        ) from None
    if config.get("kind") != "noisy_encoder" or config.get("format") != FORMAT:
        raise PriorError(f"{folder} holds no noisy encoder", "vae-se train --amortise writes one")
    return config


def belongs(folder: Path, prior: Any) -> bool:
    """Whether ``folder`` holds a noisy encoder for these very weights of ``prior``."""
    try:
        config = read_config(folder)
    except PriorError:
        return False
    return bool(config.get("prior") == prior_digest(prior))


def load_noisy_encoder(
    folder: str | Path, prior: Any, device: str | torch.device = "cpu"
) -> NoisyEncoder | ConvolutionalNoisyEncoder:
    """Load the network in ``folder``; frozen, in evaluation mode.

    Raises PriorError when it is missing, incomplete, not finite, or belongs to other weights than ``prior``'s.
    """
    folder = Path(folder)
    config = read_config(folder)
    weights = folder / "weights.safetensors"
    try:
        tensors = load_tensors(weights)
    except (OSError, ValueError) as error:
        raise PriorError(f"cannot read {weights}: {error}", "is the file complete?") from None
    if config.get("prior") != prior_digest(prior):
        raise PriorError(f"the noisy encoder in {folder} belongs to another prior", "train one with --amortise")
    build = ARCHITECTURES.get(config.get("architecture", "recurrent"))
    if build is None:
        raise PriorError(f"unknown architecture {config.get('architecture')!r} in {folder}", "update vae-se")
    try:
        # Laid out first without any tensor: a configuration may ask for any size.
        with torch.device("meta"):
            build(**config["model"]).load_state_dict(tensors, assign=True)
        with torch.random.fork_rng(devices=[]):  # layers draw their first values from the global generator
            model = build(**config["model"])
        model.load_state_dict({name: t.float() for name, t in tensors.items()})
    except VaeSeError as error:
        raise PriorError(f"bad configuration in {folder}: {error}", error.hint) from None
    except Exception as error:  # whatever a constructor stumbles over
        reason = " ".join(line.strip() for line in str(error).splitlines()[:2])
        raise PriorError(
            f"the weights in {folder} do not fit their config: {reason}", "fetch it again"
        ) from None
    return model.to(device).eval().requires_grad_(False)
