"""Models made under torch.device("meta") and torch.set_default_device, and flows that are not on the CPU."""

import pytest
import torch
from torch import Tensor, distributions
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import pushforward as pf
import zoo
from pushforward.specification import structure_of

MODELS = {
    **{name: lambda name=name: zoo.FLOWS[name](fresh=True) for name in zoo.FLOWS},
    "parts": lambda: pf.Flow(
        pf.transforms.Compose(
            [
                pf.transforms.OnFeatures((3, 0), pf.transforms.Scale((2.0, -1.0))),
                pf.transforms.Permutation.random(4, generator=torch.Generator("cpu").manual_seed(1)),
                pf.transforms.Orthogonal(4, generator=torch.Generator("cpu").manual_seed(1)),
                pf.transforms.Sylvester(4),
                pf.transforms.ActNorm(4),
            ]
        ),
        pf.bases.Joint([pf.bases.GaussianMixture(2), pf.bases.DiagonalNormal(1), pf.bases.Box(1)]),
        [pf.transforms.Asinh(4), *pf.data.pixel_units("logit")],
    ),
    "autoencoder": lambda: pf.vae.mlp_vae(6, latent_features=2, hidden_features=(3,), prior="vampprior"),
    "learned noise": lambda: pf.VariationalDequantization(
        pf.recipes.realnvp(2, num_layers=2), pf.recipes.realnvp(2, num_layers=2, context_features=2, mask="random")
    ),
}


def shapes(model):
    return {name: (tensor.shape, tensor.dtype) for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("name", MODELS)
def test_under_the_meta_device_a_model_has_its_shapes_and_takes_no_memory(name):
    with torch.device("meta"):
        model = MODELS[name]()
    assert shapes(model) == shapes(MODELS[name]())
    structure = structure_of(model)
    for key, tensor in model.state_dict().items():
        assert tensor.device.type == ("cpu" if key in structure else "meta")


@pytest.mark.parametrize("fill", ["assign", "to_empty"])
@pytest.mark.parametrize("name", MODELS)
def test_a_state_completes_a_model_made_under_the_meta_device(name, fill):
    whole = zoo.perturb(MODELS[name]())
    with torch.device("meta"):
        model = MODELS[name]()
    if fill == "to_empty":
        model = model.to_empty(device="cpu")
    model.load_state_dict(whole.state_dict(), assign=fill == "assign")
    for (key, tensor), (other, right) in zip(model.state_dict().items(), whole.state_dict().items(), strict=True):
        assert key == other
        assert torch.equal(tensor, right)
    if isinstance(whole, pf.Flow):
        x, context = 0.1 + 0.8 * torch.rand(5, whole.features), zoo.context_for(whole, 5)
        assert torch.equal(model.log_prob(x, context), whole.log_prob(x, context))


def test_parameters_are_counted_without_making_them():
    with torch.device("meta"):
        flow = pf.recipes.realnvp(784, num_layers=8, hidden_features=(10**6, 10**6))
    assert sum(parameter.numel() for parameter in flow.parameters()) > 8e12


@pytest.mark.parametrize("device", ["cpu", "meta", *(["cuda"] if torch.cuda.is_available() else [])])
@pytest.mark.parametrize("name", ["realnvp, tanh, alternating, flip", "maf, lu, context", "realnvp of images", "parts"])
def test_the_default_device_holds_what_a_model_makes(name, device):
    torch.set_default_device(device)
    try:
        flow = MODELS[name]()
    finally:
        torch.set_default_device(None)
    assert {parameter.device.type for parameter in flow.parameters()} == {device}
    if device != "meta":
        x, context = torch.rand(5, flow.features, device=device), zoo.context_for(flow, 5)
        assert flow.log_prob(x, None if context is None else context.to(device)).shape == (5,)


def test_a_mask_that_is_changed_afterwards_changes_no_layer():
    mask = torch.tensor([True, False])
    layer = pf.transforms.Coupling(mask, pf.transforms.Affine(), pf.nets.MLP(1, 2))
    mask[0] = False
    assert layer.mask.tolist() == [True, False]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("mask", lambda: pf.transforms.Coupling(torch.ones(2).bool(), pf.transforms.Affine(), pf.nets.MLP(1, 2))),
        ("mask", lambda: pf.nets.ConvNet(torch.ones(4).bool(), (1, 2, 2), 1)),
        ("permutation", lambda: pf.transforms.Permutation(torch.arange(3))),
        ("order", lambda: pf.transforms.Autoregressive(torch.arange(3), pf.transforms.Affine(), pf.nets.MLP(3, 6))),
        ("order", lambda: pf.transforms.autoregressive_adjacency(torch.arange(3))),
        ("indices", lambda: pf.transforms.OnFeatures(torch.arange(3), pf.transforms.Scale(2.0))),
        ("adjacency", lambda: pf.nets.MaskedMLP(torch.ones(3, 3).bool())),
        ("factor", lambda: pf.transforms.Scale(torch.ones(3))),
    ],
)
def test_what_must_be_read_is_refused_from_the_meta_device(name, make):
    with torch.device("meta"), pytest.raises(ValueError, match=f"{name} has no content: it is on the meta device"):
        make()


def test_a_distribution_made_elsewhere_keeps_its_numbers_under_the_meta_device():
    law = distributions.StudentT(torch.tensor([3.0, 5.0]), 0.5, 2.0)
    with torch.device("meta"):
        base = pf.bases.FromTorch(law, 2)
    assert torch.equal(base.log_prob(torch.ones(2)), law.log_prob(torch.ones(2)).sum())


def test_a_model_is_loaded_whatever_the_default_device(tmp_path):
    flow = pf.recipes.realnvp(1, num_layers=2, context_features=2)  # its conditioners have weights without elements
    pf.save(flow, tmp_path / "m.safetensors")
    with torch.device("meta"):
        again = pf.load(tmp_path / "m.safetensors")
    assert {tensor.device.type for tensor in again.state_dict().values()} == {"cpu"}
    x, context = torch.randn(3, 1), torch.randn(3, 2)
    assert torch.equal(again.log_prob(x, context), flow.log_prob(x, context))


class OneDevice(TorchDispatchMode):
    """Refuses, as a GPU does and the meta device does not, to compute with tensors of two devices; numbers may be."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if not operator.name().startswith(("aten::_to_copy", "aten::copy_")):
            assert len({tensor.device for tensor in tensors if tensor.ndim}) < 2, operator.name()
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", zoo.FLOWS)
def test_a_flow_elsewhere_computes_with_nothing_that_is_on_the_cpu(name, few_root_steps):
    flow = zoo.FLOWS[name]().to("meta")
    for part in flow.modules():
        if isinstance(part, pf.transforms.Continuous):
            part.num_steps = 1
    x, context = torch.rand(5, flow.features, device="meta"), zoo.context_for(flow, 5)
    context = None if context is None else context.to("meta")
    rows = (5,) if context is None else (1, context)
    with OneDevice():
        flow.log_prob(x, context).sum().backward()
        with torch.no_grad():
            found = [flow.sample(*rows), *flow.sample_and_log_prob(*rows), flow.log_prob(x, context)]
            steps = flow.steps(x, context)  # as encode; decode is what sample does
    assert {tensor.device.type for tensor in (*found, *(step.value for step in steps))} == {"meta"}


MOONS = pf.data.two_moons(120)
BLOBS = pf.data.two_blobs(60).x
ONE_HOT = torch.nn.functional.one_hot(MOONS.labels, 2).float()
FLOW = pf.recipes.nsf(2, num_layers=2, hidden_features=(8,))
CONDITIONAL = pf.recipes.realnvp(2, num_layers=2, hidden_features=(8,), context_features=2)
FEW = {"num_steps": 3, "progress": False, "device": "cpu"}


def parts_of_a_vae():
    with torch.device("cpu"):
        vae = pf.vae.mlp_vae(6, latent_features=2, hidden_features=(3,), prior="vampprior")
    vae.initialize(torch.full((9, 6), 0.5, device="cpu"))


WORK = {
    "data": lambda: [getattr(pf.data, name)(20).density.sample(5, 0) for name in ("two_moons", "circles", "pinwheel")],
    "entropy": lambda: pf.data.two_gaussians(20).density.entropy(),
    "mmd": lambda: pf.metrics.mmd_null(MOONS.x, BLOBS, num_permutations=3),
    "c2st": lambda: pf.metrics.c2st(MOONS.x, BLOBS),
    "latent": lambda: pf.metrics.latent_normality(BLOBS, num_simulations=2),
    "nll": lambda: pf.metrics.nll(FLOW, (MOONS.x * 3 + 10).long(), dequantize=256),
    "excess": lambda: pf.metrics.excess(FLOW, MOONS.density, 50, 1),
    "verify": lambda: (pf.verify(FLOW, MOONS.x), pf.verify(CONDITIONAL, MOONS.x, ONE_HOT)),
    "sample": lambda: FLOW.sample(5, generator=torch.Generator().manual_seed(0)),
    "fit": lambda: pf.fit(FLOW, MOONS.x.numpy(), **FEW),
    "fit with context": lambda: pf.fit(CONDITIONAL, MOONS.x, ONE_HOT, **FEW),
    "table": lambda: pf.TableModel.fit(MOONS.x.numpy(), **FEW).evaluate(MOONS.x.numpy()),
    "questions of a table": lambda: pf.TableModel.fit(MOONS.x.numpy(), **FEW).sample(2, given={"x1": 0.0}),
    "vae": parts_of_a_vae,
    "log density": lambda: pf.plots.log_density(FLOW, grid=5),
    "panels": lambda: pf.plots.panels(FLOW, MOONS.x, grid=5),
    "steps": lambda: pf.plots.steps(FLOW, lines=3),
}


@pytest.mark.parametrize("work", WORK)
def test_what_is_on_the_cpu_stays_there_whatever_the_default_device(work):
    torch.set_default_device("meta")  # where no number can be read: what strays is found
    try:
        WORK[work]()
    finally:
        torch.set_default_device(None)
