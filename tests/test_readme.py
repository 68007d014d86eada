"""The example in the README runs as it stands, with less training."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_readme_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    shorter = code.replace("max_seconds=10", "num_steps=20")
    assert shorter != code
    monkeypatch.chdir(tmp_path)
    exec(compile(shorter, str(README), "exec"), {})
    assert (tmp_path / "moons.safetensors").exists()
    assert "nats" in capsys.readouterr().out
