"""``vae-se benchmark``: enhance and score the mixtures of a protocol."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..execution import Shard
from ..extras import missing
from .common import say
from .engine import chosen_executor, engine_options

if TYPE_CHECKING:
    from ..benchmark.protocol import Protocol

_SHOWN_FAILURES = 20


@click.command(short_help="Enhance and score the mixtures of a protocol.")
@click.argument("protocol")
@click.option("--out", metavar="DIR", help="Folder for the results.  [default: results/PROTOCOL]")
@click.option("--data-root", metavar="DIR", help="Folder to which the paths of the protocol are relative.  "
              "[default: $VAE_SE_DATA, or ../shared/data]")  # fmt: skip
@engine_options(jobs="1")
@click.option("--resume", is_flag=True, help="Continue the results in the output folder.")
@click.option("--retry-failed", is_flag=True, help="With --resume: repeat the cells that failed.")
@click.option(
    "--methods", metavar="A,B", help="Run these methods only; names that the protocol lacks are added."
)
@click.option(
    "--external",
    multiple=True,
    metavar="NAME=DIR",
    help="Score the enhanced files in DIR, named by the ids of the mixtures.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N mixtures.")
@click.option("--save-audio", is_flag=True, help="Save the enhanced audio; a listening page needs it.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def benchmark(
    protocol: str,
    out: str | None,
    data_root: str | None,
    jobs: int | None,
    executor: str | None,
    address: str | None,
    slurm: tuple[str, ...],
    shard: str | None,
    resume: bool,
    retry_failed: bool,
    methods: str | None,
    external: tuple[str, ...],
    limit: int | None,
    save_audio: bool,
    quiet: bool,
) -> int:
    """Run PROTOCOL, a TOML file or the name of a shipped one: data x methods x metrics.

    One JSON line per file and method is appended to the results as soon as it is computed; --resume continues
    a run that was interrupted. The path of the results is printed; vae-se report makes tables of them.
    """
    from dataclasses import replace

    from ..benchmark.methods import external as external_spec
    from ..benchmark.protocol import find_data_root, find_protocol, load_protocol
    from ..benchmark.runner import TIMEOUT, RunOptions, run

    loaded = load_protocol(find_protocol(protocol))
    if methods is not None:
        loaded = loaded.only([name.strip() for name in methods.split(",") if name.strip()])
    for item in external:
        name, equals, folder = item.partition("=")
        if not equals or not name:
            raise UsageError(f"--external {item}: expected NAME=DIR")
        loaded = replace(loaded, methods=(*loaded.methods, external_spec(name, folder)))
    labels = [spec.label for spec in loaded.methods]
    if not labels or len(set(labels)) != len(labels):
        raise UsageError(f"methods: {', '.join(labels) or 'none'}", "give at least one, and each name once")
    for line in _missing(loaded):
        say(f"warning: {line}")
    options = RunOptions(
        out=Path(out) if out else Path("results") / loaded.name,
        data_root=find_data_root(data_root),
        executor=chosen_executor(executor, jobs, address, slurm, TIMEOUT),
        shard=Shard.parse(shard),
        resume=resume or retry_failed,
        retry_failed=retry_failed,
        limit=limit,
        save_audio=save_audio,
    )
    bar = _Bar(quiet)
    try:
        outcome = run(loaded, options, bar)
    finally:
        bar.close()
    for note in outcome.notes[:_SHOWN_FAILURES]:
        say(f"note: {note}")
    if len(outcome.notes) > _SHOWN_FAILURES:
        say(f"note: and {len(outcome.notes) - _SHOWN_FAILURES} more notes")
    say(f"{outcome.made} results computed, {len(outcome.failed)} failed in total: {outcome.rows}")
    for row in outcome.failed[:_SHOWN_FAILURES]:
        say(f"failed: {row['id']} by {row['method']}: {row['error']}")
    if len(outcome.failed) > _SHOWN_FAILURES:
        say(f"failed: and {len(outcome.failed) - _SHOWN_FAILURES} more; the file gives the reason of each")
    click.echo(str(outcome.rows))
    return 1 if outcome.failed else 0


def _missing(protocol: Protocol) -> Iterator[str]:
    """A line for each extra that the metrics and methods of a protocol need and that is not installed."""
    from ..baselines import BASELINES
    from ..metrics import METRICS

    wanted = [METRICS[name] for name in protocol.metrics]
    for extra in dict.fromkeys(metric.extra for metric in wanted):
        packages = {metric.name: metric.package for metric in wanted if metric.extra == extra}
        absent = missing(packages.values())
        if absent:
            lost = ", ".join(name for name, package in packages.items() if package in absent)
            where = f"{' and '.join(absent)} not installed, pip install 'vae-se[{extra}]'"
            yield f"no value will be computed for {lost}: {where}"
    for spec in protocol.methods:
        if spec.use in BASELINES and missing([BASELINES[spec.use].package]):
            yield f"{spec.label} will fail: not installed, pip install 'vae-se[baselines]'"


class _Bar:
    """A progress bar with the remaining time, on a terminal only."""

    def __init__(self, quiet: bool) -> None:
        self._hidden = quiet or not sys.stderr.isatty()
        self._bar: Any = None

    def __call__(self, done: int, total: int, row: dict[str, Any] | None) -> None:
        if self._hidden:
            return
        from tqdm.auto import tqdm

        if self._bar is None:
            # Methods differ in speed by orders of magnitude, so the remaining time comes from the overall mean.
            self._bar = tqdm(total=total, unit="file", file=sys.stderr, dynamic_ncols=True, smoothing=0)
        if row is None:
            return
        if row["error"]:
            self._bar.write(f"failed: {row['id']} by {row['method']}: {row['error']}", file=sys.stderr)
        self._bar.set_postfix_str(row["method"], refresh=False)
        self._bar.update(1)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
