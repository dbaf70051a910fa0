"""``vae-se score``: score the files that any program wrote against the clean ones."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..errors import UsageError
from ..extras import missing
from .common import say
from .engine import CountOrAuto
from .outputs import write_text


@click.command(short_help="Score enhanced files of any program against the clean ones.")
@click.argument("clean")
@click.argument("enhanced")
@click.option("--noisy", metavar="FILE|DIR", help="The noisy files: also score these, and the change.")
@click.option("--metrics", metavar="A,B", help="These metrics only.  [default: all that are installed]")
@click.option("--csv", "csv_file", metavar="FILE", help="Means and intervals as CSV; - for stdout.")
@click.option("--csv-files", metavar="FILE", help="The scores of every file as CSV; - for stdout.")
@click.option("-j", "--jobs", type=CountOrAuto(), default="auto", show_default=True, metavar="N|auto",
              help="Worker processes.")  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, no table.")
def score(
    clean: str,
    enhanced: str,
    noisy: str | None,
    metrics: str | None,
    csv_file: str | None,
    csv_files: str | None,
    jobs: int | None,
    quiet: bool,
) -> int:
    """Score the files in ENHANCED, by any system, against those in CLEAN: folders, or one file each.

    Files belong together by their names without the extension; an enhanced file may be called NAME_more. Prints
    for each metric the mean over the files and its 95 % interval. Exit code 1: some files could not be scored.
    """
    from ..benchmark.pairs import files_csv, find_pairs, score_pairs, summary_csv, summary_text

    names = _metrics(metrics, noisy is not None)
    pairs = find_pairs(Path(clean), Path(enhanced), None if noisy is None else Path(noisy))
    from tqdm.auto import tqdm

    hidden = quiet or not sys.stderr.isatty()
    with tqdm(total=len(pairs), unit="file", file=sys.stderr, disable=hidden, leave=False) as bar:
        results = score_pairs(pairs, names, jobs, lambda done: bar.update(done - bar.n))
    if not quiet and "-" not in (csv_file, csv_files):
        click.echo(summary_text(results, names))
    for path, made in ((csv_file, summary_csv), (csv_files, files_csv)):
        if path is not None:
            write_text(path, made(results, names))
    failed = [one for one in results if one.failed]
    for one in failed:
        say(f"failed: {one.name}: {one.failed}")
    return 1 if failed else 0


def _metrics(chosen: str | None, with_noisy: bool) -> list[str]:
    """The metrics of ``--metrics``, or all that can be computed; says which package is missing for others."""
    from ..metrics import METRICS

    if chosen is None:
        names = [name for name in METRICS if METRICS[name].listed]
    else:
        names = [name.strip() for name in chosen.split(",") if name.strip()]
    if not names:
        raise UsageError("--metrics names none", "for example --metrics pesq_wb,estoi")
    possible = []
    for name in names:
        metric = METRICS[name]
        if missing([metric.package]):
            say(f"warning: no {name}: {metric.package} is not installed, pip install 'vae-se[{metric.extra}]'")
        elif metric.needs_noise and not with_noisy:
            if chosen is not None:
                raise UsageError(f"{name} needs the noisy files", "give --noisy")
        else:
            possible.append(name)
    return possible
