"""Files that are dropped on the page of `pushforward play`."""

import gzip
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from pushforward.errors import InputError
from pushforward.play import uploads


def table(rows, columns=2):
    values = np.random.default_rng(0).normal(size=(rows, columns)).round(4)
    return "\n".join(",".join(map(str, row)) for row in values).encode()


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield
    assert not list(tmp_path.iterdir())  # nothing is left behind


def test_the_rows_of_two_columns_come_back_as_float32():
    found = uploads.read(b"a;b\n1,5;-2\n3;4e2\n", "Ä/../../x.CSV")
    assert found.names == ("a", "b")
    rows = np.frombuffer(found.rows, "<f4")
    assert rows.tolist() == [1.5, -2.0, 3.0, 400.0]


# Checked without a process of their own, which takes a second each.
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (table(50, 3), "two columns"),
        (table(50, 1), "two columns"),
        (b"", "file"),
        (b"a,b\n", "no rows"),
        (b"a,b\n1,x\n2,y\n", "is text"),
        (b"1,2\n3\n", "line 2 has 1 cell"),
        (b"1,nan\n3,4\n", "not a finite"),
        (b"1,inf\n3,4\n", "not a finite"),
        (b"1,1e300\n3,4\n", "beyond"),
        (bytes(range(256)) * 50, "file"),
        (b"PK\x03\x04" + os.urandom(2000), "file"),
        (gzip.compress(b"1,2\n" * 1_000_000), "file"),
        (b"\x28\xb5\x2f\xfd" + os.urandom(200), "file"),
        (b'"' * 10_001, "no rows"),
        (b"," * 20_000, "no name"),
        (b"\xff\xfe" + "1,2\n3,x\n".encode("utf-16-le"), "not a number"),
    ],
)
def test_what_is_no_table_of_two_columns_is_refused_in_words(content, says, tmp_path):
    class Answers:
        def send(self, found):
            self.found = found

    answers, path = Answers(), tmp_path / "file.csv"
    path.write_bytes(content)
    uploads._read(answers, path)
    path.unlink()
    assert isinstance(answers.found, str)
    assert says in answers.found
    assert str(tmp_path) not in answers.found


def test_numbers_that_float32_cannot_tell_apart_are_refused_with_the_remedy():
    rows = "".join(f"{1e8 + k / 100},{k % 7}\n" for k in range(100))
    with pytest.raises(InputError, match='column "x1" varies too little .*: subtract its mean'):
        uploads.read(rows.encode(), "points.csv")


def test_too_many_rows_are_refused():
    with pytest.raises(InputError, match="100,001 rows"):
        uploads.read(b"1,2\n" * (uploads.MOST_ROWS + 1), "points.csv")


def test_too_large_a_file_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(uploads, "_read_apart", None)
    with pytest.raises(InputError, match="more than 4 MiB"):
        uploads.read(b"1" * (uploads.MOST_BYTES + 1), "points.csv")


@pytest.mark.parametrize(
    "name", ["", "a", "a.npz", "a.csv.gz", "a.parquet", ".csv", "../../etc/passwd", "a.csv/", "C:\\"]
)
def test_only_suffixes_of_text_are_read(name, monkeypatch):
    monkeypatch.setattr(uploads, "_read_apart", lambda path: f"{path.name}")
    said = "file.csv" if name == "a.csv/" else "must end in"
    with pytest.raises(InputError, match=said):
        uploads.read(b"1,2\n", name)


@pytest.mark.parametrize(
    "name", ["../../evil.csv", "/etc/cron.d/evil.csv", "C:\\evil.csv", "a\x00b.csv", "x" * 5000 + ".csv"]
)
def test_the_name_of_the_file_never_reaches_the_disk(name, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(uploads, "_read_apart", lambda path: seen.append(Path(path)) or b"")
    uploads.read(b"1,2\n", name)
    assert seen[0].name == "file.csv"
    assert seen[0].parent.parent == tmp_path


def test_reading_that_takes_long_is_ended(monkeypatch):
    monkeypatch.setattr(uploads, "MOST_SECONDS", 0.05)
    began = time.monotonic()
    with pytest.raises(InputError, match=r"more than 0\.05 s"):
        uploads.read(table(50), "points.csv")
    assert time.monotonic() - began < 5
    assert not uploads._reading
