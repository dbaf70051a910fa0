"""Progress on stderr: a bar with the remaining time on a terminal, otherwise one line per epoch."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from .checkpoint import Progress
from .report import TensorBoard


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss.

    >>> clock(3723.4)
    '1:02:03'
    """
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


class FileProgress:
    """Progress over files while their ``what`` (features, scores) are computed; none if ``quiet``."""

    def __init__(self, quiet: bool, what: str) -> None:
        self._quiet = quiet
        self._what = what
        self._bar: tqdm | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._quiet:
            return
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = tqdm(total=total, desc=self._what, unit="file", leave=False)
            self._bar.update(done - self._bar.n)
            if done == total:
                self._bar.close()
        elif done == total:
            print(f"{self._what} of {total} files computed", file=sys.stderr, flush=True)


class TrainingProgress:
    """Listener of :class:`vae_se.training.prior_trainer.PriorTrainer`."""

    def __init__(self, epochs: int, quiet: bool, tensorboard: TensorBoard | None = None) -> None:
        self._epochs = epochs
        self._quiet = quiet
        self._tensorboard = tensorboard
        self._bar: tqdm | None = None
        self._terminal = sys.stderr.isatty()
        self._started = time.monotonic()
        self._first_step: int | None = None
        self._done = self._total = 0

    def step(self, progress: Progress, steps_per_epoch: int, running_loss: float) -> None:
        """Advance the bar."""
        if self._first_step is None:
            self._first_step = progress.step - 1
        self._done, self._total = progress.step, self._epochs * steps_per_epoch
        if self._quiet or not self._terminal:
            return
        if self._bar is None:
            self._bar = tqdm(
                total=self._total, initial=self._first_step, desc="training", unit="step", leave=False
            )
        self._bar.update(progress.step - self._bar.n)
        if progress.step % 20 == 0:
            self._bar.set_postfix_str(f"epoch {progress.epoch + 1}/{self._epochs}, loss {running_loss:.1f}")

    def epoch(self, record: dict[str, Any], best: bool) -> None:
        """Print the epoch's record in one line, with the remaining time; * marks the best so far."""
        if self._tensorboard:
            self._tensorboard.write(record)
        if self._quiet:
            return
        elapsed = time.monotonic() - self._started
        rate = elapsed / max(1, self._done - (self._first_step or 0))
        line = (
            f"epoch {record['epoch'] + 1}/{self._epochs}: train {record['train_loss']:.1f}, "
            f"valid {record['valid_loss']:.1f} (reconstruction {record['valid_reconstruction']:.1f}, "
            f"KL {record['valid_kl']:.1f}, IS {record['valid_itakura_saito']:.1f}), "
            f"{clock(record['seconds'])} spent, {clock(rate * (self._total - self._done))} to go"
            + (" *" if best else "")
        )
        if self._terminal:
            tqdm.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
        if self._tensorboard:
            self._tensorboard.close()
