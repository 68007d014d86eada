"""A flow: a base density carried through an invertible map, in the units of the user's data."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.bases import Base
from pushforward.bases.acceptance import check_base
from pushforward.errors import require_choice, require_count
from pushforward.flows.from_base import nearest_base
from pushforward.flows.in_words import InWords
from pushforward.flows.torch_distribution import FlowDistribution
from pushforward.flows.units import DATA_DTYPES, digits_kept, in_data_dtype, latent_dtype, prepared
from pushforward.flows.user_rows import device_of, read_context, read_rows
from pushforward.numerics.chunking import in_chunks
from pushforward.numerics.generators import check_generator
from pushforward.specification import Specified
from pushforward.transforms.argument_checks import check_context, shared_context, shared_features
from pushforward.transforms.base import Transform, check_transform, check_transforms
from pushforward.transforms.module_structure import FromParts
from pushforward.transforms.step import Step


class Flow(InWords, Specified, nn.Module):
    """Density p(x) = base(z) |det dz/dx| with z = transform(preprocessing(x)), all in the units of x (nats).

    `log_prob` and `encode` go from data to latent, `sample` and `decode` from latent to data. Made in eval() mode.

    float64 data (numpy arrays too) pass the preprocessing in float64, and come back so from a flow initialized on such.

    Args:
        transform: Data (after preprocessing) -> latent. In a `Compose`, each part is one step.
        base: Density of the latent, such as `StandardNormal(features)`.
        preprocessing: Transforms next to the data, first one first.
        context_preprocessing: Transforms of the context, such as `[Standardize(C)]`; their log_dets do not count.
        data_dtype: "float32" or "float64", with whose digits data come back through a preprocessing. By default that of
            the data that `initialize` learns from; before, that of the preprocessing's numbers.

    Raises:
        ValueError: If the parts need data or contexts of different sizes.

    Example:
        >>> import pushforward as pf
        >>> scale, shift = pf.transforms.Scale((0.5, 1.0)), pf.transforms.Shift((1.0, -1.0))
        >>> affine = pf.transforms.Inverse(pf.transforms.Compose([scale, shift]))
        >>> flow = pf.Flow(affine, pf.bases.StandardNormal(2))
        >>> round(flow.log_prob(torch.tensor([1.0, -1.0])).item(), 4)
        -1.1447
    """

    exact_log_det = FromParts[bool](all)
    forward_passes = FromParts[int](max)

    def __init__(
        self,
        transform: Transform,
        base: Base,
        preprocessing: Sequence[Transform] = (),
        *,
        context_preprocessing: Sequence[Transform] = (),
        data_dtype: str | None = None,
    ) -> None:
        super().__init__()
        check_transform("transform", transform)
        check_base("base", base)
        self.transform, self.base = transform, base
        self.preprocessing = nn.ModuleList(check_transforms("preprocessing", preprocessing))
        prepared = check_transforms("context_preprocessing", context_preprocessing)
        self.context_preprocessing = nn.ModuleList(prepared)
        parts: list[Transform | Base] = [*self.parts(), base]
        self.context_features = shared_context("the parts of a flow", parts)
        shared_features(self, parts)
        self.features = base.features
        self.data_dtype = None if data_dtype is None else require_choice("data_dtype", data_dtype, DATA_DTYPES)
        self.eval()

    def parts(self) -> list[Transform]:
        """Return the preprocessing and the transform, data to latent."""
        return [*self.preprocessing, self.transform]

    def forward(self, x: Any, context: Any = None) -> Tensor:
        """Return `log_prob(x, context)`: what wrappers and hooks of modules, `torch.compile` and summaries call."""
        return self.log_prob(x, context)

    def log_prob(self, x: Any, context: Any = None) -> Tensor:
        """Return log p(x | context) in nats per row, in the units of x.

        Args:
            x: (*batch, D), floating-point: a tensor, an array, lists, or a data frame of any library.
            context: (C,), or the batch axes of x (an axis of size 1 stretches) and C, or, where C is 1, the batch axes
                alone; None for an unconditional flow.

        Returns:
            (*batch,). -inf outside the support, NaN where x is NaN.

        Raises:
            ValueError: If a shape does not fit, context is missing or unwanted, or x holds integers.
        """
        x, context = self._check(x, context)
        return in_chunks(lambda *rows: self._encode_and_log_prob(*rows)[1], x, context, x.shape[:-1])

    def _encode_and_log_prob(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, log_det = self._forward(x, context)
        return z, self.base.log_prob(z, context if self.base.context_features else None) + log_det

    def encode(self, x: Any, context: Any = None) -> Tensor:
        """Return the latent z of data x: (*batch, D) -> (*batch, D)."""
        x, context = self._check(x, context)
        return in_chunks(lambda *rows: self._forward(*rows)[0], x, context, x.shape)

    def encode_and_log_prob(self, x: Any, context: Any = None) -> tuple[Tensor, Tensor]:
        """Return `encode(x)` and `log_prob(x)` from one pass, for losses that need both."""
        return self._encode_and_log_prob(*self._check(x, context))

    def preprocess(self, x: Any, context: Any = None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return x as the transform sees it, the preprocessing's log_det, and the context as every part sees it."""
        x, context = self._check(x, context)
        x, log_det = self._preprocessed(x, context)
        return x, x.new_zeros(x.shape[:-1]) if log_det is None else log_det.to(x.dtype), context

    def decode(self, z: Any, context: Any = None) -> Tensor:
        """Return the data x of latent z: (*batch, D) -> (*batch, D)."""
        z, context = self._check(z, context)
        return in_chunks(lambda *rows: self._inverse(*rows)[0], z.to(self._dtype), context, z.shape)

    @torch.no_grad()
    def sample(
        self,
        num_samples: int,
        context: Any = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw samples in the units of the data, without gradients.

        Args:
            num_samples: Number of samples, for every row of context where there is one.
            context: None, or (*B, C).
            temperature: Scales the base's standard deviation; below 1 gives samples nearer the mode.
            generator: Source of randomness; torch's global one by default.

        Returns:
            (num_samples, D), or (*B, num_samples, D) with context.
        """
        z, _, context = self._draw(num_samples, context, temperature, generator)
        return in_chunks(lambda *rows: self._inverse(*rows)[0], z, context, z.shape)

    def sample_and_log_prob(
        self,
        num_samples: int,
        context: Any = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw samples and their log_prob under the flow, differentiable where the base can be.

        Arguments and the samples' shape are those of `sample`. The log_prob is the flow's own, at temperature 1.
        """
        return self.sample_with_choice(num_samples, context, temperature=temperature, generator=generator)[:2]

    def sample_with_choice(
        self,
        num_samples: int,
        context: Any = None,
        *,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return `sample_and_log_prob` and log p of what the base chose without a gradient, if anything, (*batch,)."""
        z, choice, context = self._draw(num_samples, context, temperature, generator)
        x, log_det = self._inverse(z, context)
        return x, self.base.log_prob(z, context if self.base.context_features else None) - log_det, choice

    def _draw(
        self, num_samples: int, context: Any, temperature: float, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Draw latents, (*B, num_samples, D), and what was chosen; give context the axis that stretches over them."""
        num_samples = require_count("num_samples", num_samples, 0)
        check_generator(generator, device_of(self))
        context = read_context(self, context)
        batch = (num_samples,) if context is None else (*context.shape[:-1], num_samples)
        context = context.unsqueeze(-2) if context is not None and context.ndim > 1 else context
        context = self._prepared(context, batch)
        own = context if self.base.context_features else None
        z, choice = self.base.sample_with_choice(batch, context=own, temperature=temperature, generator=generator)
        return z.to(self._dtype), choice, context

    def steps(self, x: Any, context: Any = None) -> list[Step]:
        """Return every step from data to latent: `Step(name, value, log_det)`.

        The last value is `encode(x)`, and base.log_prob(z) plus all log_dets is `log_prob(x)`.
        """
        x, context = self._check(x, context)
        steps: list[Step] = []
        for part in self.parts():
            if part is self.transform:
                x = x.to(self._dtype)
            steps += part.steps(x, context if part.context_features else None)
            x = steps[-1].value if steps else x
        return steps

    def steps_inverse(self, z: Any, context: Any = None) -> list[Step]:
        """Return every step from latent to data; the last value is `decode(z)`."""
        z, context = self._check(z, context)
        z = z.to(self._dtype)
        steps: list[Step] = []
        for part in reversed(self.parts()):
            steps += part.steps_inverse(z, context if part.context_features else None)
            z = steps[-1].value if steps else z
            if part is self.transform:
                z = in_data_dtype(z, self.preprocessing, self.data_dtype)
        return steps

    def from_base(self, num_layers: int) -> "Flow":
        """Return the flow whose learned steps are the `num_layers` nearest the base.

        A left-out step keeps its fixed mixing (parts without parameters) and loses what was learned; the preprocessing
        stays. 0 gives the base in the units of the data, the number of learned steps the whole flow. Parts are shared.
        Whether a step is left or not, context is taken (and needed) as by the whole flow.

        Raises:
            ValueError: If there are not that many learned steps.
        """
        flow = Flow(
            nearest_base(self.transform, num_layers),
            self.base,
            list(self.preprocessing),  # type: ignore[arg-type]
            context_preprocessing=list(self.context_preprocessing),  # type: ignore[arg-type]
            data_dtype=self.data_dtype,
        )
        flow.context_features = self.context_features
        return flow.train(self.training)

    def distribution(self, context: Any = None) -> FlowDistribution:
        """Return the flow as a `torch.distributions.Distribution`, whose batch shape is the context's."""
        return FlowDistribution(self, read_context(self, context))

    @torch.no_grad()
    def initialize(self, x: Any, context: Any = None) -> None:
        """Let every part learn from training rows what it learns from data, once; data -> latent."""
        x, context = read_rows(self, x, context)
        if context is not None:
            prepared(context, self.context_preprocessing, self._dtype, initialize=True)
        context = self._prepared(context, x.shape[:-1])
        self.data_dtype = "float64" if x.dtype == torch.float64 else self.data_dtype or "float32"
        for part in self.parts():
            own = context if part.context_features else None
            if part is self.transform:
                x = x.to(self._dtype)
            part.initialize(x, own)
            if part is not self.transform:
                x, _ = part(x, own)

    def redraw(self, generator: torch.Generator) -> None:
        """Draw the random probes of estimated log_dets anew."""
        for part in self.parts():
            part.redraw(generator)

    @property
    def _dtype(self) -> torch.dtype:
        return latent_dtype(self.transform, self.base)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Flow":
        """Move or cast every tensor; the preprocessing keeps the digits of the data."""
        with digits_kept(self.preprocessing, self.context_preprocessing):
            return super()._apply(fn, recurse)

    def _check(self, x: Any, context: Any) -> tuple[Tensor, Tensor | None]:
        x, context = read_rows(self, x, context)
        return x, self._prepared(context, x.shape[:-1])

    def _prepared(self, context: Tensor | None, batch: Sequence[int]) -> Tensor | None:
        """Return the context as the parts see it: checked, preprocessed, in the flow's dtype."""
        check_context(self, context, batch)
        return None if context is None else prepared(context, self.context_preprocessing, self._dtype)

    def _preprocessed(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return x as the transform sees it and the log_det so far, None where nothing comes before."""
        total = None
        for part in self.preprocessing:
            x, log_det = part(x, context if part.context_features else None)
            total = log_det if total is None else total + log_det
        return x.to(self._dtype), total

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, before = self._preprocessed(x, context)
        z, log_det = self.transform(x, context if self.transform.context_features else None)
        return z, (log_det if before is None else before + log_det).to(z.dtype)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, total = self.transform.inverse(z, context if self.transform.context_features else None)
        x = in_data_dtype(z, self.preprocessing, self.data_dtype)
        for part in reversed(self.preprocessing):
            x, log_det = part.inverse(x, context if part.context_features else None)  # type: ignore[operator]
            total = total + log_det
        return x, total.to(z.dtype)
