"""Two processes train like one: same batches, same curve; a run can continue with more processes."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import speech_like
from vae_se.data.corpus import scan
from vae_se.data.features import FrameSet, load_features
from vae_se.priors import SignalSpec, load_prior
from vae_se.training.batches import FrameBatches, SequenceBatches
from vae_se.training.checkpoint import CHECKPOINT
from vae_se.training.distributed import World, leads, own_threads
from vae_se.training.prior import PriorJob, train_prior
from vae_se.training.recipes import load_recipe

SETTINGS = ["rate=8000", "window=256", "hop=64", "hidden=[16, 32]", "latent_dim=4", "batch_frames=256",
            "epochs=6", "checkpoint_steps=4"]  # fmt: skip


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    for speaker in range(5):
        (folder / f"s{speaker}").mkdir()
        for number in range(3):
            sound = speech_like(2.0, 8000, 10 * speaker + number)
            soundfile.write(folder / f"s{speaker}" / f"{number}.wav", sound, 8000)
    return folder


@pytest.fixture
def job(speech, tmp_path):
    recipe = load_recipe("default", SETTINGS)
    return PriorJob(
        data=speech, out=tmp_path / "one", recipe=recipe, cache=speech.parent / "cache", valid_fraction=0.2,
        score_files=0,
    )  # fmt: skip


def torchrun(job, out, recipe="default", settings=SETTINGS):
    """The command, by two processes."""
    arguments = [item for setting in settings for item in ("--set", setting)]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "vae_se", "train", str(job.data), "--out", str(out), "--recipe", recipe, *arguments,
        "--cache", str(job.cache), "--valid-fraction", "0.2", "--score-files", "0", "--device", "cpu", "-q",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_have_the_curve_of_one(job, tmp_path):
    """By a prior that draws nothing, so that nothing but the sharing of work can make a difference."""
    settings = [*SETTINGS, "level_jitter_db=0"]
    train_prior(dataclasses.replace(job, recipe=load_recipe("ae", settings)))
    one = [json.loads(line) for line in (job.out / "history.jsonl").read_text().splitlines()]
    two = torchrun(job, tmp_path / "two", "ae", settings)
    assert [r["step"] for r in one] == [r["step"] for r in two]
    for name in ("train_loss", "valid_loss", "train_gradient_norm", "train_clipped"):
        alone, together = ([record[name] for record in records] for records in (one, two))
        assert together == pytest.approx(alone, rel=2e-3, abs=0.1), name
    assert {n: t.shape for n, t in load_prior(job.out).state_dict().items()} == {
        n: t.shape for n, t in load_prior(tmp_path / "two").state_dict().items()
    }
    assert not (tmp_path / "two" / CHECKPOINT).exists()


@pytest.mark.slow
def test_sequences_and_a_run_that_goes_on_with_two(job, tmp_path, monkeypatch):
    settings = [s for s in SETTINGS if not s.startswith("hidden")] + ["hidden=[16, 32]", "hidden_size=6"]
    settings += ["sequence_frames=16", 'start=""']
    recipe = load_recipe("dkf", settings)
    whole = train_prior(dataclasses.replace(job, recipe=recipe, out=tmp_path / "whole"))
    killed = dataclasses.replace(job, recipe=recipe, out=tmp_path / "killed")

    def die(self, record, best):
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("vae_se.training.prior.TrainingProgress.epoch", die)
    with pytest.raises(KeyboardInterrupt):
        train_prior(killed)
    assert (killed.out / CHECKPOINT).exists()
    history = torchrun(job, killed.out, "dkf", settings)
    assert [r["epoch"] for r in history] == list(range(6))
    first, best = history[0]["valid_loss"], whole["training"]["best"]["valid_loss"]
    assert history[-1]["valid_loss"] == pytest.approx(best, abs=0.03 * (first - best))


@pytest.mark.parametrize("sequences", [False, True])
def test_parts_of_a_batch_are_the_batch(job, sequences):
    corpus = scan(job.data)
    frames = FrameSet.of(load_features(corpus, SignalSpec(8000, 256, 64), job.cache))

    def batches(rank, size):
        world = World(rank, size)
        if sequences:
            return SequenceBatches(frames, 16, 100, 0, world)
        return FrameBatches(frames, 100, 0, world)

    def rows(power):
        return sorted(map(bytes, np.ascontiguousarray(power)))

    assert batches(0, 1).per_epoch == batches(1, 3).per_epoch
    parts = zip(*(batches(rank, 3).epoch(1) for rank in range(3)), strict=True)
    for whole, part in zip(batches(0, 1).epoch(1), parts, strict=True):
        assert rows(whole.power) == rows(np.concatenate([p.power for p in part]))
    numbers = [[number for number, _ in batches(rank, 3).in_order()] for rank in range(3)]
    assert sorted(itertools.chain(*numbers)) == [number for number, _ in batches(0, 1).in_order()]


def test_alone_nothing_is_communicated():
    world, parameter = World(), torch.nn.Parameter(torch.zeros(2))
    parameter.grad = torch.tensor([2.0, 4.0])
    world.wait()
    added = world.average_gradients([parameter], torch.tensor([2.0, 7.0]))
    assert added.tolist() == [2.0, 7.0]
    assert parameter.grad.tolist() == [1.0, 2.0]
    assert world.add(torch.ones(1)).item() == 1


def test_threads_are_shared(monkeypatch):
    assert own_threads(4) == 4
    assert leads()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "3")
    assert own_threads(4) == 1
    assert not leads()
