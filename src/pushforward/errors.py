"""The two errors a user meets: what was given is wrong, or the run failed; and the commonest check."""

__all__ = ["InputError", "RunError", "require_count"]


class InputError(ValueError):
    """What the user gave is wrong (a file, a column, an option, a folder). The command line exits with 2."""


class RunError(RuntimeError):
    """The run itself failed (divergence, a full disk). The command line says so in one line and exits with 1."""


def require_count(name: str, value: object, least: int = 1) -> int:
    """Return `value`, or raise InputError unless it is an integer of at least `least`."""
    if not isinstance(value, int) or value < least:
        raise InputError(f"{name} must be an integer of at least {least}; got {value!r}.")
    return value
