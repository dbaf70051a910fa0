"""Compute the cheaper form of stored priors' decoders anew, and keep it beside their weights.

    python eval/scripts/thin_layers.py [pretrained/default ...]

vae-se train does this at its end. docs/inference.md explains the form.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from vae_se.config import Config
from vae_se.priors.store import store_thin_layers

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Write the file of every folder, and print the rank."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", default=[ROOT / "pretrained" / "default"])
    for folder in parser.parse_args().folders:
        print(f"{folder.name}: rank {store_thin_layers(folder, Config().inference.decoder_error)}")


if __name__ == "__main__":
    main()
