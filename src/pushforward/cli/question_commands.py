"""The commands that ask a fitted model about single rows: anomalies, impute, predict."""

from pathlib import Path

from pushforward.cli.model_commands import answer_table
from pushforward.cli.terminal import say
from pushforward.cli.where import Where
from pushforward.errors import InputError
from pushforward.scale.questions import MOST_SHOWN, Anomalies, Imputation, Prediction


def anomalies_command(
    path: Path, data: str, *, level: float, columns: str, reference: str | None, where: Where
) -> None:
    """Write a table with what is unusual about each row appended, and print the most unusual rows."""
    out, done = answer_table(Anomalies(path, level=level, columns=columns, reference=reference), data, where)
    num = sum(many for many, _, _ in done.told)
    say(f"{out}: {done.rows:,} rows, {num:,} of them anomalies at level {level:g}{done.in_words}")
    least = min((least for _, least, _ in done.told), default=1.0)
    if done.rows and least > level:
        say(f"the least p-value is {least:.2g}: fewer held-out rows tell no smaller one (--level, or --reference)")
    unusual = sorted((row for _, _, rows in done.told for row in rows), key=lambda row: -row[0])
    for _, line in unusual[:MOST_SHOWN]:
        say(line)
    if num > MOST_SHOWN:
        say(f"  and {num - MOST_SHOWN:,} more")


def impute_command(path: Path, data: str, *, num: int, mean: bool, seed: int, where: Where) -> None:
    """Write a table with its missing cells filled in given the others; whatever else it holds stays as it is."""
    if num < 1:
        raise InputError(f"--num must be at least 1; got {num}")
    if mean and num > 1:
        raise InputError("--mean fills each cell in one way (leave --num out)")
    out, done = answer_table(Imputation(path, num=num, mean=mean, seed=seed), data, where)
    draws = f", {num} draws of each row" * (num > 1)
    say(f"{out}: {num * done.rows:,} rows, {sum(done.told):,} missing cells filled in{draws}{done.in_words}")


def predict_command(path: Path, data: str, *, column: str, where: Where) -> None:
    """Write a table with the law of one column given all others appended."""
    out, done = answer_table(Prediction(path, column=column), data, where)
    say(f"{out}: {done.rows:,} rows with the law of {column} given their other cells{done.in_words}")
