"""A prior whose file holds dynamics alone: its frames are those of another prior."""

import json
import shutil

import pytest
import torch

from vae_se.enhancement.enhancer import Enhancer
from vae_se.errors import PriorError
from vae_se.priors import load_prior
from vae_se.priors.store import locate, read_weights


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(locate("latent-rnn"), tmp_path / "mine")


def edited(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_the_shipped_latent_rnn_has_the_frames_of_default(folder):
    prior, frames = load_prior(folder), load_prior("default")
    assert all(name.split(".")[0] in ("first", "second", "transition") for name in read_weights(folder))
    z, power = torch.randn(1, 2, 7, prior.latent_dim), torch.rand(1, 7, 513)
    torch.testing.assert_close(prior.decode(z), frames.decode(z))
    torch.testing.assert_close(prior.encode(power).mean, frames.encode(power).mean)
    # Written again, it stands by itself.
    prior.save_pretrained(folder)
    assert torch.equal(load_prior(folder).log_prior(z), prior.log_prior(z))
    assert "frames" not in json.loads((folder / "config.json").read_text())


def test_it_decodes_with_the_thin_layers_of_its_frames():
    own, frames = (
        Enhancer.from_pretrained(name, inference__precision=None).prior for name in ("latent-rnn", "default")
    )
    assert own.thin_in is not None
    assert torch.equal(own.thin_in, frames.thin_in)
    z = torch.randn(1, 1, 9, own.latent_dim)
    torch.testing.assert_close(own.decode(z), frames.decode(z))
    assert own.compress(0.0) is None
    assert own.thin_in is None


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"prior": "no-such-prior", "digest": "00"}, "'no-such-prior', which is missing"),
        ({"prior": "default", "digest": "00"}, "'default', which has other weights here"),
        ({"prior": "latent-rnn", "digest": "00"}, "'latent-rnn', which has none of its own"),
        ({"prior": 3}, "frames has no prior and digest"),
        ("default", "frames has no prior and digest"),
    ],
)
def test_frames_that_are_not_there_are_one_line(folder, entry, message):
    with pytest.raises(PriorError, match=message):
        load_prior(edited(folder, frames=entry))


def test_an_architecture_without_frames_of_another(folder):
    with pytest.raises(PriorError, match="has no frames of another prior"):
        load_prior(edited(folder, architecture="dkf"))
