"""What one layer does to area and density, and the algebra of composing layers: each claim with a number."""

import math

import torch
from torch import Tensor

from pushforward import Flow, nets, transforms, verify
from pushforward.bases import StandardNormal
from pushforward.report.plots.canvas import DATA, SAMPLES
from pushforward.studies.kit import Points, Record, drawn, pictures
from pushforward.transforms import Affine, Compose, Coupling, Inverse, RationalQuadratic, Scale, Shift, Transform

TITLE = "What a layer does to area and density, and how layers compose"
SOURCE = "a course assignment on normalizing flows, part 1, and three exercises on change of variables"


def run(record: Record) -> None:
    """Answer the questions about single layers and their composition."""
    torch.manual_seed(record.seed)
    _area_and_density(record)
    _checked_layers(record)
    _couplings_without_swap(record)
    _a_normal_pushed_forward(record)
    _volume(record)
    _chain_rule(record)


@torch.no_grad()
def _area_and_density(record: Record) -> None:
    record.heading("Area and density")
    square = torch.rand(1_000, 2)
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    maps: dict[str, Transform] = {
        "scale (2, 2)": Scale((2.0, 2.0)),
        "scale (2, 0.5)": Scale((2.0, 0.5)),
        "shift (0.5, -1)": Shift((0.5, -1.0)),
    }
    shown = {"uniform points, density 1": Points(square, DATA, size=3)}
    rows = []
    for name, layer in maps.items():
        moved, log_dets = layer(square)
        log_det, area = log_dets[0].item(), _polygon_area(layer(corners)[0])
        density = math.exp(-log_det)
        rows.append([name, log_det, area, density, density * area])
        record.number(f"area.{name}", {"log_det": log_det, "area": area, "density": density})
        shown[f"{name}: area {area:g}, density {density:g}"] = Points(moved, SAMPLES, size=3)
    record.table(
        "The unit square under three maps. The area is that of the image of its corners.",
        ["layer", "log_det (nats)", "area", "density exp(-log_det)", "density × area"],
        rows,
    )
    caption = "1,000 uniform points in the unit square, as they are and under three maps."
    record.picture("area", pictures.panels(shown, pictures.SOURCE_WINDOW)[0], caption)
    doubled, stretched, shifted = (row[2] for row in rows)
    record.answer(
        "How does scaling by 2 affect area and density?",
        f"The area becomes {doubled:g} and the density {1 / doubled:g}: mass is kept, so they multiply to 1.",
    )
    record.answer(
        "And scaling by 2 and by 0.5?",
        f"The area stays {stretched:g}, so the density inside stays {1 / stretched:g}; only the shape changes.",
    )
    record.answer("And a translation?", f"Neither changes: area {shifted:g}, log_det 0.")


def _checked_layers(record: Record) -> None:
    record.heading("Layers checked, and layers that are wrong")
    x = torch.randn(16, 2)
    right = {
        "Scale, one factor negative": Scale((2.0, -0.5)),
        "Shift": Shift((1.0, -1.0)),
        "affine coupling": _coupling(Affine(), keep_first=True),
        "spline coupling": _coupling(RationalQuadratic(), keep_first=False),
        "three layers composed": Compose([Scale((2.0, -0.5)), _coupling(Affine(), keep_first=True), Shift((1.0, 0.0))]),
    }
    reports = {name: verify(layer, x) for name, layer in right.items()}
    for name, report in reports.items():
        record.number(f"verified.{name}", {"ok": report.ok, "round_trip_error": report.round_trip_error})
    record.table(
        "pf.verify on 16 normal points: round trip, and log_det against the autodiff Jacobian of every row.",
        ["layer", "passes", "round trip error", "log_det error (nats)"],
        [[name, report.ok, report.round_trip_error, report.log_det_error] for name, report in reports.items()],
    )
    wrong = verify(_WrongLogDet(), x)
    record.number("verified.wrong log_det", {"ok": wrong.ok, "problems": wrong.problems})
    record.answer(
        "Does the checker see a layer whose log-determinant is wrong?",
        f"{'No' if wrong.ok else 'Yes'}: y = 2 x with log_det 0 gives: {'; '.join(wrong.problems)}",
    )


def _couplings_without_swap(record: Record) -> None:
    record.heading("Two couplings without a swap")
    x = torch.randn(1_000, 2, dtype=torch.float64)
    first, second = (_coupling(Affine("plain"), keep_first=True).double() for _ in range(2))
    with torch.no_grad():
        y, log_det = Compose([first, second])(x)
        kept, moved = x.split(1, -1)
        (t1, s1), (t2, s2) = (layer.conditioner(kept).split(1, -1) for layer in (first, second))
        one = torch.cat([kept, (s1 + s2).exp() * moved + s2.exp() * t1 + t2], -1)
    error = max(_apart(one, y), _apart((s1 + s2).squeeze(-1), log_det))
    record.number("no_swap.identity_error", error)
    swapped = Compose([_coupling(Affine(), keep_first=True), _coupling(Affine(), keep_first=False)])
    record.number("no_swap.with_a_swap_passes", verify(swapped, x.float()).ok)
    record.answer(
        "Are two affine couplings without a swap in between more than one?",
        "No: they are one coupling with s = s1 + s2 and t = exp(s2) t1 + t2; on 1,000 points the two agree to "
        f"{error:.1e}.",
    )
    # Univariate maps of one number with random parameters: can one of the same family do what two do?
    knots = _slope_breaks(RationalQuadratic(bins=4, bound=3.0))
    scale = Affine().forward(torch.zeros(1), torch.tensor([[0.0, 50.0]]))[1].item()
    record.number("no_swap.spline_knots", {"one": knots[0], "two": knots[1]})
    record.number("no_swap.largest_log_scale", {"one": scale, "two": 2 * scale})
    record.answer(
        "Which families gain from it all the same?",
        f"Splines: a 4-bin spline has {knots[0]} knots inside its box, two in a row {knots[1]}, more than one of the "
        f"family can have. Bounded scales: one layer reaches log-scale {scale:g}, two reach {2 * scale:g}. "
        "Neither lets the kept half take part.",
    )


@torch.no_grad()
def _a_normal_pushed_forward(record: Record) -> None:
    record.heading("A normal distribution pushed forward")
    flow = Flow(Inverse(Compose([Scale((0.5, 1.0)), Shift((1.0, -1.0))])), StandardNormal(2))
    normal = torch.distributions.MultivariateNormal(torch.tensor([1.0, -1.0]), torch.diag(torch.tensor([0.25, 1.0])))
    samples = drawn(flow, 10_000, record.seed)
    error = _apart(flow.log_prob(samples), normal.log_prob(samples))
    mean, covariance = samples.mean(0), samples.T.cov()
    found = {"largest_log_prob_difference": error, "sample_mean": mean, "sample_covariance": covariance}
    record.number("normal", found)
    contents: dict[str, pictures.Content] = {
        "the base N(0, I)": flow.base.log_prob,
        "the flow": flow.log_prob,
        "MultivariateNormal": normal.log_prob,
        "samples of the flow": Points(samples, SAMPLES),
    }
    figure, _ = pictures.panels(contents, (-5.0, 5.0, -5.5, 4.5), grid=record.grid)
    caption = "The base, its image under x = (z1 / 2 + 1, z2 - 1), torch's normal distribution, and 10,000 samples."
    record.picture("normal", figure, caption)
    record.answer(
        "Is x = (z1 / 2 + 1, z2 - 1) distributed as N((1, -1), diag(0.25, 1))?",
        f"{'Yes' if error < 1e-4 else 'No'}: the largest difference of log densities at 10,000 samples is {error:.1e} "
        f"nats; their mean is ({mean[0]:.3f}, {mean[1]:.3f}), their variances {covariance[0, 0]:.3f} and "
        f"{covariance[1, 1]:.3f}.",
    )


def _volume(record: Record) -> None:
    record.heading("Volume and orientation")
    record.text(
        "Proof that f(x) = -x + a preserves volume. f(f(x)) = -(-x + a) + a = x, so f is a bijection. "
        "Its i-th coordinate is f_i(x) = -x_i + a_i, so ∂f_i/∂x_j is -1"
        " where i = j and 0 elsewhere: at every x the Jacobian is J_f(x) = -I. The determinant of a diagonal "
        "matrix is the product of its entries, det J_f = (-1)^D, hence |det J_f(x)| = 1 for all x and every a. By "
        "the change of variables a set S has the image f(S) of volume ∫_S |det J_f(x)| dx = ∫_S dx, its own: f "
        "preserves volume."
    )
    rows = []
    for features in range(1, 6):
        flip = Compose([Scale((-1.0,) * features), Shift(tuple(map(float, range(features))))])
        x = torch.randn(1, features, dtype=torch.float64)
        determinant, log_det = torch.linalg.det(_jacobians(flip, x)).item(), flip(x)[1].item()
        rows.append([features, determinant, log_det])
        record.number(f"flip.{features}", {"determinant": determinant, "log_det": log_det})
    record.table("f(x) = -x + a in D dimensions.", ["D", "det of the Jacobian", "log_det of the layers (nats)"], rows)
    kept = all(abs(det - (-1.0) ** D) < 1e-12 and abs(log_det) < 1e-12 for D, det, log_det in rows)
    record.answer(
        "Is f(x) = -x + a volume preserving, and does it keep orientation?",
        "It preserves volume, |det| = 1 and log_det = 0, in every dimension tried; det = (-1)^D, so it keeps the "
        "orientation where D is even and reverses it where D is odd. A density needs |det| only."
        if kept
        else "The numbers in the table contradict |det| = 1.",
    )


def _chain_rule(record: Record) -> None:
    record.heading("Inverse and Jacobian of a composition")
    record.text(
        "Proof that F = f_K ∘ ... ∘ f_1 has the inverse G = f_1⁻¹ ∘ ... ∘ f_K⁻¹. By induction on K; K = 1 is the "
        "meaning of f_1⁻¹. Let F' = f_(K-1) ∘ ... ∘ f_1 have the inverse G' = f_1⁻¹ ∘ ... ∘ f_(K-1)⁻¹. Then F = "
        "f_K ∘ F' and G = G' ∘ f_K⁻¹. For every x, G(F(x)) = G'(f_K⁻¹(f_K(F'(x)))) = G'(F'(x)) = x, and for every "
        "z, F(G(z)) = f_K(F'(G'(f_K⁻¹(z)))) = f_K(f_K⁻¹(z)) = z. A map that undoes F on both sides is its inverse."
    )
    record.text(
        "Proof that |det J_h| = |det J_g| |det J_f| for h = g ∘ f. Let f and g be differentiable "
        "and y = f(x). The chain rule gives ∂h_i/∂x_j "
        "(x) = ∇g_i(y) · ∂f/∂x_j (x) = Σ_k ∂g_i/∂y_k (y) ∂f_k/∂x_j (x). The entry (i, j) of the product of two "
        "matrices A and B is Σ_k A_ik B_kj; with A = J_g(y) and B = J_f(x) that is the same sum. Hence J_h(x) = "
        "J_g(f(x)) J_f(x). Both are D x D, and the determinant of a product is the product of the determinants: "
        "det J_h(x) = det J_g(f(x)) det J_f(x). Taking absolute values, and logarithms, log_dets of layers add."
    )
    f = Compose([_coupling(Affine(), keep_first=True), transforms.LULinear(2)]).double()
    g = Compose([Scale((1.5, -0.7)), _coupling(RationalQuadratic(), keep_first=False)]).double()
    h = Compose([f, g])
    x = torch.randn(100, 2, dtype=torch.float64)
    with torch.no_grad():
        y, log_det = h(x)
        by_parts, other_order = f.inverse(g.inverse(y)[0])[0], g.inverse(f.inverse(y)[0])[0]
        of_f, of_g, of_h = _jacobians(f, x), _jacobians(g, f(x)[0]), _jacobians(h, x)
    determinants = torch.linalg.det(of_g) * torch.linalg.det(of_f)
    errors = {
        "inverse": _apart(x, by_parts),
        "other_order": _apart(x, other_order),
        "jacobian": _apart(of_g @ of_f, of_h),
        "log_det": _apart(determinants.abs().log(), log_det),
    }
    record.number("composition.errors", errors)
    record.answer(
        "What is the inverse of h = g after f?",
        f"f⁻¹ after g⁻¹: it brings 100 points back to {errors['inverse']:.1e} (float64); in the other order they miss "
        f"by up to {errors['other_order']:.2g}.",
    )
    record.answer(
        "What is the Jacobian of h at x?",
        f"J_h(x) = J_g(f(x)) J_f(x), largest difference {errors['jacobian']:.1e}; so determinants multiply and "
        f"log_dets add, to {errors['log_det']:.1e} nats.",
    )


def _coupling(univariate: transforms.Univariate, *, keep_first: bool) -> Coupling:
    """Return a coupling of two features with random weights: a fresh one would be the identity."""
    net = nets.MLP(1, univariate.num_params, hidden_features=(16, 16))
    coupling = Coupling(torch.tensor([keep_first, not keep_first]), univariate, net)
    for parameter in coupling.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return coupling


class _WrongLogDet(Transform):
    """y = 2 x that claims to keep volume."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return 2 * x, x.new_zeros(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return y / 2, y.new_zeros(y.shape[:-1])


def _apart(one: Tensor, other: Tensor) -> float:
    return (one - other).abs().max().item()


def _jacobians(transform: Transform, x: Tensor) -> Tensor:
    return torch.func.vmap(torch.func.jacrev(lambda v: transform(v)[0]))(x).detach()


def _polygon_area(corners: Tensor) -> float:
    x, y = corners.T
    return ((x * y.roll(-1) - y * x.roll(-1)).sum() / 2).abs().item()


def _slope_breaks(family: RationalQuadratic) -> tuple[int, int]:
    """Return the number of inner points where the slope bends for one random spline, and for two in a row."""
    x = torch.linspace(-family.bound, family.bound, 400_001, dtype=torch.float64)[1:-1, None]
    params = [torch.randn(family.num_params, dtype=torch.float64) for _ in range(2)]

    def breaks(log_slope: Tensor) -> int:
        # Inside a bin the log slope is smooth: its second difference is of the order of step^2; at a knot it jumps.
        bend = log_slope.squeeze(-1).diff().diff().abs()
        return int(((bend[1:-1] > bend[:-2]) & (bend[1:-1] >= bend[2:]) & (bend[1:-1] > 1e-7)).sum())

    y, first = family.forward(x, params[0].expand(len(x), 1, -1))
    _, second = family.forward(y, params[1].expand(len(x), 1, -1))
    return breaks(first), breaks(first + second)
