"""What a study found: numbers, tables, pictures and answers, written as JSON, PNGs and two forms of a report."""

import json
import math
import os
import platform
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pushforward import __version__
from pushforward.errors import InputError
from pushforward.report.rendering import page, png
from pushforward.storage.whole_files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pushforward.training import History

RESULTS, PAGE, SUMMARY = "results.json", "report.html", "README.md"


@dataclass(frozen=True)
class Block:
    """A piece of the report: kind is "heading", "text", "question", "table" or "picture"."""

    kind: str
    title: str = ""
    text: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    image: bytes = b""
    suffix: str = "png"


@dataclass
class Record:
    """Collects what a study finds, in the order of its report, and writes it all at the end.

    Attributes:
        name: The study's name, as in `pushforward study NAME`.
        title: Heading of the report.
        source: The text whose questions the study answers.
        out: Folder for the results.
        seed: First seed; a study that repeats a run counts on from here.
        quick: Whether to run the short form, which shows that everything works and measures nothing.
        say: Called with each line of progress.
        part: Name of the part of the study that this record adds to; see `of_part`.
    """

    name: str
    title: str
    source: str
    out: Path
    seed: int = 0
    quick: bool = False
    say: Callable[[str], None] = lambda line: None
    numbers: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    part: str = ""

    def of_part(self, part: str) -> "Record":
        """Return a record that adds to this one what a part of the study finds, under the part's name.

        Numbers are kept in the table `part`; pictures and runs have its name before theirs.
        """
        return replace(self, part=part)

    def named(self, name: str) -> str:
        """Return the name of a picture or run, with the part's before it."""
        return f"{self.part}-{name}" if self.part else name

    def seeds(self, num_seeds: int = 3) -> list[int]:
        """Return the seeds of repeated runs; one in the quick form."""
        return [self.seed + index for index in range(1 if self.quick else num_seeds)]

    @property
    def grid(self) -> int:
        """Steps of a density's grid along each axis."""
        return 60 if self.quick else 500

    def heading(self, title: str) -> None:
        """Begin a section."""
        self.blocks.append(Block("heading", title))
        self.say(title)

    def text(self, text: str) -> None:
        """Add a paragraph of plain text."""
        self.blocks.append(Block("text", text=text))

    def answer(self, question: str, text: str) -> None:
        """Add a question of the source and what the numbers say to it."""
        self.blocks.append(Block("question", question, text))

    def number(self, key: str, value: Any) -> None:
        """Keep a number for results.json under `key`; dots make nested tables.

        Raises:
            KeyError: If the key is there already.
        """
        *path, last = [*filter(None, [self.part]), *key.split(".")]
        table = self.numbers
        for part in path:
            table = table.setdefault(part, {})
        if last in table:
            raise KeyError(f"the study {self.name} records {key!r} twice")
        table[last] = _plain(value)

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table; numbers are shown with four significant digits, text as it is."""
        self.blocks.append(Block("table", title, header=header, rows=[[shown(cell) for cell in row] for row in rows]))

    def picture(self, name: str, figure: "Figure", caption: str) -> None:
        """Add a figure; it is saved as `name`.png."""
        self.blocks.append(Block("picture", self.named(name), caption, image=png(figure)))

    def animate(self, name: str, image: bytes, caption: str) -> None:
        """Add an animated picture; it is saved as `name`.gif."""
        self.blocks.append(Block("picture", self.named(name), caption, image=image, suffix="gif"))

    def fit(self, label: str, model: torch.nn.Module, *arguments: Any, **options: Any) -> "History":
        """Train with `pf.fit` without a progress bar, and keep what it took."""
        from pushforward.training import fit

        history = fit(model, *arguments, progress=False, **options)
        run = {
            "label": self.named(label),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "steps": history.steps,
            "seconds": round(history.seconds, 2),
            "stopped": history.stopped_because,
        }
        self.runs.append(run)
        self.say(f"  {self.named(label)}: {history.steps:,} steps in {history.seconds:.0f} s")
        return history

    def command(self) -> str:
        """Return the command that repeats the study."""
        options = (" --quick" if self.quick else "") + (f" --seed {self.seed}" if self.seed else "")
        return f"pushforward study {self.name}{options}"

    def to_dict(self) -> dict[str, Any]:
        """Return what results.json holds."""
        return {
            "study": self.name,
            "command": self.command(),
            "seed": self.seed,
            "quick": self.quick,
            "seconds": round(time.monotonic() - self.started, 1),
            "versions": {
                "pushforward": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
            "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
            "numbers": self.numbers,
            "runs": self.runs,
        }

    def write(self) -> list[Path]:
        """Write all files and return their paths.

        Raises:
            InputError: If the folder cannot be made or written to.
            RunError: If writing fails.
        """
        make_folder(self.out)
        facts = self.to_dict()
        # What was measured comes first: it must not be lost if a page cannot be made.
        files = {RESULTS: (json.dumps(facts, indent=1, allow_nan=False) + "\n").encode()}
        files |= {f"{block.title}.{block.suffix}": block.image for block in self.blocks if block.kind == "picture"}
        for name, content in files.items():
            self._write(name, content)
        pages = {PAGE: "study.html", SUMMARY: "study.md"}
        for name, template in pages.items():
            self._write(name, page(template, record=self, facts=facts).encode())
        return [self.out / name for name in (*files, *pages)]

    def _write(self, name: str, content: bytes) -> None:
        with replacing(self.out / name) as file:
            file.write(content)


def file_name(label: str) -> str:
    """Return a label as the name of a file: letters and digits, and a hyphen for whatever lies between them."""
    return re.sub("[^a-z0-9]+", "-", label.lower()).strip("-")


def make_folder(path: Path) -> None:
    """Make a folder for results, before the work that is to fill it.

    Raises:
        InputError: If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot be made: {error.strerror} (name another folder with --out)") from error
    if not os.access(path, os.W_OK):
        raise InputError(f"{path}: cannot be written to (name another folder with --out)")


def shown(value: Any) -> str:
    """Return a table's cell: text as it is, integers with separators, other numbers to four significant digits."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size >= 10:
        return f"{value:,.4g}" if size < 1e4 else f"{value:,.0f}"
    return f"{value:.1e}" if 0 < size < 1e-4 else f"{value:.4f}"


def spread(values: Sequence[float]) -> str:
    """Return "mean (lowest to highest)" of one number over the seeds."""
    mean = sum(values) / len(values)
    return shown(mean) if len(values) == 1 else f"{shown(mean)} ({shown(min(values))} to {shown(max(values))})"


def _plain(value: Any) -> Any:
    """Return what JSON can hold: tensors as lists, floats to seven digits, what is not finite as None."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    value = float(value)
    return float(f"{value:.7g}") if math.isfinite(value) else None
