"""What runs on a GPU: collected where there is one, and reported as not run where there is none."""

import torch

collect_ignore_glob = [] if torch.cuda.is_available() else ["test_*.py"]
