"""Folders by path or URL as key-value stores."""

import os
from pathlib import Path

import pytest
import tensorstore as ts
from lateen_api.termination import ExitCode
from lateen_trainer.errors import TrainerError, UserError
from lateen_trainer.storage import StoreError, explained, join, kvstore_spec, local_path, may_pass

FIELD = "spec.checkpoint.path"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/data/run", {"driver": "file", "path": "/data/run/"}),
        ("/data/run/", {"driver": "file", "path": "/data/run/"}),
        ("file:///data/run", {"driver": "file", "path": "/data/run/"}),
        ("/", {"driver": "file", "path": "/"}),
        ("gs://bucket/a/b", {"driver": "gcs", "bucket": "bucket", "path": "a/b/"}),
        ("gs://bucket/", {"driver": "gcs", "bucket": "bucket", "path": ""}),
        ("gs://bucket", {"driver": "gcs", "bucket": "bucket", "path": ""}),
        ("memory://a/b", {"driver": "memory", "path": "a/b/"}),
    ],
)
def test_urls_as_tensorstore_describes_them(url, expected):
    assert kvstore_spec(url, field=FIELD) == expected


def test_relative_paths_start_at_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert kvstore_spec("runs/a", field=FIELD) == {"driver": "file", "path": f"{tmp_path}/runs/a/"}
    assert kvstore_spec("~/runs", field=FIELD) == {"driver": "file", "path": "/home/ada/runs/"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [("/a", Path("/a")), ("file:///a/b", Path("/a/b")), ("gs://bucket/a", None), ("memory://a", None)],
)
def test_local_paths(url, expected):
    assert local_path(url) == expected


@pytest.mark.parametrize(
    ("url", "parts", "expected"),
    [
        ("/a", ("b", "c"), "/a/b/c"),
        ("/a/", ("/b/",), "/a/b"),
        ("/", ("b",), "/b"),
        ("gs://bucket", ("a", "b"), "gs://bucket/a/b"),
        ("memory://", ("a",), "memory://a"),
    ],
)
def test_join(url, parts, expected):
    assert join(url, *parts) == expected


def test_a_missing_bucket_is_refused():
    with pytest.raises(UserError) as raised:
        kvstore_spec("gs://", field=FIELD)
    assert str(raised.value) == f"{FIELD} is 'gs://': the bucket is missing, expected gs://bucket/path."


@pytest.mark.parametrize(
    ("url", "hint"), [("gcs://b/x", " Did you mean gs://?"), ("fil://x", " Did you mean file://?"), ("hdfs://x", "")]
)
def test_other_schemes_are_refused(url, hint):
    with pytest.raises(UserError) as raised:
        kvstore_spec(url, field=FIELD)
    scheme = url.partition(":")[0]
    assert str(raised.value) == (
        f"{FIELD} is {url!r}: {scheme}:// cannot be written to, expected a path, file://, or gs://bucket/path.{hint}"
    )


def test_a_file_where_a_folder_should_be_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    url = str(tmp_path / "file" / "run")
    store = ts.KvStore.open(kvstore_spec(url, field=FIELD)).result()
    with pytest.raises(UserError) as raised, explained(url, field=FIELD):
        store.write("key", b"value").result()
    assert str(raised.value).startswith(f"{FIELD} is {url!r}: a part of it is a file: expected a folder.")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            "RESOURCE_EXHAUSTED: No space left on device [os_error_code='28']",
            "the disk is full: about 12,345 bytes more",
        ),
        ("PERMISSION_DENIED: Permission denied [os_error_code='13']", "may not read or write there"),
        (
            "FAILED_PRECONDITION: Read-only file system [os_error_code='30']",
            "the file system is mounted read-only. Mount it for writing, or name a folder elsewhere.",
        ),
        (
            "RESOURCE_EXHAUSTED: Too many open files [os_error_code='24']",
            "the process may not open more files: its limit is ",
        ),
        (
            "RESOURCE_EXHAUSTED: Disk quota exceeded [os_error_code='122']",
            f"the disk quota of user {os.geteuid()} is used up. Delete files or ask for a larger quota, or ",
        ),
        ("PERMISSION_DENIED: Forbidden", "access is denied. Give the pods' service account"),
        (
            "PERMISSION_DENIED: trainer@p.iam.gserviceaccount.com does not have storage.objects.delete access to the "
            "Google Cloud Storage object. [http_response_code='403']",
            "access is denied: the right storage.objects.delete is missing, which it takes to overwrite and delete "
            "objects. Give the pods' service account (spec.compute.serviceAccount) the role Storage Object User on ",
        ),
        ("NOT_FOUND: The specified bucket does not exist.", "there is no such bucket"),
    ],
)
def test_what_tensorstore_says_is_explained(status, expected):
    with pytest.raises(UserError) as raised, explained("gs://bucket/run", field=FIELD, needed=12345):
        raise ValueError(status)
    assert str(raised.value).startswith(f"{FIELD} is 'gs://bucket/run': ")
    assert expected in str(raised.value)
    assert status in str(raised.value)


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("Invalid Credentials", "the object store does not take the token of the credentials. It may have expired"),
        (
            "Anonymous caller does not have storage.objects.get access to the Google Cloud Storage object.",
            "no credentials were found, or the metadata server that gives them did not answer: on Google Cloud look ",
        ),
    ],
)
def test_a_token_that_is_not_taken_may_be_another_attempts_better_luck(says, expected):
    said = f"PERMISSION_DENIED: {says} [http_response_code='401']"
    status = f"{said} [http_response_body='{{\\n \\'a\\': 1}}']"
    with pytest.raises(StoreError) as raised, explained("gs://bucket/run", field=FIELD):
        raise ValueError(status)
    assert str(raised.value).startswith(f"{FIELD} is 'gs://bucket/run': {expected}")
    assert str(raised.value).endswith(f" ({said})")
    assert raised.value.exit_code is ExitCode.ERROR
    assert may_pass(ValueError(status))


def test_other_errors_pass():
    with pytest.raises(ValueError, match="INTERNAL"), explained("/a", field=FIELD):
        raise ValueError("INTERNAL: something else")


def test_a_failing_disk_may_be_another_attempts_better_luck():
    with (
        pytest.raises(TrainerError, match="the disk reports an input/output error") as raised,
        explained("/a", field=FIELD),
    ):
        raise ValueError("INTERNAL: Input/output error [os_error_code='5']")
    assert raised.value.exit_code == ExitCode.ERROR


def test_servers_that_do_not_answer_have_limits_that_the_environment_may_change(monkeypatch):
    limit, other = "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", "TENSORSTORE_CURL_CONNECT_TIMEOUT_SECONDS"
    monkeypatch.setenv(limit, "7")
    monkeypatch.setenv(other, "")
    monkeypatch.delenv(other)
    kvstore_spec("gs://bucket/run", field=FIELD)
    assert (os.environ[limit], os.environ[other]) == ("7", "10")
