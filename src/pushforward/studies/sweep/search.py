"""What Optuna says of the runs of the study `sweep`: settings worth trying next, and how much each setting matters."""

import math
from collections.abc import Callable, Mapping, Sequence

from pushforward.errors import InputError
from pushforward.studies.kit.cells import Found
from pushforward.studies.sweep.cells import Settings
from pushforward.studies.sweep.plan import COUNTS, SETTINGS

try:
    import optuna
except ModuleNotFoundError as error:
    raise InputError("the study sweep needs optuna: pip install 'pushforward[studies]'") from error
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution


def suggested(runs: Sequence[Found], seed: int, most: Settings) -> dict[str, float]:
    """Return settings up to `most` that may validate better than those of all runs, by TPE (see Optuna)."""
    study = _study(runs, {name: _range(name, high) for name, (_, high) in SETTINGS.items()}, lambda one: one.validation)
    study.sampler = optuna.samplers.TPESampler(seed=seed)
    return study.ask({name: _range(name, most[name]) for name in SETTINGS}).params


def importances(runs: Sequence[Found], seed: int) -> dict[str, float]:
    """Return the share of the variance of log excess that each setting explains, by fANOVA with a random forest."""
    tried = {name: [one.cell.settings[name] for one in runs] for name in SETTINGS}
    ranges = {
        # one value would leave nothing to explain, and no range
        name: FloatDistribution(min(values), max(*values, min(values) * 1.001), log=True)
        for name, values in tried.items()
    }
    study = _study(runs, ranges, lambda one: math.log(max(one.excess, 1e-6)))
    return optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=seed)
    )


def _study(
    runs: Sequence[Found], ranges: Mapping[str, BaseDistribution], value: Callable[[Found], float]
) -> optuna.Study:
    """Return a study in memory that has the runs as its finished trials."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study()
    for one in runs:
        settings = {name: one.cell.settings[name] for name in SETTINGS}
        study.add_trial(optuna.trial.create_trial(params=settings, distributions=dict(ranges), value=value(one)))
    return study


def _range(name: str, high: float) -> BaseDistribution:
    low, _ = SETTINGS[name]
    return IntDistribution(int(low), int(high), log=True) if name in COUNTS else FloatDistribution(low, high, log=True)
