"""``vae-se report``: tables, plots and a listening page from the results of a benchmark."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from ..extras import need
from .common import say
from .outputs import write_text


@click.command(short_help="Make tables from the results of a benchmark.")
@click.argument("results", nargs=-1, required=True, metavar="RESULTS...")
@click.option("--against", metavar="METHOD", help="Also compare with this method, file by file.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write all numbers as CSV; - for stdout.")
@click.option("--markdown", "markdown_file", metavar="FILE", help="Write a report in Markdown; - for stdout.")
@click.option("--plots", metavar="DIR", help="Write plots (needs the extra plot).")
@click.option("--listen", metavar="FILE", help="Write a listening page (needs the audio of --save-audio).")
@click.option("--listen-count", type=click.IntRange(min=1), default=24, show_default=True, metavar="N",
              help="Mixtures on the listening page, evenly from the worst change to the best.")  # fmt: skip
@click.option("--listen-methods", metavar="A,B", help="Methods on the listening page.  [default: all]")
def report(
    results: tuple[str, ...],
    against: str | None,
    csv_file: str | None,
    markdown_file: str | None,
    plots: str | None,
    listen: str | None,
    listen_count: int,
    listen_methods: str | None,
) -> None:
    """Summarise RESULTS: folders or rows.jsonl of one protocol; shards are merged.

    Prints a table, unless CSV or Markdown goes to stdout.
    """
    from ..benchmark.report import load_results
    from ..benchmark.tables import markdown, terminal, to_csv

    if plots is not None:
        need("--plots", "matplotlib", "plot")
    loaded = load_results(results)
    if against is not None:
        loaded.check(against)
    if "-" not in (csv_file, markdown_file):
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        click.echo(terminal(loaded, against, width))
    for path, make in ((csv_file, to_csv), (markdown_file, markdown)):
        if path is not None:
            write_text(path, make(loaded, against))
    if plots is not None:
        from ..benchmark.plots import write_plots

        for made in write_plots(loaded, Path(plots)):
            say(f"wrote {made}")
    if listen is not None:
        from ..benchmark.listen import listening_page

        methods = [m.strip() for m in listen_methods.split(",")] if listen_methods else None
        write_text(listen, listening_page(loaded, count=listen_count, methods=methods))
