"""The variational autoencoder: its bounds against quadrature, its densities against autodiff, its priors, its data."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import distributions

import pushforward as pf
from pushforward import vae as vaes
from pushforward.errors import InputError
from pushforward.losses import Batch
from pushforward.vae import model as vae_model

PIXELS = 6


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def tiny(prior="normal", latent_features=1, *, scale=0.5, double=True, **options):
    """A small VAE with random weights everywhere: a fresh one would ignore its input."""
    torch.manual_seed(3)
    model = vaes.mlp_vae(PIXELS, latent_features=latent_features, prior=prior, hidden_features=(7,), **options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
        for network in (model.encoder, model.decoder):
            network.last.weight.mul_(0.3)
    return model.double() if double else model


def binary(num_rows=5, seed=0):
    grey = torch.rand(num_rows, PIXELS, generator=seeded(seed), dtype=torch.float64)
    return vaes.binarize(grey, generator=seeded(seed + 100))


def bernoulli(model, x, z):
    return distributions.Bernoulli(logits=model.decoder(z)).log_prob(x).sum(-1)


def log_evidence(model, x):
    """log p(x) by quadrature over one or two latents."""
    axis = torch.linspace(-9, 9, 3001 if model.latent_features == 1 else 241, dtype=torch.float64)
    points = torch.cartesian_prod(*[axis] * model.latent_features).reshape(-1, model.latent_features)
    with torch.no_grad():
        prior = model.prior.log_prob(points)
        assert prior.exp().sum() * (axis[1] - axis[0]) ** model.latent_features == pytest.approx(1, abs=1e-3)
        joint = torch.stack([bernoulli(model, row, points) + prior for row in x])
    return joint.logsumexp(-1) + model.latent_features * (axis[1] - axis[0]).log()


def some_flow(recipe=pf.recipes.realnvp, features=2):
    return recipe(features, num_layers=2, hidden_features=(5,))


# ---- the bound -------------------------------------------------------------------------------------------------------


def test_terms_are_the_densities_of_torch_distributions():
    model, x = tiny(latent_features=3), binary()
    terms = model.terms(x, 2, generator=seeded(7))
    mean, log_std, _ = model.posterior(x)
    noise = torch.randn(5, 2, 3, generator=seeded(7), dtype=torch.float64)
    z = mean[:, None] + log_std[:, None].exp() * noise
    posterior = distributions.Normal(mean[:, None], log_std[:, None].exp()).log_prob(z).sum(-1)
    torch.testing.assert_close(terms.likelihood, bernoulli(model, x[:, None], z))
    torch.testing.assert_close(terms.prior, distributions.Normal(0, 1).log_prob(z).sum(-1))
    torch.testing.assert_close(terms.posterior, posterior)
    expected = (bernoulli(model, x[:, None], z) + terms.prior - posterior).mean(-1)
    torch.testing.assert_close(model.elbo(x, 2, generator=seeded(7)), expected)


def test_the_loss_is_minus_the_elbo_of_binarized_images():
    model = tiny(double=False)
    levels = torch.randint(256, (9, PIXELS), generator=seeded(), dtype=torch.uint8)
    generator = seeded(4)
    x = vaes.binarize(levels, generator=generator)
    expected = -model.elbo(x, generator=generator)
    batch = Batch(levels, None, None, 9)
    torch.testing.assert_close(pf.losses.elbo(model, batch, seeded(4)), expected)
    terms = model.terms(x, generator=seeded(1))
    weighted = pf.losses.elbo(model, Batch(x, None, None, 9), seeded(1), binarize="none", kl_weight=0.25)
    torch.testing.assert_close(weighted, -(terms.likelihood + 0.25 * (terms.prior - terms.posterior)).mean(-1))
    several = pf.losses.elbo(model, Batch(x, None, None, 9), seeded(1), binarize="none", num_samples=5)
    torch.testing.assert_close(several, -model.elbo(x, 5, generator=seeded(1)))
    with pytest.raises(ValueError, match="kl_weight must be at least 0; got -1"):
        pf.losses.elbo(model, batch, kl_weight=-1)


@pytest.mark.parametrize(
    ("latent_features", "prior", "posterior_flow"),
    [
        (1, "normal", None),
        (1, "mixture", None),
        (1, "vampprior", None),
        (2, "couplings", None),
        (2, "splines", None),
        (1, "normal", "planar"),
        (2, "couplings", "amortized planar"),
    ],
)
def test_elbo_and_iwae_lie_below_the_evidence_and_iwae_approaches_it(latent_features, prior, posterior_flow):
    flow = None
    if posterior_flow is not None:
        context = 2 if posterior_flow == "amortized planar" else 0
        flow = pf.recipes.planar(latent_features, num_layers=2, context_features=context, hidden_features=(4,))
    given = {"couplings": some_flow, "splines": lambda: some_flow(pf.recipes.nsf)}.get(prior, lambda: prior)()
    model, x = tiny(given, latent_features, scale=0.2, posterior_flow=flow), binary(3)
    with torch.no_grad():  # wider than the prior, so that the weights have no heavy tail
        model.encoder.last.bias[latent_features : 2 * latent_features] += 0.5
    truth = log_evidence(model, x)
    with torch.no_grad():
        elbo = model.elbo(x, 2000, generator=seeded(1))
        some = model.iwae(x.repeat(400, 1), 5, generator=seeded(2)).reshape(400, 3).mean(0)
        many = model.iwae(x, 4000, generator=seeded(3))
        weights = model.terms(x, 4000, generator=seeded(4)).log_weight.softmax(-1)
    noise = 4 * (4000 * weights).std(-1) / 4000**0.5 + 0.001  # four standard errors of the log of a mean
    assert noise.max() < 0.3
    error = 0.05
    assert (elbo < some + error).all()
    assert (some < many + error).all()
    assert elbo.mean() < truth.mean()
    assert ((many - truth).abs() < noise).all()


def test_pieces_leave_the_bound_as_it_is(monkeypatch):
    model, x = tiny(), binary(4)
    monkeypatch.setattr(vae_model, "CHUNK_ROWS", 700)
    sizes = []
    terms = model.terms
    monkeypatch.setattr(
        model, "terms", lambda x, k, generator: sizes.append(len(x) * k) or terms(x, k, generator=generator)
    )
    with torch.no_grad():
        found = model.iwae(x, 5000, generator=seeded())
        assert found.shape == (4,)
        torch.testing.assert_close(found, log_evidence(model, x), atol=0.05, rtol=0)
        assert sum(sizes) == 4 * 5000
        assert max(sizes) == 700
        sizes.clear()
        assert model.elbo(x.repeat(100, 1), 3, generator=seeded()).shape == (400,)
        assert sum(sizes) == 1200
        assert max(sizes) <= 700


# ---- the posterior ---------------------------------------------------------------------------------------------------


def flows_for_posteriors():
    return {
        "planar": pf.recipes.planar(2, num_layers=3),
        "amortized planar": pf.recipes.planar(2, num_layers=2, context_features=3, hidden_features=(4,)),
        "coupling": some_flow(),
        "autoregressive": pf.recipes.maf(2, num_layers=2, hidden_features=(5,)),
        "a transform": pf.transforms.Compose([pf.transforms.Planar(2), pf.transforms.Radial(2)]),
    }


@pytest.mark.parametrize("name", flows_for_posteriors())
def test_log_q_is_the_change_of_variables_of_the_posterior_flow(name):
    model, x = tiny(latent_features=2, posterior_flow=flows_for_posteriors()[name], scale=0.3), binary(4)
    z, log_q = model.encode(x, 3, generator=seeded(5))
    mean, log_std, context = model.posterior(x)
    noise = torch.randn(4, 3, 2, generator=seeded(5), dtype=torch.float64)
    flow = model.posterior_flow
    transform = flow.transform if isinstance(flow, pf.Flow) else flow
    for row in range(4):
        own = None if context is None else context[row]

        def through(eps, row=row, own=own):
            return transform(mean[row] + log_std[row].exp() * eps, own)[0]

        for sample in range(3):
            eps = noise[row, sample]
            jacobian = torch.autograd.functional.jacobian(through, eps)
            expected = distributions.Normal(0, 1).log_prob(eps).sum() - torch.linalg.slogdet(jacobian).logabsdet
            torch.testing.assert_close(z[row, sample], through(eps))
            torch.testing.assert_close(log_q[row, sample], expected)


def test_an_amortized_posterior_flow_sees_the_encoder():
    model, x = tiny(latent_features=2, posterior_flow=flows_for_posteriors()["amortized planar"]), binary()
    z, log_q = model.encode(x, generator=seeded())
    gradients = torch.autograd.grad(z.sum() + log_q.sum(), model.encoder.last.bias)[0]
    assert gradients.shape == (2 * 2 + 3,)
    assert (gradients[4:] != 0).all()


def test_the_reconstruction_is_decoded_from_the_posteriors_centre():
    model, x = tiny(), binary()
    torch.testing.assert_close(model.reconstruct(x), model.decoder(model.posterior(x)[0]).sigmoid())
    refined = tiny(posterior_flow=pf.recipes.planar(1, num_layers=2))
    centre = refined.posterior_flow.encode(refined.posterior(x)[0])
    torch.testing.assert_close(refined.reconstruct(x), refined.decode(centre).detach())


# ---- priors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*vaes.PRIORS, "vampprior", "a flow", "a base"])
def test_a_prior_is_swapped_with_one_argument(name):
    given = {"a flow": some_flow(features=3), "a base": pf.bases.DiagonalNormal(3)}.get(name, name)
    model, x = tiny(given, 3, scale=0.1), binary()
    assert model.elbo(x).isfinite().all()
    assert model.sample_prior(4).shape == (4, 3)
    images = model.sample(4, temperature=0.5, generator=seeded(1))
    assert images.shape == (4, PIXELS)
    assert ((images > 0) & (images < 1)).all()
    assert torch.equal(images, model.sample(4, temperature=0.5, generator=seeded(1)))


@pytest.mark.parametrize("name", [*vaes.PRIORS, "vampprior"])
def test_temperature_narrows_the_prior(name):
    model = tiny(name, 2, scale=0.0, double=False)
    cold, warm = (model.sample_prior(300, temperature=t, generator=seeded(1)) for t in (1e-6, 1.0))
    if name in ("mixture", "vampprior"):  # each draw shrinks to its component's mean
        means = model.prior.mean if name == "mixture" else model.prior.components()[0]
        assert torch.cdist(cold, means).amin(1).max() < 1e-3
        assert torch.cdist(warm, means).amin(1).max() > 0.1
    else:
        assert cold.std(0).max() < 1e-3
        torch.testing.assert_close(warm.std(0), torch.ones(2), atol=0.15, rtol=0)


def test_the_mixture_prior_has_100_components():
    assert vaes.mlp_vae(PIXELS, latent_features=2, prior="mixture").prior.num_components == 100


def test_fresh_networks_see_their_input_with_values_that_keep_their_size():
    # As a conditioner starts they would see nothing: the last layer of one is zero.
    model = vaes.mlp_vae(400, latent_features=50, hidden_features=(300, 200), activation="relu")
    for network, x in ((model.encoder, torch.randn(200, 400)), (model.decoder, torch.randn(200, 50))):
        assert (network(x).std(0) > 0.1).all()
        h = torch.relu(network.first(x))
        torch.testing.assert_close(h.square().mean(), torch.tensor(1.0), atol=0.15, rtol=0)
        torch.testing.assert_close(
            torch.relu(network.hidden[0](h)).square().mean(), torch.tensor(1.0), atol=0.3, rtol=0
        )


def test_the_decoder_has_the_encoders_widths_in_reverse_order_and_its_activation():
    model = vaes.mlp_vae(PIXELS, latent_features=2, hidden_features=(9, 7), activation="silu")
    assert (model.encoder.hidden_features, model.encoder.activation) == ((9, 7), "silu")
    assert (model.decoder.hidden_features, model.decoder.activation) == ((7, 9), "silu")


@pytest.mark.parametrize("name", [*vaes.PRIORS, "vampprior"])
def test_the_gradient_reaches_prior_encoder_and_decoder(name):
    model = tiny(name, 3, scale=0.1)
    model.elbo(binary()).sum().backward()
    assert all((p.grad is not None) and bool((p.grad != 0).any()) for p in model.encoder.parameters())
    assert all(bool((p.grad != 0).any()) for p in model.decoder.parameters())
    silent = [name for name, p in model.prior.named_parameters() if p.grad is None or not bool((p.grad != 0).any())]
    assert silent == []


def test_vampprior_is_the_mixture_of_the_posteriors_of_its_pseudo_inputs():
    model = tiny("vampprior", 2)
    mean, log_std = model.prior.components()
    mixture = distributions.MixtureSameFamily(
        distributions.Categorical(logits=torch.zeros(500, dtype=torch.float64)),
        distributions.Independent(distributions.Normal(mean, log_std.exp()), 1),
    )
    z = 2 * torch.randn(3, 4, 2, dtype=torch.float64, generator=seeded())
    torch.testing.assert_close(model.prior.log_prob(z), mixture.log_prob(z))
    # float32 keeps its digits where |z - m|^2 is multiplied out
    single = copy.deepcopy(model).float()
    far = 50 + z
    torch.testing.assert_close(single.prior.log_prob(far.float()).double(), mixture.log_prob(far), rtol=1e-4, atol=1e-2)
    drawn = model.prior.sample((20_000,), generator=seeded(2))
    torch.testing.assert_close(drawn.mean(0), mixture.mean, atol=0.05, rtol=0.05)
    torch.testing.assert_close(drawn.var(0), mixture.variance, atol=0.05, rtol=0.1)


def test_vampprior_begins_with_training_images_and_only_once():
    model = vaes.mlp_vae(PIXELS, latent_features=2, hidden_features=(7,), prior="vampprior")
    levels = torch.randint(256, (600, PIXELS), generator=seeded(), dtype=torch.uint8)
    model.initialize(levels)
    begun = model.prior.pseudo_logits.sigmoid()
    expected = (levels[torch.linspace(0, 599, 500).long()] / 255).clamp(0.02, 0.98)
    torch.testing.assert_close(begun, expected)
    model.initialize(255 - levels)
    assert torch.equal(model.prior.pseudo_logits.sigmoid(), begun)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.float32])
def test_vampprior_begins_with_binary_images_too(dtype):
    model = vaes.mlp_vae(PIXELS, latent_features=2, hidden_features=(7,), prior="vampprior")
    x = binary(500).to(dtype)
    loss = partial(pf.losses.elbo, binarize="none")
    pf.fit(model, x, validation=None, loss=loss, num_steps=1, learning_rate=1e-30, progress=False)
    torch.testing.assert_close(model.prior.pseudo_logits.sigmoid().sum(0), x.float().clamp(0.02, 0.98).sum(0))


def test_vampprior_takes_each_of_a_few_images_once():
    prior = vaes.VampPrior(pf.nets.MLP(PIXELS, 4), 2, PIXELS, 5)
    x, before = binary(3).float(), prior.pseudo_logits.detach().clone()
    prior.initialize(x)
    torch.testing.assert_close(prior.pseudo_logits[:3].sigmoid(), x.clamp(0.02, 0.98))
    assert torch.equal(prior.pseudo_logits[3:], before[3:])


def test_prior_and_posterior_flow_start_from_the_latents_of_training_images():
    def normalized():
        return pf.transforms.Compose([pf.transforms.ActNorm(3), pf.transforms.Planar(3)])

    prior = pf.Flow(normalized(), pf.bases.StandardNormal(3))
    model = vaes.mlp_vae(PIXELS, latent_features=3, prior=prior, posterior_flow=normalized(), hidden_features=(7,))
    with torch.no_grad():
        model.encoder.last.bias.copy_(torch.tensor([5.0, -3, 0, 0.5, -0.5, 1]))
    model.initialize(torch.randint(256, (4000, PIXELS), generator=seeded(), dtype=torch.uint8).numpy())
    z, _ = model.encode(binary(4000).float(), generator=seeded(1))
    for latents in (z.squeeze(1), prior.transform[0](z.squeeze(1))[0]):
        torch.testing.assert_close(latents.mean(0), torch.zeros(3), atol=0.1, rtol=0)
        torch.testing.assert_close(latents.std(0), torch.ones(3), atol=0.1, rtol=0)


def test_a_start_can_be_learned_from_any_numbers_unless_they_become_images():
    for prior in ("normal", "flow"):
        model = vaes.mlp_vae(PIXELS, latent_features=2, hidden_features=(7,), prior=prior)
        model.initialize(torch.randn(5, PIXELS))  # no grey levels: a decoder of one's own may model them
    prior = pf.Flow(pf.transforms.ActNorm(2), pf.bases.StandardNormal(2))
    vaes.mlp_vae(PIXELS, latent_features=2, hidden_features=(7,), prior=prior).initialize(torch.randn(5, PIXELS))
    assert prior.transform.initialized


def test_samples_of_a_mixture_are_not_called_differentiable():
    assert not vaes.VampPrior(pf.nets.MLP(PIXELS, 4), 2, PIXELS).has_rsample


def test_vampprior_shares_its_encoder_through_fit_and_copies():
    model = vaes.mlp_vae(PIXELS, latent_features=2, hidden_features=(7,), prior="vampprior")
    before = model.encoder.last.weight.clone()
    pf.fit(model, torch.rand(64, PIXELS), validation=None, loss=pf.losses.elbo, num_steps=3, progress=False)
    assert not torch.equal(model.encoder.last.weight, before)
    for each in (model, copy.deepcopy(model)):
        assert each.prior.encoder is each.encoder


@pytest.mark.parametrize("place", ["prior", "posterior_flow"])
def test_probes_of_estimated_log_dets_are_drawn_anew_in_training(place):
    flow = pf.recipes.cnf(2, trace="hutchinson", method="rk4", num_steps=1, hidden_features=(4,), num_probes=20)
    model = vaes.mlp_vae(PIXELS, latent_features=2, hidden_features=(7,), **{place: flow})
    before = flow.transform.probes.clone()
    pf.fit(model, torch.rand(20, PIXELS), validation=None, loss=pf.losses.elbo, num_steps=1, progress=False)
    assert not torch.equal(flow.transform.probes, before)


# ---- data ------------------------------------------------------------------------------------------------------------


def test_dynamic_binarization_is_a_bernoulli_of_the_grey_level_drawn_anew():
    levels = torch.tensor([0, 51, 128, 255], dtype=torch.uint8).expand(20_000, 4)
    generator = seeded()
    first, second = vaes.binarize(levels, generator=generator), vaes.binarize(levels, generator=generator)
    torch.testing.assert_close(first.mean(0), torch.tensor([0, 0.2, 128 / 255, 1]), atol=0.012, rtol=0)
    assert first[:, [0, 3]].unique(dim=0).tolist() == [[0, 1]]
    assert not torch.equal(first, second)
    floats = levels.double() / 255
    assert vaes.binarize(floats).dtype == torch.float64
    torch.testing.assert_close(vaes.binarize(floats, generator=seeded()).mean(0), floats[0], atol=0.012, rtol=0)


def test_no_ink_is_never_drawn_as_ink_nor_full_ink_as_none(monkeypatch):
    for noise in (0.0, 1 - 2**-24):  # the ends of what the generator gives
        monkeypatch.setattr(torch, "rand", lambda shape, noise=noise, **options: torch.full(shape, noise))
        assert vaes.binarize(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [0, 1]
        assert vaes.binarize(torch.tensor([0.0, 1.0])).tolist() == [0, 1]


def test_thresholding_is_the_same_for_levels_and_floats():
    levels = torch.arange(256, dtype=torch.uint8)
    cut = vaes.binarize(levels, "threshold")
    assert torch.equal(cut, vaes.binarize(levels.double() / 255, "threshold").float())
    assert (cut.sum(), cut[127], cut[128]) == (128, 0, 1)


@pytest.mark.parametrize(
    ("x", "how", "message"),
    [
        (torch.tensor([0.0, 255.0]), "dynamic", r"from 0 to 255: divide levels up to 255 by 255"),
        (torch.tensor([-0.5, 1.0]), "threshold", r"floats from -0.5 to 1"),
        (torch.tensor([0.0, math.nan]), "dynamic", r"grey levels from 0 to 1, or uint8"),
        (torch.tensor([0, 7]), "dynamic", r"got torch.int64: use x.to\(torch.uint8\)"),
        (torch.tensor([0, 1], dtype=torch.uint8), "dynamic", 'binary already, use binarize="none"'),
        (torch.tensor([False, True]), "dynamic", 'x is bool: it is binary already, use binarize="none"'),
        (torch.tensor([0.0, 0.5]), "none", r"zeros and ones only; got values from 0 to 0.5: binarize it first"),
        (torch.zeros(2), "static", r"binarize must be one of dynamic, threshold, none; got 'static'"),
    ],
)
def test_wrong_values_are_named(x, how, message):
    with pytest.raises(ValueError, match=message):
        vaes.binarize(x, how)


def test_the_bounds_refuse_grey_images():
    model = tiny(double=False)
    for method in (model.elbo, model.iwae, model.reconstruct, model.posterior):
        with pytest.raises(ValueError, match="must hold zeros and ones only; got values from 0 to 0.9"):
            method(torch.tensor([[0, 0.9, 0, 0, 0, 0]]))
    with pytest.raises(ValueError, match=r"x must have shape \(n, D\); got \(6,\)"):
        model.elbo(torch.zeros(PIXELS))
    with pytest.raises(ValueError, match="num_samples must be an integer of at least 1; got 0"):
        model.elbo(torch.zeros(1, PIXELS), 0)
    with pytest.raises(ValueError, match="num_samples must be an integer of at least 0; got -1"):
        model.sample(-1)
    with pytest.raises(ValueError, match="temperature must be above 0; got 0"):
        model.sample(1, temperature=0)


def test_methods_take_arrays():
    model, x = tiny(double=False), binary().float()
    levels = (200 * x).to(torch.uint8)
    assert torch.equal(model.iwae(x.numpy(), 3, generator=seeded()), model.iwae(x, 3, generator=seeded()))
    assert torch.equal(model.reconstruct(x.numpy()), model.reconstruct(x))
    found = vaes.binarize(levels.numpy(), generator=seeded())
    assert torch.equal(found, vaes.binarize(levels, generator=seeded()))


def test_parts_that_do_not_fit_are_named():
    encoder, decoder = pf.nets.MLP(PIXELS, 4), pf.nets.MLP(2, PIXELS)
    normal = pf.bases.StandardNormal(2)
    scaled = pf.recipes.planar(2, preprocessing=[pf.transforms.Scale((0.5, 0.5))])
    amortized = vaes.VAE(encoder, decoder, normal, posterior_flow=pf.recipes.planar(2, context_features=3))
    with pytest.raises(ValueError, match="prior must be a Flow or a base; got '"):
        vaes.VAE(encoder, decoder, "normal")
    with pytest.raises(ValueError, match="prior must take no context; it needs 3 features of it"):
        vaes.VAE(encoder, decoder, pf.recipes.realnvp(2, context_features=3))
    with pytest.raises(ValueError, match="posterior_flow has 3 features, the prior 2"):
        vaes.VAE(encoder, decoder, normal, posterior_flow=pf.recipes.planar(3))
    with pytest.raises(ValueError, match="posterior_flow must have no preprocessing"):
        vaes.VAE(encoder, decoder, normal, posterior_flow=scaled)
    with pytest.raises(ValueError, match="a VampPrior mixes diagonal normals"):
        vaes.VAE(encoder, decoder, vaes.VampPrior(encoder, 2, PIXELS), posterior_flow=pf.recipes.planar(2))
    joint = pf.bases.Joint([vaes.VampPrior(encoder, 2, PIXELS)])
    with pytest.raises(ValueError, match="a VampPrior mixes diagonal normals"):
        vaes.VAE(encoder, decoder, joint, posterior_flow=pf.recipes.planar(2))
    with pytest.raises(ValueError, match="the VampPrior has another encoder: make it with the one of this VAE"):
        vaes.VAE(pf.nets.MLP(PIXELS, 4), decoder, vaes.VampPrior(encoder, 2, PIXELS))
    with pytest.raises(ValueError, match="encoder of a VampPrior must have in_features=5 .* got 6"):
        vaes.VampPrior(encoder, 2, 5)
    with pytest.raises(ValueError, match="must have out_features=2 .* of 1 latents out.; got 4"):
        vaes.VampPrior(encoder, 1, PIXELS)
    with pytest.raises(
        ValueError, match=r"must return 7 features \(mean .* of 2 latents, and 3 of context\); it returns 4"
    ):
        amortized.posterior(torch.zeros(1, PIXELS))
    with pytest.raises(ValueError, match="one of normal, mixture, flow, spline, vampprior; got 'gaussian'"):
        vaes.mlp_vae(prior="gaussian")
    with pytest.raises(ValueError, match="prior has 3 features, latent_features is 2: make them equal"):
        vaes.mlp_vae(PIXELS, latent_features=2, prior=pf.bases.StandardNormal(3))
    with pytest.raises(ValueError, match="posterior_flow must be a Flow, a transform or None; got '"):
        vaes.mlp_vae(PIXELS, posterior_flow="planar")
    with pytest.raises(ValueError, match="latent_features must be an integer of at least 1; got 0"):
        vaes.mlp_vae(PIXELS, latent_features=0)
    with pytest.raises(ValueError, match="decoder must return 6 logits, one a pixel; it returns 1"):
        vaes.VAE(encoder, pf.nets.MLP(2, 1), normal).elbo(torch.zeros(1, PIXELS))
    with pytest.raises(ValueError, match="num_components must be an integer of at least 1; got 0"):
        vaes.VampPrior(encoder, 2, PIXELS, 0)


# ---- training --------------------------------------------------------------------------------------------------------


def images(num_rows=300):
    """Grey images of two kinds, left or right half inked."""
    side = torch.arange(num_rows)[:, None] % 2 == 0
    left = torch.arange(PIXELS) < PIXELS // 2
    return torch.where(side == left, 230, 25).to(torch.uint8)


def test_fit_trains_on_grey_levels_and_repeats_itself():
    def trained():
        torch.manual_seed(0)
        model = vaes.mlp_vae(PIXELS, latent_features=1, hidden_features=(16,), prior=some_flow(features=1))
        options = {"num_steps": 200, "batch_size": 50, "learning_rate": 0.02, "progress": False}
        history = pf.fit(model, (images(), torch.zeros(300)), loss=pf.losses.elbo, **options)
        return model, history

    (one, history), (two, again) = trained(), trained()
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    losses = [row["validation_loss"] for row in history.rows]
    assert losses == [row["validation_loss"] for row in again.rows]
    # Independent pixels cost PIXELS ln 2; knowing the side, the entropy of a Bernoulli(230 / 255) each and ln 2.
    p = 230 / 255
    best = math.log(2) - PIXELS * (p * math.log(p) + (1 - p) * math.log(1 - p))
    assert losses[0] > PIXELS * math.log(2) - 0.3
    assert best - 0.3 < history.best_validation < best + 0.4


def test_validation_binarizes_the_same_way_each_time():
    model = vaes.mlp_vae(PIXELS, latent_features=1, hidden_features=(4,))
    history = pf.fit(model, images(), loss=pf.losses.elbo, num_steps=30, learning_rate=1e-30, progress=False)
    assert len({row["validation_loss"] for row in history.rows}) == 1


def test_fit_names_what_is_wrong_with_images():
    model = vaes.mlp_vae(PIXELS, latent_features=1, hidden_features=(4,))
    with pytest.raises(ValueError, match="floats from 25 to 230: divide levels up to 255 by 255"):
        pf.fit(model, images().float(), loss=pf.losses.elbo, num_steps=1, progress=False)
    with pytest.raises(InputError, match="holds integers"):
        pf.fit(pf.recipes.realnvp(PIXELS), images(), num_steps=1, progress=False)
    with pytest.raises(ValueError, match="elbo takes no context"):
        pf.fit(model, images(), torch.zeros(300, 2), loss=pf.losses.elbo, num_steps=1, progress=False)
    with pytest.raises(ValueError, match=r"x must have 6 pixels a row; got shape \(.*, 5\)"):
        pf.fit(model, images()[:, :5], loss=pf.losses.elbo, num_steps=1, progress=False)
    with pytest.raises(ValueError, match=r"flatten images with x.flatten\(1\)"):
        pf.fit(model, images().reshape(300, 2, 3), loss=pf.losses.elbo, num_steps=1, progress=False)
    with pytest.raises(ValueError, match=r"VAE has no log_prob: .* -model.iwae\(x\)"):
        pf.metrics.nll(model, images())
