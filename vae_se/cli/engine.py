"""``--jobs``, ``--executor``, ``--address``, ``--slurm``, ``--shard``: where a command does its work."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..config import parse_value
from ..errors import UsageError
from ..execution import EXECUTORS, Executor, choose
from ..portable import usable_cores
from .common import Choice

F = TypeVar("F", bound=Callable[..., Any])


class CountOrAuto(click.ParamType):
    """A positive integer, or ``auto``, which becomes None."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a positive integer nor auto", param, ctx)
        return int(value)


def engine_options(jobs: str) -> Callable[[F], F]:
    """Decorator that adds the options; ``jobs`` is the default of ``--jobs``."""
    options = [
        click.option(
            "-j", "--jobs", type=CountOrAuto(), default=jobs, show_default=True, metavar="N|auto",
            help="Workers of one thread each, or --threads; the results do not depend on their number."
        ),
        click.option(
            "--threads", type=CountOrAuto(), default="auto", show_default=True, metavar="N|auto",
            help="Threads of each worker. auto: one, but all cores where --jobs auto takes a single worker.",
        ),
        click.option(
            "--executor", type=Choice(EXECUTORS),
            help="Where the workers run: this process, processes on this machine, a Ray or a Slurm cluster.",
        ),
        click.option(
            "--address", metavar="WHERE",
            help="With ray: auto or HOST:PORT of the cluster; with slurm: local runs the jobs on this machine.",
        ),
        click.option(
            "--slurm", multiple=True, metavar="KEY=VALUE",
            help="A parameter of submitit, such as slurm_partition=cpu or timeout_min=240; may be repeated.",
        ),
        click.option("--shard", metavar="I/N", help="Do only part I of N, counted from 1."),
    ]  # fmt: skip
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


def threads_of_worker(jobs: int | None, threads: int | None) -> int | None:
    """Threads of each worker, from ``--jobs`` and ``--threads``; None leaves the number to torch in the worker.

    Torch takes all cores in this process, and one in the worker processes (:mod:`vae_se.execution.process`).

    >>> threads_of_worker(jobs=1, threads=None), threads_of_worker(jobs=None, threads=4)
    (1, 4)
    """
    return 1 if threads is None and jobs is not None else threads


def chosen_executor(
    name: str | None,
    jobs: int | None,
    address: str | None,
    slurm: tuple[str, ...],
    timeout: float | None = None,
) -> Executor:
    """The executor of the options; without ``name`` the one that the other options imply."""
    parameters = {}
    for item in slurm:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--slurm {item}: expected KEY=VALUE", "for example --slurm timeout_min=240")
        parameters[key] = parse_value(value)
    if name is None:
        name = "slurm" if slurm else "ray" if address else "processes"
    if name == "processes" and jobs is None:
        jobs = usable_cores()
    return choose(name, jobs, address, parameters, timeout)
