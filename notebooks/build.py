"""Build the notebooks from the text files beside this one: exercises with gaps, and solved ones, executed.

    python notebooks/build.py [--quick] [--exercises] [NAME ...]

The text files are notebooks in jupytext's percent format. A cell tagged "exercise" holds a gap and belongs to the
exercises alone, the cell tagged "solution" right after it fills the gap and belongs to the solved notebooks alone.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

HERE = Path(__file__).parent
OPENING = "from opening import"  # the cell that gives way to opening.py, so that a notebook stands alone
TIMEOUT = 240  # seconds of a cell, at most


def sources() -> list[Path]:
    """Return the text files, in the order of the lessons."""
    return sorted(HERE.glob("[0-9]*.py"))


def tags(cell: NotebookNode) -> list[str]:
    """Return a cell's tags."""
    return cell.metadata.get("tags", [])


def read(source: Path) -> NotebookNode:
    """Return a text file as a notebook with gaps and solutions.

    Raises:
        ValueError: If a gap has no solution, or a solution no gap.
    """
    notebook = jupytext.read(source, fmt="py:percent")
    before = None
    for cell in [*notebook.cells, None]:
        gap, solution = before is not None and "exercise" in tags(before), cell is not None and "solution" in tags(cell)
        if gap != solution or (gap and before.cell_type != cell.cell_type):
            raise ValueError(f"{source.name}: a gap and its solution must be neighbours of one type:\n{before}\n{cell}")
        if cell is not None and cell.source.startswith(OPENING):
            cell.source = (HERE / "opening.py").read_text().rstrip()
        before = cell
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def without(notebook: NotebookNode, tag: str) -> NotebookNode:
    """Return the notebook without the cells of one tag; the same text gives the same bytes."""
    kept = nbformat.from_dict({**notebook, "nbformat": 4, "nbformat_minor": 5})
    kept.cells = [cell for cell in kept.cells if tag not in tags(cell)]
    for place, cell in enumerate(kept.cells):
        cell.id = f"cell-{place:03}"
    return kept


def exercise(source: Path) -> str:
    """Return the notebook with gaps, as the text of an ipynb file."""
    return nbformat.writes(without(read(source), "solution")) + "\n"


def solved(source: Path, *, quick: bool) -> tuple[NotebookNode, list[str]]:
    """Execute the solved notebook; return it with what its checks found wrong."""
    from nbclient import NotebookClient

    notebook = without(read(source), "exercise")
    if quick:
        os.environ["PUSHFORWARD_QUICK"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=TIMEOUT, resources={"metadata": {"path": folder}}).execute()
    said = "".join(
        output.text for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "stream"
    )
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of day
    return notebook, [line for line in said.splitlines() if line.startswith("Not yet")]


def main() -> None:
    """Write exercises/NAME.ipynb and, executed, solutions/NAME.ipynb."""
    parser = argparse.ArgumentParser(description="Build the notebooks: exercises, and solved ones, executed.")
    parser.add_argument("names", nargs="*", help="beginnings of names, such as 01; by default all")
    parser.add_argument("--quick", action="store_true", help="execute with small sizes")
    parser.add_argument("--exercises", action="store_true", help="write the exercises, and execute nothing")
    options = parser.parse_args()
    chosen = [path for path in sources() if not options.names or path.name.startswith(tuple(options.names))]
    for folder in ("exercises", "solutions"):
        (HERE / folder).mkdir(exist_ok=True)
    for source in chosen:
        (HERE / "exercises" / f"{source.stem}.ipynb").write_text(exercise(source))
        if options.exercises:
            continue
        start = time.perf_counter()
        notebook, wrong = solved(source, quick=options.quick)
        nbformat.write(notebook, HERE / "solutions" / f"{source.stem}.ipynb")
        print(f"{source.stem}: executed in {time.perf_counter() - start:.0f} s", flush=True)
        if wrong:
            raise SystemExit("\n".join([f"{source.name}: a check fails the solution:", *wrong]))


if __name__ == "__main__":
    main()
