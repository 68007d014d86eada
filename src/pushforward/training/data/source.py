"""What `fit` is given as data and validation, sorted into batches to learn from and rows to validate on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

from pushforward.errors import InputError
from pushforward.training.data.batches import Batches, EmptyBatches, RowBatches
from pushforward.training.data.form import Form, is_array
from pushforward.training.data.levels import levels_note
from pushforward.training.data.loader import LoaderBatches, read_loader
from pushforward.training.data.rows import OwnSamples, Rows
from pushforward.training.data.stream import Stream, StreamBatches

MOST_SPLIT = 20_000  # validation rows taken from the data: more would tell little and cost training rows


@dataclass(frozen=True)
class Source:
    """What a run learns from and validates on.

    Attributes:
        batches: Where batches come from.
        validation: What to validate on, or None.
        digest: By which a checkpoint knows the data.
        notes: Remarks a user should see.
        close: Called once the run has ended.
    """

    batches: Batches
    validation: Rows | OwnSamples | None
    digest: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    close: Callable[[], None] = lambda: None


def open_data(
    data: Any,
    context: Any,
    weight: Any,
    validation: Any,
    form: Form,
    generator: torch.Generator,
    batch_size: int | None,
) -> Source:
    """Check what `fit` was given and open it; the arguments are those of `fit`.

    Raises:
        InputError: If it is not usable.
    """
    if isinstance(data, tuple) and len(data) == 2 and all(is_array(part) for part in data):
        if context is not None:
            raise InputError("context was given twice: as y of data=(x, y) and as context=.")
        data, context = data[0], data[1] if form.takes_context else None
    _check_no_dataset(data)
    share, held = _read_validation(validation, form)
    digest: dict[str, Any] = {"validation": share if held is None else held.digest()}
    if data is None and context is None:
        empty = EmptyBatches(batch_size, form.device)
        return Source(empty, empty.checked if share else held, digest)
    if isinstance(data, Stream):
        if context is not None or weight is not None:
            raise InputError("context and weight go with arrays of data; a stream of rows has its own context.")
        digest.update(data.digest)
        if share and data.validation is not None:
            held = _read_validation(data.validation, form)[1]
        batches = StreamBatches(data, batch_size, form, generator)
        return Source(batches, held, digest, close=batches.close)
    if data is not None and not is_array(data):
        if context is not None or weight is not None:
            raise InputError("context and weight go with arrays of data; a loader yields (x, y), with y the context.")
        if not isinstance(data, Iterable):
            raise InputError(f"data must be an array, a tensor, a loader or None; got {type(data).__name__}.")
        source = Source(LoaderBatches(data, form, generator), held, digest)
        if validation is not None and held is None:
            source.notes.append(
                "a loader cannot be split: without validation=(rows or a loader) the last weights are kept"
            )
        return source
    rows = Rows.read(data, context, weight, form)
    digest.update(rows.digest())
    note = None if rows.x is None or form.takes_integers else levels_note(rows.x)
    if share:
        rows, held = split(rows, share, generator)
    return Source(RowBatches(rows, batch_size, generator), held, digest, [] if note is None else [note])


def split(rows: Rows, share: float, generator: torch.Generator) -> tuple[Rows, Rows]:
    """Split rows at random into training and validation rows, at least one of each.

    Raises:
        InputError: If there are fewer than 2 rows.
    """
    if len(rows) < 2:
        raise InputError(f"data has {len(rows)} row, too few to keep some for validation: use validation=None.")
    num_validation = min(max(round(share * len(rows)), 1), len(rows) - 1, MOST_SPLIT)
    order = torch.randperm(len(rows), generator=generator, device=generator.device)
    return rows.take(order[num_validation:]), rows.take(order[:num_validation])


def _check_no_dataset(data: Any) -> None:
    """Raise InputError for collections whose parts would be taken for batches."""
    if isinstance(data, tuple) and hasattr(data, "_fields"):  # its test rows, too, would be trained on
        raise InputError(
            f"data is a {type(data).__name__} of {', '.join(data._fields)}: give the part to train on, such as "
            f"data.{data._fields[0]}."
        )
    if isinstance(data, torch.utils.data.Dataset) and not isinstance(data, torch.utils.data.IterableDataset):
        raise InputError(
            "data is a Dataset, which yields single rows: wrap it in a torch DataLoader, or give its tensors."
        )


def _read_validation(validation: Any, form: Form) -> tuple[float, Rows | None]:
    """Return the share of the data to validate on, or the rows given for it."""
    if validation is None:
        return 0.0, None
    if isinstance(validation, (int, float)):
        if not 0 <= validation < 1:
            raise InputError(f"validation must be a share from 0 up to 1, or rows; got {validation!r}.")
        return validation, None
    if isinstance(validation, tuple):
        x, context, weight = (*validation, None, None)[:3]
        return 0.0, Rows.read(x, context, weight, form, "validation")
    if is_array(validation):
        return 0.0, Rows.read(validation, None, None, form, "validation")
    return 0.0, read_loader(validation, form, "validation")
