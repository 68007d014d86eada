"""The two errors a user meets: what was given is wrong, or the run failed."""


class InputError(ValueError):
    """What the user gave is wrong (a file, a column, an option, a folder). The command line exits with 2."""


class RunError(RuntimeError):
    """The run itself failed (divergence, a full disk). The command line says so in one line and exits with 1."""
