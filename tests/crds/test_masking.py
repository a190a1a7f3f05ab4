import pytest
from lateen_api.errors import JobError
from lateen_api.masking import has_secret, is_secret, masked, masked_assignment, without_secrets, without_signature
from lateen_api.wording import show


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:password@host/a.jsonl?sig=abc", "https://***@host/a.jsonl?sig=***"),
        (
            "http://host:80/a?X-Amz-Date=1&X-Amz-Signature=f00#part",
            "http://host:80/a?X-Amz-Date=***&X-Amz-Signature=***#***",
        ),
        ("https://host/a?opaque", "https://host/a?***"),
        ("names 'http://me@host/a?b=c', which", "names 'http://***@host/a?b=***', which"),
        ("http://host/a?sig=c, line 3, is not JSON", "http://host/a?sig=***, line 3, is not JSON"),
        ("http://a:p@ss@host/", "http://***@host/"),
        ("sftp://me:pw@host/a?b=c", "sftp://***@host/a?b=c"),
        ("url: /a.jsonl?page=2&token=abc (refused)", "url: /a.jsonl?page=2&token=*** (refused)"),
        ("gs://bucket/part-?.jsonl", "gs://bucket/part-?.jsonl"),
        ("python-stdlib://json/*.py", "python-stdlib://json/*.py"),
        ("http://host/a.jsonl", "http://host/a.jsonl"),
    ],
)
def test_secrets_of_urls_are_masked_and_the_rest_stays(text: str, shown: str):
    assert masked(text) == shown
    assert masked(shown) == shown


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("WANDB_API_KEY", "abc", True),
        ("HF_TOKEN", "hf_x", True),
        ("PGPASSWORD", "pw", True),
        ("X-Amz-Signature", "f00", True),
        ("AWSAccessKeyId", "AK", True),
        ("HF_TOKEN", "", False),
        ("HF_TOKEN", "$(OTHER)", False),
        ("HF_TOKEN", "***", False),
        ("TOKENIZERS_PARALLELISM", "4", False),
        ("MAX_TOKENS", "100", False),
        ("SSL_KEY_FILE", "/etc/key", False),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/var/key.json", False),
        ("MONKEY", "x", False),
    ],
)
def test_a_variable_is_a_secret_by_its_name(name: str, value: str, secret: bool):
    assert is_secret(name, value) is secret


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("https://user:password@host/a", True),
        ("!https://host/a?sig=abc", True),
        ("https://host/a?download=true", False),
        ("https://user@host/a", False),
        ("https://***@host/a?sig=***", False),
        ("data/*.jsonl", False),
    ],
)
def test_a_url_has_a_secret(url: str, secret: bool):
    assert has_secret(url) is secret


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("a.jsonl?sv=2024&se=2026-01-01&sp=r&sig=abc", "a.jsonl"),
        ("a.jsonl?id=1&X-Goog-Date=1&X-Goog-Signature=2", "a.jsonl?id=1"),
        ("a.jsonl?id=1&se=2", "a.jsonl?id=1&se=2"),
        ("a.jsonl", "a.jsonl"),
    ],
)
def test_only_what_is_renewed_with_a_signature_is_left_out_of_a_name(name: str, identity: str):
    assert without_signature(name) == identity


def test_secret_variables_are_masked_wherever_a_pod_takes_them():
    compute = {
        "env": {"HF_TOKEN": "abc", "HTTPS_PROXY": "http://me:pw@proxy:80", "DEBUG": "1"},
        "podTemplate": {"spec": {"containers": [{"name": "trainer", "env": [{"name": "API_KEY", "value": "abc"}]}]}},
        "hosts": 2,
    }
    assert without_secrets(compute) == {
        "env": {"HF_TOKEN": "***", "HTTPS_PROXY": "http://***@proxy:80", "DEBUG": "1"},
        "podTemplate": {"spec": {"containers": [{"name": "trainer", "env": [{"name": "API_KEY", "value": "***"}]}]}},
        "hosts": 2,
    }


def test_a_message_about_a_job_shows_no_secret():
    assert str(JobError("data", "names 'http://me:pw@host/a?sig=1'.")) == "data: names 'http://***@host/a?sig=***'."


def test_a_url_that_is_cut_within_its_password_shows_none_of_it():
    assert show("https://a-rather-long-user-name:a-rather-long-pass-phrase@host.example/a.jsonl") == (
        "'https://***@host.example/a.jsonl'"
    )


@pytest.mark.parametrize(
    ("override", "shown"),
    [
        ("compute.env.API_KEY=5ec=4e7", "compute.env.API_KEY=***"),
        ("data.trainUrls=[http://me:pw@h/a?sig=1]", "data.trainUrls=[http://***@h/a?sig=***]"),
        ("trainer.seed=3", "trainer.seed=3"),
        ("compute.env={HF_TOKEN: 5ec4e7", "compute.env=***"),
        ("compute={hosts: 2, env: {HF_TOKEN: 5ec4e7}}", "compute=***"),
    ],
)
def test_an_override_is_shown_without_its_secret(override: str, shown: str):
    assert masked_assignment(override) == shown
