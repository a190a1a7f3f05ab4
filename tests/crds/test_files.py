from pathlib import Path

import pytest
from lateen_api.files import replace_text


def test_a_file_is_replaced(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    replace_text(path, "größer\n")
    assert path.read_text(encoding="utf-8") == "größer\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_what_cannot_be_replaced_stays_and_nothing_is_left_beside_it(tmp_path: Path):
    folder = tmp_path / "a.txt"
    folder.mkdir()
    with pytest.raises(OSError, match=r"a\.txt"):
        replace_text(folder, "text")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_a_private_file_is_readable_for_the_user_alone(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    replace_text(path, "new", private=True)
    assert path.stat().st_mode & 0o777 == 0o600
