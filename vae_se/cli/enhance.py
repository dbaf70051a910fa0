"""``vae-se enhance``: noisy recordings in, clean speech out."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from ..audio import paths
from ..config import PRESETS, Config
from ..errors import UsageError
from ..execution import Died, Executor, Shard
from ..execution.local import Serial
from .batching import Length, batches, measure
from .common import complain, raw_format, raw_options
from .engine import CountOrAuto, chosen_executor, engine_options
from .groups import check_groups, learn_groups
from .pictures import plan_pictures
from .show import Display
from .work import Outcome, Settings, describe, died, make

#: With --jobs auto every process has this much sound to do, in seconds, or it is not started.
PROCESS_SECONDS = 60.0


@click.command(short_help="Noisy recordings in, clean speech out.")
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option(
    "-o", "--output", metavar="FILE|DIR|-", help="Output file, or folder for several; - is a WAV to stdout."
)
@click.option(
    "--name",
    default=paths.DEFAULT_NAME,
    show_default=True,
    help="Names of outputs, from {stem}, {ext}, {method} and {parent}.",
)
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist; otherwise they are kept.")
@click.option(
    "--clip",
    type=click.Choice(["clamp", "rescale", "none"]),
    default="clamp",
    show_default=True,
    help="What exceeds full scale: limit it, turn the file down, or leave it (integers saturate).",
)
@click.option("--save-noise", is_flag=True, help="Write the estimated noise too, as NAME_noise.EXT.")
@click.option(
    "--plot",
    metavar="FILE.png|DIR",
    help="Draw spectrograms, uncertainty, noise dictionary, gain and objective; several inputs: a folder, or"
    " {stem} in the name.",
)
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="Speed against quality.",
)
@click.option("--method", metavar="NAME", help="A named combination, or a baseline such as log-mmse.")
@click.option("--prior", metavar="NAME|DIR", help="The model of clean speech (vae-se prior list).")
@click.option("--estep", metavar="NAME", help="How the posterior of the speech is sampled.")
@click.option(
    "--noise", metavar="NAME|FILE", help="The model of the noise, or a file of vae-se noise fit (.safetensors)."
)
@click.option(
    "--noise-from",
    metavar="START-END",
    help="Learn the noise where nobody speaks in the recording, such as 0:00-0:02.5.",
)
@click.option(
    "--noise-group",
    type=click.Choice(["folder", "all"]),
    help="Learn one noise for the recordings of each folder, or for all inputs: two passes.",
)
@click.option(
    "--atten-lim", type=click.FloatRange(min=0), metavar="DB", help="Turn the noise down by this at most."
)
@click.option(
    "--dry", type=click.FloatRange(0, 1), metavar="0..1", help="Part of the noisy recording mixed in."
)
@click.option(
    "--segment",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Cut longer recordings into pieces of this length.",
)
@click.option(
    "--overlap", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS", help="Cross-fade of pieces."
)
@click.option("--seed", type=int, help="Seed of every random draw.  [default: 0]")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where to compute."
)
@engine_options(jobs="auto")
@click.option(
    "--batch",
    type=CountOrAuto(),
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Files of like length enhanced together.",
)
@raw_options
@click.option("--config", "config_file", metavar="FILE", help="Settings from a TOML file.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="One setting, such as inference.iterations=100; may be repeated.",
)
@click.option("--print-config", is_flag=True, help="Print the settings as TOML and stop.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a file on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more about each file.")
@click.pass_context
def enhance(ctx: click.Context, inputs: tuple[str, ...], **options: Any) -> int:
    """Remove the noise from recordings of speech.

    INPUT is a file (WAV, FLAC, OGG, MP3 and more), a folder, a quoted glob, @list.txt, or - for stdin. One
    input goes to STEM_enhanced.EXT beside it, or to -o FILE; several go to -o DIR, whose tree is that of
    the inputs. Rate, length, channels, level and format stay as they are.

    Exit codes: 0 all done, 1 some files failed, 2 usage, 130 interrupted.
    """
    config = settings_from(**options)
    if options["print_config"]:
        click.echo(config.to_toml(), nl=False)
        return 0
    if not inputs:
        raise UsageError("no input", "vae-se enhance noisy.wav")
    jobs = plan_jobs(inputs, config, **options)
    settings = Settings(
        config=config,
        device=options["device"],
        clip=options["clip"],
        save_noise=options["save_noise"],
        overwrite=options["overwrite"],
        pictures=plan_pictures(jobs, options["plot"], paths.several(inputs)) if options["plot"] else {},
        raw=raw_format(options["raw"], options["rate"], options["channels"]),
        debug=bool((ctx.obj or {}).get("debug")),
    )
    folder = Path(ctx.with_resource(TemporaryDirectory(prefix="vae-se-")))
    jobs = [through_files(job, folder, settings.raw is not None) for job in jobs]
    if options["noise_group"]:
        check_groups(config, options["executor"])
    lengths = measure(jobs)
    mine = list(Shard.parse(options["shard"]).of_all(batches(jobs, lengths, options["batch"])))
    here = {job for batch in mine for job in batch}
    todo = [left for batch in mine if (left := [job for job in batch if _is_left(job)])]
    display = Display(len(here), quiet=options["quiet"], verbose=options["verbose"])
    failed: list[Outcome] = []
    with display:
        if options["noise_group"] and todo:
            wanted = {job.source.label for batch in todo for job in batch}
            shared = learn_groups(settings, jobs, wanted, options["noise_group"], folder, options["quiet"])
            settings = dataclasses.replace(settings, shared_noise=shared)
        executor = _executor(todo, lengths, **options)
        outcomes = _outcomes([job for job in jobs if job in here], todo, settings, executor, display)
        with closing(outcomes):
            for outcome in outcomes:
                to_stdout(outcome, folder)
                if options["as_json"]:
                    click.echo(json.dumps(outcome.row(), ensure_ascii=False))
                display.show(outcome)
                if outcome.status == "failed":
                    failed.append(outcome)
    display.summary()
    for outcome in failed:
        complain(outcome.error or "failed", outcome.hint or "")
    return 1 if failed else 0


def settings_from(preset: str, config_file: str | None, assignments: tuple[str, ...], **options: Any) -> Config:
    """Preset, then the file, then the options by name, then ``--set``: the later wins."""
    config = Config.preset(preset)
    if config_file is not None:
        config = Config.from_toml(config_file, config)
    named = {
        "method": options["method"],
        "prior": options["prior"],
        "estep.name": options["estep"],
        **_noise(options["noise"], options["noise_from"]),
        "output.atten_lim_db": options["atten_lim"],
        "output.dry": options["dry"],
        "inference.segment": options["segment"],
        "inference.overlap": options["overlap"],
        "seed": options["seed"],
    }
    return config.override({k: v for k, v in named.items() if v is not None}).set(*assignments)


def _noise(given: str | None, segment: str | None) -> dict[str, Any]:
    """What --noise and --noise-from stand for: a model by name, the dictionary in a file or of a segment."""
    if segment is not None:
        if given not in (None, "dictionary"):
            raise UsageError(f"--noise {given} and --noise-from both say what the noise is", "give one of them")
        return {"noise.name": "dictionary", "noise.noise_segment": segment}
    if given is not None and given.endswith(".safetensors"):
        return {"noise.name": "dictionary", "noise.file": given}
    return {"noise.name": given}


def plan_jobs(inputs: tuple[str, ...], config: Config, **options: Any) -> list[paths.Job]:
    """Inputs and outputs of the command, or UsageError where they cannot be meant."""
    output: str | None = options["output"]
    if output is None and any(Path(item).is_dir() for item in inputs):
        raise UsageError("a folder of recordings needs a folder for the results", "give -o DIR")
    many = paths.several(inputs)
    sources = paths.collect(inputs, Path(output) if output not in (None, "-") and many else None)
    jobs = paths.plan(
        sources,
        output,
        name=options["name"],
        method=config.method,
        many=many,
        overwrite=options["overwrite"],
        with_noise=options["save_noise"],
    )
    if any(job.target is None and job.source.problem is None for job in jobs):
        if options["as_json"]:
            raise UsageError("--json and the sound would both go to stdout", "give -o FILE")
        if options["save_noise"]:
            raise UsageError("--save-noise needs an output with a name", "give -o FILE")
        if sys.stdout.isatty():
            raise UsageError("a WAV on a terminal is of no use", "redirect it: > clean.wav, or give -o FILE")
    return jobs


def through_files(job: paths.Job, folder: Path, bare: bool) -> paths.Job:
    """stdin and stdout as files in ``folder``: what is longer than memory goes through a pipe, too."""
    if not _is_left(job):
        return job
    source, target = job.source, job.target
    if source.path is None:
        path = folder / "stdin"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        source = dataclasses.replace(source, path=path)
    if target is None:
        target = folder / ("stdout.raw" if bare else "stdout.wav")
    return dataclasses.replace(job, source=source, target=target)


def to_stdout(outcome: Outcome, folder: Path) -> None:
    """Copy an output that is meant for stdout there; the outcome then says so."""
    if outcome.output is None or Path(outcome.output).parent != folder:
        return
    if outcome.status == "done":
        with open(outcome.output, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    outcome.output = "-"


def _is_left(job: paths.Job) -> bool:
    """Whether there is anything to do for a job."""
    return job.source.problem is None and not job.exists


def _executor(todo: list[list[paths.Job]], lengths: dict[paths.Job, Length], **options: Any) -> Executor:
    """The executor that was asked for; without --executor this process, or several where that pays off."""
    jobs: int | None = options["jobs"]
    named = options["executor"] or options["address"] or options["slurm"]
    if jobs is None and options["executor"] in (None, "processes"):
        jobs = len(os.sched_getaffinity(0))
        if not named:
            seconds = sum(lengths[job].seconds for batch in todo for job in batch if job in lengths)
            # On a GPU one process does the computing; a process costs seconds before it does anything.
            jobs = 1 if _on_gpu(options["device"]) else min(jobs, max(1, int(seconds / PROCESS_SECONDS)))
    if not named and min(jobs or 1, len(todo)) < 2:
        return Serial()
    return chosen_executor(options["executor"], jobs, options["address"], options["slurm"])


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda") or (device == "auto" and Path("/dev/nvidiactl").exists())


def _outcomes(
    jobs: list[paths.Job],
    todo: list[list[paths.Job]],
    settings: Settings,
    executor: Executor,
    display: Display,
) -> Generator[Outcome, None, None]:
    """One outcome per job, in the order of the inputs; ``todo`` are the batches of what is to be done."""
    progress = display.iteration if isinstance(executor, Serial) else None
    finished: dict[paths.Job, Outcome] = {}
    with closing(executor.run(functools.partial(make, settings, progress), todo)) as results:
        for job in jobs:
            if _is_left(job):
                display.start(job.source.label)
                while job not in finished:
                    number, made = next(results)
                    for one, result in zip(todo[number], made, strict=True):
                        lost = isinstance(result, Died)
                        finished[one] = died(one, settings.config, result) if lost else result
                yield finished.pop(job)
                continue
            outcome = describe(job, settings.config)
            if job.source.problem is not None:
                outcome.error, outcome.hint = str(job.source.problem), job.source.problem.hint
            else:
                outcome.status = "skipped"
            yield outcome
