"""Columns of numbers that come round again: hours, angles, months."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import vonmises

import pushforward as pf
from pushforward.tables.circle import Circle
from pushforward.tables.encoders import encoder_of
from pushforward.tables.kinds import kind_of
from pushforward.tables.stored_encoders import encoder_from

RNG = np.random.default_rng(0)
N = 2000
HOURS = RNG.normal(23.5, 2.5, N).round().astype(int) % 24


def fit(frame, kinds, **options):
    return pf.TableModel.fit(
        frame, columns=kinds, progress=False, notify=lambda warning: None, **{"num_steps": 20} | options
    )


@pytest.fixture(scope="module")
def hours():
    busy = RNG.poisson(np.where((HOURS + 6) % 24 < 8, 9, 2))
    return fit(pl.DataFrame({"hour": HOURS, "busy": busy}), {"hour": "periodic:24"})


def alone(hour):
    return pl.DataFrame({"hour": hour, "busy": [None] * len(hour)}, schema={"hour": pl.Int64, "busy": pl.Int64})


def test_angles_around_the_end_of_the_range_are_learned_as_well_as_others():
    law = vonmises(4)
    angles, fresh = (np.degrees(law.rvs(n, random_state=seed)) % 360 for n, seed in ((N, 0), (4000, 1)))
    model = fit(pl.DataFrame({"angle": angles, "x": RNG.normal(size=N)}), {"angle": "periodic:360"}, num_steps=150)
    rows = pl.DataFrame({"angle": fresh, "x": [None] * 4000}, schema={"angle": pl.Float64, "x": pl.Float64})
    excess = law.logpdf(np.radians(fresh)) - np.log(180 / np.pi) - model.log_prob(rows)
    assert -3 * excess.std() / 4000**0.5 < excess.mean() < 0.1
    samples = model.sample(2000, seed=0)["angle"].to_numpy()
    assert (samples >= 0).all()
    assert (samples < 360).all()
    assert abs(np.exp(1j * np.radians(samples)).mean() - np.exp(1j * np.radians(angles)).mean()) < 0.05


def test_hours_are_read_modulo_the_period_and_sum_to_one(hours):
    day = hours.log_prob(alone(range(24)))
    np.testing.assert_allclose(hours.log_prob(alone(range(24, 48))), day)
    np.testing.assert_allclose(hours.log_prob(alone(range(-24, 0))), day)
    assert np.exp(day).sum() == pytest.approx(1, abs=1e-3)


def test_hours_before_and_after_midnight_are_neighbours(hours):
    encoder = hours.law.answers.fitted["hour"].encoder
    z = encoder.encode(pl.Series([22, 23, 24, 1, 2]))[0].z
    assert (np.diff(z) > 0).all()
    law = hours.predict(pl.DataFrame({"busy": [5]}), "hour")
    assert law["mean"][0] == pytest.approx(23.5, abs=1.5)
    assert law["std"][0] < 5


def test_samples_are_the_tables_hours_and_of_its_type(hours):
    samples = hours.sample(1000, seed=0)
    assert samples.schema == {"hour": pl.Int64, "busy": pl.Int64}
    assert set(samples["hour"]) <= set(range(24))
    assert abs(np.exp(2j * np.pi / 24 * samples["hour"].to_numpy()).mean()) > 0.5
    assert (samples["hour"] > 20).any()
    assert (samples["hour"] < 3).any()
    assert set(hours.sample(3, given={"hour": 23}, seed=0)["hour"]) == {23}


def test_it_comes_back_from_its_file(hours, tmp_path):
    hours.save(tmp_path / "m.safetensors")
    again = pf.TableModel.load(tmp_path / "m.safetensors")
    assert again.columns == hours.columns
    assert (again.columns[0].kind, again.columns[0].low, again.columns[0].high) == ("periodic", 0, 24)
    assert again.sample(9, seed=1).equals(hours.sample(9, seed=1))
    assert again.law.answers.fitted["hour"].kind == hours.law.answers.fitted["hour"].kind


def test_text_comes_back_as_it_stood(run):
    pl.DataFrame({"hour": HOURS, "x": RNG.normal(size=N)}).write_csv("t.csv")
    code, out, err = run("fit", "t.csv", "--steps", 2, "--columns", "hour=periodic:24")
    assert code == 0, err
    assert "hour  periodic: as asked for, comes round after 24" in out
    assert pl.read_csv("pushforward-out/samples.csv")["hour"].dtype == pl.Int64
    assert run("score", "pushforward-out", "t.csv", "--out", "s.csv")[0] == 0


@pytest.mark.parametrize(
    ("values", "period", "start"),
    [
        (RNG.integers(0, 24, 500), 24, 0),
        (RNG.integers(1, 13, 500), 12, 1),
        (RNG.uniform(-180, 180, 500), 360, -180),
        (RNG.uniform(0, 6.28, 500), 6.283185307179586, 0),
        (RNG.uniform(0, 720, 500), 360, 0),
        (RNG.integers(0, 1440, 5000) / 10, 24, 0),
    ],
    ids=["hours", "months", "degrees of both signs", "radians", "two turns", "tenths of six days"],
)
def test_numbers_come_back_in_the_tables_own_range(values, period, start):
    cells = pl.Series(values.astype(float))
    encoder = encoder_of("periodic", cells, period=period)
    assert encoder.ends == (start, start + period)
    assert encoder_from(encoder.to_dict()).circle == encoder.circle
    encoded, _ = encoder.encode(cells)
    again = encoder.decode(encoded.code, encoded.z).to_numpy()
    assert (start <= again).all()
    assert (again < start + period).all()
    turns = (again - values) / period
    np.testing.assert_allclose(turns, turns.round(), atol=1e-9)
    if period == 24:
        assert encoder.grid.step == (1 if values.max() < 24 else pytest.approx(0.1))


def test_a_circle_is_cut_in_its_widest_gap():
    values = np.r_[RNG.normal(0, 20, 500) % 360, RNG.normal(120, 15, 500)]
    assert 210 < Circle.of(360, values, values).cut < 310
    assert Circle.of(24, np.array([1.0, 3.0]), np.array([1.0, 3.0])).cut == 14


def test_a_step_divides_the_period():
    assert encoder_of("periodic", pl.Series([0.0, 2.0, 4.0] * 30), period=7).grid.step == 1
    assert encoder_of("periodic", pl.Series([0.0, 2.0, 4.0] * 30), period=8).grid.step == 2


def test_whole_numbers_are_cells_also_where_none_repeats():
    assert encoder_of("periodic", pl.Series(np.arange(0.0, 360, 7)), period=360).grid.step == 1


def test_the_same_number_of_several_turns_is_one_and_none_lies_at_the_end():
    circle = Circle(24, 20, 0)
    assert set(circle.opened(np.array([23.9, 47.9, 71.9, -0.1]))) == {23.9}
    assert set(circle.closed(np.array([-1e-17, 24, 48, 0]))) == {0}


@pytest.mark.parametrize("asked", ["periodic", "periodic:", "periodic:day", "periodic:-1", "periodic:inf"])
def test_a_period_is_asked_for(asked):
    with pytest.raises(pf.InputError, match=f'column "c" cannot be "{asked}" .*periodic:24'):
        kind_of(pl.Series("c", [1, 2, 3]), asked=asked)


def test_words_are_no_periodic_numbers():
    with pytest.raises(pf.InputError, match='row 2: "noon" is not a number'):
        kind_of(pl.Series("c", ["1", "noon"]), asked="periodic:24")
