"""Convert the weights of priors to half precision in place, as ``save_prior`` stores them.

    python eval/scripts/half_precision.py pretrained/*/

The digest of a prior's weights changes with them. Where a noisy encoder belongs to the prior, its config.json
gets the digest of the weights as loaded, and its model card is written again. A prior that is in half
precision already does not change.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vae_se.noisy_encoder.store import belongs, folder_beside, prior_digest, read_config, write_config
from vae_se.priors import load_prior
from vae_se.priors.store import save_weights
from vae_se.training.noisy_encoder_card import write_card


def convert(folder: Path) -> None:
    """Rewrite weights.safetensors in ``folder``, and the digest in the noisy encoder beside it."""
    prior = load_prior(folder.resolve())
    beside = folder_beside(folder)
    tied = belongs(beside, prior)
    before = (folder / "weights.safetensors").stat().st_size
    save_weights(prior, folder)
    if tied:
        config = read_config(beside) | {"prior": prior_digest(load_prior(folder.resolve()))}
        write_config(beside, config)
        write_card(beside, config)
    after = (folder / "weights.safetensors").stat().st_size
    print(f"{folder}: {before} to {after} bytes" + (", digest of the noisy encoder updated" if tied else ""))


def main(folders: list[Path]) -> None:
    """Convert each folder that holds a prior."""
    for folder in folders:
        if (folder / "config.json").is_file():
            convert(folder)


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
