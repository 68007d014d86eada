"""The first cell of every notebook: smaller sizes for a quick look, and checks that answer in words."""

import os
from collections.abc import Callable
from typing import Any

from IPython import get_ipython

import pushforward as pf

QUICK = bool(os.environ.get("PUSHFORWARD_QUICK"))  # a quick look: small sizes, whose numbers say nothing


def check(test: Callable[[], Any]) -> None:
    """Run a test of your answer at once, and say what came out.

    Args:
        test: Returns None if the answer is right; else what is wrong, in words or as `pf.verify` found it. Its
            docstring says what is right.
    """
    try:
        wrong = test()
    except NotImplementedError:
        wrong = "NotImplementedError"
    except NameError as error:
        wrong = f"run the cells above first, or fill their gaps ({error})."
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    problems = getattr(wrong, "problems", [wrong] if wrong else [])
    if any("NotImplementedError" in problem or "ellipsis" in problem for problem in problems):
        problems = ["there is still a gap to fill above."]
    print(f"Not yet: {'; '.join(problems)}" if problems else f"Right: {test.__doc__}")


def _gap(shell: Any, kind: type, error: Exception, *more: Any, **options: Any) -> None:
    left = f": {error}" if kind is NameError else ""
    print(f"Not yet: there is still a gap to fill above{left}.")


if get_ipython() is not None:
    get_ipython().set_custom_exc((NotImplementedError, NameError), _gap)


def mnist(size: int = 28) -> pf.data.Digits:
    """Return MNIST where PUSHFORWARD_DATA names its folder; else, or for a quick look, the package's 600 images."""
    whole = os.environ.get("PUSHFORWARD_DATA") and not QUICK
    return pf.data.mnist(size=size) if whole else pf.data.mnist_sample(size=size)
