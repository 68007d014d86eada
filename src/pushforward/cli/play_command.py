"""The command `play`: the page in the browser."""

from pushforward.errors import InputError


def play_command(*, port: int, browser: bool, lesson: str) -> None:
    """Serve the page until Ctrl-C; InputError where its libraries are missing or the port is none."""
    if not 0 <= port < 2**16:
        raise InputError(f"--port must be from 0 to 65,535; got {port}")
    try:
        from pushforward.play.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise InputError("the page needs starlette and uvicorn: pip install 'pushforward[play]'") from error
    serve(port=port, browser=browser, lesson=lesson or None)
