"""Progress of vae-se enhance on stderr: a bar on a terminal, otherwise one line per file."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from ..enhancement.progress import BAR
from .common import say
from .work import FileOutcome, Progress


class Display:
    """Progress over ``total`` files. ``quiet`` prints nothing; ``verbose`` adds the diagnostics of EM.

    ``seconds``: of audio in each file that is to be enhanced, by its label.
    """

    def __init__(
        self,
        total: int,
        quiet: bool = False,
        verbose: bool = False,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.quiet, self.verbose = quiet, verbose
        self.counts: Counter[str] = Counter()
        self.audio = self.spent = 0.0
        self._total = total
        self._bar: Any = None
        self._label = ""
        self._seconds = dict(seconds or {})
        self._done: dict[str, float] = {}  # seconds of audio by label
        self._sum = 0.0
        self._lock = threading.Lock()

    def __enter__(self) -> Display:
        if not self.quiet and sys.stderr.isatty():
            from tqdm.auto import tqdm

            self._bar = tqdm(
                total=sum(self._seconds.values()),
                file=sys.stderr,
                leave=False,
                dynamic_ncols=True,
                bar_format=BAR,
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def start(self, label: str) -> None:
        """Report the start of a file."""
        self._label = label
        if self._bar is not None:
            self._bar.set_postfix_str(label)

    def progress(self, report: Progress) -> None:
        """Report how much of a file is done. May be called from any thread."""
        with self._lock:
            done = self._seconds.get(report.label, 0.0) * report.fraction
            self._sum += done - self._done.get(report.label, 0.0)
            self._done[report.label] = done
            if self._bar is not None:
                self._bar.n = self._sum
                self._bar.refresh()

    def show(self, outcome: FileOutcome) -> None:
        """Report the outcome of a file."""
        self.counts[outcome.status] += 1
        if outcome.status == "done":
            self.audio += outcome.duration or 0.0
            self.spent += outcome.seconds or 0.0
        self.progress(Progress(outcome.input, 1.0))
        if not self.quiet:
            for line in self._lines(outcome):
                self._say(line)

    def summary(self) -> None:
        """Print the counts, where there is more than one file."""
        if self.quiet or self._total < 2:
            return
        parts = [f"{self.counts[s]} {s}" for s in ("done", "skipped", "failed") if self.counts[s]]
        speed = f", real-time factor {self.spent / self.audio:.2f}" if self.audio else ""
        say(", ".join(parts) + speed)

    def _lines(self, outcome: FileOutcome) -> list[str]:
        if outcome.status == "skipped" and outcome.error is not None:
            return [f"skipped: {outcome.error} ({outcome.hint})"]
        if outcome.status == "skipped":
            why = "which was made with other settings" if outcome.warnings else "which exists"
            return [f"{outcome.input}: kept {outcome.output}, {why} (--overwrite replaces it)"]
        if outcome.status == "failed":
            # The reasons of all failures are printed at the end.
            return [f"{outcome.input}: failed"] if self._total > 1 else []
        where = "stdout" if outcome.output == "-" else outcome.output
        lines = [
            f"{outcome.input} -> {where}: {outcome.duration:.1f} s in {outcome.seconds:.1f} s "
            f"(real-time factor {outcome.rtf:.2f})"
        ]
        lines += [f"  warning: {warning}" for warning in outcome.warnings]
        if outcome.noise_output and self.verbose:
            lines.append(f"  noise: {outcome.noise_output}")
        if outcome.picture and self.verbose:
            lines.append(f"  picture: {outcome.picture}")
        if self.verbose:
            values = {
                "method": outcome.method,
                "prior": outcome.prior,
                "iterations": outcome.iterations,
                "objective": outcome.objective,
                "acceptance": outcome.acceptance,
                "effective sample size": outcome.ess,
            }
            shown = {
                k: f"{v:.3g}" if isinstance(v, float) else str(v) for k, v in values.items() if v is not None
            }
            lines.append("  " + ", ".join(f"{k} {v}" for k, v in shown.items()))
        return lines

    def _say(self, line: str) -> None:
        if self._bar is not None:
            self._bar.write(line, file=sys.stderr)
        else:
            say(line)
