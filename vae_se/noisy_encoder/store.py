"""Noisy encoders on disk: safetensors and JSON in a folder, tied to the weights of one prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from ..deprecated import warn
from ..errors import PriorError, VaeSeError
from ..priors.base import SpeechPrior
from ..priors.dynamical.latent_rnn import LatentRNN
from ..priors.store import WEIGHTS, current_keywords, read_weights, weights_misfit, write_config
from ..priors.thin_layers import weights_digest
from ..storage.atomic import write_atomically
from ..storage.untrusted import load_json
from .convolutional import ConvolutionalNoisyEncoder
from .network import NoisyEncoder

FORMAT = 1

#: Name of the noisy encoder's folder in the folder of its prior, and its name in release 0.1.0.
FOLDER, _OLD_FOLDER = "noisy_encoder", "recogniser"

#: Name of the folder of a causal noisy encoder beside the two-way one, for streams.
CAUSAL_FOLDER = "noisy_encoder_causal"
_KIND, _OLD_KIND = "noisy_encoder", "recogniser"

#: Keys of a network's configuration that are no sizes: the weights that both have fit whatever their values.
CAPABILITIES = ("causal", "noise_aware", "noise_width")

#: Either network: recurrent or convolutional.
AnyNoisyEncoder = NoisyEncoder | ConvolutionalNoisyEncoder

#: Classes by the ``architecture`` of config.json; a file without the key holds the recurrent network.
ARCHITECTURES: dict[str, type[NoisyEncoder] | type[ConvolutionalNoisyEncoder]] = {
    "recurrent": NoisyEncoder,
    "convolutional": ConvolutionalNoisyEncoder,
}


def folder_beside(prior_folder: Path) -> Path:
    """Folder of the noisy encoder in the folder of its prior; it need not exist.

    Where there is only a folder of the name that release 0.1.0 used, it is that one, with a warning.
    """
    folder, old = prior_folder / FOLDER, prior_folder / _OLD_FOLDER
    if old.is_dir() and not folder.exists():
        warn(f"the folder name {_OLD_FOLDER!r} in {prior_folder}", repr(FOLDER))
        return old
    return folder


def prior_digest(prior: SpeechPrior) -> str:
    """Digest of the prior's weights as loaded. The latents of other weights have another meaning.

    That of a ``latent-rnn`` is the digest of its frames: dynamics do not change what the latents mean.
    """
    return weights_digest(prior.frames() if isinstance(prior, LatentRNN) else prior)


def architecture_of(model: AnyNoisyEncoder) -> str:
    """The key of the model's class in ARCHITECTURES."""
    return next(name for name, build in ARCHITECTURES.items() if type(model) is build)


def save_noisy_encoder(
    model: AnyNoisyEncoder, prior: SpeechPrior, folder: Path, **extra: Any
) -> dict[str, Any]:
    """Write weights.safetensors (float16) and config.json; returns the latter, which includes ``extra``.

    ``prior`` is the prior as :func:`vae_se.load_prior` returns it, since its digest identifies it.
    """
    config = {
        "format": FORMAT,
        "kind": _KIND,
        "architecture": architecture_of(model),
        "model": model.config(),
        "prior": prior_digest(prior),
        **extra,
    }
    # Half precision: half the size, and an error far below that of the network itself.
    tensors = {name: t.detach().cpu().half().contiguous() for name, t in model.state_dict().items()}
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS, safetensors.torch.save(tensors))
    write_config(folder, config)
    return config


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a noisy encoder; names of release 0.1.0 are replaced, with a warning.

    Raises PriorError where there is none.
    """
    try:
        config = load_json(folder / "config.json")
    except (OSError, ValueError) as error:
        raise PriorError(
            f"cannot read the noisy encoder in {folder}: {error}", "vae-se train --amortise writes one"
        ) from None
    if config.get("kind") == _OLD_KIND:
        warn(f"the kind {_OLD_KIND!r} in {folder / 'config.json'}", repr(_KIND))
        config["kind"] = _KIND
    if config.get("kind") != _KIND or config.get("format") != FORMAT:
        raise PriorError(f"{folder} holds no noisy encoder", "vae-se train --amortise writes one")
    return config | {"model": current_keywords(config.get("model"), folder / "config.json")}


def architecture_sizes(config: dict[str, Any]) -> dict[str, int]:
    """The sizes by which networks of one architecture differ, of a config.json, by the names of its options."""
    other = ("bins", "latent_dim", *CAPABILITIES)
    return {k: v for k, v in config["model"].items() if k not in other}


def steps_done(training: dict[str, Any]) -> int:
    """Steps after which the weights were written; ``training`` is the entry of config.json."""
    return int(training["last"]["step"] if "last" in training else training["options"]["steps"])


def belongs(folder: Path, prior: SpeechPrior) -> bool:
    """Whether ``folder`` holds a noisy encoder for exactly these weights of ``prior``."""
    try:
        config = read_config(folder)
    except PriorError:
        return False
    return bool(config.get("prior") == prior_digest(prior))


def load_noisy_encoder(
    folder: str | Path, prior: SpeechPrior, device: str | torch.device = "cpu"
) -> AnyNoisyEncoder:
    """Load the network in ``folder``; frozen, in evaluation mode.

    Raises PriorError where it is missing, incomplete or not finite, or belongs to other weights than
    ``prior``'s.
    """
    folder = Path(folder)
    if read_config(folder).get("prior") != prior_digest(prior):
        raise PriorError(f"the noisy encoder in {folder} belongs to another prior", "train one with --amortise")
    return load_network(folder, device)


def load_network(folder: Path, device: str | torch.device = "cpu") -> AnyNoisyEncoder:
    """Load the network in ``folder``, whatever prior it belongs to; frozen, in evaluation mode.

    Raises PriorError where it is missing, incomplete or not finite.
    """
    config, tensors = read_config(folder), read_weights(folder)
    build = ARCHITECTURES.get(config.get("architecture", "recurrent"))
    if build is None:
        raise PriorError(f"unknown architecture {config.get('architecture')!r} in {folder}", "update vae-se")
    try:
        # Laid out without initial values and without memory: a configuration may ask for any size.
        with torch.device("meta"):
            model = build(**config["model"])
        model.load_state_dict({name: t.float() for name, t in tensors.items()}, assign=True)
    except VaeSeError as error:
        raise PriorError(f"bad configuration in {folder}: {error.message}", error.hint) from None
    except Exception as error:  # constructors raise many types for arguments of a wrong type
        raise weights_misfit(folder, error) from None
    return model.to(device).eval().requires_grad_(False)
