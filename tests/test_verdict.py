"""What a flow gains over another density on the same rows, and the sentence that says so."""

import dataclasses

import pytest
import torch

import pushforward as pf
from pushforward.report.wording import verdict


def gaussian(std):
    return pf.Flow(pf.transforms.Scale([1 / std, 1 / std]), pf.bases.StandardNormal(2))


def test_the_gain_is_the_mean_difference_of_log_prob_with_the_error_of_the_differences():
    x = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    gain = pf.metrics.gain(gaussian(1.0), gaussian(1.1), x)
    difference = gaussian(1.0).log_prob(x) - gaussian(1.1).log_prob(x)
    assert gain.mean == pytest.approx(difference.mean().item(), abs=1e-6)
    assert gain.standard_error == pytest.approx(difference.std().item() / 500**0.5, rel=1e-3)
    assert gain.standard_error < pf.metrics.nll(gaussian(1.0), x).standard_error / 3
    back = pf.metrics.gain(gaussian(1.1), gaussian(1.0), x)
    assert back.mean == pytest.approx(-gain.mean)


@pytest.mark.parametrize(
    ("mean", "error", "sentence"),
    [
        (0.3, 0.1, "this flow is better than the best of the others (Gaussian) by 0.300 ± 0.100 nats a row"),
        (-0.3, 0.1, "one of the others (Gaussian) is better than this flow by 0.300 ± 0.100 nats a row"),
        (0.19, 0.1, "the best of the others (Gaussian) does as well as this flow: the difference is 0.190 ± 0.100"),
        (-0.19, 0.1, "the best of the others (Gaussian) does as well as this flow: the difference is 0.190 ± 0.100"),
        (float("inf"), float("nan"), "no difference to the best of the others (Gaussian) can be told"),
    ],
)
def test_who_wins_is_said_with_the_paired_error_and_a_tie_as_a_tie(mean, error, sentence):
    score = pf.metrics.nll(gaussian(1.0), torch.zeros(2, 2))
    gain = dataclasses.replace(score, mean=mean, standard_error=error)
    assert verdict("Gaussian", gain).startswith(sentence)


def test_a_flow_that_loses_to_a_gaussian_is_told_so():
    x = torch.randn(400, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x[:, 1] += 5 * x[:, 0]
    model = pf.TableModel.fit(x, recipe="nsf", num_steps=1, progress=False)
    assert "is better than this flow by" in model.fitted.verdict
    assert "train longer" in model.fitted.verdict
