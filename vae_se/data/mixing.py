"""Noisy mixtures from a folder of speech and a folder of noise, by a seeded recipe.

A recipe and two folders give *draws*: utterances, a segment of a noise file, and gains. A draw is plain data.
Rendering it uses only the sources, two gains and additions, so a manifest of draws reproduces its mixtures
bit for bit.

The SNR is the ratio of the active speech level (ITU-T P.56) to the RMS of the noise segment that is mixed in.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..audio.level import active_rms
from ..deprecated import renamed_attribute
from ..errors import AudioError, UsageError
from ..rng import numpy_stream
from .files import frames_at, list_audio, read_at, sha256
from .mixture import Mixture

__all__ = ["Draw", "MixingRecipe", "Mixture", "draw_all", "join", "mixtures", "render", "segment"]

JOIN_FADE_SECONDS = 0.02  # between two utterances: hides the step between their background noises
LOOP_FADE_SECONDS = 0.1  # between the end and the start of a looped noise
PEAK = 0.98  # mixtures with a higher peak are scaled down, speech and noise alike
_SILENT_RMS = 1e-5  # -100 dBFS: a noise segment below this level counts as digital silence
_REDRAWS = 20


@dataclass(frozen=True)
class MixingRecipe:
    """How mixtures are drawn. Levels in dB, times in seconds, rate in Hz.

    ``count``: number of mixtures; None makes one mixture per usable utterance. ``min_utterance``: shorter
    utterances are not used. ``join_to``: utterances of one speaker are joined up to this duration (0: never).
    ``max_seconds``: longer speech is cut (0: never). ``level_dbfs``: range of the active speech level, drawn
    uniformly. ``exclude``: noise categories that are not used.

    Raises UsageError without an SNR, for a count below 1, and for a reversed range of levels.
    """

    snrs_db: tuple[float, ...] = (-5.0, 0.0, 5.0, 10.0, 15.0)
    count: int | None = None
    seed: int = 0
    rate: int = 16000
    min_utterance: float = 0.0
    join_to: float = 0.0
    max_seconds: float = 0.0
    level_dbfs: tuple[float, float] = (-26.0, -26.0)
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.snrs_db:
            raise UsageError("a mixing recipe needs at least one SNR", "for example snrs_db = [0, 5, 10]")
        if self.count is not None and self.count < 1:
            raise UsageError(f"count is {self.count}; at least one mixture was expected")
        if self.level_dbfs[0] > self.level_dbfs[1]:
            raise UsageError(f"level_dbfs {self.level_dbfs} is reversed", "give [quietest, loudest]")


@dataclass(frozen=True)
class Draw:
    """Everything that :func:`render` needs.

    Paths are relative to their folders; offsets are in samples at ``rate``. The SHA-256 digests of the
    sources and of the rendered samples (clean, then noise, float32 little endian) detect differences.
    """

    id: str
    speech: tuple[str, ...]
    speech_sha256: tuple[str, ...]
    speech_gain: float
    samples: int
    noise: str
    noise_sha256: str
    noise_offset: int
    noise_looped: bool
    noise_gain: float
    snr_db: float
    noise_type: str
    speaker: str
    rate: int
    seed: int
    scaled_against_clipping: bool = False
    rendered_sha256: str = field(default="", compare=False)


def join(pieces: list[np.ndarray], fade: int) -> np.ndarray:
    """Concatenate pieces (T_i,) with an equal-power cross-fade of ``fade`` samples between them.

    >>> join([np.ones(3), np.ones(2)], fade=0)
    array([1., 1., 1., 1., 1.])
    """
    out = pieces[0]
    for piece in pieces[1:]:
        n = min(fade, out.size, piece.size)
        ramp = np.sin(0.5 * np.pi * (np.arange(n) + 0.5) / max(n, 1))
        mixed = out[out.size - n :] * ramp[::-1] + piece[:n] * ramp
        out = np.concatenate([out[: out.size - n], mixed, piece[n:]])
    return out


def segment(noise: np.ndarray, offset: int, samples: int, fade: int) -> np.ndarray:
    """``samples`` samples of ``noise`` (T,) from ``offset`` on; a noise that is too short is looped.

    The end and the start of the loop are joined by an equal-power cross-fade of ``fade`` samples, at most a
    quarter of the noise. They are uncorrelated, so the cross-fade preserves the power.

    >>> segment(np.arange(5.0), offset=1, samples=3, fade=0)
    array([1., 2., 3.])
    """
    if offset + samples <= noise.size:
        return noise[offset : offset + samples]
    n = min(fade, noise.size // 4)
    period = join([noise, noise], n)[noise.size - n : 2 * (noise.size - n)] if n else noise
    # The period starts with the cross-fade; an offset in the noise is the same offset in the period.
    return np.take(period, np.arange(offset, offset + samples), mode="wrap")


def speaker_of(path: str) -> str:
    """The speaker of a speech file is its folder; without a folder it is the stem of the file.

    >>> speaker_of("p232/001.wav"), speaker_of("anna.wav")
    ('p232', 'anna')
    """
    parent = PurePosixPath(path).parent
    return PurePosixPath(path).stem if parent == PurePosixPath(".") else parent.as_posix()


def category_of(path: str) -> str:
    """The category of a noise file is its first folder; without a folder it is the stem of the file.

    >>> category_of("traffic/street/1.wav")
    'traffic'
    """
    parts = PurePosixPath(path).parts
    return parts[0] if len(parts) > 1 else PurePosixPath(path).stem


class _ShuffledRounds:
    """Takes items in shuffled order, shuffled anew every round, so that all are used before any is reused."""

    def __init__(self, items: list[str], seed: int, name: str) -> None:
        self._items = items
        self._generator = numpy_stream(seed, name)
        self._queue: list[str] = []

    def take(self) -> str:
        if not self._queue:
            self._queue = [self._items[i] for i in self._generator.permutation(len(self._items))]
        return self._queue.pop()


def _group(paths: list[str], key: str) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for path in paths:
        groups.setdefault(category_of(path) if key == "category" else speaker_of(path), []).append(path)
    return groups


def mixable(path: Path) -> tuple[Path, list[str]]:
    """A folder and its sound files, or the folder of a single file and its name. Raises UsageError."""
    if path.is_file():
        return path.parent, [path.name]
    if not path.is_dir():
        raise UsageError(f"{path} does not exist", "give a folder or a sound file")
    found = list_audio(path)
    if not found:
        raise UsageError(f"no sound file under {path}", "check the folder")
    return path, found


def _plan(
    recipe: MixingRecipe, speech: Path, noise: Path, utterance_files: list[str], noise_files: list[str]
) -> Iterator[tuple[int, list[str], str, float, str, str]]:
    """(index, utterances, noise file, SNR, category, speaker), balanced over SNRs, categories and speakers."""
    lengths = {path: frames_at(speech / path, recipe.rate) / recipe.rate for path in utterance_files}
    usable = [path for path, seconds in lengths.items() if seconds >= max(recipe.min_utterance, 1e-3)]
    if not usable:
        raise UsageError(f"no usable speech file under {speech}", "check the folder and min_utterance")
    noises = {k: v for k, v in _group(noise_files, "category").items() if k not in recipe.exclude}
    if not noises:
        raise UsageError(f"no sound file under {noise}", "check the folder and exclude")
    seed = recipe.seed
    shuffle = numpy_stream(seed, "order").permutation
    categories = [sorted(noises)[i] for i in shuffle(len(noises))]
    snrs = [recipe.snrs_db[i] for i in shuffle(len(recipe.snrs_db))]
    by_speaker = _group(usable, "speaker")
    speakers = _ShuffledRounds(sorted(by_speaker), seed, "speakers")
    utterances = {name: _ShuffledRounds(paths, seed, f"speech/{name}") for name, paths in by_speaker.items()}
    files = {name: _ShuffledRounds(paths, seed, f"noise/{name}") for name, paths in noises.items()}
    every = _ShuffledRounds(usable, seed, "every") if recipe.count is None else None
    cycle = math.lcm(len(categories), len(snrs))
    for index in range(len(usable) if recipe.count is None else recipe.count):
        # The shift by one after each common cycle produces all pairs of category and SNR.
        category = categories[index % len(categories)]
        snr = snrs[(index + index // cycle) % len(snrs)]
        first = every.take() if every else None
        speaker = speaker_of(first) if first else speakers.take()
        chosen = [first or utterances[speaker].take()]
        while sum(lengths[p] for p in chosen) < recipe.join_to and len(chosen) < len(by_speaker[speaker]):
            candidate = utterances[speaker].take()
            if candidate not in chosen:
                chosen.append(candidate)
        yield index, chosen, files[category].take(), float(snr), category, speaker


def _speech(root: Path, paths: tuple[str, ...], rate: int, limit: int) -> np.ndarray:
    joined = join([read_at(root / path, rate, channel=0) for path in paths], int(JOIN_FADE_SECONDS * rate))
    return joined[:limit] if limit else joined


def _fingerprint(clean: np.ndarray, noise: np.ndarray) -> str:
    return hashlib.sha256(clean.astype("<f4").tobytes() + noise.astype("<f4").tobytes()).hexdigest()


def draw_all(
    recipe: MixingRecipe,
    speech: Path,
    noise: Path,
    utterances: list[str] | None = None,
    noises: list[str] | None = None,
) -> Iterator[Draw]:
    """The draws of a recipe, one by one; each reads its sources once in order to compute its gains.

    ``utterances``, ``noises``: files of the folders ``speech`` and ``noise`` to use; by default all.
    Raises UsageError for folders without usable files, and AudioError for a source that cannot be read, for
    silent speech, and for a noise file in which no segment with sound is found.
    """
    for index, paths, noise_path, snr, category, speaker in _plan(
        recipe,
        speech,
        noise,
        list_audio(speech) if utterances is None else utterances,
        list_audio(noise) if noises is None else noises,
    ):
        generator = numpy_stream(recipe.seed, "mixture", index)
        limit = int(recipe.max_seconds * recipe.rate)
        clean = _speech(speech, tuple(paths), recipe.rate, limit)
        level = active_rms(clean, recipe.rate)
        if level == 0.0:
            raise AudioError(f"speech is silent: {', '.join(paths)}", "remove it from the folder")
        source = read_at(noise / noise_path, recipe.rate, channel=0)
        looped = source.size < clean.size
        fade = int(LOOP_FADE_SECONDS * recipe.rate)
        for _ in range(_REDRAWS):
            offset = int(generator.integers(0, source.size if looped else source.size - clean.size + 1))
            piece = segment(source, offset, clean.size, fade)
            rms = float(np.sqrt(np.mean(np.square(piece))))
            if rms > _SILENT_RMS:
                break
        else:
            raise AudioError(f"noise is silent: {noise / noise_path}", "remove it from the folder")
        low, high = recipe.level_dbfs
        speech_gain = 10 ** (generator.uniform(low, high) / 20) / level
        noise_gain = speech_gain * level / rms * 10 ** (-snr / 20)
        mixed = speech_gain * clean + noise_gain * piece
        scale = min(1.0, PEAK / max(float(np.abs(mixed).max()), speech_gain * float(np.abs(clean).max())))
        made = Draw(
            id=f"{index:04d}_{speaker.rsplit('/', 1)[-1]}_{category}_{snr:+g}dB",
            speech=tuple(paths),
            speech_sha256=tuple(sha256(speech / path) for path in paths),
            speech_gain=float(speech_gain * scale),
            samples=int(clean.size),
            noise=noise_path,
            noise_sha256=sha256(noise / noise_path),
            noise_offset=offset,
            noise_looped=looped,
            noise_gain=float(noise_gain * scale),
            snr_db=snr,
            noise_type=category,
            speaker=speaker,
            rate=recipe.rate,
            seed=recipe.seed,
            scaled_against_clipping=scale < 1.0,
        )
        mixture = render(made, speech, noise, verify=False)
        assert mixture.noise is not None
        yield replace(made, rendered_sha256=_fingerprint(mixture.clean, mixture.noise))


def render(draw: Draw, speech: Path, noise: Path, verify: bool = True) -> Mixture:
    """The mixture of a draw, from its sources under the folders ``speech`` and ``noise``.

    With ``verify``, raises AudioError where a source or the result differs from the digests of the draw,
    because the scores would belong to another test set.
    """
    if verify:
        expected = dict(zip(draw.speech, draw.speech_sha256, strict=True))
        for root, path, digest in [(speech, p, d) for p, d in expected.items()] + [
            (noise, draw.noise, draw.noise_sha256)
        ]:
            if not (root / path).is_file():
                raise AudioError(f"{root / path} is missing", "the manifest was drawn from other folders")
            if sha256(root / path) != digest:
                raise AudioError(
                    f"{root / path} is not the file that the manifest was drawn from", "restore it"
                )
    clean = _speech(speech, draw.speech, draw.rate, draw.samples)
    if clean.size != draw.samples:
        raise AudioError(
            f"{draw.id} has {clean.size} samples of speech, not {draw.samples}", "draw the set again"
        )
    source = read_at(noise / draw.noise, draw.rate, channel=0)
    piece = segment(source, draw.noise_offset, draw.samples, int(LOOP_FADE_SECONDS * draw.rate))
    clean32 = (draw.speech_gain * clean).astype(np.float32)
    noise32 = (draw.noise_gain * piece).astype(np.float32)
    if verify and draw.rendered_sha256 and _fingerprint(clean32, noise32) != draw.rendered_sha256:
        raise AudioError(
            f"{draw.id} has other samples than when it was drawn",
            "the versions of numpy, soxr or libsndfile in the manifest differ from those installed",
        )
    return Mixture(
        id=draw.id,
        clean=clean32,
        noise=noise32,
        noisy=clean32 + noise32,
        rate=draw.rate,
        snr_db=draw.snr_db,
        noise_type=draw.noise_type,
    )


def mixtures(recipe: MixingRecipe, speech: Path | str, noise: Path | str) -> Iterator[Mixture]:
    """The mixtures of a recipe, one by one; only the current one is in memory."""
    for draw in draw_all(recipe, Path(speech), Path(noise)):
        yield render(draw, Path(speech), Path(noise), verify=False)


def __getattr__(name: str) -> Any:
    return renamed_attribute(__name__, name, {"Recipe": "MixingRecipe"})
