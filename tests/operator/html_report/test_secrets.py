"""No secret of a job is in its page, wherever it comes up."""

import copy
import re
from pathlib import Path

import pytest
from lateen_operator.html_report.folder import read_run
from lateen_operator.html_report.page import page
from lateen_operator.html_report.secrets import Mask
from run_folders import ENDED, HF_TOKEN, JOB, PASSWORD, SIGNATURE, make_run, write

SECRETS = (PASSWORD, SIGNATURE, HF_TOKEN)


def test_no_secret_of_urls_and_variables_is_in_the_page(tmp_path: Path):
    """Quoted by a message, a sample and a URL with and without what makes it one."""
    quoted = f"cannot open a.jsonl?X-Amz-Signature={SIGNATURE} as reader:{PASSWORD}; token {HF_TOKEN} was refused"
    folder = make_run(
        tmp_path / "nano",
        attempts=[{**ENDED, "message": quoted, "checkpoint": f"https://u:{PASSWORD}@host/step-1"}],
        state="Failed",
        message=quoted,
        samples=[{"prompt": PASSWORD, "text": f"a {SIGNATURE} b"}],
    )
    job = copy.deepcopy(JOB)
    job["spec"]["compute"] = {
        "env": {"hf_token": HF_TOKEN},
        "podTemplate": {"spec": {"containers": [{"name": "trainer", "env": [{"name": "API_KEY", "value": HF_TOKEN}]}]}},
    }
    job["spec"]["checkpoint"] = {"path": f"https://u:{PASSWORD}@host/run"}
    write(folder / "job.json", job)
    html = page(read_run(folder), "1.0")
    assert [secret for secret in SECRETS if secret in html] == []
    assert "https://***@data.example/a.jsonl?X-Amz-Signature=***&amp;part=***" in html
    assert "token *** was refused" in html
    assert "hf_token: &#x27;***&#x27;" in html


def test_a_user_without_a_password_is_a_token():
    mask = Mask({"url": "https://ghp_0123456789@git.example/x"})
    assert mask.text("ghp_0123456789 was refused") == "*** was refused"


def test_words_that_are_no_secrets_stay():
    mask = Mask(
        {"spec": {"data": {"trainUrls": ["https://h/a?part=train&id=7", "gs://corpus/a?generation=12345678901234"]}}}
    )
    text = "train part 7 of generation 12345678901234 by tokenizer bytes"
    assert mask.text(text) == text
    plain = {"tokenizer": "bytes", "tolerations": [{"key": "spot-machines", "value": "anything"}], "seed": 3}
    assert mask.data(plain) == plain


@pytest.mark.parametrize(
    "text", ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "\x1b[31m\x00"]
)
def test_foreign_text_is_text(tmp_path: Path, text: str):
    folder = make_run(tmp_path / "nano", state="Failed", message=text, samples=[{"prompt": text, "text": text}])
    write(folder / "job.json", {**JOB, "metadata": {"name": text}})
    html = page(read_run(folder), "1.0")
    assert "<script>alert" not in html and "<img" not in html
    # The name of a metric is foreign, too.
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", html)
