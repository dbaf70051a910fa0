"""Planar flows, zuko's spline, and the posterior that they bend."""

from __future__ import annotations

import importlib.util
import math
import sys

import pytest
import torch

from tests.toys import SIGNAL
from vae_se.errors import PriorError, UsageError
from vae_se.priors import PRIORS, load_prior, save_prior
from vae_se.priors.flow_vae import fixed_points
from vae_se.priors.planar import PlanarFlows

LATENTS, MAPS = 3, 4
NO_ZUKO = importlib.util.find_spec("zuko") is None
FLOWS = ["flow-vae", pytest.param("flow-vae-zuko", marks=pytest.mark.skipif(NO_ZUKO, reason="needs zuko"))]


def planar(scale: float, seed: int = 0) -> PlanarFlows:
    """Maps for 2 utterances of 5 frames."""
    generator = torch.Generator().manual_seed(seed)
    u, w = (
        scale * torch.randn(2, 5, MAPS, LATENTS, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    return PlanarFlows.invertible(
        u, w, scale * torch.randn(2, 5, MAPS, generator=generator, dtype=torch.float64)
    )


def points(count: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.randn(2, count, 5, LATENTS, generator=generator, dtype=torch.float64)


def bent(name: str, seed: int = 0):
    """A model whose flows are far from the identity, and power to encode."""
    more = {"flows": MAPS} if name == "flow-vae" else {"bins": 4, "width": 8}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        prior = PRIORS[name](hidden=(6, 12), latent_dim=LATENTS, signal=SIGNAL, **more).double()
        with torch.no_grad():
            for parameter in prior.parameters():
                parameter.add_(0.5 * torch.randn_like(parameter))
        return prior, 5 * torch.rand(2, 5, SIGNAL.stft.bins, dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.01, 1.0, 5.0])
def test_log_determinant_is_that_of_autograd_s_jacobian(scale: float) -> None:
    flows, z = planar(scale), points(1)
    _, log_det = flows.forward(z)
    for row in range(2):
        for frame in range(5):
            one = PlanarFlows(*(t[row : row + 1, frame : frame + 1] for t in (flows.u, flows.w, flows.b)))
            jacobian = torch.autograd.functional.jacobian(
                lambda at, one=one: one.forward(at.view(1, 1, 1, -1))[0].flatten(), z[row, 0, frame]
            )
            expected = torch.linalg.slogdet(jacobian)
            assert expected.sign > 0
            torch.testing.assert_close(log_det[row, 0, frame], expected.logabsdet)


@pytest.mark.parametrize("scale", [1e-8, 0.01, 1.0, 30.0])
def test_maps_can_be_undone_at_extreme_parameters(scale: float) -> None:
    flows, z = planar(scale, seed=3), points()
    assert ((flows.u * flows.w).sum(-1) > -1).all()
    image, log_det = flows.forward(z)
    assert torch.isfinite(log_det).all()
    back = flows.inverse(image)
    # Where each map contracts by a factor of a thousand, precision is lost.
    torch.testing.assert_close(flows.forward(back)[0], image, rtol=1e-9, atol=1e-9)
    if scale <= 1:
        torch.testing.assert_close(back, z, rtol=1e-6, atol=1e-6)


def test_without_the_constraint_space_folds() -> None:
    w = torch.tensor([1.0, 0, 0], dtype=torch.float64).expand(1, 1, 1, 3)
    z = torch.tensor([[-0.5, 0, 0], [0.5, 0, 0]], dtype=torch.float64).view(1, 2, 1, 3)
    loose = PlanarFlows(-3 * w, w, torch.zeros(1, 1, 1, dtype=torch.float64))
    kept = PlanarFlows.invertible(-3 * w, w, loose.b)
    order = [float(f.forward(z)[0][0, 1, 0, 0] - f.forward(z)[0][0, 0, 0, 0]) for f in (loose, kept)]
    assert order[0] < 0 < order[1]


def test_maps_contract_and_expand() -> None:
    """The slope 1 + w.u across the plane runs from 0 upwards: log(1 + e^x) for the unconstrained w.u = x."""
    w = torch.tensor([2.0, 0, 0], dtype=torch.float64).expand(1, 1, 1, 3)
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    for x in (-8.0, -1.0, 0.0, 5.0):
        flows = PlanarFlows.invertible(x * w / 4, w, zero)
        log_det = float(flows.forward(torch.zeros(1, 1, 1, 3, dtype=torch.float64))[1])
        assert math.exp(log_det) == pytest.approx(math.log1p(math.exp(x)), abs=2e-3)


@pytest.mark.parametrize("name", FLOWS)
def test_density_is_that_of_the_change_of_variables(name: str) -> None:
    """log q(z) = log N(epsilon; 0, I) - log |det dz / d epsilon|, the Jacobian by autograd."""
    prior, power = bent(name)
    posterior = prior.encode(power[:1, :1])
    epsilon = torch.randn(LATENTS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def push(at: torch.Tensor) -> torch.Tensor:
        image = posterior.flow.forward(at.view(1, 1, 1, -1))[0].flatten()
        return (posterior.location + posterior.log_scale.exp() * image).flatten()

    jacobian = torch.autograd.functional.jacobian(push, epsilon)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(epsilon).sum()
    found = posterior.log_prob(push(epsilon).view(1, 1, 1, -1)).squeeze()
    torch.testing.assert_close(found, normal - torch.linalg.slogdet(jacobian).logabsdet)


def test_without_a_bend_the_heads_are_mean_and_log_variance() -> None:
    prior, power = bent("flow-vae")
    with torch.no_grad():
        for parameter in prior.flow_head.parameters():
            parameter.zero_()
    posterior, hidden = prior.encode(power), prior.encoder(prior.features(power))
    torch.testing.assert_close(posterior.mean, prior.mean_head(hidden))
    torch.testing.assert_close(posterior.log_variance, prior.log_variance_head(hidden))


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_density_integrates_to_one_and_is_that_of_the_draws(name: str) -> None:
    """Importance sampling of 1 from a wide Gaussian; log q of draws by the change of variables."""
    prior, power = bent(name)
    posterior = prior.encode(power)
    with torch.no_grad():
        mean, std = posterior.mean, 2 * (0.5 * posterior.log_variance).exp()
        generator = torch.Generator().manual_seed(5)
        epsilon = torch.randn(2, 40000, 5, LATENTS, generator=generator, dtype=torch.float64)
        wide = torch.distributions.Normal(mean, std)
        z = mean.unsqueeze(1) + std.unsqueeze(1) * epsilon
        proposal = wide.log_prob(z.transpose(0, 1)).sum(-1).transpose(0, 1)
        ratio = torch.exp(posterior.log_prob(z) - proposal)
    error = ratio.std(1) / 40000**0.5
    assert ((ratio.mean(1) - 1).abs() < 5 * error).all()
    assert (error < 0.1).all()


@pytest.mark.parametrize("name", FLOWS)
def test_log_determinants_of_the_posterior_are_autograd_s(name: str) -> None:
    prior, power = bent(name)
    posterior = prior.encode(power[:1, :1])
    epsilon = torch.randn(LATENTS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def push(at: torch.Tensor) -> torch.Tensor:
        return posterior.flow.forward(at.view(1, 1, 1, -1))[0].flatten()

    jacobian = torch.autograd.functional.jacobian(push, epsilon)
    log_det = posterior.flow.forward(epsilon.view(1, 1, 1, -1))[1]
    torch.testing.assert_close(log_det.squeeze(), torch.linalg.slogdet(jacobian).logabsdet)


@pytest.mark.parametrize("name", FLOWS)
def test_moments_are_near_those_of_many_draws(name: str) -> None:
    prior, power = bent(name)
    posterior = prior.encode(power)
    with torch.no_grad():
        z, _ = posterior.rsample(20000, torch.Generator().manual_seed(4))
        std = z.std(1)
        assert ((posterior.mean - z.mean(1)).abs() / std).mean() < 0.15
        assert (posterior.log_variance - z.var(1).log()).abs().mean() < 0.4
    fixed = fixed_points(LATENTS)
    ones = torch.ones(LATENTS, dtype=torch.float64)
    torch.testing.assert_close(fixed.mean(0), 0 * ones)
    torch.testing.assert_close(fixed.square().mean(0), ones)


@pytest.mark.parametrize("name", FLOWS)
def test_an_encoder_can_be_tuned_utterance_by_utterance(name: str) -> None:
    """As in `vem-encoder`: moments by torch.func, with separate parameters for each utterance."""
    prior, power = bent(name)
    names = [n for n, _ in prior.named_parameters()]
    values = {n: p.detach().expand(2, *p.shape) for n, p in prior.named_parameters()}

    class Encode(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.prior = prior

        def forward(self, one: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            posterior = self.prior.encode(one)
            return posterior.mean, posterior.log_variance

    def call(own: dict[str, torch.Tensor], one: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        named = {f"prior.{n}": own[n] for n in names}
        mean, log_variance = torch.func.functional_call(Encode(), named, (one.unsqueeze(0),))
        return mean[0], log_variance[0]

    mean, log_variance = torch.func.vmap(call)(values, power)
    posterior = prior.encode(power)
    torch.testing.assert_close(mean, posterior.mean)
    torch.testing.assert_close(log_variance, posterior.log_variance)


@pytest.mark.skipif(NO_ZUKO, reason="to save one, zuko is needed")
def test_one_clear_line_where_zuko_is_missing(tmp_path, monkeypatch) -> None:
    prior, _ = bent("flow-vae-zuko")
    save_prior(prior.float(), tmp_path, "flow-vae-zuko")
    for module in [name for name in sys.modules if name.split(".")[0] == "zuko"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match="needs zuko") as caught:
        PRIORS["flow-vae-zuko"](hidden=(6, 12), latent_dim=LATENTS, signal=SIGNAL)
    assert "pip install" in caught.value.hint
    with pytest.raises(PriorError, match="needs zuko") as told:
        load_prior(tmp_path)
    assert "pip install" in told.value.hint
