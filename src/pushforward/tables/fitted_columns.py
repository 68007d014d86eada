"""What a model of mixed columns keeps of each column: its kind, its encoder, and how its cells are written."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pushforward.errors import InputError
from pushforward.tables.column_kind import Kind
from pushforward.tables.encoders import Encoder, NumberEncoder
from pushforward.tables.schema import Column
from pushforward.tables.stored_encoders import encoder_from
from pushforward.tables.text_kinds import WHOLE, written

if TYPE_CHECKING:
    import polars as pl

PLAIN_TYPES = {
    "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64", "Boolean", "String",
    "Categorical", "Date", "Time",
}  # fmt: skip


def type_of(cells: "pl.Series") -> str:
    """Return what a file keeps of the type of cells: its name, of moments unit and zone, of an order its levels."""
    import polars as pl

    dtype = cells.dtype
    if isinstance(dtype, pl.Datetime):
        return f"Datetime|{dtype.time_unit}|{dtype.time_zone or ''}"
    if isinstance(dtype, pl.Enum):
        return f"Enum|{json.dumps(dtype.categories.to_list())}"
    return str(dtype.base_type())


@dataclass(frozen=True)
class FittedColumn:
    """A column of the table that was fitted.

    Attributes:
        name: Its name.
        kind: What it was read as, why, and how its cells are written.
        dtype: The type of its cells where the table had types; "" where all were text.
        missing: Share of the rows in which its cell is missing.
        encoder: From its cells to codes and places.
    """

    name: str
    kind: Kind
    dtype: str
    missing: float
    encoder: Encoder

    def column(self, role: str) -> Column:
        """Return what a user is told of it."""
        one = self.encoder
        about: dict[str, Any] = {"kind": self.kind.name, "why": self.kind.why, "missing": self.missing}
        if isinstance(one, NumberEncoder):
            return Column(self.name, role, *one.ends, decimals=one.decimals, **about)
        return Column(self.name, role, None, None, categories=one.values, **about)

    def typed(self, cells: "pl.Series") -> "pl.Series":
        """Return cells in the type that the table had; numbers between whole ones stay as they are."""
        import polars as pl

        if self.dtype.startswith("Enum|"):
            levels = pl.Enum(json.loads(self.dtype.removeprefix("Enum|")))
            return cells.cast(pl.String).cast(levels, strict=False)
        if self.dtype.startswith("Datetime") and cells.dtype in (pl.Datetime, pl.Date):
            _, unit, zone = self.dtype.split("|")
            if cells.dtype == pl.Date:  # of midnights on the clock of the zone
                cells = cells.cast(pl.Datetime(unit))  # type: ignore[arg-type]
                return cells.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null") if zone else cells
            cells = cells.dt.cast_time_unit(unit)  # type: ignore[arg-type]
            return cells.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else cells
        if self.dtype == "String":
            cells = written(cells, self.kind.name, self.kind.form)
        whole = (self.kind.name, self.kind.form) == ("category", WHOLE)
        if isinstance(self.encoder, NumberEncoder):
            whole = self.kind.name == "periodic" and self.encoder.decimals == 0
        name = "Int64" if self.dtype == "" and whole else self.dtype
        own = getattr(pl, name, None) if name in PLAIN_TYPES else None
        if own is None or cells.dtype == own or (own.is_integer() and _between_whole(cells)):
            return cells
        return cells.cast(own, strict=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, the name left out."""
        one = self.kind
        kind = {"name": one.name, "why": one.why, "form": one.form, "words": list(one.words), "period": one.period}
        return {"kind": kind, "dtype": self.dtype, "missing": self.missing, "encoder": self.encoder.to_dict()}

    @classmethod
    def from_dict(cls, name: str, stored: Any) -> "FittedColumn":
        """Return the column that `to_dict` stored.

        Raises:
            InputError: If `stored` is anything else.
        """
        try:
            words = tuple(str(word) for word in stored["kind"].get("words", ()))
            period = float(stored["kind"].get("period", 0.0))
            kind = Kind(
                **{key: str(stored["kind"][key]) for key in ("name", "why", "form")}, words=words, period=period
            )
            missing = float(stored["missing"])
            if not math.isfinite(missing):
                raise ValueError("a share is finite")
            return cls(name, kind, _type_from(stored["dtype"]), missing, encoder_from(stored["encoder"]))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise InputError(f'what is stored of column "{name}" cannot be read: {error!r:.120}') from error


def _type_from(stored: Any) -> str:
    """Return what `type_of` returned; ValueError or TypeError for anything else."""
    kind, *about = stored.split("|", 1)
    if kind == "Enum" and not all(isinstance(level, str) for level in json.loads(about[0])):
        raise ValueError("levels are words")
    if kind == "Datetime" and (about[0].count("|") != 1 or about[0].split("|")[0] not in ("ms", "us", "ns")):
        raise ValueError("a moment has a unit and a zone")
    return str(stored)


def _between_whole(cells: "pl.Series") -> bool:
    return cells.dtype.is_float() and bool((cells % 1 != 0).any())


def columns_from(stored: Mapping[str, Any]) -> dict[str, FittedColumn]:
    """Return columns by name from what `FittedColumn.to_dict` stored of each."""
    return {name: FittedColumn.from_dict(name, one) for name, one in stored.items()}
