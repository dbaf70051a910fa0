"""Write a `latent-rnn` whose frames are those of another prior as a file of the dynamics alone.

    python eval/scripts/ship_dynamics.py TRAINING default pretrained/latent-rnn

TRAINING is the folder of `vae-se train --prior latent-rnn` (with start and only_dynamics, so that encoder and
decoder are the other prior's, weight by weight). Layers of the posterior's context, if it has any, must be
without influence; the copy has none. Raises an error where either does not hold.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import safetensors.torch
import torch

from vae_se.priors import load_prior
from vae_se.priors.dynamical.latent_rnn import LatentRNN
from vae_se.priors.store import WEIGHTS, read_config, stored_tensors, write_config
from vae_se.priors.thin_layers import weights_digest
from vae_se.storage.atomic import write_atomically
from vae_se.training.card import write_card
from vae_se.training.report import CURVES, HISTORY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path)
    parser.add_argument("frames")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    config, prior, frames = read_config(given.training), load_prior(given.training), load_prior(given.frames)
    if not isinstance(prior, LatentRNN):
        raise SystemExit(f"{given.training} holds no latent-rnn")
    if weights_digest(prior.frames()) != weights_digest(frames):
        raise SystemExit(f"the frames of {given.training} are not those of {given.frames}")
    beyond = prior.direct.weight[:, prior.hidden[0] :]
    if prior.head is not None and any(bool(t.any()) for t in (beyond, prior.head.weight, prior.head.bias)):
        raise SystemExit(f"the posterior of {given.training} depends on its context")
    model = config["model"] | {"context": False}
    with torch.random.fork_rng(devices=[]):
        slim = LatentRNN(**model, signal=prior.signal)
    state = {name: prior.state_dict()[name] for name in slim.state_dict() if not name.startswith("direct.")}
    shared = slim.tensors_of_frames(frames)
    slim.load_state_dict(state | shared)
    own = {name: tensor for name, tensor in stored_tensors(slim).items() if name not in shared}
    config["model"] = config["training"]["recipe"]["model"] = model
    config["training"]["parameters"] = sum(parameter.numel() for parameter in slim.parameters())
    config["frames"] = {"prior": given.frames, "digest": weights_digest(frames)}
    given.out.mkdir(parents=True, exist_ok=True)
    write_atomically(given.out / WEIGHTS, safetensors.torch.save(own))
    write_config(given.out, config)
    if given.out.resolve() != given.training.resolve():
        for name in (HISTORY, CURVES):
            shutil.copyfile(given.training / name, given.out / name)
    write_card(given.out, config)


if __name__ == "__main__":
    main()
