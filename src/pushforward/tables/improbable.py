"""What a user is told of cells that are given and that the table hardly ever had together."""

from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.report.wording import number
from pushforward.tables.encoders import NumberEncoder

if TYPE_CHECKING:
    from pushforward.tables.laws import Law

DRAWS, MOST_LOOKED_AT = 1_000, 10
MANY = 1e9


def note_on_given(law: "Law", given: Any, called: str) -> str:
    """Return a warning if cells that are given are less probable than in any of 1,000 rows drawn; "" if not.

    Args:
        law: What answers.
        given: What the user gives. Ten rows are looked at, given context one: among many some are rare by chance.
        called: What messages call it.
    """
    answers = law.answers
    if answers is None or given is None:
        return ""
    known = answers.given(given, called)
    assert known is not None
    context = [name for name in known.columns if name in law.schema.context]
    names = [name for name in known.columns if name in law.schema.modelled]
    whole = known.drop_nulls().head(1 if context else MOST_LOOKED_AT)
    if not names or not whole.height:
        return ""
    drawn = law.sample(DRAWS, whole.select(context) if context else None, complete=True, temperature=1.0, seed=0)
    usual = answers.log_prob(answers.read(drawn, [*context, *names]))
    theirs = answers.log_prob(whole)
    improbable = np.flatnonzero(theirs < usual.min())
    if not len(improbable):
        return ""
    least = int(improbable[theirs[improbable].argmin()])
    row = answers.written(whole[least].select(names))
    cells = ", ".join(f"{name}={row[name][0]}" for name in names)
    densities = [
        one for name in names if isinstance(one := answers.fitted[name].encoder, NumberEncoder) and not one.grid
    ]
    times = float(np.exp(min(-theirs[least], 700.0)))
    rows = f"{times:,.0f}" if times < MANY else f"{times:.0e}"
    how = f"log_prob {number(theirs[least])}" if densities else f"about 1 row in {rows}"
    more = f" and {len(improbable) - 1:,} more rows that are given" if len(improbable) > 1 else ""
    return (
        f"{cells}{more}: less probable than in any of {DRAWS:,} rows drawn ({how}), so rows given this are more the"
        " model's guess than the table's"
    )
