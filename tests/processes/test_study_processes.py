"""The processes of the study `scale`: what they say, hold, and how they end."""

import os
import signal
import sys
import time

from pushforward.studies.scale.processes import processes


def speak(what):
    """Say something, with what is no news, and return it."""
    print("warning: of something\n1,000 rows, 2,000 a second, 10%\nstep 3/10  train 1.0\n" + what, file=sys.stderr)
    return {"said": what, "threads": os.environ["OMP_NUM_THREADS"]}


def write_until_full(file):
    with open(file, "wb", buffering=0) as handle:
        while True:
            handle.write(bytes(1024))
            time.sleep(0.01)


def test_processes_tell_what_they_said_and_held_and_how_they_ended(tmp_path):
    with processes(tmp_path, fresh=False) as started:
        ended = started.start(speak, "it is done").ended()
        assert (ended.status, ended.said, ended.progress) == (0, ["it is done"], "step 3/10  train 1.0")
        assert ended.answer == {"said": "it is done", "threads": "1"}
        assert 10e6 < ended.memory < 10e9
        file = tmp_path / "growing"
        killed, full = started.start(write_until_full, file), started.start(write_until_full, tmp_path / "full")
        killed.until(file.exists)
        killed.kill()
        assert killed.ended().status == -signal.SIGKILL
        full.limit_files()
        ended = full.ended()
        assert "File too large" in ended.said[-1]
        assert ended.status == 1
        assert 4096 <= (tmp_path / "full").stat().st_size < 100_000
        refused = started.command("score", "none.safetensors", tmp_path / "none.parquet").ended()
        assert refused.status == 2
        assert len(refused.said) == 1
