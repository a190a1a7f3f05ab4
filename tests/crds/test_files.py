from pathlib import Path

import pytest
from lateen_api.files import local_folder, replace_text, resolve_folder


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


@pytest.mark.parametrize(
    ("place", "resolved"),
    [
        ("c", "/run/c"),
        ("./c/", "/run/c"),
        ("../c", "/c"),
        ("/c", "/c"),
        ("file://c", "file:///run/c"),
        ("FILE:///c", "FILE:///c"),
        ("gs://bucket/c", "gs://bucket/c"),
    ],
)
def test_a_relative_folder_is_below_the_base(place: str, resolved: str):
    assert resolve_folder(place, Path("/run")) == resolved


def test_the_home_folder_is_not_relative():
    assert resolve_folder("~/c", Path("/run")) == str(Path.home() / "c")


def test_only_paths_and_file_urls_are_on_this_machine():
    assert [local_folder(place) for place in ("/c", "file:///c", "gs://c")] == [Path("/c"), Path("/c"), None]
