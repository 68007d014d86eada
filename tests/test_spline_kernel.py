"""The Triton spline's arithmetic, in Triton's interpreter; tests/gpu compares the compiled kernel."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="there is no Triton for this system")
CASES = [(bins, inverse) for bins in (2, 8, 17) for inverse in (False, True)]


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    path = tmp_path_factory.mktemp("spline") / "results.pt"
    script = Path(__file__).parent / "spline_in_interpreter.py"
    subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(path)],
        check=True,
        env={**os.environ, "TRITON_INTERPRET": "1"},
    )
    return torch.load(path)


@pytest.mark.parametrize(("bins", "inverse"), CASES)
def test_float64_agrees_with_plain_torch_to_rounding(computed, bins, inverse):
    found = computed["results"]["kernel", torch.float64, bins, inverse]
    wanted = computed["results"]["exact", bins, inverse]
    at_the_end = torch.zeros_like(found[0], dtype=torch.bool)
    at_the_end[1, 2] = True  # torch's clamp has no one-sided derivative at the end of the box
    for name, part, exact in zip(("mapped", "log slope", "by values", "by params"), found, wanted, strict=True):
        if name == "by values":
            part, exact = part.masked_fill(at_the_end, 0.0), exact.masked_fill(at_the_end, 0.0)
        rows = slice(None) if name != "by params" else slice(3, None)
        torch.testing.assert_close(part[rows], exact[rows], rtol=1e-8, atol=1e-9, equal_nan=True, msg=name)


@pytest.mark.parametrize(("bins", "inverse"), CASES)
def test_the_error_of_float32_is_at_most_twice_plain_torchs(computed, bins, inverse):
    results = computed["results"]
    kernel, plain = (results[way, torch.float32, bins, inverse] for way in ("kernel", "plain"))
    for ours, theirs, exact in zip(kernel, plain, results["exact", bins, inverse], strict=True):
        known = exact.isfinite() & ours.isfinite() & theirs.isfinite()
        of_kernel, of_plain = (
            ((part - exact) / (1 + exact.abs()))[known].abs().sort().values for part in (ours, theirs)
        )
        for share in (0.5, 0.95):
            place = int(share * len(of_plain))
            assert of_kernel[place] <= 2 * of_plain[place] + 1e-7


def test_nan_and_the_tails_come_out_as_they_went_in(computed):
    for (bins, inverse), dtype in [(case, dtype) for case in CASES for dtype in (torch.float32, torch.float64)]:
        mapped, log_slope, by_values, by_params = computed["results"]["kernel", dtype, bins, inverse]
        assert mapped[0].tolist()[1:] == [float("inf"), -float("inf")]
        assert mapped[0, 0].isnan()
        assert mapped[1, :2].tolist() == torch.tensor([1e30, -1e30]).tolist()
        assert log_slope[0, 1:].tolist() == [0.0, 0.0] == log_slope[1, :2].tolist()
        assert by_params.unflatten(1, (-1, 3))[1, :, :2].abs().max() == 0
        assert by_values[2:].isfinite().all()


@pytest.mark.parametrize("name", ["transposed", "shared", "no rows"])
def test_rows_and_parameters_of_any_strides(computed, name):
    for found, wanted in zip(*computed["strided"][name], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9, equal_nan=True)
