# %% [markdown]
# # 4. Additive coupling on MNIST, and what latents do
#
# After exercise 6 of an *Advanced Course on Deep Generative Models*. A flow of four additive coupling layers on whole
# MNIST images: its likelihood and training curves, samples, the way of a sample through the layers, and paths between
# two digits in the latent space.
#
# The exercise asks for four functions. Here they are methods of a `pf.Flow`: its *forward* is `encode`, *inverse* is
# `decode`, *calc_likelihood* is `log_prob`, *sample* is `sample`.

# %%
from opening import QUICK, check, mnist

# %%
import math

import torch

import pushforward as pf
from pushforward.transforms import Compose, Transform

_ = torch.manual_seed(0)

# %% [markdown]
# ## The data, and a continuous representation
#
# MNIST's pixels are integers $k$ from 0 to 255. Integers have no density, so each becomes $k + u$ with fresh uniform
# $u$ (`dequantize=256`): $\log p$ then bounds the log-probability of the integers from below, in nats an image.
# Inside the flow the pixels are squeezed into $(0, 1)$, sent through a logit, and standardized: fixed maps, whose
# log_det `log_prob` includes.

# %%
train, held, test = mnist()
print(f"{len(train.x):,} images to train on, {len(held.x):,} to validate, {len(test.x):,} to test")


def preprocessing():
    return [pf.transforms.Scale(1 / 256), pf.transforms.Logit(0.02), pf.transforms.Standardize(784)]


# %% [markdown]
# ## The layer
#
# Split the vector in two halves. One is copied, the other is moved by a network of the copied one; then *all* values
# are multiplied by learned factors $\exp(s_i)$ of this layer:
#
# $$y_A = x_A,\quad y_B = x_B + m(x_A),\qquad \text{then}\quad y \leftarrow e^{s} \odot y,\qquad s \in \mathbb R^{784}.$$
#
# $m$ is an MLP of 5 linear layers with ReLU. `swapped` exchanges the roles of the halves. What is the log_det?


# %% tags=["exercise"]
class AdditiveLayer(Transform):
    def __init__(self, features, width, swapped):
        super().__init__()
        half = features // 2
        self.first_is_copied, self.half = not swapped, half
        sizes = [half, width, width, width, width, features - half]
        if swapped:
            sizes[0], sizes[-1] = sizes[-1], sizes[0]
        layers = []
        for a, b in zip(sizes, sizes[1:], strict=False):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.s = torch.nn.Parameter(torch.zeros(features))

    def moved(self, x, sign):
        """Return x with one half moved by sign * net(the other half)."""
        first, second = x[..., : self.half], x[..., self.half :]
        raise NotImplementedError

    def forward(self, x, context=None):
        raise NotImplementedError

    def inverse(self, y, context=None):
        raise NotImplementedError


# %% tags=["solution"]
class AdditiveLayer(Transform):
    def __init__(self, features, width, swapped):
        super().__init__()
        half = features // 2
        self.first_is_copied, self.half = not swapped, half
        sizes = [half, width, width, width, width, features - half]
        if swapped:
            sizes[0], sizes[-1] = sizes[-1], sizes[0]
        layers = []
        for a, b in zip(sizes, sizes[1:], strict=False):
            layers += [torch.nn.Linear(a, b), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.s = torch.nn.Parameter(torch.zeros(features))

    def moved(self, x, sign):
        """Return x with one half moved by sign * net(the other half)."""
        first, second = x[..., : self.half], x[..., self.half :]
        if self.first_is_copied:
            second = second + sign * self.net(first)
        else:
            first = first + sign * self.net(second)
        return torch.cat([first, second], -1)

    def forward(self, x, context=None):
        return self.s.exp() * self.moved(x, 1), self.s.sum().expand(x.shape[:-1])

    def inverse(self, y, context=None):
        return self.moved((-self.s).exp() * y, -1), -self.s.sum().expand(y.shape[:-1])


# %% tags=["check"]
@check
def additive_layer():
    """The layer is invertible, its log_det true, the same for every image."""
    for swapped in (False, True):
        layer, x = AdditiveLayer(7, 16, swapped), torch.randn(10, 7)
        torch.nn.init.normal_(layer.s, std=0.3)
        report = pf.verify(layer, x)
        if not report.ok:
            return report
        copied = slice(3, None) if swapped else slice(0, 3)
        if not torch.allclose(layer(x)[0][:, copied], layer.s.exp()[copied] * x[:, copied]):
            return f"with swapped={swapped} the {'second' if swapped else 'first'} half is copied, and only scaled"


# %% [markdown]
# ## The flow
#
# Four layers, the halves in alternate roles, and $N(0, I)$ as the base.


# %% tags=["exercise"]
def four_layers(features, width):
    raise NotImplementedError  # a list


# %% tags=["solution"]
def four_layers(features, width):
    return [AdditiveLayer(features, width, swapped=bool(layer % 2)) for layer in range(4)]


# %% tags=["check"]
@check
def alternating():
    """Four layers, and every pixel is moved by two of them."""
    layers = four_layers(6, 8)
    if [layer.first_is_copied for layer in layers] not in ([True, False] * 2, [False, True] * 2):
        return "four layers are asked for, the halves in alternate roles"
    return pf.verify(pf.Flow(Compose(layers), pf.bases.StandardNormal(6)), torch.randn(10, 6))


# %% [markdown]
# **calc_likelihood.** Write it from the parts: `flow.preprocess(x)` gives $x$ as the layers see it and the log_det of
# the fixed maps, `flow.transform` the layers, `flow.base` the normal.


# %% tags=["exercise"]
def calc_likelihood(flow, x):
    seen, log_det_fixed, _ = flow.preprocess(x)
    raise NotImplementedError  # (n,), nats


# %% tags=["solution"]
def calc_likelihood(flow, x):
    seen, log_det_fixed, _ = flow.preprocess(x)
    z, log_det = flow.transform(seen)
    return flow.base.log_prob(z) + log_det + log_det_fixed


# %%
torch.manual_seed(0)
flow = pf.Flow(Compose(four_layers(784, 64 if QUICK else 384)), pf.bases.StandardNormal(784), preprocessing())


# %% tags=["check"]
@check
def likelihood():
    """The base's log density of the code, plus all log_dets."""
    x = train.x[:5] + torch.rand(5, 784)
    mine, exact = calc_likelihood(flow, x), flow.log_prob(x)
    if mine.shape != exact.shape:
        return f"one number an image is asked for, (5,); yours has the shape {tuple(mine.shape)}"
    off = (mine - exact).abs().max().item()
    return None if off < 0.1 else f"off by up to {off:.1f} nats: are the log_dets of all maps in it?"


# %% [markdown]
# ## 1. Likelihood, curves, samples

# %%
history = pf.fit(
    flow, train.x, validation=held.x[:2_000], dequantize=256, num_steps=5 if QUICK else 900, batch_size=128,
    learning_rate=2e-3, progress=False,
)  # fmt: skip
print(history)
pf.plots.history(history)

# %%
levels = pf.metrics.nll(flow, test.x[:2_000], dequantize=256)
print(f"test log-likelihood: {-levels.mean:.1f} ± {levels.standard_error:.1f} nats an image, in levels")
unit = pf.metrics.nll(flow, test.x[:2_000], dequantize=256, units=pf.data.pixel_units("1/256"))
print(f"the same in units where a pixel lies in [0, 1): {-unit.mean:.1f} nats, {784 * math.log(256):.1f} more")

# %% [markdown]
# How many bits a pixel is that? (8 is what raw bytes take.)

# %% tags=["exercise"]
bits_per_pixel = ...  # from levels.mean

# %% tags=["solution"]
bits_per_pixel = levels.mean / (784 * math.log(2))


# %% tags=["check"]
@check
def bits():
    """That is what a pixel costs, in bits."""
    if bits_per_pixel is ...:
        raise NotImplementedError
    exact = pf.metrics.bits_per_dim(levels.mean, 784)
    print(f"{exact:.2f} bits a pixel")
    return None if abs(bits_per_pixel - exact) < 0.01 else f"yours is {bits_per_pixel}: nats, over pixels, over log 2"


# %%
pf.plots.images(flow.sample(50, temperature=0.8).clamp(0, 256), across=10, title="samples, temperature 0.8")

# %% [markdown] tags=["exercise"]
# *Describe what you see:*

# %% [markdown] tags=["solution"]
# Strokes with holes and specks; part of the samples read as digits. An additive layer moves a half by its mean given
# the other, and the noise left around it has one size a pixel for *all* images. Longer training helps, another
# continuous representation too; how many samples a classifier is sure of, and what gets beyond nine of ten:
# `pushforward study mnist-additive`.

# %% [markdown]
# ## 2. From the latent to the image, layer by layer
#
# Ten samples, a row each: the latent $z$, then what each of the four layers (coupling *and* scaling) makes of it on
# the way to $x$. `flow.transform.steps_inverse(z)` returns every step, in the order in which it runs; each has a
# `value`. Build the table of pictures: a list of five tensors (10, 784), the first $z$, the last the image in pixels
# (`flow.decode`).


# %% tags=["exercise"]
def five_columns(flow, z):
    raise NotImplementedError


# %% tags=["solution"]
@torch.no_grad()
def five_columns(flow, z):
    values = [step.value for step in flow.transform.steps_inverse(z)]
    return [z, *values[:-1], flow.decode(z)]


# %% tags=["check"]
@check
def columns():
    """The latent, three intermediate values, the image."""
    z = torch.randn(10, 784)
    found = five_columns(flow, z)
    if [tuple(column.shape) for column in found] != [(10, 784)] * 5:
        return "a list of five tensors of shape (10, 784) is asked for"
    if not torch.equal(found[0], z) or not torch.allclose(found[-1].double(), flow.decode(z).double(), atol=1e-2):
        return "the first column is z, the last the image x"
    last_layer = flow.transform[3].inverse(z)[0]
    return (
        None if torch.allclose(found[1], last_layer, atol=1e-4) else "from the latent the layer nearest it comes first"
    )


# %%
z = 0.8 * torch.randn(10, 784)


def stretched(column):
    """Return images from 0 to 1 between their 1 % and 99 % quantiles, so that columns of any scale are seen."""
    low, high = column.quantile(0.01, 1, keepdim=True), column.quantile(0.99, 1, keepdim=True)
    return ((column - low) / (high - low)).clamp(0, 1)


table = torch.stack([stretched(column) for column in five_columns(flow, z)], 1).flatten(0, 1)
pf.plots.images(table, across=5, size=0.6, title="z, three layers on, x")

# %% [markdown]
# ## 3. Paths between digits
#
# Encode two test images, $z_1$ and $z_2$, and decode ten points between them, both ends included. Write the straight
# path.


# %% tags=["exercise"]
def straight_path(flow, start, end, num_points=10):
    raise NotImplementedError  # (num_points, 784), images


# %% tags=["solution"]
def straight_path(flow, start, end, num_points=10):
    z_start, z_end = flow.encode(start), flow.encode(end)
    share = torch.linspace(0, 1, num_points)[:, None]
    return flow.decode((1 - share) * z_start + share * z_end)


# %% tags=["check"]
@check
def path():
    """Both ends come back, since a flow is invertible, and the points between are those of the straight line."""
    start, end = test.x[0] + 0.5, test.x[1] + 0.5
    mine, exact = straight_path(flow, start, end), pf.latent_path(flow, start, end, num_points=10).x
    if mine.shape != exact.shape:
        return f"ten images are asked for, (10, 784); yours have the shape {tuple(mine.shape)}"
    if (mine[0] - start).abs().max() > 0.5 or (mine[-1] - end).abs().max() > 0.5:
        return "the first and the last point must be the two images"
    return None if torch.allclose(mine, exact, atol=0.5) else "the points must be equally spaced in the latent space"


# %%
pairs = [
    (int((test.labels == a).nonzero()[0]), int((test.labels == b).nonzero()[0])) for a, b in ((3, 8), (1, 7), (4, 0))
]
paths = []
for start, end in pairs:
    for kind in ("straight", "spherical"):
        paths.append(pf.latent_path(flow, test.x[start] + 0.5, test.x[end] + 0.5, num_points=10, kind=kind).x.detach())
names = ["straight", "spherical"] * 3
pf.plots.images(torch.cat(paths).clamp(0, 256), across=10, names=names, title="from one digit to another")

# %% [markdown]
# Why does one also try a *spherical* path? Look at the length of the latent half way.

# %%
for kind in ("straight", "spherical"):
    way = pf.latent_path(flow, test.x[pairs[0][0]] + 0.5, test.x[pairs[0][1]] + 0.5, num_points=11, kind=kind).z
    print(f"{kind}: |z| at the ends {way[0].norm():.1f} and {way[-1].norm():.1f}, half way {way[5].norm():.1f}")

# %% [markdown] tags=["exercise"]
# *Your answer:*

# %% [markdown] tags=["solution"]
# In 784 dimensions a normal vector has a length near $\sqrt{784} = 28$: almost all the mass lies near a sphere. Half
# way along a straight line the latent is shorter than any the flow was trained on, and its image nearer the mean,
# with less detail. A spherical path keeps the length and the detail, and blends two kinds of it.
