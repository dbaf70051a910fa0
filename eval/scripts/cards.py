"""Write the model cards and curves of priors again, from their config.json and history.jsonl.

python eval/scripts/cards.py pretrained/*/
"""

from __future__ import annotations

import sys
from pathlib import Path

from vae_se.noisy_encoder import store as noisy_encoder_store
from vae_se.priors.store import read_config
from vae_se.training import noisy_encoder_card
from vae_se.training.card import write_card
from vae_se.training.report import CURVES, HISTORY, plot_curves, read_history


def main(folders: list[Path]) -> None:
    """README.md and curves of each prior, and README.md of its noisy encoder."""
    for folder in folders:
        if not (folder / "config.json").is_file():
            continue
        config = read_config(folder)
        write_card(folder, config)
        plot_curves(folder / CURVES, read_history(folder / HISTORY), config["training"]["best"]["epoch"])
        beside = noisy_encoder_store.folder_beside(folder)
        if beside.is_dir():
            noisy_encoder_card.write_card(beside, noisy_encoder_store.read_config(beside))


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]])
