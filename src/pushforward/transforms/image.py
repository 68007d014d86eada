"""Images flattened on the last axis: squeezing, the same map at every pixel, and maps of some features only."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pushforward.errors import InputError, require_image_shape
from pushforward.specification import Specified, hold_structure, readable_indices
from pushforward.transforms.argument_checks import check_context
from pushforward.transforms.base import Transform, check_transform
from pushforward.transforms.linear import Permutation


def squeeze(shape: Sequence[int]) -> Permutation:
    """Return the permutation that turns every 2 x 2 square of pixels into channels: (C, H, W) -> (4 C, H/2, W/2).

    Channel 4 c + 2 i + j of the result is channel c at row i and column j of each square, as in
    `torch.nn.functional.pixel_unshuffle`, so that neither half of the channels is a chequerboard (RealNVP,
    arXiv:1605.08803, 3.6).

    Args:
        shape: Channels, height and width of the image; height and width even.

    Raises:
        ValueError: If height or width is odd.

    Example:
        >>> squeeze((1, 2, 4))(torch.arange(8.0))[0]  # 0 1 2 3 above 4 5 6 7
        tensor([0., 2., 1., 3., 4., 6., 5., 7.])
    """
    channels, height, width = require_image_shape(shape)
    if height % 2 or width % 2:
        raise InputError(f"squeeze needs an even height and width; got an image of {height} x {width}.")
    places = torch.arange(channels * height * width, device="cpu").reshape(channels, height // 2, 2, width // 2, 2)
    return Permutation(places.permute(0, 2, 4, 1, 3).flatten())


class PerPixel(Specified, Transform):
    """The same map of the C channels at every pixel; log_det is the sum over the pixels.

    `PerPixel(shape, LULinear(C))` is the invertible 1 x 1 convolution by LU decomposition, log_det = H W log|det W|
    (Glow, arXiv:1807.03039, 3.2), and `PerPixel(shape, ActNorm(C))` one scale and shift a channel (3.1).

    Args:
        shape: Channels C, height H and width W.
        transform: A map of C features. It sees the pixels of all images as its rows.

    Shape:
        x, y: (*batch, C H W), channel by channel. log_det: (*batch,), nats.

    Raises:
        ValueError: If a size is below 1, or the map is one of another number of features.

    Example:
        >>> import pushforward as pf
        >>> PerPixel((3, 2, 2), pf.transforms.LULinear(3))(torch.rand(5, 12))[1].shape
        torch.Size([5])
    """

    features: int

    def __init__(self, shape: Sequence[int], transform: Transform) -> None:
        super().__init__()
        self.shape = require_image_shape(shape)
        check_transform("transform", transform)
        if transform.features not in (None, self.shape[0]):
            raise InputError(
                f"the map of a pixel must have as many features as there are channels, {self.shape[0]}; got "
                f"{type(transform).__name__} with {transform.features}."
            )
        self.transform = transform
        self.features = math.prod(self.shape)
        self.context_features = transform.context_features

    def _pixels(self, x: Tensor) -> Tensor:
        channels, height, width = self.shape
        return x.reshape(*x.shape[:-1], channels, height * width).transpose(-1, -2)  # (*batch, H W, C)

    @staticmethod
    def _for_pixels(context: Tensor | None) -> Tensor | None:
        """Return the context with one row for all pixels of an image."""
        return context if context is None or context.ndim == 1 else context.unsqueeze(-2)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        y, log_det = self.transform(self._pixels(x), self._for_pixels(context))
        return y.transpose(-1, -2).reshape(x.shape), self._over_pixels(log_det)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        x, log_det = self.transform.inverse(self._pixels(y), self._for_pixels(context))
        return x.transpose(-1, -2).reshape(y.shape), self._over_pixels(log_det)

    @staticmethod
    def _over_pixels(log_det: Tensor) -> Tensor:
        """Return the sum over the pixels, (*batch, H W) -> (*batch,); a product where all of them share one number."""
        return log_det[..., 0] * log_det.shape[-1] if log_det.stride(-1) == 0 else log_det.sum(-1)

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let the map learn from the pixels of all images."""
        self.transform.initialize(self._pixels(x), self._for_pixels(context))


class OnFeatures(Specified, Transform):
    """A map of some features; the others pass through unchanged and decide nothing.

    With it a multi-scale flow factors out features without changing D: what a later level leaves alone goes to the
    base as it is (RealNVP, arXiv:1605.08803, 3.6).

    Args:
        indices: Which features, in the order in which the map sees them, (n,) with n at most D; each at most once.
        transform: A map of n features.

    Shape:
        x, y: (*batch, D). log_det: (*batch,), nats.

    Raises:
        ValueError: If the indices are not different integers of at least 0, or the map is of another number of
            features.

    Example:
        >>> import pushforward as pf
        >>> OnFeatures((0, 2), pf.transforms.Scale((2.0, -1.0)))(torch.ones(4))[0]
        tensor([ 2.,  1., -1.,  1.])
    """

    indices: Tensor

    def __init__(self, indices: Sequence[int] | Tensor, transform: Transform) -> None:
        super().__init__()
        values = readable_indices("indices", indices)
        check_transform("transform", transform)
        if int(values.min()) < 0 or len(values.unique()) < len(values):
            raise InputError(f"indices must be different and at least 0; got {values.tolist()}.")
        if transform.features not in (None, len(values)):
            raise InputError(
                f"the map must have as many features as there are indices, {len(values)}; got "
                f"{type(transform).__name__} with {transform.features}."
            )
        self.transform = transform
        self.context_features = transform.context_features
        hold_structure(self, indices, indices=values)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, x.shape[:-1])
        part, log_det = self.transform(x.index_select(-1, self.indices), context)
        return x.index_copy(-1, self.indices, part), log_det

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: D102
        check_context(self, context, y.shape[:-1])
        part, log_det = self.transform.inverse(y.index_select(-1, self.indices), context)
        return y.index_copy(-1, self.indices, part), log_det

    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let the map learn from its own features."""
        self.transform.initialize(x.index_select(-1, self.indices), context)
