"""The study `scale`: its cost of a step, its arithmetic of larger machines, its tables and pictures."""

import numpy as np
import polars as pl
import pytest

from pushforward.studies.scale import growth, left, ranks, scale_figures
from pushforward.studies.scale.cost import Step, epoch, fit_cost, fit_line
from pushforward.studies.scale.rows import COLUMNS, write_files, write_rows

PARAMETERS = {"small": 50_000, "large": 600_000}
A, B, C, D = 2e-3, {"small": 5e-6, "large": 6e-5}, 3e-9, 4e-4


def taken(model, rows, size):
    return A + B[model] * rows / size + (C * PARAMETERS[model] + D) * (size > 1)


@pytest.fixture
def cost():
    return fit_cost([
        Step(model, parameters, rows, size, taken(model, rows, size))
        for model, parameters in PARAMETERS.items()
        for rows in (512, 2048, 8192)
        for size in (1, 2)
    ])  # fmt: skip


def test_the_fitted_cost_has_the_constants_that_the_steps_were_made_with(cost):
    assert cost.step == pytest.approx(A, rel=1e-6)
    assert cost.row == pytest.approx(B, rel=1e-6)
    assert cost.parameter == pytest.approx(C, rel=1e-6)
    assert cost.meeting == pytest.approx(D, rel=1e-6)
    assert cost.worst < 1e-9
    assert cost.seconds("large", 4096, 8) == pytest.approx(taken("large", 4096, 8), rel=1e-6)


def test_the_error_of_a_cost_is_relative_and_no_term_is_negative():
    steps = [Step("one", 1000, rows, 1, seconds) for rows, seconds in ((100, 1.1), (200, 1.8), (300, 3.3))]
    cost = fit_cost(steps)
    errors = np.array([cost.seconds("one", one.rows, 1) / one.seconds - 1 for one in steps])
    assert cost.error == pytest.approx(np.sqrt((errors**2).mean()))
    assert cost.worst == pytest.approx(np.abs(errors).max())
    assert min(cost.step, cost.row["one"], cost.parameter, cost.meeting) >= 0


def test_a_pass_over_a_billion_rows_takes_the_longer_of_reading_and_training(cost):
    options = {"rows": 10**9, "columns": 20, "machines": 8, "batch": 65_536, "network": 1.25e9}
    found = epoch(cost, "large", rows_read=1e6, **options)
    assert found.bytes == 160_000_000_000
    assert found.reading == 1000
    assert found.steps == 15_258
    assert found.summed_bytes == 2 * 7 / 8 * 4 * 600_000
    assert found.sum == pytest.approx(4_200_000 / 1.25e9)
    assert found.step == pytest.approx(taken("large", 65_536, 8) + found.sum)
    assert found.hours == pytest.approx(15_258 * found.step / 3600)
    assert epoch(cost, "large", rows_read=1e4, **options).hours == pytest.approx(1e5 / 3600)


def test_times_in_proportion_to_rows_lie_on_a_line():
    line = fit_line([1e5, 1e6, 1e7], [5 + 1e5 / 8e4, 5 + 1e6 / 8e4, 5 + 1e7 / 8e4])
    assert line.start == pytest.approx(5)
    assert line.rate == pytest.approx(8e4)
    assert line.worst < 1e-9


def test_rates_are_those_of_the_work_without_its_start(tmp_path):
    reports = [(0, 9.0), (10, 10.0), (20, 11.0), (50, 14.0)]
    lines = [f'{{"step": {step}, "seconds": {seconds}}}\n' for step, seconds in reports]
    (tmp_path / "history.jsonl").write_text("".join(lines))
    assert growth.rows_trained_a_second(tmp_path, 100_000) == 512 * 10
    assert growth.steps_a_second(reports) == 10
    assert growth.told_rate("1,200,000 rows, 76,543 a second, 12%, about 9 s left") == 76_543
    assert growth.told_rate("") is None
    assert ranks._median_step([(0, 0.0), (1, 5.0), (2, 6.0), (3, 7.0), (4, 9.0), (5, 10.0)]) == 1


def test_a_table_is_decided_by_its_seed_and_not_held_as_a_whole(tmp_path):
    one, other = (write_rows(tmp_path / f"{name}.parquet", 250, seed=3, group=100) for name in "ab")
    assert one.read_bytes() == other.read_bytes()
    frame = pl.read_parquet(one)
    assert frame.shape == (250, COLUMNS)
    assert set(frame.dtypes) == {pl.Float64}
    folder = write_files(tmp_path / "files", 2, 50, seed=3)
    first, second = (pl.read_parquet(file) for file in sorted(folder.iterdir()))
    assert not first.equals(second)


def test_what_is_half_written_and_whole_is_told_apart(tmp_path):
    for name in ("part-000001.parquet", "part-000000.parquet", ".part-000002.parquet.77.tmp"):
        (tmp_path / name).touch()
    assert left.parts(tmp_path) == ["part-000000.parquet", "part-000001.parquet"]
    assert left.half_written(tmp_path) == [".part-000002.parquet.77.tmp"]
    assert left.reports(tmp_path) == 0
    assert not left.is_trained(tmp_path, 5)


def test_pictures_draw_every_name(cost):
    seconds = {"read, 1 process": [1.0, 2.0], "scored, 1 process": [3.0, 30.0], "scored, 2 shards": [20.0]}
    rows = {name: [10_000, 100_000][-len(values) :] for name, values in seconds.items()}
    figure = scale_figures.growth(rows, seconds, {name: [10**9] * len(v) for name, v in seconds.items()})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*seconds, "in proportion to rows"]
    steps = [Step(model, n, rows, 2, taken(model, rows, 2)) for model, n in PARAMETERS.items() for rows in (512, 2048)]
    assert len(scale_figures.steps_against_rows(steps, cost).axes) == 2
