"""The page holds what is known of the run, and needs nothing else."""

from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner
from lateen_api.cli import main
from lateen_operator.html_report.folder import read_run
from lateen_operator.html_report.page import page
from run_folders import ENDED, STEPS, loss, make_checkpoint, make_run, write

SECTIONS = ["Training", "Attempts", "Time", "Checkpoints", "Samples", "Configuration", "Versions"]


class Page(HTMLParser):
    """Text, headings, tables and addresses of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.text = ""
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.addresses: list[str] = []
        self.untitled: list[str] = []
        self._tag = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self._tag = tag
        of = dict(attrs)
        self.addresses += [value for name, value in of.items() if name in ("src", "href", "action", "data") and value]
        if of.get("role") == "img" and not of.get("aria-label"):
            self.untitled.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "h2":
            self.headings.append("")

    def handle_data(self, data):
        if self._tag in ("style", "script"):
            return
        self.text += data
        if self._tag == "h2":
            self.headings[-1] += data
        if self.rows and self.rows[-1] and self._tag in ("td", "span"):
            self.rows[-1][-1] += data

    def handle_endtag(self, tag):
        self._tag = ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = make_run(
        tmp_path / "nano",
        state="Complete",
        loss=loss(STEPS),
        validationLoss=2.25,
        tokens=81_920,
        unigramEntropy=3.07,
        samples=[{"prompt": "def main(", "text": "argv):\n    return 0"}],
    )
    make_checkpoint(folder / "checkpoints", STEPS, size=3 << 20)
    return folder


def test_everything_that_is_known_is_there(folder: Path):
    shown = Page(page(read_run(folder), "9.9"))
    assert shown.headings == SECTIONS
    for text in (
        "nano",
        "Complete",
        "40 of 40",
        "2.0750",
        "2.2500",
        "81,920",
        "8,192",
        "64.5%",
        "unigram entropy 3.07",
    ):
        assert text in shown.text
    assert "def main(argv):\n    return 0" in shown.text
    assert "hiddenDim: 128" in shown.text
    [first, second] = [row for row in shown.rows if row[:1] in (["1"], ["2"])]
    assert first == [
        "1", "2030-01-31 12:00:00", "1 min", "2", "0 – 20", "10", "Infrastructure", "SIGKILL",
        "process 1 was killed by SIGKILL",
    ]  # fmt: skip
    assert second[4:7] == ["10 – 40", "", "Done"]
    assert ["training", "1 min 8 s", "56.7%", "steps that count"] in shown.rows
    assert ["40", "3.0 MiB", "2030-01-31 12:00:00"] in shown.rows
    assert ["jax", "0.10.2"] in shown.rows
    assert ["lateen (that made this page)", "9.9"] in shown.rows


def test_the_page_loads_nothing(folder: Path):
    html = page(read_run(folder), "9.9")
    assert [address for address in Page(html).addresses if address != "data:,"] == []
    assert "default-src 'none'" in html
    assert "@import" not in html and "url(" not in html


def test_drawings_say_what_they_show(folder: Path):
    html = page(read_run(folder), "9.9")
    assert Page(html).untitled == []
    assert "Loss, nats per token: training from 5 at step 1 to 2.075 at step 40, lowest 2.075; validation" in html
    assert "2 attempts within 2 min 5 s" in html


def test_a_page_of_almost_nothing(tmp_path: Path):
    write(tmp_path / "attempts.json", {"attempts": [ENDED]})
    shown = Page(page(read_run(tmp_path), "9.9"))
    assert shown.headings == ["Attempts", "Time", "Versions"]
    assert "There is no metrics.jsonl" in shown.text


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["report", *map(str, arguments)])
    return result.exit_code, result.output


def test_the_command_writes_beside_the_run_or_where_it_is_told(folder: Path, tmp_path: Path):
    assert run(folder) == (0, f"{folder / 'report.html'}\n")
    assert (folder / "report.html").read_text().endswith("</html>\n")
    other = tmp_path / "other.html"
    assert run(folder, "--out", other)[0] == 0
    assert other.exists()


def test_bad_input_ends_with_a_line_and_code_40(folder: Path, tmp_path: Path):
    code, said = run(tmp_path / "nowhere")
    assert (code, said.count("\n")) == (40, 1)
    assert said.startswith(f"error: {tmp_path / 'nowhere'}: there is no such folder")
    jobs = tmp_path / "job.yaml"
    jobs.write_text("kind: Pod\n")
    assert run(folder, "--job", jobs) == (
        40,
        f"error: {jobs}: expected one LMTrainingJob, found 0 LMTrainingJobs: write it with "
        "`kubectl get lmtj NAME -o json`\n",
    )
    code, said = run(folder, "--out", tmp_path / "none" / "x.html")
    assert code != 0 and said.startswith("error: ")


def test_a_job_as_kubectl_prints_it(folder: Path, tmp_path: Path):
    job = tmp_path / "job.json"
    job.write_text(
        '{"kind": "LMTrainingJob", "metadata": {"name": "big"}, "spec": {}, "status": {"state": "Training"}}'
    )
    assert run(folder, "--job", job, "--out", tmp_path / "x.html")[0] == 0
    assert "<title>big" in (tmp_path / "x.html").read_text()
