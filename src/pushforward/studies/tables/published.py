"""Detection scores that papers report: trees against samples, 1 if they see nothing; of models trained on GPUs."""

from types import MappingProxyType

WHERE = "TabPC's paper, arXiv:2603.23016; GPU"
SCORES = MappingProxyType(
    {
        "magic04": {
            "TabPC": 0.860,
            "TabDiff": 0.773,
            "TabSyn": 0.760,
            "mixture": 0.626,
            "CTGAN": 0.103,
            "independent columns": 0.005,
        },
        "adult": {"TabPC": 0.855, "TabDiff": 0.841, "TabSyn": 0.794, "mixture": 0.773},
    }
)
