"""`lateen tokenizer train`: what it writes is loaded by a job and by transformers, and is the same each time."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from lateen_api.cli import main
from lateen_api.spec import API_VERSION, KIND
from lateen_api.termination import ExitCode
from lateen_trainer.data.tokenizer import load_tokenizer

SAMPLE = "Ships and sails: naïve café, 日本, 1234 \t\n"


def train(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["tokenizer", "train", *arguments])


@pytest.fixture
def folder(corpus: Path, tmp_path: Path) -> Path:
    done = train(f"{corpus}/*.txt", "--vocab-size", "400", "--out", str(tmp_path / "own"), "--special-token", "<end>")
    assert done.exit_code == 0, done.output
    size = sum(len(path.read_text()) for path in corpus.iterdir())
    assert f"own: 400 tokens, from {size:,} characters of 10 files. Use it: data.tokenizer: " in done.output
    return tmp_path / "own"


def test_a_job_loads_it(folder):
    tokenizer = load_tokenizer(str(folder))
    assert (tokenizer.vocab_size, tokenizer.eos_id) == (400, 0)
    (ids,) = tokenizer.encode_batch([SAMPLE])
    assert tokenizer.decode(ids) == SAMPLE
    assert len(tokenizer.encode_batch(["Sentence 7 of the corpus"])[0]) < 10


def test_transformers_loads_it(folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    assert theirs.eos_token == "<end>"
    assert theirs(SAMPLE)["input_ids"] == load_tokenizer(str(folder)).encode_batch([SAMPLE])[0].tolist()


def test_the_same_text_gives_the_same_tokenizer(folder, corpus, tmp_path):
    job = tmp_path / "job.yaml"
    data = {"trainUrls": [f"{corpus}/*.txt"], "tokenizer": "bytes"}
    job.write_text(
        json.dumps(
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": "a"},
                "spec": {"data": data, "model": {"type": "gpt2"}},
            }
        )
    )
    done = train(str(job), "--vocab-size", "400", "--out", str(tmp_path / "again"), "--special-token", "<end>")
    assert done.exit_code == 0, done.output
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def write_mixture(path: Path, **configs: dict) -> str:
    data = {"configs": configs, "trainWeights": dict.fromkeys(configs, 1), "tokenizer": "bytes"}
    spec = {"data": data, "model": {"type": "gpt2"}}
    path.write_text(json.dumps({"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "a"}, "spec": spec}))
    return str(path)


def test_of_a_mixture_the_text_of_all_sources_is_taken(folder, corpus, tmp_path):
    sources = {
        "first": {"trainUrls": [f"{corpus}/part-[0-4].txt"]},
        "second": {"trainUrls": [f"{corpus}/part-[5-9].txt"]},
    }
    job = write_mixture(tmp_path / "job.yaml", **sources)
    done = train(job, "--vocab-size", "400", "--out", str(tmp_path / "again"), "--special-token", "<end>")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_a_source_of_a_mixture_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "x"}')
    job = write_mixture(tmp_path / "job.yaml", web={"trainUrls": [f"{tmp_path}/a.jsonl"]})
    done = train(job, "--vocab-size", "400", "--out", str(tmp_path / "own"))
    assert done.output.endswith(
        f"Error: {tmp_path}/a.jsonl, line 1, has no 'text': expected the text there. Its fields are ['body']; name the "
        "right one in spec.data.configs.web.textKey.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--vocab-size", "256", "--out", "{out}/a"],
            "Error: --vocab-size is 256: expected at least 257, since each of the 256 bytes and each special token has "
            "an id. Give a larger one.\n",
        ),
        (
            ["--vocab-size", "300", "--out", "{out}"],
            "Error: --out is '{out}', which is a folder that is not empty: expected a new or empty folder. Name "
            "another one.\n",
        ),
        (
            ["--vocab-size", "300", "--out", "{out}/a", "--special-token", "x", "--special-token", "x"],
            "Error: --special-token is ['x', 'x']: expected different texts that are not blank. Correct them.\n",
        ),
    ],
)
def test_what_is_wrong_is_named(arguments, message, corpus, tmp_path):
    done = train(f"{corpus}/*.txt", *(argument.replace("{out}", str(tmp_path)) for argument in arguments))
    assert done.exit_code == ExitCode.USER_ERROR
    assert done.output.endswith(message.replace("{out}", str(tmp_path)))
    assert not (tmp_path / "a").exists()


def test_fewer_tokens_than_were_asked_for_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("ab ab ab")
    done = train(f"{tmp_path}/a.txt", "--vocab-size", "1000", "--out", str(tmp_path / "own"))
    assert "tokens (1,000 were asked for; the text has no more pairs that repeat)" in done.output
