"""A pool of simulated noise on disk, drawn once by several processes and cut from at every step of a
training."""

from __future__ import annotations

import collections
import dataclasses
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import OutputError, UsageError
from ...rng import numpy_stream, torch_stream
from ...storage.atomic import write_atomically
from .classes import MODEL, WEIGHTS, simulate

FORMAT = 1
_PEAK = 32767


@dataclasses.dataclass(frozen=True)
class Pool:
    """Simulated noises: item i is ``samples[i]`` (length,) int16, to be multiplied by ``scales[i]`` for unit
    power.

    ``names[i]`` is its class, ``seed`` what the pool was drawn from, ``rate`` in Hz.
    """

    samples: np.ndarray
    scales: np.ndarray
    names: tuple[str, ...]
    rate: int
    seed: int

    def __len__(self) -> int:
        return len(self.samples)

    def cut(self, item: int, start: int, length: int) -> np.ndarray:
        """``length`` samples of ``item`` from ``start`` on (length,) float32, from its beginning again after
        its end."""
        whole = self.samples[item]
        parts = [whole[start : start + length]]
        while (missing := length - sum(part.size for part in parts)) > 0:
            parts.append(whole[:missing])
        part = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return np.asarray(part, np.float32) * self.scales[item]

    def split(self, part: float) -> tuple[Pool, Pool]:
        """The pool less its last items, and these: about ``part`` of all, at least one.

        Items are drawn independently, so the order is no matter. Raises UsageError for a pool of one item.
        """
        first = len(self) - max(1, round(part * len(self)))
        if first < 1:
            raise UsageError(f"a pool of {len(self)} noises", "validation needs one of its own: draw more")
        return self._items(slice(None, first)), self._items(slice(first, None))

    def counts(self) -> dict[str, int]:
        """Number of items of each class, sorted by name."""
        return dict(sorted(collections.Counter(self.names).items()))

    def _items(self, chosen: slice) -> Pool:
        return dataclasses.replace(
            self, samples=self.samples[chosen], scales=self.scales[chosen], names=self.names[chosen]
        )

    def without(self, *names: str) -> Pool:
        """The pool less the classes ``names``, as an ablation needs it."""
        keep = [i for i, name in enumerate(self.names) if name not in names]
        return dataclasses.replace(
            self, samples=self.samples[keep], scales=self.scales[keep], names=tuple(self.names[i] for i in keep)
        )


def draw_item(seed: int, number: int, name: str, samples: int, rate: int, prior: Any) -> np.ndarray:
    """Item ``number`` of a pool (samples,) float32, a function of (seed, number, name) alone."""
    if name == MODEL:
        from .model_noise import draw_noise

        generator = torch_stream(seed, "pool", number, name)
        return np.asarray(draw_noise(prior, 1, samples, generator)[0].numpy(), np.float32)
    return np.asarray(simulate(name, samples, rate, numpy_stream(seed, "pool", number, name)), np.float32)


def class_of(seed: int, number: int, weights: dict[str, float]) -> str:
    """The class of item ``number``, drawn with ``weights``."""
    names = sorted(weights)
    share = np.array([weights[name] for name in names])
    return str(numpy_stream(seed, "class", number).choice(names, p=share / share.sum()))


def draw_pool(
    folder: Path, prior: str, items: int, seconds: float = 8.0, seed: int = 0, processes: int = 2,
    weights: dict[str, float] | None = None, say: Callable[[str], None] = lambda _: None,
) -> Pool:  # fmt: skip
    """Draw ``items`` noises of ``seconds`` into ``folder`` and open the pool.

    ``prior``: name or folder of the speech prior whose rate and spectra the class ``model`` uses. The result
    does not depend on ``processes``. A folder that holds a whole pool of the same request is opened as it is;
    OutputError where it holds another one.
    """
    from ...priors import load_prior

    weights = WEIGHTS if weights is None else weights
    signal = load_prior(prior, "cpu").signal
    length = round(seconds * signal.rate)
    request = {
        "format": FORMAT,
        "seed": seed,
        "items": items,
        "length": length,
        "rate": signal.rate,
        "weights": weights,
    }
    index = folder / "index.json"
    if index.is_file():
        if {k: v for k, v in json.loads(index.read_text()).items() if k in request} != request:
            raise OutputError(f"{folder} holds another pool of noise", "choose another folder")
        return open_pool(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / "samples.partial"
    store = np.memmap(partial, np.int16, "w+", shape=(items, length))
    names, scales = [class_of(seed, i, weights) for i in range(items)], np.ones(items)
    tasks = [(seed, i, names[i], length, signal.rate, prior) for i in range(items)]
    with multiprocessing.get_context("spawn").Pool(processes) as workers:
        for done, (number, scale, values) in enumerate(workers.imap_unordered(_work, tasks, chunksize=8), 1):
            store[number], scales[number] = values, scale
            if done % 200 == 0:
                say(f"{done} of {items} noises drawn")
    store.flush()
    del store
    partial.replace(folder / "samples.int16")
    write_atomically(index, json.dumps({**request, "names": names, "scales": scales.tolist()}).encode())
    return open_pool(folder)


_prior: Any = None


def _work(task: tuple[int, int, str, int, int, str]) -> tuple[int, float, np.ndarray]:
    global _prior
    import torch

    seed, number, name, length, rate, prior = task
    torch.set_num_threads(1)
    if name == MODEL and _prior is None:
        from ...priors import load_prior

        _prior = load_prior(prior, "cpu")
    values = draw_item(seed, number, name, length, rate, _prior)
    scale = max(float(np.abs(values).max()), 1e-9) / _PEAK
    return number, scale, np.round(values / scale).astype(np.int16)


def open_pool(folder: Path) -> Pool:
    """The pool in ``folder``; UsageError where there is none."""
    try:
        index = json.loads((folder / "index.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"no pool of noise in {folder}: {error}", "vae-se noise pool draws one") from None
    samples = np.memmap(folder / "samples.int16", np.int16, "r", shape=(index["items"], index["length"]))
    scales = np.array(index["scales"], np.float32)
    return Pool(samples, scales, tuple(index["names"]), index["rate"], index["seed"])
