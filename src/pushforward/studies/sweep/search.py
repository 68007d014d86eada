"""What Optuna says of the runs of the study `sweep`: settings worth trying next, and how much each setting matters."""

import math
from collections.abc import Iterable, Sequence

from pushforward import InputError
from pushforward.studies.kit.cells import Found
from pushforward.studies.sweep.moons_run import Settings
from pushforward.studies.sweep.plan import COUNTS, SETTINGS

try:
    import optuna
except ModuleNotFoundError as error:
    raise InputError("the study sweep needs optuna: pip install 'pushforward[studies]'") from error
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution


def suggested(runs: Sequence[Found], seed: int, most: Settings) -> dict[str, float]:
    """Return settings up to `most` that may validate better than those of all runs, by TPE (see Optuna)."""
    swept = {name: setting.high for name, setting in SETTINGS.items()}
    study = _study((one, _ranges(most if one.cell.kind == "guided" else swept), one.validation) for one in runs)
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    return study.ask(_ranges(most)).params


def importances(runs: Sequence[Found], seed: int) -> dict[str, float]:
    """Return the share of the variance of log excess that each setting explains, by fANOVA, the largest first."""
    ranges: dict[str, BaseDistribution] = {}
    for name in SETTINGS:
        tried = [one.cell.settings[name] for one in runs]
        # one value would leave nothing to explain, and no range
        ranges[name] = FloatDistribution(min(tried), max(*tried, min(tried) * 1.001), log=True)
    study = _study((one, ranges, math.log(max(one.excess, 1e-6))) for one in runs)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _ranges(most: Settings) -> dict[str, BaseDistribution]:
    return {
        name: IntDistribution(int(setting.low), int(most[name]), log=True)
        if name in COUNTS
        else FloatDistribution(setting.low, most[name], log=True)
        for name, setting in SETTINGS.items()
    }


def _study(trials: Iterable[tuple[Found, dict[str, BaseDistribution], float]]) -> optuna.Study:
    """Return a study in memory that has runs as its finished trials, each with the ranges and value given."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    for one, ranges, value in trials:
        settings = {name: one.cell.settings[name] for name in SETTINGS}
        study.add_trial(optuna.trial.create_trial(params=settings, distributions=ranges, value=value))
    return study
