"""The experiments of the lessons: each trains what it needs and yields sentences with its numbers."""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from pushforward import metrics, recipes
from pushforward.bases import Box
from pushforward.data import hexagon
from pushforward.errors import InputError, RunError
from pushforward.flows import Flow
from pushforward.play.model import flow_call, flow_of, loss_of, training
from pushforward.play.points import HELD_OUT, TEST_SEED, Points, points_of
from pushforward.play.settings import Settings
from pushforward.play.views import MASS_SAMPLES, mass_in
from pushforward.training import fit
from pushforward.transforms import Standardize

POINTS = 20_000
STEPS = 1500
DENSITY_FLOOR = -7.0  # nats: exact log density below which no point of the moons lies


def trained(**given: Any) -> tuple[Flow, Points]:
    """Return a flow after some steps, and its points; settings as a page has them."""
    settings = Settings.read({"num_points": POINTS, "num_steps": STEPS, **given})
    points, flow = points_of(settings), flow_of(settings)
    fit(flow, points.train, loss=loss_of(settings), progress=False, **training(settings))
    return flow, points


def nll(flow: Flow, points: Points) -> str:
    """Return the held-out NLL in words, beside that of the exact density on the same points."""
    found, density = metrics.nll(flow, points.test).mean, points.density
    assert density is not None
    above = found + density.log_prob(points.test).mean().item()
    return f"held-out NLL {found:.4f}, {above:.4f} above the exact density"


def area() -> Iterator[str]:
    """Follow a square through the layers."""
    flow, _ = trained()
    with torch.no_grad():
        _, found = mass_in(flow, (-0.3, 0.4, 0.6, 1.2), 0)
    first, last = found["areas"][0], found["areas"][-1]
    low, high = 100 * min(found["masses"]), 100 * max(found["masses"])
    yield f"From data to latent the area went from {first:.3f} to {last:.3f}, {last / first:.1f} times as much."
    yield (
        f"Of {MASS_SAMPLES:,} samples at least {low:.1f} % and at most {high:.1f} % lie inside, counted in each layer "
        "by itself."
    )
    yield (
        f"So the mean density inside fell from {found['masses'][0] / first:.3f} to {found['masses'][-1] / last:.3f}: "
        "probability is kept, density pays for area. Three times the area is a third of the density, a log_det of "
        "log 3 = 1.099 nats."
    )


def without_swap() -> Iterator[str]:
    """Train two couplings with and without a swap."""
    without, points = trained(layers=2, mixing="none")
    yield f"Without a swap, after {STEPS:,} steps: {nll(without, points)}."
    swapped, _ = trained(layers=2)
    yield f"With one: {nll(swapped, points)}."
    samples = without.sample(POINTS, generator=torch.Generator().manual_seed(0))
    gap, other = _between_quantiles(points.train, samples)
    yield (
        "The kept feature x1 is never moved, so its law stays the normal one that it began with: the quantiles of x1 "
        f"are wrong by up to {gap:.2f}, those of x2 by up to {other:.2f}. Given x1, the law of x2 is learned."
    )


def _between_quantiles(x: Tensor, samples: Tensor) -> list[float]:
    at = torch.tensor([0.1, 0.25, 0.5, 0.75, 0.9])
    gap = torch.quantile(x[:POINTS], at, 0) - torch.quantile(samples, at, 0)
    return gap.abs().amax(0).tolist()


def bridge() -> Iterator[str]:
    """Count samples where the exact density has none."""
    bridges = []
    for words, options in (
        ("RealNVP of 6 layers", {"recipe": "realnvp", "layers": 6}),
        ("RealNVP of 12 layers", {"recipe": "realnvp", "layers": 12}),
        ("Splines of 6 layers", {"recipe": "nsf"}),
        ("RealNVP of 6 layers on a mixture of 8 normals", {"recipe": "realnvp", "layers": 6, "base": "mixture"}),
    ):
        flow, points = trained(noise=0.05, **options)
        samples = flow.sample(POINTS, generator=torch.Generator().manual_seed(0))
        assert points.density is not None
        off = (points.density.log_prob(samples) < DENSITY_FLOOR).double().mean().item()
        bridges.append(off)
        yield f"{words}: {nll(flow, points)}; {100 * off:.2f} % of the samples lie where no data do."
    yield (
        "More layers make the bridge thinner, never empty: a continuous map with a continuous inverse keeps one piece "
        "in one piece. A base of several pieces would need none; that training finds which piece goes where is another "
        f"matter: here {'it helped' if bridges[-1] < bridges[0] else 'it did not help'}."
    )


def twice() -> Iterator[str]:
    """Train with two seeds and compare losses, densities and codes."""
    (first, points), (second, _) = trained(), trained(seed=1)
    yield f"Seed 0: {nll(first, points)}. Seed 1: {nll(second, points)}."
    x = points.test
    with torch.no_grad():
        apart = (first.log_prob(x) - second.log_prob(x)).abs().mean().item()
        codes = (first.encode(x) - second.encode(x)).norm(dim=-1).mean().item()
        there = (first.encode(x) - first.encode(x).roll(1, 0)).norm(dim=-1).mean().item()
        turned = (first.encode(x) - first.encode(x).flip(1) * torch.tensor([1.0, -1.0])).norm(dim=-1).mean().item()
    yield f"Their log densities differ by {apart:.3f} nats a point in the mean."
    yield (
        f"The latents of the same points lie {codes:.2f} apart in the mean, those of different points {there:.2f}. "
        "Both flows began near the identity and found maps that are alike, not the same."
    )
    yield (
        f"Turn the first latent by 90 degrees: the latents lie {turned:.2f} apart and no density changes, for the "
        "normal is round. The data determine the density, not the map."
    )


def uniform_base() -> Iterator[str]:
    """Try to train on a box."""
    settings = Settings.read({"num_points": POINTS, "num_steps": STEPS})
    points = points_of(settings)
    name, arguments = flow_call(settings)
    for half in (1.0, 3.0):
        torch.manual_seed(0)
        base = Box(2, low=-half, high=half)
        flow = getattr(recipes, name)(2, **arguments, base=base, preprocessing=[Standardize(2)])
        try:
            fit(flow, points.train, progress=False, **training(settings))
            yield f"A box from -{half:g} to {half:g}: it trains; {nll(flow, points)}."
        except (InputError, RunError) as error:
            yield f"A box from -{half:g} to {half:g}: training stops with “{str(error).splitlines()[0]}”"
    far = flow.log_prob(torch.tensor([[30.0, 0.0]])).item()
    yield (
        f"A point outside, such as (30, 0), has log density {far}: an infinite loss with no slope that could bring it "
        "back. The normal has no edge: far away its log density is very low, and falls smoothly."
    )


def thin_curve() -> Iterator[str]:
    """Train at less and less noise."""
    for noise in (0.2, 0.1, 0.05, 0.02):
        flow, points = trained(noise=noise)
        assert points.density is not None
        best = points.density.entropy()
        with torch.no_grad():
            steepest = torch.stack([step.log_det for step in flow.steps(points.test)]).sum(0).abs().max().item()
        yield (f"Noise {noise:g}, entropy {best:.3f}: {nll(flow, points)}; areas change by up to e^{steepest:.1f}.")
    yield (
        "On a curve itself there is no density: the entropy goes to minus infinity, and a lower NLL says ever less "
        "about a better fit. The flow must stretch without bound, and falls behind."
    )


def labels() -> Iterator[str]:
    """Train flows that are told nothing, two labels or six."""
    settings = Settings.read({"data": "hexagon", "num_points": POINTS, "num_steps": STEPS})
    name, arguments = flow_call(settings)
    for number in (0, 2, 6):
        data = hexagon(POINTS, num_labels=number or 6, seed=0)
        torch.manual_seed(0)
        flow = getattr(recipes, name)(2, **arguments, context_features=number, preprocessing=[Standardize(2)])
        fit(flow, data.x, _one_hot(data.labels, number), progress=False, **training(settings))
        test, given = data.density.sample_with_labels(HELD_OUT, TEST_SEED)
        found = metrics.nll(flow, test, _one_hot(given, number)).mean
        exact = -data.density.log_prob(test, label=given if number else None).mean().item()
        words = f"told one of {number} labels" if number else "told nothing"
        yield f"A flow that is {words}: NLL {found:.4f}; the exact density's is {exact:.4f}."
    yield (
        "Six labels name the corner: log 6 = 1.792 nats saved. Two labels of sizes 1/3 and 2/3 save their own entropy, "
        "0.637 nats, and leave the flow two or four corners to tell apart, bridges included."
    )


def _one_hot(labels: Tensor | None, number: int) -> Tensor | None:
    return torch.nn.functional.one_hot(labels, number).float() if number and labels is not None else None


def planar_inverse() -> Iterator[str]:
    """Train planar flows of several lengths; time both directions."""
    for layers in (2, 8, 16):
        flow, points = trained(recipe="planar", layers=layers, learning_rate=0.02)
        yield f"{layers} planar maps, {5 * layers} numbers: {nll(flow, points)}."
    with torch.no_grad():
        began = time.perf_counter()
        z = flow.encode(points.test)
        forward, began = time.perf_counter() - began, time.perf_counter()
        back = flow.decode(z)
        inverse = time.perf_counter() - began
    error = (back - points.test).abs().max().item()
    yield (
        f"The inverse of {len(z):,} points took {inverse / forward:.0f} times as long as the way forward: each map is "
        f"undone by finding a root, up to rounding: at most {error:.1e} off."
    )
    yield "A map of five numbers bends the plane once, along one line."


def discrete_continuous() -> Iterator[str]:
    """Train layers, and a velocity field in two ways, for as many steps."""
    for words, recipe, steps in (
        ("Splines of 6 layers", "nsf", 300),
        ("A velocity field by matching", "cnf-matching", 300),
        ("A velocity field by likelihood", "cnf", 300),
    ):
        began = time.perf_counter()
        flow, points = trained(recipe=recipe, num_steps=steps)
        took = time.perf_counter() - began
        yield f"{words}: {steps} steps in {took:.1f} s, {1000 * took / steps:.1f} ms a step; {nll(flow, points)}."
    yield (
        "By likelihood every step solves a differential equation and differentiates through it. By matching a step is "
        "one regression, but the loss is no longer the likelihood, which improves more slowly. A discrete flow has "
        "both: a cheap step and the exact likelihood."
    )


def temperature() -> Iterator[str]:
    """Sample at several temperatures, and look at the exact density there."""
    flow, points = trained(recipe="realnvp", layers=6)
    assert points.density is not None
    yield f"The exact log density is at most {points.density.log_prob(points.train).max().item():.3f}."
    for value in (0.1, 0.25, 0.5, 1.0, 1.25):
        samples = flow.sample(POINTS, temperature=value, generator=torch.Generator().manual_seed(0))
        found = points.density.log_prob(samples).clamp(min=-30)
        off = 100 * (found < DENSITY_FLOOR).double().mean().item()
        yield f"Temperature {value:g}: mean exact log density {found.mean().item():.3f}; {off:.1f} % where no data lie."
    yield (
        "A little colder, the samples keep away from the tails. Colder still they do not go to the top of the density: "
        "they gather where the flow puts the latent's middle, wherever that is. Temperature sharpens the base; only "
        "for a linear flow is that the same as to sharpen the density."
    )
