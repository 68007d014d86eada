"""The command `play`: the page in the browser, or a run as a page without a server."""

from pathlib import Path

from pushforward.cli.terminal import say
from pushforward.errors import InputError
from pushforward.storage.atomic_files import replacing


def play_command(*, port: int, browser: bool, lesson: str, state: str, export: Path | None, overwrite: bool) -> None:
    """Serve the page until Ctrl-C, or write a run to a file; InputError where an option or a library does not serve."""
    if not 0 <= port < 2**16:
        raise InputError(f"--port must be from 0 to 65,535; got {port}")
    from pushforward.play.unattended import read_state, recorded_page

    settings, look = read_state(state, lesson)
    if export is not None:
        if export.exists() and not overwrite:
            raise InputError(f"{export}: exists already (--overwrite replaces it, --export names another file)")
        if not export.parent.is_dir():
            raise InputError(f"{export}: there is no folder {export.parent} (make it first)")
        content = recorded_page(settings, look)
        with replacing(export) as file:
            file.write(content)
        say(f"{export}: open it in any browser, without a server")
        return
    try:
        from pushforward.play.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("starlette", "uvicorn", "websockets"):
            raise
        raise InputError("the page needs starlette, uvicorn and websockets: pip install 'pushforward[play]'") from error
    serve(port=port, browser=browser, lesson=lesson, state=state.rpartition("?")[2])
