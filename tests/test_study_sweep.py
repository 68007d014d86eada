"""The sweep: its plan, the guided search, and runs whose result does not depend on who makes them."""

from dataclasses import replace
from functools import partial

import pytest

from pushforward.errors import RunError
from pushforward.studies.kit import Record, file_name, workers
from pushforward.studies.kit.cells import Found, complete
from pushforward.studies.sweep import moons_run, realnvp_settings, search
from pushforward.studies.sweep.moons_run import MoonsRun
from pushforward.studies.sweep.plan import FIRST, MOST, SETTINGS, SweepPlan, random_settings

TINY = {"points": 128, "epochs": 1, "learning_rate": 1e-3, "width": 4, "blocks": 1}


@pytest.fixture
def record(tmp_path):
    return Record("sweep", realnvp_settings.TITLE, realnvp_settings.SOURCE, tmp_path)


# ---- the plan --------------------------------------------------------------------------------------------------------


def test_the_first_cell_is_the_sources_start(record):
    first = SweepPlan(record).known([0, 1, 2])[0]
    assert (first.settings, first.kind) == (FIRST, "first")
    assert [FIRST[name] for name in ("points", "epochs", "learning_rate", "blocks")] == [1_000, 10, 1e-3, 2]


def test_every_effect_differs_from_the_centre_in_its_own_setting_alone(record):
    plan = SweepPlan(record)
    effects = [cell for cell in plan.known([0]) if cell.kind == "effect"]
    for one in effects:
        assert [name for name in SETTINGS if one.settings[name] != plan.centre[name]] == [one.changed]
    assert {one.changed for one in effects} == set(SETTINGS)


@pytest.mark.parametrize("quick", [False, True])
def test_no_two_cells_share_a_file(record, quick):
    plan, seeds = SweepPlan(replace(record, quick=quick)), [0, 1, 2]
    cells = [
        *plan.known(seeds),
        *(plan.cell(kind, seed, FIRST) for kind in ("guided", "best", "ours") for seed in seeds),
    ]
    assert len({file_name(one.name) for one in cells}) == len(cells)


def test_random_settings_depend_on_the_seed_alone_and_keep_to_their_ranges():
    assert random_settings(3) == random_settings(3) != random_settings(4)
    for seed in range(50):
        for name, value in random_settings(seed).items():
            assert SETTINGS[name].low <= value <= MOST[name]


# ---- the guided search -----------------------------------------------------------------------------------------------


def made_up(seed):
    """Return a run that validates best with many points and epochs."""
    settings = random_settings(seed)
    return Found(
        cell=MoonsRun("", "random", seed, settings, "", 200, 50),
        validation=1e4 / settings["points"] / settings["epochs"],
    )


def test_suggestions_depend_on_the_runs_and_the_seed_and_follow_what_validates_well():
    runs = [made_up(seed) for seed in range(40)]
    first, again, other = (search.suggested(runs, seed, MOST) for seed in (1, 1, 2))
    assert first == again != other
    suggestions = [search.suggested(runs, seed, MOST) for seed in range(20)]
    for one in suggestions:
        assert all(SETTINGS[name].low <= one[name] <= MOST[name] for name in SETTINGS)
    assert sorted(one["points"] * one["epochs"] for one in suggestions)[10] > 30_000  # evenly drawn ones: 6,000


# ---- runs ------------------------------------------------------------------------------------------------------------


def of_workers(left, *given):
    """Complete cells by so many workers the first time, and in this process from then on."""
    return complete(*given, num_workers=left.pop() if left else 0)


def test_the_result_does_not_depend_on_the_number_of_workers(record, monkeypatch):
    most = {"points": 200, "epochs": 2, "learning_rate": 3e-2, "width": 8, "blocks": 2}
    plan = SweepPlan(record)
    plan.centre, plan.levels, plan.most, plan.ours = TINY, {}, most, TINY
    plan.num_random, plan.num_guided, plan.test_points, plan.compared = 0, 1, 200, 50
    monkeypatch.setattr(Record, "seeds", lambda record: [record.seed])
    monkeypatch.setattr(workers, "POLL_SECONDS", 0.05)
    made = {}
    for num_workers in (0, 2):
        left = [num_workers]  # two runs at once; what is chosen by what they found is then made here
        monkeypatch.setattr(realnvp_settings, "complete", partial(of_workers, left))
        runs = realnvp_settings._runs(replace(record, out=record.out / str(num_workers)), plan)
        made[num_workers] = [(one.cell, one.validation, one.excess, one.mmd) for one in runs]
    cells = [cell for cell, *_ in made[0]]
    assert [cell.kind for cell in cells] == ["first", "centre", "guided", "best", "ours"]
    assert not {cell.seed for cell in cells[:3]} & {cell.seed for cell in cells[3:]}  # seeds without a part in choosing
    assert made[0] == made[2]


def test_a_training_that_fails_with_a_reason_is_not_repeated(record, monkeypatch):
    calls = []

    def diverging(*arguments, **options):
        calls.append(arguments)
        raise RunError("it diverged")

    monkeypatch.setattr(moons_run, "fit", diverging)
    cell = MoonsRun("a", "effect", 0, TINY, "points", 200, 50)
    for _ in range(2):
        (found,) = complete(record, [cell], num_workers=0)
    assert (found.failure, len(calls)) == ("it diverged", 1)
