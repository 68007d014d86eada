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
        low: Its least value in the table that was fitted; None where it has none, or a model file does not say. Dates
            count days since 1970, times seconds of the day, moments seconds since 1970. Of a periodic column the end
            of its range, as the other is.
        high: Its greatest.
        kind: "real", "integer", "category", "boolean", "date", "time", "moment" (date and time), "duration" or
            "periodic".
        why: What it was read so for.
        missing: Share of the rows in which its cell is missing.
        decimals: With how many its numbers are recorded; None where they are more than 9, or it holds none.
        categories: What it holds, where it holds no numbers.
    """

    name: str
    role: str
    low: float | None
    high: float | None
    kind: str = "real"
    why: str = ""
    missing: float = 0.0
    decimals: int | None = None
    categories: tuple[Any, ...] = ()


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
        if not isinstance(stored, dict) or set(stored) - {"cells", "usual"} != {"columns", "context"}:
            raise InputError(f"a column schema holds `columns` and `context`; got {stored!r:.80}")
        for names in (stored["columns"], stored["context"]):
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
