"""What a study finds, on the disk as it comes: numbers as JSON, pictures; at the end two forms of a report."""

import json
import math
import os
import platform
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from pushforward import __version__
from pushforward.flows.in_words import num_parameters
from pushforward.report.rendering import page, png
from pushforward.storage.atomic_files import replacing
from pushforward.storage.folders import writable_folder
from pushforward.studies.kit.tables import Columns, Score, cells, shown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pushforward.training import History

RESULTS, PAGE, SUMMARY = "results.json", "report.html", "README.md"
CHECKPOINTS = "checkpoints"  # folder in the study's own, while it runs
LENGTHS = ("num_steps", "epochs", "max_seconds")  # options of `fit`, of which the quick form has its own
NO_ANSWER = "A quick run trains for a few steps: it shows that all this runs, and answers nothing."

T = TypeVar("T")


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
    """Keeps what a study finds, in the order of its report.

    Numbers and pictures are in the folder as soon as they are found, so that a study that is killed leaves what it
    measured; `finish` adds the report.

    Attributes:
        name: The study's name, as in `pushforward study NAME`.
        title: Heading of the report.
        source: The text whose questions the study answers.
        out: Folder for the results.
        seed: First seed; a study that repeats a run counts on from here.
        quick: Whether to run the short form, which shows that everything works and measures nothing.
        minutes: About how long a shorter run is to take: one seed then has to do; None for the full form.
        share: How long its trainings are, of their full length.
        say: Called with each line of progress.
        part: Name of the part of the study that this record adds to; see `of_part`.

    Raises:
        InputError: If the folder cannot be made or written to.
    """

    name: str
    title: str
    source: str
    out: Path
    seed: int = 0
    quick: bool = False
    minutes: float | None = None
    share: float = 1.0
    say: Callable[[str], None] = lambda line: None
    numbers: dict[str, Any] = field(default_factory=dict)
    runs: list[dict[str, Any]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    part: str = ""

    def __post_init__(self) -> None:
        writable_folder(self.out, remedy="name another folder with --out")

    def of_part(self, part: str) -> "Record":
        """Return a record that adds to this one, with the part's name before those of numbers, pictures and runs."""
        return replace(self, part=part)

    def named(self, name: str) -> str:
        """Return the name of a picture or run, with the part's before it."""
        return f"{self.part}-{name}" if self.part else name

    # What the short form has less of

    def size(self, full: T, *, quick: T) -> T:
        """Return what the full form has of something, or what the short form has of it."""
        return quick if self.quick else full

    def seeds(self, num_seeds: int = 3) -> list[int]:
        """Return the seeds of repeated runs; one in the quick form and where trainings are shortened."""
        return [self.seed + index for index in range(1 if self.quick or self.minutes else num_seeds)]

    @property
    def shorter(self) -> str:
        """What a run of so many minutes must say about its answers; "" for other forms."""
        if not self.minutes:
            return ""
        return (
            f"A shorter run: one seed, and trainings of {100 * self.share:.0f} % of the length that names and texts "
            "give them. What it says holds for these."
        )

    @property
    def grid(self) -> int:
        """Steps of a density's grid along each axis."""
        return self.size(500, quick=60)

    def fit(
        self,
        label: str,
        model: torch.nn.Module,
        *arguments: Any,
        quick: Mapping[str, Any] | None = None,
        resumable: bool = False,
        equal_seconds: float | None = None,
        **options: Any,
    ) -> "History":
        """Train with `pf.fit` on rows and context, without a progress bar, and keep what it took under a label.

        The quick form trains as long as `quick` says, a run of so many minutes for the
        record's share of the full lengths, or for the `equal_seconds` that another training took, which are not
        shortened again. A `resumable` training keeps checkpoints in the study's folder until the study is finished,
        and goes on from them.
        """
        from pushforward.training import fit

        label = self.named(label)
        if self.quick:
            kept = options if quick is None else {k: value for k, value in options.items() if k not in LENGTHS}
            options = {**kept, **(quick or {})}
        elif self.minutes:
            options = {name: self._shortened(name, value) for name, value in options.items()}
        elif resumable:
            options |= {"out": self.out / CHECKPOINTS / file_name(label), "resume": True}
        if equal_seconds is not None and not (self.quick and quick):
            options["max_seconds"] = equal_seconds
        history = fit(model, *arguments, progress=False, **options)
        run = {"label": label, "parameters": num_parameters(model), "steps": history.steps}
        self.runs.append({**run, "seconds": round(history.seconds, 2), "stopped": history.stopped_because})
        self._save()
        self.say(f"  {label}: {history.steps:,} steps in {history.seconds:.0f} s")
        return history

    def _shortened(self, name: str, value: Any) -> Any:
        """Return an option of `fit`, a length as a share of the full one."""
        if name not in LENGTHS or value is None:
            return value
        return value * self.share if name == "max_seconds" else max(1, round(value * self.share))

    # What was found

    def heading(self, title: str) -> None:
        """Begin a section."""
        self.blocks.append(Block("heading", title))
        self.say(title)

    def text(self, text: str) -> None:
        """Add a paragraph of plain text."""
        self.blocks.append(Block("text", text=text))

    def finding(self, text: str) -> None:
        """Add a paragraph that says what the numbers show: none, in the quick form."""
        if not self.quick:
            self.text(text)

    def answer(self, question: str, text: str) -> None:
        """Add a question of the source and what the numbers say to it: nothing, in the quick form."""
        self.blocks.append(Block("question", question, NO_ANSWER if self.quick else text))

    def number(self, key: str, value: Any, *, again: bool = False) -> None:
        """Keep numbers, text, scores, or lists, tables, tensors of them, for results.json; dots in a key make tables.

        Raises:
            KeyError: If the key is there already, and is not to be replaced `again`, as when more seeds are done.
        """
        *path, last = [*filter(None, [self.part]), *key.split(".")]
        table = self.numbers
        for part in path:
            table = table.setdefault(part, {})
        if last in table and not again:
            raise KeyError(f"the study {self.name} records {key!r} twice")
        table[last] = _plain(value)
        self._save()

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table; numbers are shown with four significant digits, text as it is."""
        self.blocks.append(Block("table", title, header=header, rows=[[shown(cell) for cell in row] for row in rows]))

    def scores(
        self, title: str, first: str | Sequence[str], columns: Columns, rows: Mapping[Any, Sequence[Any]]
    ) -> None:
        """Add a table of scores, those of every seed by the name of a row; `first` heads the names, or their parts."""
        header = [*_parts(first), *(name for name, _ in columns)]
        self.table(title, header, [[*_parts(name), *cells(columns, found)] for name, found in rows.items()])

    def picture(self, name: str, figure: "Figure", caption: str) -> None:
        """Add a figure; it is saved as `name`.png."""
        self._image(name, png(figure), "png", caption)

    def animate(self, name: str, image: bytes, caption: str) -> None:
        """Add an animated picture; it is saved as `name`.gif."""
        self._image(name, image, "gif", caption)

    def _image(self, name: str, image: bytes, suffix: str, caption: str) -> None:
        block = Block("picture", self.named(name), caption, image=image, suffix=suffix)
        self.blocks.append(block)
        self._write(f"{block.title}.{suffix}", image)

    # The folder

    @property
    def page(self) -> Path:
        """The report."""
        return self.out / PAGE

    @property
    def seconds(self) -> float:
        """How long the study has run."""
        return time.monotonic() - self.started

    def to_dict(self, *, complete: bool = True) -> dict[str, Any]:
        """Return what results.json holds."""
        options = (" --quick" if self.quick else "") + (f" --minutes {self.minutes:g}" if self.minutes else "")
        options += f" --seed {self.seed}" if self.seed else ""
        return {
            "study": self.name,
            "command": f"pushforward study {self.name}{options}",
            "seed": self.seed,
            "quick": self.quick,
            "share": round(self.share, 3),
            "complete": complete,
            "seconds": round(self.seconds, 1),
            "versions": {"pushforward": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
            "numbers": self.numbers,
            "runs": self.runs,
        }

    def finish(self) -> None:
        """Write the report, and remove the checkpoints: they are large, and a repeated study is to train anew."""
        facts = self._save(complete=True)
        for name, template in {PAGE: "study.html", SUMMARY: "study.md"}.items():
            self._write(name, page(template, record=self, facts=facts).encode())
        shutil.rmtree(self.out / CHECKPOINTS, ignore_errors=True)

    def _save(self, *, complete: bool = False) -> dict[str, Any]:
        facts = self.to_dict(complete=complete)
        self._write(RESULTS, (json.dumps(facts, indent=1, allow_nan=False) + "\n").encode())
        return facts

    def _write(self, name: str, content: bytes) -> None:
        with replacing(self.out / name) as file:
            file.write(content)


def file_name(label: str) -> str:
    """Return a label as the name of a file: letters and digits, and a hyphen for whatever lies between them."""
    return re.sub("[^a-z0-9]+", "-", label.lower()).strip("-")


def _parts(name: str | Sequence[Any]) -> Sequence[Any]:
    return [name] if isinstance(name, str) else name


def _plain(value: Any) -> Any:
    """Return what JSON can hold: tensors as lists, floats to seven digits, what is not finite as None."""
    if isinstance(value, torch.Tensor):
        value = value.tolist()
    if is_dataclass(value) or isinstance(value, Score):
        value = vars(value)
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, (bool, int, str)) or value is None:
        return value
    value = float(value)
    return float(f"{value:.7g}") if math.isfinite(value) else None
