"""What a fitted table is, in one line and as a table in a notebook."""

from typing import TYPE_CHECKING

from pushforward.display import table
from pushforward.tables.columns import listing

if TYPE_CHECKING:
    from pushforward.tables.table_model import TableModel


class InWords:
    """Shows a `TableModel` by its columns."""

    def __repr__(self: "TableModel") -> str:  # type: ignore[misc]
        given = f" given {listing(self.schema.context)}" if self.schema.context else ""
        return f"<TableModel of {listing(self.schema.modelled)}{given}>"

    def _repr_html_(self: "TableModel") -> str:  # type: ignore[misc]
        ends = ([f"{end:.6g}" if end is not None else "" for end in (one.low, one.high)] for one in self.columns)
        rows = [(one.name, one.role, one.kind, *both) for one, both in zip(self.columns, ends, strict=True)]
        return table(self.law.headline, rows, ("column", "role", "kind", "least", "greatest"))
