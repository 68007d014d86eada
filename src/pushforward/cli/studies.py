"""The command `study`: runs an experiment and says where its report is."""

from pathlib import Path

from pushforward.cli.terminal import say
from pushforward.errors import InputError
from pushforward.report.wording import seconds
from pushforward.studies import STUDIES, run


def study_command(name: str, *, quick: bool, minutes: float | None, seed: int, out: Path | None) -> None:
    """Run a study; its answers go to the terminal, everything else to its folder. Without a name list them."""
    if not name:
        for known, study in STUDIES.items():
            say(f"{known:<19} {f'{study.minutes:g} min':>7}  {study.about}")
        return
    if seed < 0:
        raise InputError(f"--seed must be at least 0; got {seed}")
    record = run(name, quick=quick, minutes=minutes, seed=seed, out=out)
    for block in record.blocks:
        if block.kind == "question" and not quick:
            say(f"{block.title}\n  {block.text}")
    if quick:
        say(f"a quick run answers nothing; for answers: pushforward study {name}, or with --minutes")
    if record.shorter:
        say(record.shorter)
    say(f"took {seconds(record.seconds)}; report: {record.page}")
