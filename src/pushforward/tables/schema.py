"""The columns that a model was fitted to: what its file keeps of them, and what a user is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pushforward.errors import InputError
from pushforward.tables.columns import numbered, repeated

if TYPE_CHECKING:
    from pushforward.flows import Flow


@dataclass(frozen=True)
class Column:
    """A column of a fitted table.

    Attributes:
        name: Its name.
        role: "modelled" or "context".
        low: Its least value in the table that was fitted; None where a model file does not say.
        high: Its greatest.
    """

    name: str
    role: str
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Schema:
    """The columns a model was fitted to, kept in its file: `read_table(path, columns=schema.columns)` finds them again.

    Attributes:
        columns: All columns in the order of the fitted table, context included.
        context: Those of them that are context.
    """

    columns: tuple[str, ...]
    context: tuple[str, ...] = ()

    @property
    def modelled(self) -> tuple[str, ...]:
        """The columns that are not context, in the order of the fitted table."""
        return tuple(name for name in self.columns if name not in self.context)

    def describe(self, ranges: Mapping[str, Sequence[float]]) -> tuple[Column, ...]:
        """Return what is known of each column, given least and greatest value by name."""
        role = {name: "context" if name in self.context else "modelled" for name in self.columns}
        return tuple(Column(name, role[name], *ranges.get(name, (None, None))) for name in self.columns)

    def to_dict(self) -> dict[str, list[str]]:
        """Return the schema as plain values for JSON."""
        return {"columns": list(self.columns), "context": list(self.context)}

    @classmethod
    def from_dict(cls, stored: Any) -> "Schema":
        """Return the schema that `to_dict` stored.

        Raises:
            InputError: If `stored` is anything else.
        """
        if not isinstance(stored, dict) or set(stored) != {"columns", "context"}:
            raise InputError(f"a column schema holds `columns` and `context`; got {stored!r:.80}")
        for names in stored.values():
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or repeated(names):
                raise InputError(f"a column schema holds lists of unique names; got {names!r:.80}")
        if not stored["columns"] or not set(stored["context"]) < set(stored["columns"]):
            raise InputError("a column schema holds at least one column that is not context")
        return cls(tuple(stored["columns"]), tuple(stored["context"]))

    @classmethod
    def of_flow(cls, flow: "Flow", stored: Any) -> "Schema":
        """Return the schema stored beside a flow; where there is none, columns called x1, x2, ... and context c1, ...

        Raises:
            InputError: If `stored` is no schema, or not that of such a flow.
        """
        if stored is None:
            given = tuple(f"c{position}" for position in range(1, flow.context_features + 1))
            return cls((*numbered(flow.features), *given), given)
        schema = cls.from_dict(stored)
        if (len(schema.modelled), len(schema.context)) != (flow.features, flow.context_features):
            raise InputError("its columns do not fit its flow (write the file again)")
        return schema
