"""`watch` of `fit`: who looks between steps sees every one asked for, and changes nothing but the end."""

import pytest
import torch

import pushforward as pf
from pushforward.errors import InputError
from pushforward.kernels.switch import kernels

X = pf.data.two_moons(2000, seed=0).x


def small(dropout=0.0):
    torch.manual_seed(0)
    return pf.recipes.nsf(2, num_layers=2, hidden_features=(8,), dropout=dropout)


def weights(flow):
    return torch.cat([value.detach().flatten() for value in flow.parameters()])


def fit(flow, **options):
    return pf.fit(flow, X, num_steps=230, batch_size=64, progress=False, **options)


@pytest.mark.parametrize("in_c", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_run_that_is_watched_is_the_same_run(in_c, dropout):
    with kernels(in_c):
        plain, watched = small(dropout), small(dropout)
        fit(plain)
        seen = []

        def watch(step):
            seen.append(step)
            watched.sample(10)
            assert not watched.training
            return 7

        history = fit(watched, watch=watch)
    assert seen == [*range(0, 230, 7), 230]
    assert torch.equal(weights(plain), weights(watched))
    assert history.stopped_because == "finished"


def test_the_beginning_of_a_longer_run_is_that_run_there():
    kept = {}

    def keep(step):
        kept[step] = weights(whole).clone()
        return 1

    whole, part = small(), small()
    fit(whole, validation=None, watch=keep)
    history = fit(part, validation=None, watch=lambda step: 123 - step)
    assert history.stopped_because == "ended by watch"
    assert history.steps == history.rows[-1]["step"] == 123
    assert torch.equal(weights(part), kept[123])
    assert sorted(kept) == list(range(231))


def test_a_run_can_be_ended_before_its_first_step():
    flow = small()
    history = fit(flow, watch=lambda step: None)
    assert history.steps == 0
    assert len(history.rows) == 1


@pytest.mark.parametrize("answer", [-1, 1.5, "soon"])
def test_a_wrong_answer_is_refused(answer):
    with pytest.raises(InputError, match="what watch returns, must be an integer of at least 1"):
        fit(small(), watch=lambda step: answer)


def test_a_run_with_a_folder_is_not_watched(tmp_path):
    with pytest.raises(InputError, match="watch must be a function of the number of steps, in a run without out="):
        fit(small(), watch=lambda step: 1, out=tmp_path)
    with pytest.raises(InputError, match="watch must be a function"):
        fit(small(), watch=3)
