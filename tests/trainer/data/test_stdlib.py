"""The standard library as a corpus."""

import os
import sysconfig
from pathlib import Path

from lateen_trainer.data import stdlib
from lateen_trainer.data.urls import expand_urls

FIELD = "spec.data.trainUrls"


def test_all_python_files_of_the_running_library():
    files = expand_urls(["python-stdlib://**/*.py"], field=FIELD)
    urls = [file.url for file in files]
    assert urls == sorted(urls)
    assert {"python-stdlib://os.py", "python-stdlib://json/decoder.py"} < set(urls)
    assert not [url for url in urls if "-packages/" in url or "__pycache__" in url or not url.endswith(".py")]


def test_the_bare_scheme_means_all_python_files():
    bare = expand_urls(["python-stdlib://"], field=FIELD)
    assert bare == expand_urls(["python-stdlib://**/*.py"], field=FIELD)


def test_globs_and_exclusions():
    files = expand_urls(["python-stdlib://json/*.py", "!python-stdlib://json/{tool,__main__}.py"], field=FIELD)
    names = [file.url.removeprefix("python-stdlib://json/") for file in files]
    assert names == ["__init__.py", "decoder.py", "encoder.py", "scanner.py"]


def test_a_file_is_opened_where_it_is_installed():
    (file,) = expand_urls(["python-stdlib://os.py"], field=FIELD)
    path = Path(sysconfig.get_path("stdlib"), "os.py")
    assert (file.path, file.size) == (str(path), path.stat().st_size)


def test_links_and_foreign_folders_are_left_out(tmp_path):
    for name in ("a.py", "site-packages/b.py", "__pycache__/c.py", "sub/d.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "link.py").symlink_to("a.py")
    (tmp_path / "sub/loop").symlink_to(tmp_path)
    found = stdlib.find(lambda url: True, tmp_path)
    assert sorted(file.url for file in found) == ["python-stdlib://a.py", "python-stdlib://sub/d.py"]


def test_the_stamp_is_of_the_content_alone(tmp_path):
    (tmp_path / "a.py").write_text("one")
    (before,) = stdlib.find(lambda url: True, tmp_path)
    os.utime(tmp_path / "a.py", (1, 1))
    assert list(stdlib.find(lambda url: True, tmp_path)) == [before]
    (tmp_path / "a.py").write_text("two")
    (after,) = stdlib.find(lambda url: True, tmp_path)
    assert after.stamp != before.stamp
