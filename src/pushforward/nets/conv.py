"""A residual convolutional network as the conditioner of a coupling on images."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pushforward.errors import require_count, require_image_shape
from pushforward.nets.mlp import activation_named, require_dropout, zero_last
from pushforward.specification import Specified, hold_structure, readable_mask


class ConvNet(Specified, nn.Module):
    """Convolutional conditioner for `Coupling` with the same mask: kept pixels -> parameters of the others.

    A mask of whole channels makes the kept channels the input. With any other mask (a chequerboard) the kept pixels
    stand at their places among zeros (RealNVP, arXiv:1605.08803, 3.4), and the mask is given as further channels, as in
    that paper's published code.
    3 x 3 convolution, residual blocks h + W2 a(W1 a(h)) with W1 3 x 3 and W2 1 x 1, and a last 1 x 1 convolution that
    starts at zero. Unlike a plain convolution the first has a bias of its own at every pixel, since the pixels of
    centred images are not alike. The context's linear map is added to it.

    Args:
        mask: The coupling's mask, boolean, (D,) with D = C H W; True passes through unchanged.
        shape: Channels C, height H, width W of the image.
        num_params: Parameters a transformed feature: `num_params` of the coupling's univariate family.
        hidden_channels: Channels of every hidden layer.
        num_blocks: Number of residual blocks.
        context_features: Size of the context, 0 for none.
        activation: "relu", "gelu", "silu" or "tanh".
        dropout: Share of hidden values dropped while training, inside each block.

    Shape:
        kept: (*batch, num_kept), context: (C,) or broadcastable to (*batch, C). Output:
        (*batch, num_params * num_transformed), the first parameter of all transformed features, then the second.

    Raises:
        ValueError: If the mask does not fit the shape or keeps all or no features, or a size is not valid.

    Example:
        >>> import pushforward as pf
        >>> shape = (1, 4, 4)
        >>> mask = pf.transforms.masks.chequerboard(shape)
        >>> net = ConvNet(mask, shape, 2, hidden_channels=8)
        >>> pf.transforms.Coupling(mask, pf.transforms.Affine(), net)(torch.rand(5, 16))[1].shape
        torch.Size([5])
    """

    mask: Tensor
    source: Tensor
    transformed: Tensor

    def __init__(
        self,
        mask: Tensor,
        shape: Sequence[int],
        num_params: int,
        *,
        hidden_channels: int = 32,
        num_blocks: int = 1,
        context_features: int = 0,
        activation: str = "relu",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.shape = channels, height, width = require_image_shape(shape)
        values = readable_mask("mask", mask, math.prod(self.shape))
        num_kept = int(values.sum())
        self.num_params = num_params = require_count("num_params", num_params)
        self.hidden_channels = hidden_channels = require_count("hidden_channels", hidden_channels)
        self.num_blocks = num_blocks = require_count("num_blocks", num_blocks)
        self.context_features = context_features = require_count("context_features", context_features, 0)
        self.activation, self.dropout = activation, require_dropout(dropout)
        self.num_kept = num_kept
        self._activation = activation_named(activation)
        hold_structure(self, mask, mask=values)
        in_channels, out_channels = 2 * channels, channels
        by_channel = values.reshape(channels, -1)
        self.layout = "channels" if bool((by_channel == by_channel[:, :1]).all()) else "pixels"
        if self.layout == "channels":
            in_channels = num_kept // (height * width)
            out_channels = channels - in_channels
        else:
            # Each feature's place among the kept ones; the others take the zero after the last.
            source = torch.where(values, values.cumsum(0) - 1, num_kept)
            hold_structure(self, mask, source=source, transformed=(~values).nonzero().squeeze(-1))
        self.first = nn.Conv2d(in_channels, hidden_channels, 3, padding=1, bias=False)
        self.bias = nn.Parameter(torch.zeros(hidden_channels, height, width))
        self.from_context = nn.Linear(context_features, hidden_channels, bias=False) if context_features else None
        self.inner = nn.ModuleList(nn.Conv2d(hidden_channels, hidden_channels, 3, padding=1) for _ in range(num_blocks))
        self.outer = nn.ModuleList(nn.Conv2d(hidden_channels, hidden_channels, 1) for _ in range(num_blocks))
        self.last = zero_last(nn.Conv2d(hidden_channels, num_params * out_channels, 1))
        self._dropout = nn.Dropout(dropout)

    def _image(self, kept: Tensor) -> Tensor:
        """Return the network's input, (N, channels, H, W), for all rows of the batch."""
        rows, (channels, height, width) = math.prod(kept.shape[:-1]), self.shape
        if self.layout == "channels":
            return kept.reshape(rows, self.first.in_channels, height, width)
        with_zero = nn.functional.pad(kept.reshape(rows, self.num_kept), (0, 1))
        image = with_zero.index_select(-1, self.source).reshape(rows, channels, height, width)
        board = self.mask.to(kept.dtype).reshape(channels, height, width)
        return torch.cat((image, board.expand_as(image)), 1)

    def forward(self, kept: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the parameters for the kept features and context."""
        batch, size = kept.shape[:-1], self.shape[1:]
        rows = math.prod(batch)
        h = self.first(self._image(kept)) + self.bias
        if self.from_context is not None:
            if context is None:
                raise ValueError(f"the network needs context with {self.context_features} features; none was given.")
            from_context = self.from_context(context.to(kept.dtype))[..., None, None]
            h = (h.reshape(*batch, self.hidden_channels, *size) + from_context).reshape(
                rows, self.hidden_channels, *size
            )
        for inner, outer in zip(self.inner, self.outer, strict=True):
            h = h + outer(self._dropout(self._activation(inner(self._activation(h)))))
        params = self.last(self._activation(h))  # (N, num_params * channels, H, W)
        if self.layout == "pixels":
            params = params.reshape(rows, self.num_params, len(self.mask)).index_select(-1, self.transformed)
        return params.reshape(*batch, self.num_params * (len(self.mask) - self.num_kept))
