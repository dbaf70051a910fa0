"""Every prior in EM, with every E-step that suits it."""

import pytest
import torch

from tests.toys import SIGNAL, small_prior
from vae_se.assemble import build_em
from vae_se.config import Config
from vae_se.errors import UsageError
from vae_se.inference.estep import ESTEPS
from vae_se.inference.estep.proposal import Proposal
from vae_se.priors import PRIORS, GaussianPosterior
from vae_se.rng import Streams

LENGTHS = [6, 3, 1]
VARIANTS = {"rvae, not causal": ("rvae", {"causal": False})}
KERNELS = ["map", "vem", "mh", "langevin", "mala"]
BY_FRAME = ["vem-full", "vem-mh"]


@pytest.fixture(params=[*PRIORS, *VARIANTS])
def prior(request):
    if request.param == "flow-vae-zuko":
        pytest.importorskip("zuko")
    architecture, settings = VARIANTS.get(request.param, (request.param, {}))
    return small_prior(architecture, **settings)


def loop(prior, estep, **settings):
    sizes = {"inference.iterations": 3, "inference.averaging": 2, "noise.rank": 2}
    if estep in ("mh", "mala"):
        sizes["estep.sweeps"] = 2
    sizes |= {"estep.warmup": 1} if estep == "vem-mh" else {}
    return build_em(Config().override({"estep.name": estep, **sizes, **settings}), prior)


def power_of(lengths=LENGTHS):
    generator = torch.Generator().manual_seed(1)
    power = torch.rand(len(lengths), max(lengths), SIGNAL.stft.bins, generator=generator, dtype=torch.float64)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return power * mask.unsqueeze(-1), mask.double()


def streams(lengths=LENGTHS, first=0):
    return Streams.from_seed(0, [f"utterance {first + i}" for i in range(len(lengths))], lengths)


@pytest.mark.parametrize("estep", KERNELS)
def test_ragged_batch_equals_one_by_one(prior, estep):
    power, mask = power_of()
    together = loop(prior, estep).run(power, mask, streams())
    for row, n in enumerate(LENGTHS):
        alone = loop(prior, estep).run(
            power[row : row + 1, :n], mask[row : row + 1, :n], streams([n], first=row)
        )
        torch.testing.assert_close(together.wiener[row, :n], alone.wiener[0], rtol=1e-6, atol=1e-9)
        for a, b in zip(together.state.trace, alone.state.trace, strict=True):
            torch.testing.assert_close(a.objective[row], b.objective[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("estep", ["map", "vem", "langevin"])
def test_the_objective_rises(prior, estep):
    power, mask = power_of([8])
    found = loop(prior, estep, **{"inference.iterations": 24}).run(power, mask, streams([8]))
    objective = torch.stack([info.objective for info in found.state.trace])[:, 0]
    assert objective[-6:].mean() > objective[:2].mean()


@pytest.mark.parametrize("architecture", ["dkf", "latent-rnn"])
@pytest.mark.parametrize("estep", BY_FRAME)
def test_a_covariance_per_frame_with_memory(architecture, estep):
    """Kernels for priors with memory that decode frame by frame; a ragged batch equals its files."""
    prior = small_prior(architecture)
    test_ragged_batch_equals_one_by_one(prior, estep)
    if estep == "vem-full":
        test_the_objective_rises(prior, estep)


@pytest.mark.parametrize(
    ("architecture", "estep"),
    [("dkf", name) for name in ESTEPS if name not in (*KERNELS, *BY_FRAME)]
    + [("rvae", name) for name in BY_FRAME],
)
def test_other_kernels_raise_an_error_for_priors_that_tie_frames(architecture, estep):
    with pytest.raises(UsageError, match="treats frames as independent") as caught:
        loop(small_prior(architecture), estep)
    assert "vem" in caught.value.hint


@pytest.mark.parametrize("architecture", ["flow-vae", "gamma-vae", "ae"])
def test_the_proposal_has_the_density_of_its_draws_for_any_encoder(architecture):
    """Also for encoders whose posterior is not Gaussian; the proposal uses their moments."""
    power, _ = power_of([4])
    proposal = Proposal.start(small_prior(architecture).encode(power))
    z, log_q = proposal.draw(4000, streams([4]))
    # For any density r, the mean of r / q over draws from q is 1.
    wide = GaussianPosterior(proposal.learnt.mean, proposal.learnt.log_variance - 0.5)
    ratio = torch.exp(wide.log_prob(z) - log_q)
    error = ratio.std(1) / 4000**0.5
    assert ((ratio.mean(1) - 1).abs() < 5 * error + 1e-6).all()
