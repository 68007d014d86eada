"""scikit-learn estimators over a fitted table: a density, and a detector of outliers."""

import tempfile
import warnings
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin, OutlierMixin, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from pushforward.tables.anomalies import judge, usual_of
from pushforward.tables.fit_options import NOT_HELD_OUT
from pushforward.tables.splitting import FEWEST_ROWS_TO_SPLIT
from pushforward.tables.table_model import TableModel

if TYPE_CHECKING:
    from sklearn.utils import Tags

LARGEST_SEED = 2**31 - 1
LEVEL = 0.01
MOST_REPEATS = 20  # of a row, in the mean
HELD_OUT = 0.1  # of the rows, by which a detector knows what is usual


class _TableEstimator(BaseEstimator):
    """What both estimators are: arguments of `TableModel.fit`, and a `TableModel` once they are fitted."""

    _parameter_constraints: dict[str, Any] = {
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "num_steps": [Interval(Integral, 1, None, closed="left"), None],
        "recipe": [str],
        "columns": [dict, list, tuple, str, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        *,
        max_seconds: float | None = None,
        num_steps: int | None = None,
        recipe: str = "auto",
        columns: Any = None,
        random_state: Any = None,
    ) -> None:
        self.max_seconds, self.num_steps, self.recipe = max_seconds, num_steps, recipe
        self.columns, self.random_state = columns, random_state

    def _fit_table(self, X: Any, sample_weight: Any, *, test: float, fewest: int) -> Any:
        """Fit the model to rows, and return these as they are scored."""
        rows = trained = self._rows(X, fewest=fewest)
        if sample_weight is not None:
            trained = self._repeated(rows, _check_sample_weight(sample_weight, X))
        if isinstance(trained, np.ndarray):  # in one order, so that weights and repeated rows are one and the same
            trained = trained[np.lexsort(trained.T[::-1])]
        seed = check_random_state(self.random_state).randint(LARGEST_SEED)
        self.model_ = TableModel.fit(
            trained, max_seconds=self.max_seconds, num_steps=self.num_steps, recipe=self.recipe, columns=self.columns,
            seed=int(seed), test=test, progress=False, notify=_warn,
        )  # fmt: skip
        self.model_.law.module.double()  # what a row scores then depends on no other row
        return rows

    def _rows(self, X: Any, *, fewest: int | None = None) -> Any:
        """Return rows as the model takes them: frames as they are, all else as an array of numbers.

        Args:
            X: The rows.
            fewest: That are needed for a fit, of which names and number of columns are kept; None for one that is done.
        """
        if hasattr(X, "columns"):
            validate_data(self, X, reset=fewest is not None, skip_check_array=True)
            return X
        return validate_data(
            self, X, reset=fewest is not None, dtype=np.float64, ensure_all_finite="allow-nan",
            ensure_min_samples=fewest or 1,
        )  # fmt: skip

    def _repeated(self, rows: Any, weight: np.ndarray) -> Any:
        """Return rows as often as their weights say, up to a common factor; rounded at random where they are not whole,
        or would make too many rows, to a mean of 1.
        """
        import narwhals as nw

        if (weight < 0).any():
            raise ValueError("sample_weight must not be negative.")
        times = np.round(np.minimum(weight, LARGEST_SEED)).astype(int)
        whole = bool((weight == times).all())
        if whole:
            times //= np.gcd.reduce(times)
        if not whole or times.sum() > MOST_REPEATS * len(times):
            # Systematic sampling: each row is there as often as its weight, rounded up or down.
            ends = np.concatenate(([0.0], np.cumsum(weight / weight.mean())))
            times = np.diff(np.floor(ends + check_random_state(self.random_state).uniform())).astype(int)
        places = np.repeat(np.arange(len(times)), times)
        if isinstance(rows, np.ndarray):
            return rows[places]
        return nw.to_native(nw.from_native(rows, eager_only=True)[places])

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "model.safetensors"
                state.pop("model_").save(file)
                state["model_file"] = file.read_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        content = state.pop("model_file", None)
        if content is not None:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "model.safetensors"
                file.write_bytes(content)
                state["model_"] = TableModel.load(file)
        super().__setstate__(state)


def _warn(warning: str) -> None:
    """Pass a warning about the table on; that figures flatter a model is none where no one asks for these."""
    if not warning.startswith(NOT_HELD_OUT):
        warnings.warn(warning, stacklevel=2)


class FlowDensity(DensityMixin, _TableEstimator):
    """The density of the rows of a table, with scikit-learn's methods.

    `fit` takes an array, or a data frame whose columns are of any kind: numbers, categories, dates, missing cells. It
    is `TableModel.fit`, and `model_` is the `TableModel` that it made, which answers all other questions. A pickle
    holds the model as a safe model file.

    Args:
        max_seconds: Most seconds of training; 60 by default.
        num_steps: Most training steps instead: with a `random_state` two fits are then the same.
        recipe: As in `TableModel.fit`.
        columns: Columns to use, or kinds of some, as in `TableModel.fit`.
        random_state: Decides split, initial weights and training.

    Attributes:
        model_: The fitted `TableModel`; rows of an array were put into the order of their values before.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, where the data had such.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> X = np.random.default_rng(0).normal(size=(200, 2))
        >>> density = pf.FlowDensity(num_steps=20, random_state=0).fit(X)
        >>> density.score_samples(X).shape, density.sample(3).shape
        ((200,), (3, 2))
    """

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: None = None, sample_weight: Any = None) -> Self:
        """Fit the density to rows.

        Args:
            X: (n, columns), an array or a data frame of any library, at least 3 rows.
            y: Not used.
            sample_weight: (n,), how often each row counts, up to a common factor. Whole numbers are as good as repeated
                rows; others, and large ones, are rounded at random, so that they are right in the mean. Copies of a row
                may train, choose the weights that are kept, and be held out: rows of many copies are learned by heart
                sooner, and a detector's p-values are then those of rows that trained.

        Raises:
            ValueError: If the rows cannot be fitted; the message says what to do.
        """
        self._fit_table(X, sample_weight, test=0, fewest=3)
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Return the log probability of each row in nats, (n,); the measure is that of `TableModel.log_prob`."""
        check_is_fitted(self)
        return self.model_.log_prob(self._rows(X))

    log_prob = score_samples

    def score(self, X: Any, y: None = None, sample_weight: Any = None) -> float:
        """Return the mean log probability of rows in nats, weighted by `sample_weight` if given."""
        scores = self.score_samples(X)
        if sample_weight is None:
            return float(scores.mean())
        return float(np.average(scores, weights=_check_sample_weight(sample_weight, scores[:, None])))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw rows of the kind that was fitted: an array of numbers, or a data frame."""
        check_is_fitted(self)
        return self.model_.sample(n_samples, seed=int(check_random_state(random_state).randint(LARGEST_SEED)))


class FlowOutlierDetector(OutlierMixin, _TableEstimator):
    """Outliers by how rare a row's rarest cell is given its others, or all its cells together.

    See `TableModel.anomalies`, which says of `model_` which column is responsible, and why.

    Args:
        contamination: Share of outliers among the rows of `fit`, in (0, 0.5]; "auto": a row is an outlier where its
            conformal p-value is at most 0.01, which is the rate of false alarms, whatever the model is worth; beside
            fewer than 99 held-out rows where none of them is as rare.
        max_seconds: As in `FlowDensity`, and so all others.
        num_steps: Likewise.
        recipe: "auto" alone: a flow alone knows nothing of single cells.
        columns: Likewise.
        random_state: Likewise.

    Attributes:
        model_: The fitted `TableModel`.
        offset_: Score from which on a row is an inlier.
        n_features_in_: Number of columns.
        feature_names_in_: Their names, where the data had such.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> X = np.random.default_rng(0).normal(size=(300, 2))
        >>> detector = pf.FlowOutlierDetector(num_steps=20, random_state=0).fit(X)
        >>> detector.predict(np.array([[0.0, 0.1], [9.0, -9.0]])).tolist()
        [1, -1]
    """

    _parameter_constraints: dict[str, Any] = {
        **_TableEstimator._parameter_constraints,
        "contamination": [StrOptions({"auto"}), Interval(Real, 0, 0.5, closed="right")],
    }

    def __init__(
        self,
        *,
        contamination: Any = "auto",
        max_seconds: float | None = None,
        num_steps: int | None = None,
        recipe: str = "auto",
        columns: Any = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            max_seconds=max_seconds, num_steps=num_steps, recipe=recipe, columns=columns, random_state=random_state
        )
        self.contamination = contamination

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: None = None, sample_weight: Any = None) -> Self:
        """Fit the model to 10 rows or more, of which some may be outliers, as `FlowDensity.fit`; hold a tenth out."""
        if self.recipe != "auto":
            raise ValueError(f'recipe must be "auto": a flow alone knows nothing of single cells; got {self.recipe!r}.')
        rows = self._fit_table(X, sample_weight, test=HELD_OUT, fewest=FEWEST_ROWS_TO_SPLIT)
        self.model_.learn_usual()
        if self.contamination == "auto":
            self.offset_ = -usual_of(self.model_.law).threshold(LEVEL)
        else:
            self.offset_ = float(np.percentile(self.score_samples(rows), 100.0 * self.contamination))
        return self

    def score_samples(self, X: Any) -> np.ndarray:
        """Return minus the rarity of each row in nats, (n,): the lower, the rarer."""
        check_is_fitted(self)
        law = self.model_.law
        return -judge(law, law.table_of(self._rows(X)), usual_of(law)).score

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the score over the offset, (n,): below 0 of outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:
        """Return 1 of inliers and -1 of outliers, (n,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)
