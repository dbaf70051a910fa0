"""Average the weights of a trained noisy encoder with those that its training started from.

    python eval/scripts/average_noisy_encoder.py TRAINING OUT --valid SPEECH --valid-pool POOL

TRAINING is the folder of `vae-se train --amortise` with `--set start=...`. OUT gets the average with the lowest
validation loss on simulated mixtures, with a note in its card. Averages of networks that were trained from one
another generalise better than either (Izmailov et al., Averaging weights leads to wider optima and better
generalization, 2018; Wortsman et al., Model soups, 2022). A residual block that the start lacks counts there as
one of the same weights whose output is zero.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from vae_se.data.corpus import scan
from vae_se.data.waveforms import load_waveforms
from vae_se.noisy_encoder.simulation.pool import open_pool
from vae_se.noisy_encoder.store import load_network, load_noisy_encoder, read_config, save_noisy_encoder
from vae_se.priors import load_prior
from vae_se.training.noisy_encoder_card import write_card
from vae_se.training.noisy_encoder_options import NoisyEncoderOptions
from vae_se.training.noisy_encoder_trainer import validate
from vae_se.training.pool_mixtures import PoolMixtures
from vae_se.training.report import CURVES, HISTORY

SHOWN = ("valid_loss", "valid_distance", "valid_sdr", "valid_gain_db")


def first_values(end: dict[str, torch.Tensor], start: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``start`` with the blocks that only ``end`` has, as identities."""
    added = {name: torch.zeros_like(value) if ".mix." in name else value for name, value in end.items()}
    return added | start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("training", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--prior", default="default")
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--valid-pool", type=Path, required=True)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 0.3, 0.5, 0.7, 1.0])
    parser.add_argument(
        "--other", type=Path, help="Another network than the one that the training started from."
    )
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    prior = load_prior(given.prior, "cpu")
    config = read_config(given.training)
    options = NoisyEncoderOptions(**config["training"]["options"])
    model = load_noisy_encoder(given.training, prior)
    end = {name: value.clone() for name, value in model.state_dict().items()}
    start = first_values(end, load_network(given.other or Path(options.start)).state_dict())
    speech = [(load_waveforms(scan(given.valid), prior.signal, given.cache), 1.0)]
    mixtures = PoolMixtures(speech, open_pool(given.valid_pool), prior, options.seconds)
    seed = config["training"]["seed"]
    found = {}
    for weight in given.weights:
        model.load_state_dict({name: torch.lerp(start[name], end[name], weight) for name in end})
        found[weight] = validate(model, prior, mixtures, seed, options, torch.device("cpu"))
        print(weight, {name: found[weight][name] for name in SHOWN}, flush=True)
    best = min(found, key=lambda weight: found[weight]["valid_loss"])
    model.load_state_dict({name: torch.lerp(start[name], end[name], best) for name in end})
    tried = ", ".join(f"{weight:g}: {figures['valid_loss']:.1f}" for weight, figures in found.items())
    gain, distance = (found[best][f"valid_{name}"] for name in ("gain_db", "distance"))
    others = "that it started from" if given.other is None else f"in `{given.other}`"
    note = (
        f"The weights are {best:g} times those at the end of this training and {1 - best:g} times those "
        f"{others}, by `eval/scripts/average_noisy_encoder.py`. Validation loss by the weight of the "
        f"end: {tried}. The average has a gain of {gain:.2f} dB and a distance of {distance:.4f}."
    )
    training = config["training"] | {"note": note, "average": best}
    given.out.mkdir(parents=True, exist_ok=True)
    for name in (HISTORY, CURVES):
        shutil.copyfile(given.training / name, given.out / name)
    write_card(given.out, save_noisy_encoder(model, prior, given.out, training=training))


if __name__ == "__main__":
    main()
