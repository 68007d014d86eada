"""What can be the base of a flow, and what to use in place of what cannot."""

from typing import Any

from torch import distributions, nn

from pushforward.bases.density import Base
from pushforward.errors import require_count, require_kind


def check_base(name: str, base: Any) -> None:
    """Raise InputError unless `base` is a base with features: says what was expected, what came and what to use."""
    require_kind(name, base, Base, "a base of pf.bases", _in_its_place(base))
    own = type(base).__name__
    require_count(f"{own}.features", getattr(base, "features", None))
    require_count(f"{own}.context_features", base.context_features, 0)


def _in_its_place(value: Any) -> str:
    """Return what to use in place of what is no base."""
    kind = type(value).__name__
    if isinstance(value, (distributions.MultivariateNormal, distributions.LowRankMultivariateNormal)):
        return (
            "use pf.bases.StandardNormal(features) below pf.transforms.LULinear(features), which learns a covariance, "
            "or pf.bases.DiagonalNormal(features)"
        )
    if isinstance(value, distributions.Independent) and not value.base_dist.event_shape:
        return f"wrap what is inside it, pf.bases.FromTorch({type(value.base_dist).__name__}(...), features)"
    if isinstance(value, distributions.Distribution):
        if value.event_shape:
            return "pf.bases.FromTorch wraps univariate distributions, one a feature"
        return f"wrap it, pf.bases.FromTorch({kind}(...), features)"
    if isinstance(value, (list, tuple)):
        return "put bases side by side by pf.bases.Joint([...])"
    if isinstance(getattr(value, "transform", None), nn.Module):
        return "chain two flows by pf.transforms.Compose([transform, flow.transform]) over flow.base"
    return "use one such as pf.bases.StandardNormal(features), or a class of your own that inherits from pf.bases.Base"
