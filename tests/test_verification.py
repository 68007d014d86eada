"""`pf.verify` passes what is right and names what is wrong, where, and by how much."""

import math

import pytest
import torch
from torch.testing import assert_close

import pushforward as pf
import zoo
from pushforward.numerics.jacobian import sensitivity
from pushforward.transforms import Asinh, Compose, Coupling, Logit, Scale, Standardize, Transform

X = torch.randn(10, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Double(Transform):
    """y = 2 x + 1, right in everything; each test breaks one thing."""

    def forward(self, x, context=None):
        return 2 * x + 1, self.log_det(x)

    def inverse(self, y, context=None):
        return (y - 1) / 2, -self.log_det(y)

    @staticmethod
    def log_det(x):
        return x.new_full(x.shape[:-1], x.shape[-1] * math.log(2))


def broken(**methods):
    """Return a `Double` with other methods."""
    return type("Broken", (Double,), methods)()


def only_problem(report):
    assert not report.ok
    assert len(report.problems) == 1, report
    assert report.problems[0] in str(report)
    return report.problems[0]


# ---- what is right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", [name for name in zoo.TRANSFORMS if not name.startswith("inverse of ")])
def test_the_zoo_passes(name, dtype):
    transform, x, context = zoo.TRANSFORMS[name]()
    solved = "continuous" in name
    report = pf.verify(transform.to(dtype), x.to(dtype), context, tolerance=zoo.tolerance(name) if solved else None)
    assert report.ok, report
    assert report.dtype == dtype
    limit = zoo.tolerance(name) if dtype == torch.float64 else 1e-3
    assert max(report.round_trip_error, report.log_det_error, report.inverse_log_det_error) < limit


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_flows_pass_in_float32(name):
    flow = zoo.FLOWS[name]()
    generator = torch.Generator().manual_seed(0)
    report = pf.verify(flow, torch.randn(20, flow.features, generator=generator), zoo.context_for(flow, 20))
    assert report.ok, report
    assert report.notes == []


def test_a_layer_needs_nothing_but_forward_and_inverse():
    class Plain:
        def forward(self, z):
            return -2 * z, torch.full((len(z),), z.shape[1] * math.log(2))

        def inverse(self, z):
            return z / -2, torch.full((len(z),), -z.shape[1] * math.log(2))

    assert pf.verify(Plain(), torch.randn(5, 3)).ok
    frozen = X.numpy().copy()
    frozen.flags.writeable = False
    assert pf.verify(Double(), frozen).ok
    assert pf.verify(Double(), [[0.5, 1.0]]).ok


@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 2, 3), (50, 1), (5, 100)])
def test_any_batch_and_any_number_of_features_can_be_checked(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    report = pf.verify(Double(), x)
    assert report.ok, report
    assert report.shape == (x[..., 0].numel(), shape[-1])


def test_one_context_for_all_rows_or_one_for_each():
    flow = zoo.FLOWS["nsf, context"]()
    x, context = torch.randn(4, 2, generator=torch.manual_seed(0)), zoo.context_for(flow, 4)
    assert pf.verify(flow, x, context[0]).ok
    assert pf.verify(flow, x[:, None].expand(4, 3, 2), context[:, None]).ok


def test_a_layer_that_branches_on_values_can_be_checked():
    def forward(self, x, context=None):
        assert x.abs().max().item() < 100
        return 2 * x + 1, self.log_det(x)

    report = pf.verify(broken(forward=forward), X)
    assert report.ok, report
    assert report.log_det_error < 1e-12


def test_columns_of_very_different_scales_pass_in_float64_and_float32():
    scales = torch.tensor([1e-20, 1.0, 1e20], dtype=torch.float64)
    x = X.repeat(4, 1) * scales + torch.tensor([0.0, 1e6, 0.0], dtype=torch.float64)
    for make in (Standardize, Asinh):
        flow = pf.recipes.nsf(3, preprocessing=[make(3)])
        zoo.perturb(flow)
        flow.initialize(x)
        report = pf.verify(flow, x)
        assert report.ok, report
        assert report.dtype == torch.float32


def test_the_identity_is_said_to_prove_nothing():
    for fresh in (Compose([]), pf.recipes.realnvp(3), Scale(1.0)):
        report = pf.verify(fresh, X)
        assert report.ok
        assert "it is the identity, so every check is empty" in report.notes[0]
        assert "it is the identity" in str(report)


def test_an_estimated_log_det_is_said_to_be_unchecked():
    report = pf.verify(broken(exact_log_det=False, log_det=staticmethod(lambda x: x.sum(-1) * 0 + 5.0)), X)
    assert report.ok
    assert math.isnan(report.log_det_error)
    assert "log_det is an estimate" in report.notes[0]
    assert "not measured" in str(report)


def test_rows_outside_the_domain_are_left_out_and_said():
    x = torch.linspace(-0.5, 0.9, 8, dtype=torch.float64)[:, None]
    report = pf.verify(Logit(0.01), x)
    assert report.ok, report
    assert report.notes == ["3 rows lie outside the domain of forward (log_det = -inf): left out."]
    assert "no row could be checked" in only_problem(pf.verify(Logit(), x - 10))


def test_nothing_is_changed():
    flow = zoo.FLOWS["nsf"]().train()
    x = X[:, :2].float()
    state, given, random = [p.clone() for p in flow.parameters()], x.clone(), torch.get_rng_state()
    with torch.no_grad():
        pf.verify(flow, x)
    assert flow.training
    assert all(p.grad is None and torch.equal(p, q) for p, q in zip(flow.parameters(), state, strict=True))
    assert torch.equal(x, given)
    assert torch.equal(torch.get_rng_state(), random)


def test_dropout_is_off_while_it_checks():
    flow = zoo.FLOWS["nsf"](dropout=0.5).train()
    assert pf.verify(flow, X[:, :2].float()).ok


# ---- what is wrong ---------------------------------------------------------------------------------------------------


def test_a_wrong_log_det_is_named():
    problem = only_problem(pf.verify(broken(log_det=staticmethod(lambda x: x[..., 0] * 0 + math.log(2))), X))
    assert problem.startswith(
        "log_det: forward's log_det is not log|det| of the autodiff Jacobian: 0.693147 against 2.079"
    )
    assert "off by 1.39" in problem
    assert "10 of 10 rows are wrong" in problem


def test_a_log_det_wrong_in_one_row_is_found_in_that_row():
    def forward(self, x, context=None):
        return 2 * x + 1, self.log_det(x) + 0.01 * (x[..., 0] == X[6, 0])

    report = pf.verify(broken(forward=forward), X)
    assert [problem.split(":")[0] for problem in report.problems] == ["inverse log_det", "log_det"]
    assert all("off by 0.01 " in problem and "at row 6; 1 of 10 rows" in problem for problem in report.problems)
    assert report.log_det_error == pytest.approx(0.01)


def test_a_wrong_inverse_is_named():
    problem = only_problem(pf.verify(broken(inverse=lambda self, y, context=None: (y / 2, -self.log_det(y))), X))
    assert problem.startswith("round trip: inverse(forward(x)) differs from x: ")
    assert "off by 0.5 " in problem
    assert ", feature " in problem


def test_a_sign_error_is_named():
    problem = only_problem(pf.verify(broken(inverse=lambda self, y, context=None: ((y - 1) / 2, self.log_det(y))), X))
    assert problem.startswith(
        "inverse log_det: the inverse's log_det is not minus the forward's: 2.07944 against -2.079"
    )
    assert problem.endswith("It has the wrong sign.")
    both = broken(log_det=staticmethod(lambda x: -Double.log_det(x)))
    problem = only_problem(pf.verify(both, X))
    assert problem.startswith("log_det: ")
    assert problem.endswith("It has the wrong sign.")


def test_a_log_det_summed_over_the_batch_is_named():
    def forward(self, x, context=None):
        return 2 * x + 1, self.log_det(x).sum()

    problem = only_problem(pf.verify(broken(forward=forward), X))
    assert problem == (
        "log_det: forward returned shape () (a sum over the batch?); it must be one number a row, shape (10,)."
    )


def test_a_log_det_for_each_feature_is_named():
    problem = only_problem(pf.verify(broken(log_det=staticmethod(torch.zeros_like)), X))
    assert problem == "log_det: forward returned shape (10, 3); it must be one number a row, shape (10,)."


def test_a_lost_batch_axis_is_named():
    problem = only_problem(pf.verify(broken(inverse=lambda self, y, context=None: (y[0], self.log_det(y))), X))
    assert problem == "batch: inverse made shape (3,) of shape (10, 3); both axes must be kept."


def test_a_layer_that_raises_or_returns_one_tensor_is_named():
    def inverse(self, y, context=None):
        raise NotImplementedError("no inverse is known")

    assert (
        only_problem(pf.verify(broken(inverse=inverse), X)) == "inverse raised NotImplementedError: no inverse is known"
    )
    problem = only_problem(pf.verify(broken(forward=lambda self, x, context=None: 2 * x), X))
    assert problem == "forward must return two tensors, value and log_det; it returned Tensor."


def test_values_that_are_not_finite_are_named():
    def forward(self, x, context=None):
        return torch.where(x == X[4, 1], math.nan, 2 * x + 1), self.log_det(x)

    problem = only_problem(pf.verify(broken(forward=forward), X))
    assert problem.startswith("forward: value not finite in 1 rows; row 4 has [")
    infinite = pf.verify(broken(log_det=staticmethod(lambda x: x[..., 0] + math.inf)), X)
    assert infinite.problems[0] == "forward: log_det not finite in 10 rows; row 0 has [inf]."


def test_rows_that_see_each_other_are_named():
    def forward(self, x, context=None):
        return 2 * x + x.mean(0), self.log_det(x)

    report = pf.verify(broken(forward=forward), X)
    assert "batch: a row's value alone differs from its value among the others" in report.problems[0]


def test_randomness_and_writing_on_the_input_are_named():
    def noisy(self, x, context=None):
        return 2 * x + 1 + 1e-9 * torch.randn_like(x), self.log_det(x)

    def writing(self, y, context=None):
        y -= 1
        return y / 2, -self.log_det(y)

    assert only_problem(pf.verify(broken(forward=noisy), X)) == (
        "forward gives another result when it is called again on the same rows."
    )
    assert (
        only_problem(pf.verify(broken(inverse=writing), X)) == "inverse writes on its input; it must leave it as it is."
    )


def test_a_map_that_is_not_invertible_is_named():
    def forward(self, x, context=None):
        return x.sum(-1, keepdim=True).expand_as(x), self.log_det(x)

    def detached(self, x, context=None):
        return 2 * x.detach() + 1, self.log_det(x)

    report = pf.verify(broken(forward=forward), X)
    assert any("log_det: " in problem and "The Jacobian is singular" in problem for problem in report.problems)
    assert any("round trip: " in problem for problem in report.problems)
    assert "its value is detached from x" in only_problem(pf.verify(broken(forward=detached), X))


def test_a_map_too_steep_for_float32_says_so_and_passes_in_float64():
    class Steep(Double):
        def forward(self, x, context=None):
            return x.pow(3) + 1e-9 * x, (3 * x.square() + 1e-9).log().sum(-1)

        def inverse(self, y, context=None):
            x = y.sign() * y.abs().pow(1 / 3)
            for _ in range(60):
                x = x - (x.pow(3) + 1e-9 * x - y) / (3 * x.square() + 1e-9)
            return x, -self.forward(x)[1]

    x = torch.tensor([[1.0], [0.5]], dtype=torch.float64)
    assert pf.verify(Steep(), x).ok
    shift = Compose([Steep(), pf.transforms.Shift(100.0)])
    report = pf.verify(shift, torch.tensor([[0.01], [0.5]]))
    assert "round trip" in report.problems[0]
    assert report.problems[0].endswith("Rounding explains it: the map is too steep there for float32.")
    assert pf.verify(shift, torch.tensor([[0.01], [0.5]], dtype=torch.float64)).ok


def test_a_coupling_with_a_wrong_mask_of_its_net_is_found():
    class Leaky(torch.nn.Module):
        """A conditioner that sees what it must not: the features that are transformed."""

        def forward(self, x, context=None):
            return torch.cat((x, x), -1)

    order = torch.arange(3)
    layer = pf.transforms.Autoregressive(order, pf.transforms.Affine(), Leaky())
    assert not pf.verify(layer, X).ok


def test_a_flow_whose_log_prob_is_not_that_of_its_parts_is_found():
    class Wrong(pf.Flow):
        def log_prob(self, x, context=None):
            return super().log_prob(x, context) + 0.1

    transform = zoo.FLOWS["realnvp"]().transform
    problem = only_problem(pf.verify(Wrong(transform, pf.bases.StandardNormal(2)), X[:, :2].float()))
    assert problem.startswith("log_prob: it is not the base's plus all log_dets: ")
    assert "off by 0.1 " in problem


@pytest.mark.parametrize("name", ["encode", "decode"])
def test_a_flow_that_encodes_or_decodes_otherwise_than_its_steps_is_found(name):
    class Wrong(pf.Flow):
        pass

    setattr(Wrong, name, lambda self, x, context=None: getattr(pf.Flow, name)(self, x, context) + 0.1)
    transform = zoo.FLOWS["realnvp"]().transform
    problem = only_problem(pf.verify(Wrong(transform, pf.bases.StandardNormal(2)), X[:, :2].float()))
    assert problem.startswith(f"{name}: it is not the last step's value: ")
    assert "off by 0.1 " in problem


def test_a_log_det_that_is_random_is_named():
    def noisy(self, x, context=None):
        return 2 * x + 1, self.log_det(x) + 1e-9 * torch.randn(x.shape[:-1], dtype=x.dtype)

    assert only_problem(pf.verify(broken(forward=noisy), X)) == (
        "forward gives another result when it is called again on the same rows."
    )


def test_values_that_are_not_finite_on_the_way_back_are_named():
    def inverse(self, y, context=None):
        return torch.where(y == 2 * X[4, 1] + 1, math.inf, (y - 1) / 2), -self.log_det(y)

    problem = only_problem(pf.verify(broken(inverse=inverse), X))
    assert problem.startswith("inverse: value not finite in 1 rows; row 4 has [")


def test_the_worst_of_several_wrong_rows_is_shown():
    def inverse(self, y, context=None):
        return (y - 1) / 2 + torch.linspace(0.1, 1, 10).double()[:, None], -self.log_det(y)

    problem = only_problem(pf.verify(broken(inverse=inverse), 1 + 1e-3 * X))
    assert "off by 1 " in problem
    assert "at row 9, " in problem
    assert "10 of 10 rows are wrong" in problem


# ---- what rounding explains ------------------------------------------------------------------------------------------


def test_rounding_grows_as_the_jacobian_says():
    matrix = torch.tensor([[2.0, -1.0], [0.5, 3.0]]).double()

    def forward(x):
        return x @ matrix.T, x[:, 0] ** 2

    x = torch.tensor([[1.0, 2.0], [-3.0, 0.5]]).double()
    x_size, y_size = torch.tensor([[1.0, 10.0], [2.0, 3.0]]).double(), torch.tensor([[7.0, 1.0], [5.0, 4.0]]).double()
    log_det, slope, of_x, of_y, of_log_det = sensitivity(forward, x_size, y_size, x)
    back = torch.tensor([[3.0, 1.0], [0.5, 2.0]]).double() / 6.5  # of the inverse, without signs
    assert_close(log_det, torch.full((2,), math.log(6.5)).double())
    assert_close(slope, torch.tensor([[2.0, 0.0], [-6.0, 0.0]]).double())
    assert_close(of_x, y_size @ back.T)
    assert_close(of_y, x_size @ matrix.abs().T)
    # 3 * 2 + 1 * .5 + .5 * 1 + 2 * 3, divided by the determinant
    assert_close(of_log_det, torch.full((2,), 13 / 6.5).double())


def test_a_log_det_that_turns_fast_may_be_off_by_what_a_rounding_of_x_does():
    # y = x + sin(k x) / 2 k: k x is off by k eps, and so is the log_det.
    k = 1e4

    class Ripples(Transform):
        def forward(self, x, context=None):
            return x + torch.sin(k * x) / (2 * k), self.log_det(x)

        def inverse(self, y, context=None):
            x, y = y.double(), y.double()
            for _ in range(60):
                x = y - torch.sin(k * x) / (2 * k)
            return x.float(), -self.log_det(x.float())

        def log_det(self, x):
            return torch.log1p(torch.cos(x / 3 * (3 * k)) / 2).sum(-1)  # the same, rounded otherwise

    report = pf.verify(Ripples(), X.float())
    assert report.log_det_error > 1e-4
    assert report.ok, report


@pytest.mark.parametrize(("dtype", "least", "most"), [(torch.float64, 1e-12, 5e-6), (torch.float32, 3e-6, 2e-4)])
def test_what_rounding_may_do_is_excused_and_a_hundred_times_that_is_not(dtype, least, most):
    for error, ok in ((least, True), (most, False)):
        layer = broken(
            forward=lambda self, x, context=None, error=error: (2 * x + 1, self.log_det(x) + error),
            inverse=lambda self, y, context=None, error=error: ((y - 1) / 2, -self.log_det(y) - error),
        )
        assert pf.verify(layer, X.to(dtype)).ok == ok


# ---- tolerance and bad input -----------------------------------------------------------------------------------------


def test_the_tolerance_decides():
    layer = broken(inverse=lambda self, y, context=None: ((y - 1) / 2 + 1e-3, -self.log_det(y)))
    assert not pf.verify(layer, X).ok
    assert not pf.verify(layer, X, tolerance=1e-4).ok
    assert pf.verify(layer, X, tolerance=1e-2).ok
    assert pf.verify(layer, X, tolerance=1e-2).tolerance == 1e-2
    assert pf.verify(layer, X).tolerance == 1e-6
    layer.tolerance = 1e-3  # stated by a transform whose inverse is found numerically
    assert pf.verify(layer, X).ok


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(0, 3), r"x must hold at least one row of at least one feature; got shape \(0, 3\)"),
        (torch.zeros(()), "x must hold at least one row"),
        (torch.zeros(2, 3, dtype=torch.long), "x must be floating-point; got torch.int64: convert it with x.float"),
        (torch.tensor([[1.0], [math.nan]]), r"x must be finite; row 1 is \[nan\]"),
    ],
)
def test_bad_rows_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        pf.verify(Double(), x)


def test_bad_contexts_and_tolerances_are_refused():
    layer = Coupling(torch.tensor([True, False]), pf.transforms.Affine(), pf.nets.MLP(1, 2, context_features=3))
    with pytest.raises(ValueError, match="needs context with 3 features; none was given"):
        pf.verify(layer, torch.zeros(4, 2))
    with pytest.raises(ValueError, match="takes no context"):
        pf.verify(Double(), X, torch.zeros(3))
    with pytest.raises(ValueError, match="tolerance must be above 0; got 0"):
        pf.verify(Double(), X, tolerance=0)


def test_the_report_reads_well():
    assert_close(pf.verify(Scale((2.0, -0.5)), X[:, :2]).log_det_error, 0.0, rtol=0, atol=1e-12)
    assert str(pf.verify(Scale(-2.0), torch.ones(4, 2, dtype=torch.float64))) == (
        "Scale: 4 rows, 2 features, float64, tolerance 1e-06: nothing is wrong\n"
        "  round trip, in units of the spread        at most 0.0e+00\n"
        "  inverse log_det + forward log_det, nats   at most 0.0e+00\n"
        "  log_det - log|det Jacobian|, nats         at most 0.0e+00"
    )


# ---- what a layer must take, and what rows are -----------------------------------------------------------------------


def test_a_layer_without_context_is_named_since_it_fails_in_a_compose():
    def forward(self, x):
        return 2 * x + 1, self.log_det(x)

    def inverse(self, y):
        return (y - 1) / 2, -self.log_det(y)

    assert only_problem(pf.verify(broken(forward=forward), X)) == (
        "forward takes no context, so that it fails as a part of a Compose or Flow, which call forward(x, context): "
        "write def forward(self, x, context=None)."
    )
    assert only_problem(pf.verify(broken(inverse=inverse), X)).startswith("inverse takes no context")
    assert [p.split(" ")[0] for p in pf.verify(broken(forward=forward, inverse=inverse), X).problems] == [
        "forward",
        "inverse",
    ]
    with pytest.raises(ValueError, match="forward takes no context"):
        Compose([broken(forward=forward)])

    def keyword_only(self, x, *, context=None):
        return 2 * x + 1, self.log_det(x)

    assert "forward takes no context" in only_problem(pf.verify(broken(forward=keyword_only), X))
    assert pf.verify(broken(forward=lambda self, *rows: Double.forward(self, rows[0])), X).ok


def test_an_object_that_is_no_module_is_told_that_it_cannot_be_a_part():
    class Plain:
        def forward(self, z):
            return -2 * z, torch.full((len(z),), z.shape[1] * math.log(2))

        def inverse(self, z):
            return z / -2, torch.full((len(z),), -z.shape[1] * math.log(2))

    report = pf.verify(Plain(), torch.randn(5, 3))
    assert report.ok
    assert [note.split(",")[0] for note in report.notes] == ["forward takes no context", "inverse takes no context"]


@pytest.mark.parametrize("make", [tuple, list])
@pytest.mark.parametrize("sizes", [(1, 2), (2, 2)])
def test_the_two_halves_of_an_event_are_refused_with_the_remedy(make, sizes):
    halves = make(torch.randn(5, size) for size in sizes)
    shapes = ", ".join(f"(5, {size})" for size in sizes)
    with pytest.raises(ValueError, match="x must be one array, with an event on its last axis; got a ") as error:
        pf.verify(Double(), halves)
    assert f"{make.__name__} of arrays of shapes {shapes}: join the parts" in str(error.value)
    assert "torch.cat(parts, -1)" in str(error.value)
    with pytest.raises(ValueError, match="context must be one array"):
        pf.verify(Double(), X, halves)
    with pytest.raises(ValueError, match="x must be one array"):
        pf.verify(Double(), tuple(half.numpy() for half in halves))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1.0, 2.0], [3.0]], "x: rows have different lengths"),
        ("rows", "x must be an array, a tensor, a data frame or a list of rows; got 'rows'"),
        ([None, 1.0], "x has 1 missing cells"),
        ({"a": 1.0}, "x must be an array, a tensor, a data frame or a list of rows; got "),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(rows, message):
    with pytest.raises(ValueError, match=message):
        pf.verify(Double(), rows)


def test_rows_in_a_list_are_rows():
    assert pf.verify(Double(), list(X)).shape == (10, 3)
    assert pf.verify(Double(), [tuple(row) for row in X.tolist()]).ok
