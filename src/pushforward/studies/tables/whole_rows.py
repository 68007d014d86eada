"""Whole rows of mixed tables: do trees tell samples from rows, and how far are the probabilities from a known law?"""

from pushforward.studies.kit import Record
from pushforward.studies.tables import known_law, peers, real_rows
from pushforward.studies.tables.detection import FOLDS, SEEDS, classifier_name
from pushforward.studies.tables.sources import UNKNOWN, real_tables, split

TITLE = "Whole rows of mixed tables: do trees tell samples from rows?"
SOURCE = "papers on synthetic tables (TabSyn, arXiv:2310.09656; TabPC, arXiv:2603.23016) and their detection score"


def run(record: Record) -> None:
    """Measure ours and the peers on the real tables, then ours on the table of known law."""
    judge = classifier_name()
    record.number("judge", judge)
    record.text(
        f"Detection score: as many samples as training rows, judged by {judge} with default parameters on two "
        f"threads; 2 (1 - AUC), at most 1, over {FOLDS} stratified folds, mean over {len(SEEDS)} seeds of them. 1: "
        "nothing tells samples from rows; 0: everything does. Numbers enter as they are, categories one-hot over "
        f"the levels of both sets, a missing cell ('{UNKNOWN}' in the file) one of them. A tenth, the end of "
        "numpy.random.default_rng(0).permutation, is held out; of the rest ours keeps a tenth to choose its weights."
    )
    if peers.environment() is None:
        record.text("Peers are not measured: their environment is not here (make table-peers).")
    for name, rows in real_tables(record).items():
        real_rows.compare(record, name, *split(rows))
    known_law.measure(record)
