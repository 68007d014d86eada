"""What is asked of a fitted table: which rows are unusual, what missing cells held, what a column is given others."""

from functools import partial

from pushforward.studies.kit import Record
from pushforward.studies.tables import imputation, outliers, prediction
from pushforward.studies.tables.labelled_tables import breast_cancer, gamma_rays, of_known_law, planted
from pushforward.studies.tables.outliers import Anomalies
from pushforward.studies.tables.sources import real_tables

TITLE = "Questions to a fitted table: anomalies, missing cells, predictions"
SOURCE = "what users ask of a table, against detectors, imputers and quantile models of scikit-learn"
ROWS = 20_000  # of the known law
WRONG = "one cell of 1 % of the rows is another row's"


def run(record: Record) -> None:
    """Measure the three questions on real tables and on one of known law."""
    tables = real_tables(record)
    num_rows = record.size(ROWS, quick=1_500)
    labelled = {
        "known law": Anomalies(WRONG, partial(of_known_law, num_rows)),
        "known law, paid": Anomalies(
            f"{WRONG}, of the column paid", lambda seed: of_known_law(num_rows, seed, ["paid"])
        ),
    }
    if not record.quick:
        labelled["breast cancer"] = Anomalies("malignant rows among benign ones", breast_cancer, repeated=True)
    for name in ("adult", "protein"):
        if name in tables:
            labelled[name] = Anomalies(WRONG, partial(planted, tables[name]))
    if "magic04" in tables:
        labelled["gamma rays"] = Anomalies("hadrons among gamma rays", partial(gamma_rays, tables["magic04"]))
    outliers.measure(record, labelled)
    imputation.measure(record, {name: rows for name, rows in tables.items() if name != "protein"})
    prediction.measure(record, tables)
