"""`pushforward` and `python -m pushforward`: runs a command and turns errors into one line and an exit code."""

import os
import sys
from collections.abc import Sequence

from pushforward.errors import InputError, RunError

TRACEBACK = "PUSHFORWARD_TRACEBACK"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 2 for bad input, 1 for a failed run, 130 after Ctrl-C.

    Args:
        arguments: Those of the command line by default.
    """
    from cyclopts import CycloptsError

    from pushforward.cli import app

    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except (InputError, CycloptsError) as error:
        return _fail(error, 2)
    except RunError as error:
        return _fail(error, 1)
    except KeyboardInterrupt as error:
        return _fail(error if error.args else "interrupted", 130)
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        where = f"set {TRACEBACK}=1 to see where, and please report it"
        text = " ".join(str(error).split())
        return _fail(f"unexpected {type(error).__name__}: {text[:200]} (a bug in pushforward: {where})", 1)
    return 0


def _fail(reason: object, code: int) -> int:
    lines = [("  " * line.startswith(" ")) + " ".join(line.split()) for line in str(reason).splitlines()]
    several = isinstance(reason, InputError)  # the problems of one table have a line each
    print(("\n" if several else " ").join(lines), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
