"""What a flow is, step by step, for people: the text that `print` shows and the table of a notebook."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from pushforward.display import table
from pushforward.specification import in_words
from pushforward.transforms import Compose, Inverse

if TYPE_CHECKING:
    from pushforward.flows.flow import Flow

LINE = 119  # characters
FEW = 10  # rows that are printed whole


class Row(NamedTuple):
    """A line of the description: which step, what it is, how many parameters it has."""

    what: str
    words: str
    parameters: str


def rows_of(flow: "Flow") -> list[Row]:
    """Return preprocessing, layers and base from data to latent; equal layers that follow one another are one row."""
    rows = [Row("preprocessing", in_words(part), _number(part)) for part in flow.preprocessing]
    rows += [Row("of the context", in_words(part), _number(part)) for part in flow.context_preprocessing]
    layers = [(_step_in_words(layer), _number(layer)) for layer in _layers(flow.transform)]
    first = 0
    while first < len(layers):
        last = first
        while last + 1 < len(layers) and layers[last + 1] == layers[first]:
            last += 1
        words, number = layers[first]
        several = last > first
        name = f"layers {first + 1} to {last + 1}" if several else f"layer {first + 1}"
        rows.append(Row(name, words, f"{number} each" if several and number else number))
        first = last + 1
    return [*rows, Row("base", in_words(flow.base), _number(flow.base))]


def headline(flow: "Flow") -> str:
    """Return size, context and number of parameters."""
    given = f" given {flow.context_features} of context" if flow.context_features else ""
    return f"Flow of {flow.features} feature{'s' * (flow.features != 1)}{given}, {num_parameters(flow):,} parameters"


class InWords:
    """Shows a flow as the list of its steps, data to latent: when printed, and as a table in a notebook."""

    def __repr__(self: "Flow") -> str:  # type: ignore[misc]
        rows = rows_of(self)
        what, number = max(len(row.what) for row in rows), max(len(row.parameters) for row in rows)
        lines = [f"{headline(self)}, data to latent:"]
        for row in rows:
            start = f"  {row.what:<{what}}  {row.parameters:>{number}}  "
            first, *others = textwrap.wrap(row.words, LINE - len(start))
            others = others if len(rows) <= FEW else ["..."] * bool(others)
            lines += [start + first, *(" " * len(start) + line for line in others)]
        return "\n".join(lines)

    def _repr_html_(self: "Flow") -> str:  # type: ignore[misc]
        return table(headline(self), rows_of(self), ("data to latent", "", "parameters"))


def _layers(transform: nn.Module) -> Iterator[nn.Module]:
    """Yield the steps that a user put together, those of an inverse from the last to the first."""
    if isinstance(transform, Compose):
        yield from transform
    elif isinstance(transform, Inverse) and isinstance(transform.transform, Compose):
        yield from (Inverse(part) for part in reversed(list(transform.transform)))
    else:
        yield transform


def _step_in_words(layer: nn.Module) -> str:
    """Return a step that has parts as these, one after another."""
    if isinstance(layer, Compose):
        return ", ".join(in_words(part) for part in layer) or "the identity"
    return in_words(layer)


def num_parameters(module: nn.Module) -> int:
    """Return how many trained numbers a model has."""
    return sum(parameter.numel() for parameter in module.parameters())


def _number(module: nn.Module) -> str:
    return f"{num_parameters(module):,}" if num_parameters(module) else ""
