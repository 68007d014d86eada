"""One reader of what users hand over: every kind of array, list and frame, at every place that takes rows."""

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
import torch

import pushforward as pf
from pushforward.errors import InputError
from pushforward.numerics.arrays import as_tensor

VALUES = np.random.default_rng(0).normal(size=(40, 2))
FRAME = pl.DataFrame(VALUES, schema=["a", "b"])


class Frame:
    """A frame of no library, which knows `__array__` alone."""

    def __array__(self, dtype=None, copy=None):
        return VALUES


SAME = {
    "array": VALUES,
    "big-endian": VALUES.astype(">f8"),
    "reversed": VALUES[::-1].copy()[::-1],
    "read-only": np.broadcast_to(VALUES, VALUES.shape),
    "long double": VALUES.astype(np.longdouble),
    "objects": VALUES.astype(object),
    "structured": np.rec.fromarrays(VALUES.T, names="a,b"),
    "masked, nothing missing": np.ma.masked_array(VALUES, mask=np.zeros(VALUES.shape)),
    "list of lists": VALUES.tolist(),
    "tuple of tuples": tuple(map(tuple, VALUES.tolist())),
    "list of arrays": list(VALUES),
    "list of tensors": list(torch.from_numpy(VALUES)),
    "polars": FRAME,
    "lazy polars": FRAME.lazy(),
    "pyarrow": FRAME.to_arrow(),
    "decimals and floats": FRAME.with_columns(pl.col("a").cast(pl.Decimal(38, 30))).cast({"a": pl.Float64}),
    "chunked": pa.table({"a": VALUES[:, 0], "b": pa.chunked_array([VALUES[:20, 1], VALUES[20:, 1]])}),
    "__array__": Frame(),
}  # fmt: skip


@pytest.fixture(scope="module")
def flow():
    torch.manual_seed(0)
    made = pf.recipes.realnvp(2, num_layers=2, preprocessing=[pf.transforms.Standardize(2)])
    made.initialize(VALUES)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def fitted(flow, rows):
    free = pf.recipes.nice(2, num_layers=1)
    return pf.fit(free, rows, num_steps=2, progress=False).rows[-1]["train_loss"]


ENTRIES = {
    "log_prob": lambda flow, rows: flow.log_prob(rows),
    "encode": lambda flow, rows: flow.encode(rows),
    "decode": lambda flow, rows: flow.decode(rows),
    "steps": lambda flow, rows: flow.steps(rows)[-1].value,
    "steps_inverse": lambda flow, rows: flow.steps_inverse(rows)[-1].value,
    "from_base": lambda flow, rows: flow.from_base(1).log_prob(rows),
    "nll": lambda flow, rows: torch.tensor(pf.metrics.nll(flow, rows).mean),
    "mmd": lambda flow, rows: torch.tensor(pf.metrics.mmd(rows, VALUES[:30] + 0.1)),
    "latent_normality": lambda flow, rows: torch.tensor(pf.metrics.latent_normality(rows).mmd),
    "latent_path": lambda flow, rows: pf.latent_path(flow, rows, rows, num_points=2).x,
    "verify": lambda flow, rows: torch.tensor(pf.verify(flow, rows).round_trip_error),
    "as_table": lambda flow, rows: torch.from_numpy(pf.tables.as_table(rows).values),
    "fit": lambda flow, rows: torch.tensor(pf.fit(
        pf.recipes.nice(2, num_layers=1, preprocessing=[pf.transforms.Standardize(2)]), rows, num_steps=2,
        progress=False, seed=1).rows[0]["train_loss"]),
}  # fmt: skip


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("kind", SAME)
def test_every_kind_of_rows_is_read_alike_everywhere(flow, entry, kind):
    with torch.no_grad():
        expected, got = ENTRIES[entry](flow, torch.from_numpy(VALUES)), ENTRIES[entry](flow, SAME[kind])
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-6)


GAP = np.ma.masked_array(VALUES, mask=np.zeros(VALUES.shape))
GAP[3, 1] = np.ma.masked
HOLES = VALUES.astype(object)
HOLES[3, 1] = None
BAD = {
    "masked": (GAP, "1 masked cells .the first in row 4.: leave those rows out or fill them in"),
    "None": (HOLES.tolist(), "1 missing cells .the first in row 4.: leave those rows out or fill them in"),
    "null": (FRAME.with_columns(b=pl.when(pl.col("a") > 1).then(None).otherwise(pl.col("b"))), '"b".* missing'),
    "text": (np.array([["a", "b"], ["c", "d"]]), "text: give numbers"),
    "mixed": (np.array([[1.0, "x"]] * 2, dtype=object), "must hold numbers; one cell holds 'x'"),
    "text column": (FRAME.with_columns(b=pl.lit("x")), '"b".*(must hold numbers|text)'),
    "dates": (np.array([["2020-01-01", "2020-01-02"]], dtype="M8[D]"), "dates: give numbers, such as days"),
    "complex": (VALUES + 1j, "complex numbers"),
    "complex tensor": (torch.zeros(4, 2, dtype=torch.complex64), "complex numbers"),
    "sparse tensor": (torch.eye(2).to_sparse(), "sparse: give .*to_dense"),
    "ragged": ([[1.0, 2.0], [3.0]], "different lengths: give every row the same number of cells"),
    "ragged tensors": ([torch.zeros(2), torch.zeros(3)], "different shapes"),
}


@pytest.mark.parametrize("entry", ["log_prob", "decode", "nll", "mmd", "fit", "latent_path"])
@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_read_is_refused_with_the_remedy_everywhere(flow, entry, kind):
    rows, message = BAD[kind]
    with pytest.raises(InputError, match=message):
        ENTRIES[entry](flow, rows)


@pytest.mark.parametrize(("value", "message"), [
    ({"a": [1.0]}, "x must be an array, a tensor, a data frame or a list of rows; got {'a': .1.0.}"),
    ("rows.csv", "x must be an array, .*; got 'rows.csv'"),
    (None, "x must be an array, .*; got None"),
])  # fmt: skip
def test_what_is_no_array_is_named(flow, value, message):
    with pytest.raises(InputError, match=message):
        flow.log_prob(value)


def test_reading_a_tensor_or_a_plain_array_copies_nothing():
    x = torch.zeros(3, 2)
    assert as_tensor(x, "x") is x
    array = np.zeros((3, 2))
    assert as_tensor(array, "x").data_ptr() == array.ctypes.data


def test_booleans_and_nullable_integers_are_context():
    flow = pf.recipes.nice(2, context_features=2)
    context = pl.DataFrame({"flag": [True, False], "count": [1, 2]})
    expected = flow.log_prob(VALUES[:2], np.array([[1.0, 1.0], [0.0, 2.0]]))
    torch.testing.assert_close(flow.log_prob(VALUES[:2], context), expected)


# ---- context ---------------------------------------------------------------------------------------------------------


def conditional(size):
    torch.manual_seed(0)
    flow = pf.recipes.realnvp(2, num_layers=2, context_features=size)
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return flow


X = torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
C = torch.randn(4, 1, generator=torch.Generator().manual_seed(2))
CALLS = {
    "log_prob": lambda flow, context: flow.log_prob(X, context),
    "encode": lambda flow, context: flow.encode(X, context),
    "decode": lambda flow, context: flow.decode(X, context),
    "steps": lambda flow, context: flow.steps(X, context)[-1].value,
    "nll": lambda flow, context: torch.tensor(pf.metrics.nll(flow, X, context).mean),
    "sample": lambda flow, context: flow.sample(3, context, generator=torch.Generator().manual_seed(0)),
    "sample_and_log_prob": lambda flow, context: flow.sample_and_log_prob(
        3, context, generator=torch.Generator().manual_seed(0))[1],
    "distribution": lambda flow, context: flow.distribution(context).log_prob(X),
    "verify": lambda flow, context: torch.tensor(pf.verify(flow, X, context).round_trip_error),
}  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_one_number_a_row_is_context_as_it_is_for_fit(call):
    flow = conditional(1)
    with torch.no_grad():
        for context in (C[:, 0], C[:, 0].numpy(), C[:, 0].tolist(), pl.Series(C[:, 0].numpy())):
            torch.testing.assert_close(CALLS[call](flow, context), CALLS[call](flow, C))


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("labels", [torch.arange(4), torch.arange(4).to(torch.uint8), np.arange(4), [0, 1, 2, 3],
                                    torch.tensor([True, False, True, True])], ids=str)  # fmt: skip
def test_labels_whose_number_happens_to_fit_are_not_taken_for_one_context(call, labels):
    with pytest.raises(InputError, match=r"labels go in as torch.nn.functional.one_hot\(labels, 4\)"):
        CALLS[call](conditional(4), labels)


@pytest.mark.parametrize("call", CALLS)
def test_a_row_of_floats_is_one_context_for_all(call):
    flow, context = conditional(4), torch.randn(4, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        assert CALLS[call](flow, context).isfinite().all()


def test_one_row_under_many_contexts_is_told_how():
    flow = conditional(3)
    for x in (X[0], X[:1]):
        with pytest.raises(InputError, match=r"one row of x is looked at under 5 contexts as x.expand\(5, -1\)"):
            flow.log_prob(x, torch.zeros(5, 3))
    assert flow.log_prob(X[:1].expand(5, -1), torch.zeros(5, 3)).shape == (5,)
    assert flow.log_prob(X[0].expand(5, -1), torch.zeros(5, 3)).shape == (5,)


# ---- devices, as far as a machine without another one can tell -------------------------------------------------------


def test_a_tensor_elsewhere_is_refused_with_the_remedy(flow):
    with pytest.raises(InputError, match=r"x is on meta, the model on cpu: give x.to\('cpu'\)"):
        flow.log_prob(torch.zeros(3, 2, device="meta"))
    with pytest.raises(InputError, match=r"context is on meta, the model on cpu: give context.to\('cpu'\)"):
        conditional(1).sample(3, torch.zeros(3, 1, device="meta"))


def test_arrays_and_frames_go_to_the_flow(flow):
    away = pf.recipes.realnvp(2, num_layers=2).to("meta")
    for rows in (VALUES, VALUES.tolist(), FRAME):
        assert away.log_prob(rows).device.type == "meta"


class Elsewhere:
    """A generator of another device, which cannot be made here."""

    device = torch.device("cuda")


def test_a_generator_elsewhere_is_refused_with_the_remedy(flow, monkeypatch):
    monkeypatch.setattr("pushforward.numerics.generators.require_kind", lambda *arguments: None)
    with pytest.raises(
        InputError, match=r"generator is on cuda, the flow on cpu: make it with torch.Generator\('cpu'\)"
    ):
        flow.sample(3, generator=Elsewhere())


# ---- floats that are integers in disguise ----------------------------------------------------------------------------


def notes_of(x, **options):
    flow = pf.recipes.nice(x.shape[1], num_layers=1)
    return pf.fit(flow, x, num_steps=1, progress=False, **options).notes


@pytest.mark.parametrize(
    "scaled", [lambda k: k / 255, lambda k: k / 127.5 - 1, lambda k: k, lambda k: (k > 128).float()]
)
def test_images_as_floats_are_told_of_dequantization(scaled):
    k = torch.randint(0, 256, (400, 16), generator=torch.Generator().manual_seed(0)).float()
    (note,) = notes_of(scaled(k))
    assert "levels from" in note
    assert "dequantize=256" in note


def test_real_numbers_few_rows_and_dequantized_integers_are_told_nothing():
    real = torch.randn(400, 4, generator=torch.Generator().manual_seed(0))
    assert notes_of(real) == []
    assert notes_of(real.round(decimals=3)) == []
    assert notes_of(torch.arange(40.0).reshape(10, 4)) == []
    assert notes_of(torch.randint(0, 256, (400, 4)), dequantize=256) == []
