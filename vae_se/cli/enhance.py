"""``vae-se enhance``: remove the noise from recordings of speech."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import sys
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from .. import portable
from ..audio import paths, tags
from ..config import BANDS, PRESETS, Config
from ..errors import UsageError
from ..execution import Died, Executor, Shard, reports
from ..execution.local import Processes, Serial
from ..extras import need
from .batching import Length, batches, measure
from .common import Choice, complain, raw_format, raw_options, say
from .engine import CountOrAuto, chosen_executor, engine_options, threads_of_worker
from .groups import check_groups, learn_groups
from .sections import Sectioned
from .show import Display
from .side_files import PICTURE, VAD, plan_side_files
from .work import FileOutcome, FileSettings, ReportProgress, describe, died, make

#: With --jobs auto, seconds of sound per process: fewer processes are started for less sound.
PROCESS_SECONDS = 60.0


#: Sections of ``--help``, and the options in each.
SECTIONS = {
    "Most used": ["output", "preset", "noise", "atten_lim", "overwrite"],
    "What is written": ["name", "save_noise", "draws", "plot", "vad", "clip", "dry", "band"],
    "Model and noise": ["method", "prior", "estep", "noise_from", "noise_group", "seed"],
    "Long recordings": ["segment", "overlap"],
    "Many files": ["jobs", "threads", "batch", "device", "executor", "address", "slurm", "shard"],
    "Samples without a header": ["raw", "rate", "channels"],
    "All settings": ["config_file", "assignments", "print_config"],
    "Messages": ["as_json", "quiet", "verbose"],
}


@click.command(short_help="Remove the noise from recordings of speech.", cls=Sectioned, sections=SECTIONS)
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
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist; the default is to keep them.")
@click.option(
    "--clip",
    type=Choice(["clamp", "rescale", "none"]),
    default="clamp",
    show_default=True,
    help="Samples beyond full scale: limit them, scale the whole file down, or leave them (integers saturate).",
)
@click.option(
    "--draws",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Write N plausible versions of the speech as well, drawn from its posterior, as NAME_draw1.EXT ...",
)
@click.option("--save-noise", is_flag=True, help="Write the estimated noise as well, as NAME_noise.EXT.")
@click.option(
    "--plot",
    metavar="FILE.png|DIR",
    help="Draw spectrograms, uncertainty, noise factors, gain and objective. For several inputs: a folder, or a"
    " name with {stem}.",
)
@click.option(
    "--vad",
    metavar="FILE.csv|DIR",
    help="Write the segments with speech: start and end in seconds, probability. For several inputs as --plot.",
)
@click.option(
    "--preset",
    type=Choice(list(PRESETS)),
    default="default",
    show_default=True,
    help="Trade-off between speed and quality.",
)
@click.option("--method", metavar="NAME", help="The method mcem, or a baseline such as log-mmse.")
@click.option("--prior", metavar="NAME|DIR", help="The speech prior (vae-se prior list).")
@click.option(
    "--estep", metavar="NAME", help="E-step: how EM samples or approximates the posterior of the speech."
)
@click.option(
    "--noise",
    metavar="NAME|FILE",
    help="The noise model, or a noise dictionary from vae-se noise fit (.safetensors).",
)
@click.option(
    "--noise-from",
    metavar="START-END",
    help="Time range without speech to learn the noise from, such as 0:00-0:02.5.",
)
@click.option(
    "--noise-group",
    type=Choice(["folder", "all"]),
    help="Learn one noise dictionary for each folder, or for all inputs, in a first pass.",
)
@click.option(
    "--atten-lim", type=click.FloatRange(min=0), metavar="DB", help="Largest attenuation of the noise."
)
@click.option(
    "--dry", type=click.FloatRange(0, 1), metavar="0..1", help="Fraction of the noisy recording in the output."
)
@click.option(
    "--band",
    type=Choice(list(BANDS)),
    help="Enhance the whole band of the recording, or the speech band below 8 kHz alone.  [default: full]",
)
@click.option(
    "--segment",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Cut longer recordings into segments of this length.",
)
@click.option(
    "--overlap",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Cross-fade between segments.",
)
@click.option("--seed", type=int, help="Seed of the random numbers.  [default: 0]")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Compute device."
)
@engine_options(jobs="auto")
@click.option(
    "--batch",
    type=CountOrAuto(),
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Files of similar length in one batch.",
)
@raw_options
@click.option("--config", "config_file", metavar="FILE", help="Settings from a TOML file.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting, such as inference.iterations=100; may be repeated.",
)
@click.option("--print-config", is_flag=True, help="Print the settings as TOML and exit.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per file on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("-v", "--verbose", is_flag=True, help="Print more about each file.")
@click.pass_context
def enhance(ctx: click.Context, inputs: tuple[str, ...], **options: Any) -> int:
    """Remove the noise from recordings of speech.

    INPUT is a file (WAV, FLAC, OGG, MP3 and more; M4A, MP4, WEBM through ffmpeg), a folder, a quoted glob,
    @list.txt, or - for stdin. The output of one input is STEM_enhanced.EXT in the same folder, or -o FILE; the
    outputs of several go to -o DIR, in the same tree as the inputs. The output keeps rate, length, channels,
    level and format.

    Exit codes: 0 all done, 1 some files failed, 2 usage error, 130 interrupted.
    """
    config = settings_from(**options)
    if options["print_config"]:
        from .print_config import annotated

        click.echo(annotated(config), nl=False)
        return 0
    if not inputs:
        raise UsageError("no input", "vae-se enhance noisy.wav")
    if options["plot"]:
        need("--plot", "matplotlib", "plot")
    if options["vad"] and config.method != "mcem":
        raise UsageError(f"--vad needs inference, which {config.method} does not run", "omit one of them")
    jobs = plan_jobs(inputs, config, **options)
    settings = FileSettings(
        config=config,
        device=options["device"],
        threads=threads_of_worker(options["jobs"], options["threads"]),
        clip=options["clip"],
        save_noise=options["save_noise"],
        draws=options["draws"],
        overwrite=options["overwrite"],
        pictures=plan_side_files(jobs, options["plot"], paths.several(inputs), PICTURE),
        vad=plan_side_files(jobs, options["vad"], paths.several(inputs), VAD),
        raw=raw_format(options["raw"], options["rate"], options["channels"]),
        debug=bool((ctx.obj or {}).get("debug")),
        noise_group=options["noise_group"],
    )
    folder = Path(ctx.with_resource(TemporaryDirectory(prefix="vae-se-")))
    jobs = [through_files(job, folder, settings.raw is not None) for job in jobs]
    if options["noise_group"]:
        check_groups(config, options["executor"])
    lengths = measure(jobs)
    mine = list(Shard.parse(options["shard"]).of_all(batches(jobs, lengths, options["batch"])))
    if not mine and jobs and not options["quiet"]:
        say(f"shard {options['shard']} has none of the {len(jobs)} inputs: nothing to do")
    here = {job for batch in mine for job in batch}
    todo = [left for batch in mine if (left := [job for job in batch if _is_open(job)])]
    for kind, planned in ((PICTURE, settings.pictures), (VAD, settings.vad)):
        lost = [job for job in here if job.exists and _lacks(planned.get(job.source.label))]
        if lost and not options["quiet"]:
            say(f"no {kind.name} of outputs that are kept ({len(lost)}): --overwrite enhances and makes them")
    display = Display(len(here), options["quiet"], options["verbose"], _seconds(todo, lengths))
    failed: list[FileOutcome] = []
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
    """The settings: preset, then --config, then the named options, then --set; later ones take precedence."""
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
        "output.band": options["band"],
        "inference.segment": options["segment"],
        "inference.overlap": options["overlap"],
        "seed": options["seed"],
    }
    return config.override({k: v for k, v in named.items() if v is not None}).set(*assignments)


def _noise(given: str | None, segment: str | None) -> dict[str, Any]:
    """Settings for --noise and --noise-from: a noise model, a dictionary file, or a noise segment."""
    if segment is not None:
        if given not in (None, "dictionary"):
            raise UsageError(f"--noise {given} and --noise-from contradict each other", "give one of them")
        return {"noise.name": "dictionary", "noise.noise_segment": segment}
    if given is not None and given.endswith(".safetensors"):
        return {"noise.name": "dictionary", "noise.file": given}
    return {"noise.name": given}


def plan_jobs(inputs: tuple[str, ...], config: Config, **options: Any) -> list[paths.FileJob]:
    """The inputs and outputs of the command. Raises UsageError for impossible combinations."""
    output: str | None = options["output"]
    if output is None and any(Path(item).is_dir() for item in inputs):
        raise UsageError("a folder of recordings needs a folder for the results", "give -o DIR")
    many = paths.several(inputs)
    below = Path(output) if output not in (None, "-") and many else None
    sources = paths.collect(inputs, below, skipped=True)
    jobs = paths.plan(
        sources,
        output,
        name=options["name"],
        method=config.method,
        many=many,
        overwrite=options["overwrite"],
        with_noise=options["save_noise"],
        draws=options["draws"],
    )
    if any(job.target is None and job.source.problem is None for job in jobs):
        if options["as_json"]:
            raise UsageError("--json and the audio would both go to stdout", "give -o FILE")
        if options["save_noise"]:
            raise UsageError("--save-noise needs an output file", "give -o FILE")
        if options["draws"]:
            raise UsageError("--draws needs an output file", "give -o FILE")
        if sys.stdout.isatty():
            raise UsageError("stdout is a terminal", "redirect the WAV: > clean.wav, or give -o FILE")
    return jobs


def through_files(job: paths.FileJob, folder: Path, bare: bool) -> paths.FileJob:
    """Replace stdin and stdout by files in ``folder``, so that recordings longer than memory can be piped."""
    if not _is_open(job):
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


def to_stdout(outcome: FileOutcome, folder: Path) -> None:
    """Copy an output for stdout to stdout, and set the output of the outcome to ``-``."""
    if outcome.output is None or Path(outcome.output).parent != folder:
        return
    if outcome.status == "done":
        with open(outcome.output, "rb") as file:
            shutil.copyfileobj(file, sys.stdout.buffer)
        sys.stdout.buffer.flush()
    outcome.output = "-"


def _is_open(job: paths.FileJob) -> bool:
    """Whether a job has an input that can be read and no output yet."""
    return job.source.problem is None and not job.exists


def _seconds(todo: list[list[paths.FileJob]], lengths: dict[paths.FileJob, Length]) -> dict[str, float]:
    """Seconds of audio by label; the mean of the others, or 1, where the header does not tell."""
    known = [lengths[job].seconds for batch in todo for job in batch if job in lengths]
    typical = sum(known) / len(known) if known else 1.0
    return {
        job.source.label: lengths[job].seconds if job in lengths else typical for batch in todo for job in batch
    }


def _lacks(wanted: Path | None) -> bool:
    """Whether a file is requested that does not exist."""
    return wanted is not None and not wanted.exists()


def _made_otherwise(job: paths.FileJob, settings: FileSettings) -> list[str]:
    """A warning where an output that is kept was made with other settings."""
    assert job.target is not None
    made = tags.settings_digest_of(job.target)
    return ["made with other settings"] if made is not None and made != settings.digest else []


def _executor(
    todo: list[list[paths.FileJob]], lengths: dict[paths.FileJob, Length], **options: Any
) -> Executor:
    """The executor of the options; without any, this process, or several where there is enough sound."""
    jobs: int | None = options["jobs"]
    named = options["executor"] or options["address"] or options["slurm"]
    if jobs is None and options["executor"] in (None, "processes"):
        jobs = max(1, portable.usable_cores() // (options["threads"] or 1))
        if not named:
            seconds = sum(lengths[job].seconds for batch in todo for job in batch if job in lengths)
            # One process keeps a GPU busy, and starting a process takes seconds.
            alone = _on_gpu(options["device"]) or not portable.WORKER_PROCESSES
            jobs = 1 if alone else min(jobs, max(1, int(seconds / PROCESS_SECONDS)))
    if not named and min(jobs or 1, len(todo)) < 2:
        return Serial()
    return chosen_executor(options["executor"], jobs, options["address"], options["slurm"])


def _on_gpu(device: str) -> bool:
    return device.startswith("cuda") or (device == "auto" and Path("/dev/nvidiactl").exists())


def _outcomes(
    jobs: list[paths.FileJob],
    todo: list[list[paths.FileJob]],
    settings: FileSettings,
    executor: Executor,
    display: Display,
) -> Generator[FileOutcome, None, None]:
    """One outcome per job, in the order of the inputs; ``todo``: batches of the jobs to do."""
    report: ReportProgress | None = None
    if isinstance(executor, Serial):
        report = display.progress
    elif isinstance(executor, Processes):
        report, executor = reports.report, dataclasses.replace(executor, take_report=display.progress)
    finished: dict[paths.FileJob, FileOutcome] = {}
    with closing(executor.run(functools.partial(make, settings, report), todo)) as results:
        for job in jobs:
            if _is_open(job):
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
                outcome.error, outcome.hint = job.source.problem.message, job.source.problem.hint
                outcome.status = "skipped" if job.source.skipped else "failed"
            else:
                outcome.status = "skipped"
                outcome.warnings += _made_otherwise(job, settings)
            yield outcome
