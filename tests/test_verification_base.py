"""`pf.verify` looks from the base's side too: does the map cover it, do its draws fit its log_prob, is its mass one?"""

import importlib
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch import distributions

import pushforward as pf
import zoo
from pushforward.verification import chance
from pushforward.verification.agreement import along_lines, among_others, proposal_points
from pushforward.verification.mass import bridge
from pushforward.verification.proposal import Marginals, Proposal

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    broken = importlib.import_module("broken_flows")
    false_alarms = importlib.import_module("verify_false_alarms")

IDENTITY = pf.transforms.Scale(1.0)
CASES = [
    (kind, name, features)
    for kind, cases in broken.BASES.items()
    for name, (_, _, sizes) in cases.items()
    for features in sizes
]


def data(features):
    return torch.linspace(0.1, 0.9, 4 * features).reshape(4, features)


def verified(base, context=None, transform=IDENTITY):
    return pf.verify(pf.Flow(transform, base), data(base.features), context)


# ---- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name", "features"), CASES)
def test_a_base_that_is_wrong_is_found(kind, name, features):
    report = verified(broken.base_of(kind, name, features, seed=5))
    assert not report.ok
    assert all(problem.startswith("base: ") for problem in report.problems)
    if kind in ("constant", "support"):
        assert "log_prob is not normalized" in report.problems[0]
        assert len(report.problems) == 1, report


@pytest.mark.parametrize("name", broken.MAPS)
@pytest.mark.parametrize("features", [1, 3])
def test_a_map_that_does_not_cover_the_base_is_found(name, features):
    report = verified(broken.base_of("good", "normal", features), transform=broken.MAPS[name]())
    assert len(report.problems) == 1, report
    assert report.problems[0].startswith("cover: of ")
    assert "their mass is missing from the density" in report.problems[0]


def test_the_share_of_the_mass_that_is_missing_is_said():
    base = broken.base_of("good", "normal", 1)
    report = verified(base, transform=broken.MAPS["the identity, whose inverse clamps at 2"]())
    share = float(report.problems[0].split("a share of ")[1].split(" ")[0])
    assert share == pytest.approx(0.0455, abs=0.02)


@pytest.mark.parametrize("name", broken.FACTORS)
@pytest.mark.parametrize("features", [1, 5])
def test_a_factor_that_the_context_decides_is_found_at_its_row(name, features):
    base = broken.Broken(features, broken.same, broken.FACTORS[name], context_features=1)
    report = verified(base, torch.tensor([[0.0], [0.0], [0.0], [2.0]]))
    assert len(report.problems) == 1, report
    assert "its mass at the context of row 3 is " in report.problems[0]
    assert "not 1 (false by chance at most once in 300,000 flows)" in report.problems[0]


def test_the_mass_that_is_found_is_the_factor():
    for factor in (0.5, 1.3, 4.0):
        base = broken.Broken(3, broken.same, lambda z, _, factor=factor: broken.normal(z) + math.log(factor))
        (problem,) = verified(base).problems
        assert float(problem.split("its mass is ")[1].split(" ")[0]) == pytest.approx(factor, rel=0.03)


def test_lines_name_the_feature_and_the_side():
    generator = torch.Generator().manual_seed(0)
    for shift, feature in ((0.5, 2), (-0.5, 0)):
        z = torch.randn(6000, 3, generator=generator) + shift * (torch.arange(3) == feature)
        location = along_lines(broken.normal, z[2000:], z[:2000], generator)["their location in feature"]
        assert int(location.abs().argmin()) == feature
        assert float(location.abs().min()) < 1e-6
        assert bool(location[feature].signbit()) == (shift < 0)
    report = verified(broken.Broken(2, broken.plus(1.0), broken.normal))
    assert "base: its draws do not fit its log_prob: in 2,048 draws, their " in report.problems[0]
    assert "(by chance in one flow of " in report.problems[0]


def test_draws_outside_the_support_or_infinite_are_named():
    outside = broken.Broken(2, lambda z, _: z.abs() + 2 - (z > 2) * 0, broken.box(3.0))
    assert "lie outside its support" in verified(outside).problems[0]
    infinite = broken.Broken(2, lambda z, _: torch.where(z > 3, math.inf, z), broken.normal)
    assert any("draws are not finite" in problem for problem in verified(infinite).problems)


def test_log_prob_that_is_nan_near_the_draws_is_named():
    def log_prob(z, context):
        return torch.where((z < 0) | (z > 1), math.nan, 0.0).sum(-1)

    report = verified(broken.Broken(2, broken.uniform, log_prob))
    assert any("outside its support it must be -inf" in problem for problem in report.problems)


def test_a_base_that_raises_or_has_the_wrong_shape_is_named():
    class Raises(broken.Broken):
        def sample(self, shape, **options):
            raise NotImplementedError("no draws")

    class Flat(broken.Broken):
        def sample(self, shape, **options):
            return super().sample(shape, **options).flatten()

    assert verified(Raises(2, broken.same, broken.normal)).problems == [
        "base.sample raised NotImplementedError: no draws",
    ]
    assert "base.sample made shape (2048,); asked for (1024,) of 2 features" in str(
        verified(Flat(2, broken.same, broken.normal))
    )


def test_a_base_that_ignores_the_generator_is_noted():
    class Own(pf.bases.StandardNormal):
        def sample(self, shape, *, context=None, temperature=1.0, generator=None):
            return super().sample(shape)

    report = verified(Own(2))
    assert report.ok, report
    assert report.notes[-1].startswith("base.sample gives other draws from the same generator")


def test_a_flow_whose_samples_are_not_its_bases_draws_is_found():
    class Wrong(pf.Flow):
        def sample(self, num_samples, context=None, **options):
            return super().sample(num_samples, context, **options) + 0.5

    report = pf.verify(Wrong(pf.transforms.Scale(2.0), pf.bases.StandardNormal(2)), data(2))
    assert report.problems[0].startswith("cover: ")


def test_the_base_is_checked_though_the_map_is_wrong():
    class Raises(pf.transforms.Scale):
        def inverse(self, y, context=None):
            raise NotImplementedError("not yet")

    report = verified(broken.base_of("constant", "1.2", 2), transform=Raises(2.0))
    assert [problem.split(":")[0] for problem in report.problems] == [
        "inverse raised NotImplementedError",
        "base",
    ]
    assert "cover: not checked, since the map is wrong already." in report.checked


# ---- what is right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1000, 1012))
def test_flows_of_every_kind_pass(seed):
    facts, flow = false_alarms.make_flow(seed)
    x, context = false_alarms.rows_for(flow, 8, seed)
    report = pf.verify(flow, x, context)
    assert report.ok, (facts, report)
    assert len(report.checked) >= 2


@pytest.mark.parametrize(
    ("name", "features"), [(name, d) for name, (_, _, sizes) in broken.GOOD.items() for d in sizes]
)
def test_a_base_made_by_hand_that_is_right_passes(name, features):
    report = verified(broken.base_of("good", name, features))
    assert report.ok, report


@pytest.mark.parametrize("before", [pf.transforms.Logit(), pf.transforms.Asinh(2), pf.transforms.Standardize(2)])
def test_a_domain_that_preprocessing_restricts_is_no_fault(before):
    flow = zoo.perturb(pf.recipes.realnvp(2, num_layers=2, preprocessing=[before]))
    if not isinstance(before, pf.transforms.Logit):
        flow.initialize(torch.randn(50, 2).exp())
    for dtype in (torch.float32, torch.float64):
        report = pf.verify(flow.to(dtype), flow.sample(10, generator=torch.Generator().manual_seed(0)))
        assert report.ok, report


def test_float32_that_is_too_short_for_a_draw_is_no_fault():
    # Near 1, float32 has no room for a logit of 20.
    flow = pf.Flow(pf.transforms.Scale(0.25), pf.bases.StandardNormal(1), preprocessing=[pf.transforms.Logit(0.0)])
    report = pf.verify(flow, torch.linspace(0.1, 0.9, 5)[:, None])
    assert report.ok, report
    assert "of them but for rounding" in report.checked[0]


def test_a_base_where_log_prob_is_infinite_is_said_to_be_unchecked():
    def log_prob(z, context):
        return torch.where(z[..., 0] > 1, math.inf, broken.normal(z))

    report = verified(broken.Broken(2, broken.same, log_prob))
    assert report.ok, report
    assert "draws and log_prob were not compared, since log_prob is infinite at " in report.checked[-1]


def test_a_density_with_infinite_ends_passes():
    report = verified(pf.bases.FromTorch(distributions.Beta(0.1, 0.1), 2))
    assert report.ok, report


def test_draws_that_take_few_values_do_not_stop_the_checks():
    coarse = broken.Broken(2, lambda z, _: z.round(decimals=1), broken.normal)
    assert len(verified(coarse).checked) == 3
    constant = broken.Broken(2, lambda z, _: torch.stack([z[:, 0], 0 * z[:, 1] + 3], 1), broken.normal)
    assert not verified(constant).ok


def test_one_row_and_one_context_for_all_are_enough():
    flow = zoo.FLOWS["nsf, context"]()
    assert pf.verify(flow, torch.randn(1, 2), torch.zeros(1, 3)).ok
    assert pf.verify(flow, torch.randn(2, 3, 2), torch.zeros(3)).ok
    base = false_alarms.Shifted(2)
    report = pf.verify(pf.Flow(IDENTITY, base), torch.randn(5, 2), torch.zeros(3))
    assert report.ok, report


# ---- what the report says --------------------------------------------------------------------------------------------


def test_the_report_says_what_was_checked_what_not_and_how_often_it_errs():
    report = verified(pf.bases.StandardNormal(2), transform=pf.transforms.Scale(2.0))
    cover, fit, mass = report.checked
    assert cover == (
        "cover: 1,024 draws of the base decode to finite rows that encode back to them. Were more than 0.4 % of the "
        "mass missing, it would have been seen 99 times of 100."
    )
    assert fit.startswith("base: 4,096 draws fit its log_prob, up to a constant, along lines through them and beside ")
    assert fit.endswith("(two checks, each false by chance at most once in 100,000 flows).")
    assert mass.startswith("base: its mass where its draws lie is 1.00") or mass.startswith(
        "base: its mass where its draws lie is 0.99"
    )
    assert "would have been seen (false by chance at most once in 100,000 flows)" in mass
    assert all(f"  checked: {line}" in str(report) for line in report.checked)
    wrong = verified(broken.base_of("scale", "all features by 1.2", 2))
    assert wrong.checked[-1] == "base: its mass was not measured, since its draws do not fit its log_prob."
    assert pf.verify(pf.transforms.Scale(2.0), data(2)).checked == []


def test_a_mass_that_no_proposal_comes_near_is_said_to_be_unmeasured():
    base = pf.bases.GaussianMixture(20, 100)
    with torch.no_grad():
        base.mean.mul_(20)
    report = verified(base)
    assert report.ok, report
    assert report.checked[-1] == (
        "base: its mass could not be measured: no density fitted to its draws comes near enough."
    )


def test_draws_come_from_a_generator_of_its_own_and_repeat():
    flow = zoo.FLOWS["realnvp"](base=pf.bases.FromTorch(distributions.Gamma(2.0, 1.0), 2))
    x = flow.sample(5, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    first, second = str(pf.verify(flow, x)), str(pf.verify(flow, x))
    assert first == second
    assert torch.equal(torch.get_rng_state(), before)


# ---- the statistics --------------------------------------------------------------------------------------------------


def test_a_bound_on_chance_holds_and_is_near_the_truth():
    generator = torch.Generator().manual_seed(0)
    signs = torch.randint(2, (20_000, 200), generator=generator) * 2.0 - 1
    bound = chance.of_sum(signs.sum(1), torch.tensor(200.0), torch.tensor(1.0), 0.0).abs()
    for rate in (0.2, 0.05, 0.01):
        assert rate / 20 < float((bound <= rate).float().mean()) <= rate


def test_the_mean_of_bounded_values_lies_within_its_bound():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(2000, 100, generator=generator) ** 4
    within = torch.tensor([chance.mean_within(row, 0.1) for row in values])
    assert float(((values.mean(1) - 0.2).abs() > within).float().mean()) < 0.1


@pytest.mark.parametrize("name", ["normal", "two modes", "Student t"])
def test_a_draw_hidden_among_points_is_found_as_often_as_it_should(name):
    base = broken.base_of("good", name, 2)
    results = []
    for seed in range(60):
        base.seed, generator = seed, torch.Generator().manual_seed(seed)
        draws = base.sample((1000,), generator=generator)
        chances = along_lines(base.log_prob, draws[500:], draws[:500], generator)
        log_ratio, cells = proposal_points(base.log_prob, draws[500:], draws[:500], 3, generator)
        chances |= among_others(log_ratio, cells)
        results += [each.abs().min() for each in chances.values()]
    smallest = torch.stack(results)
    assert float((smallest < 0.01).float().mean()) < 0.03
    assert float((smallest < 0.3).float().mean()) > 0.02  # no test of nothing


@pytest.mark.parametrize("features", [1, 3, 20])
def test_a_proposal_is_a_density_and_draws_from_it(features):
    generator = torch.Generator().manual_seed(0)
    for name in ("normal", "two modes", "Student t"):
        z = broken.base_of("good", name, features).sample((2048,), generator=generator).double()
        proposal = Proposal.fit(z, generator)
        drawn = proposal.sample(20_000, generator)
        assert torch.allclose(drawn.abs().quantile(0.5, 0), z.abs().quantile(0.5, 0), atol=0.3)
        # Its own mass, by bridge sampling against a second one.
        other = Proposal.fit(z.flip(0), generator)
        own = (proposal.log_prob(drawn) - other.log_prob(drawn)).nan_to_num(nan=0.0)
        theirs = other.sample(20_000, generator)
        mass = bridge(own, proposal.log_prob(theirs) - other.log_prob(theirs), 1e-3)
        assert mass.value == pytest.approx(1.0, abs=0.05)
        assert mass.is_one


def test_marginals_come_back():
    z = torch.randn(500, 3, dtype=torch.float64).exp()
    marginals = Marginals.fit(z.sort(0).values)
    y, log_slope = marginals.normal(z)
    torch.testing.assert_close(marginals.back(y), z)
    slope = (marginals.normal(z + 1e-7)[0] - y) / 1e-7
    assert float((slope.log().sum(-1) - log_slope).abs().median()) < 1e-5
    assert float(y.std()) == pytest.approx(1.0, abs=0.1)
    assert Marginals.fit(torch.zeros(100, 2)) is None


def test_no_warning_leaves_verify():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        verified(broken.base_of("tails", "of a Student t, for a normal", 5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("before", [[pf.transforms.Logit(0.0)], [pf.transforms.Scale(0.1), pf.transforms.Logit()]])
def test_latents_at_the_end_of_the_domain_are_no_fault(before, dtype):
    # Two draws of a hundred have a logit beyond 36, where float64 knows nothing but 1.
    flow = pf.Flow(pf.transforms.Scale(1 / 18), pf.bases.StandardNormal(3), preprocessing=before).to(dtype)
    report = pf.verify(flow, flow.decode(torch.rand(5, 3, generator=torch.Generator().manual_seed(0)) / 18))
    assert report.ok, report


def test_preprocessing_that_clamps_is_a_fault():
    class Clamped(pf.transforms.Logit):
        def inverse(self, y, context=None):
            return super().inverse(y.clamp(-3, 3))

    flow = pf.Flow(IDENTITY, pf.bases.StandardNormal(2), preprocessing=[Clamped()])
    for dtype in (torch.float32, torch.float64):
        assert pf.verify(flow.to(dtype), data(2)).problems[0].startswith("cover: "), dtype
