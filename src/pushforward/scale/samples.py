"""A sample of any length, written block by block: the same rows however many draw them."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from pushforward import __version__
from pushforward.scale.making import ALONE, Done, Made, check_shared, make_parts
from pushforward.scale.over_pieces import checksum
from pushforward.scale.parts import Parts
from pushforward.tables.in_pieces.pieces import Pieces
from pushforward.tables.model_folder import model_in
from pushforward.tables.sample_blocks import SampleBlocks
from pushforward.tables.table_model import TableModel
from pushforward.tables.writers import plain_style, write_rows


class Samples:
    """Rows of a model to be drawn and written. Pickled it is its arguments: every process reads the model by itself.

    Args:
        path: The model file, or the folder of a fit.
        out: A file, or a folder, which is to hold a Parquet file for each block.
        num: Number of rows, for each row that is given.
        given: Cells of some columns by name, or the file of such rows; None for none.
        complete: Leave no cell missing.
        temperature: Below 1 gives rows nearer the mode.
        seed: Decides the rows.

    Raises:
        InputError: If what is given does not go with the model.
    """

    def __init__(self, path: Path, out: Path, num: int, given: Any, **options: Any) -> None:
        self._arguments, self._options = (path, out, num, given), options
        self.model = TableModel.load(path)
        self.blocks = SampleBlocks(self.model.law, num, given, called="--given", **options)
        files = Pieces(given) if isinstance(given, str) else None
        self._inputs = files.files if files else []
        asked = {**options, "num": num, "given": files.identity if files else given}
        model = checksum(model_in(path))
        self._parts = Parts(
            out,
            {"asked": "samples", "model": model, "options": asked, "version": __version__, "pieces": len(self.blocks)},
        )
        self._style = plain_style(out) if self._parts.is_text else {}

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), *self._arguments, **self._options), ()

    def __call__(self, number: int, count: Callable[[int], None] = lambda rows: None) -> Made:
        """Write the part of a block."""
        rows = self._drawn(number)
        self._parts.write(number, [self.model.law.written(rows) if self._parts.is_text else rows], **self._style)
        count(rows.height)
        return Made(rows.height, [])

    def write(self, *, shard: tuple[int, int], ray: str, overwrite: bool) -> Done:
        """Write all blocks, or a shard's, but for those that are there from an earlier run of the same.

        Args:
            shard: Which of how many.
            ray: Address of a Ray cluster whose workers draw, or "local"; "" for this process.
            overwrite: Replace what is there.

        Raises:
            InputError: If what is there is something else.
            RunError: If writing fails. What is done stays.
        """
        parts, blocks = self._parts, self.blocks
        check_shared(parts, shard, ray=ray, overwrite=overwrite)
        if len(blocks) == 1 and shard == ALONE and not parts.are_there:
            write_rows(parts.out, self._drawn(0), self.model.law.written)
            return Done(rows=blocks.rows)
        parts.begin(self._inputs, overwrite=overwrite)
        return make_parts(parts, [blocks.weight(k) for k in range(len(blocks))], self, shard=shard, ray=ray)

    def _drawn(self, number: int) -> Any:
        """Return a block's rows, modelled columns first."""
        return self.blocks.draw(number).select(*self.model.schema.modelled, *self.model.schema.context)
