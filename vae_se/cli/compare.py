"""``vae-se compare``: several presets and methods on one recording, to look at and to listen to."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click
import numpy as np

from ..audio import files, paths
from ..config import PRESETS
from ..errors import OutputError, UsageError, nearest
from ..extras import missing
from .common import complain, say
from .outputs import write_text

if TYPE_CHECKING:
    from ..benchmark.comparison import Recording


@click.command(short_help="Compare presets and methods on a noisy recording.")
@click.argument("inputs", nargs=-1, required=True, metavar="NOISY...")
@click.option(
    "--presets", default=",".join(PRESETS), show_default=True, metavar="A,B", help='Presets; none: "".'
)
@click.option("--methods", default="log-mmse", show_default=True, metavar="A,B",
              help="Baselines such as log-mmse, om-lsa, rnnoise.")  # fmt: skip
@click.option("-o", "--output", metavar="FILE.html", help="The listening page.  [default: STEM_compare.html]")
@click.option("--csv", "csv_file", metavar="FILE", help="The table as CSV; - for stdout.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True,
              help="Only the beginning of each recording, since the page holds every sound.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random numbers.")
@click.option("--overwrite", is_flag=True, help="Replace the page if it exists.")
def compare(
    inputs: tuple[str, ...],
    presets: str,
    methods: str,
    output: str | None,
    csv_file: str | None,
    seconds: float,
    seed: int,
    overwrite: bool,
) -> int:
    """Enhance NOISY by several presets and methods; print times and figures that need no clean recording.

    level_db: change of the speech level; pauses_db: level of the quietest tenth below the speech. With
    pip install 'vae-se[dnsmos]' also DNSMOS, which predicts listeners' ratings. The page plays all versions
    with a switch at the same position. The first channel is compared.
    """
    from ..benchmark.comparison import compare as run
    from ..benchmark.comparison import comparison_text
    from ..benchmark.listen import listening_page
    from ..benchmark.spec import MethodSpec
    from ..benchmark.tables import to_csv

    specs = [MethodSpec(name, name) for name in _names(presets, methods)]
    sources = paths.collect(inputs)
    for source in sources:
        if source.problem is not None:
            raise source.problem
    first = sources[0].path
    if first is None:
        raise UsageError("compare does not read stdin", "name a file")
    page = Path(output) if output else first.with_name(f"{first.stem}_compare.html")
    files.prepare_folder(page)
    if page.exists() and not overwrite:
        raise OutputError(f"{page} exists already", "give --overwrite, or another -o")
    if missing(["speechmos"]):
        say("no DNSMOS: speechmos is not installed, pip install 'vae-se[dnsmos]'")
    recordings = [_read(source, seconds) for source in sources]
    with TemporaryDirectory(prefix="vae-se-") as folder:
        results = run(recordings, specs, seed, Path(folder))
        click.echo(comparison_text(results), err=csv_file == "-")
        write_text(str(page), listening_page(results))
    if csv_file is not None:
        write_text(csv_file, to_csv(results))
    failed = [row for row in results.cells.values() if row["error"]]
    for row in failed:
        complain(f"{row['method']}: {row['error']}")
    return 1 if failed else 0


def _names(presets: str, methods: str) -> list[str]:
    """The presets and methods by name. Raises UsageError for unknown names, oracles, and a name given twice."""
    from ..baselines import BASELINES

    names = []
    for text, known in ((presets, [*PRESETS]), (methods, [n for n in BASELINES if not BASELINES[n].oracle])):
        for name in filter(None, (item.strip() for item in text.split(","))):
            if name not in known:
                raise UsageError(f"unknown name {name!r}", nearest(name, known))
            names.append(name)
    if not names or len(set(names)) != len(names):
        raise UsageError(
            f"to compare: {', '.join(names) or 'nothing'}", "give each name once, and at least one"
        )
    return [name for name in names if name != "noisy"]


def _read(source: paths.Source, seconds: float) -> Recording:
    from ..benchmark.comparison import Recording

    assert source.path is not None
    recording = files.read(source.path, source.label)
    samples = recording.samples[0, : max(1, int(seconds * recording.rate))]
    name = source.tree.with_suffix("").as_posix()
    return Recording(name, np.ascontiguousarray(samples, dtype=np.float32), recording.rate)
