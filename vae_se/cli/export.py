"""``vae-se export``: the noisy encoder and the decoder as an ONNX file."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError
from ..extras import need
from .common import say
from .outputs import new_file


@click.command(short_help="Write a filter without iterations as an ONNX file.")
@click.option("-o", "--out", required=True, metavar="FILE.onnx", help="The file to write.")
@click.option("--prior", default="default", show_default=True, metavar="NAME|DIR", help="The speech prior.")
@click.option("--noisy-encoder", metavar="DIR", help="The noisy encoder.  [default: the one beside the prior]")
@click.option("--overwrite", is_flag=True, help="Replace the file if it exists.")
def export(out: str, prior: str, noisy_encoder: str | None, overwrite: bool) -> None:
    """Write the noisy encoder and the decoder of a prior as one ONNX file: power in, Wiener gain out.

    Input "power" (1, frames, bins): |STFT|^2 at the prior's level; output "gain": multiply the STFT by it. This
    is the start of EM, without its iterations. The file's metadata hold rate, window, hop and level.
    onnxruntime runs the file, and its gain is compared with torch's. Needs the extra onnx.
    """
    for package in ("onnx", "onnxruntime"):
        need("vae-se export", package, "onnx")
    if Path(out).suffix != ".onnx":
        raise UsageError(f"--out {out}: expected a name that ends in .onnx", "for example filter.onnx")
    path = new_file(out, overwrite)
    from .. import __version__
    from ..noisy_encoder.one_shot import OneShotFilter, export_onnx
    from ..noisy_encoder.store import folder_beside, load_noisy_encoder
    from ..priors import load_prior
    from ..priors.store import locate

    loaded = load_prior(prior)
    folder = Path(noisy_encoder) if noisy_encoder is not None else folder_beside(locate(prior))
    if not folder.is_dir():
        raise UsageError(
            f"the prior {prior} has no noisy encoder",
            f"train one: vae-se train SPEECH --amortise {prior} --out DIR; then give --noisy-encoder DIR",
        )
    network = load_noisy_encoder(folder, loaded, "cpu")
    difference = export_onnx(OneShotFilter(loaded, network), path, {"prior": prior, "vae_se": __version__})
    size = path.stat().st_size / 2**20
    say(f"wrote {path}: {size:.1f} MiB; the gain differs from torch's by {difference:.1e} at most")
