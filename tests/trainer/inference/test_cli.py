"""`lateen generate`."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pytest
from click.testing import CliRunner, Result
from lateen_api.hugging_face.checkpoint import ABOUT as KEY
from lateen_api.termination import ExitCode
from lateen_trainer.checkpoint.checkpoints import Checkpoints
from lateen_trainer.hugging_face.about import AboutRun
from lateen_trainer.hugging_face.cli import export
from lateen_trainer.inference.cli import generate
from lateen_trainer.models.families import init_model, make_config
from trainer.models.small_specs import ALL, GPT2, small_spec

SPEC = small_spec({**ALL["llama"], "initializerRange": 0.2})
ABOUT = AboutRun(
    job="small", model=SPEC, vocab_size=257, tokenizer="bytes", end_of_text=256, parameters=36_000, tokens_per_step=512,
    optimizer={"type": "adamw", "learningRate": 0.001}, seed=3, data=(), started_from=None,
)  # fmt: skip
PROMPT = ("--prompt", "the sea", "--max-tokens", "12")


@pytest.fixture(autouse=True)
def no_program_cache(monkeypatch):
    monkeypatch.setenv("LATEEN_COMPILATION_CACHE", "")


def save(folder: Path, about: AboutRun) -> Path:
    model = init_model(make_config(about.model, about.vocab_size), key=jax.random.key(0))
    Checkpoints(str(folder), job="small").save(10, {"model": model}, {KEY: about.to_json()}, block=True)
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "checkpoints", ABOUT)


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory) -> Path:
    """A checkpoint of a model with 24 positions."""
    spec = small_spec(GPT2)
    return save(tmp_path_factory.mktemp("gpt2") / "checkpoints", replace(ABOUT, model=spec))


@pytest.fixture(scope="module")
def folder(checkpoint, tmp_path_factory) -> Path:
    """The checkpoint as a model in Hugging Face's format."""
    target = tmp_path_factory.mktemp("hugging-face") / "model"
    result = CliRunner().invoke(export, [str(checkpoint), str(target)])
    assert result.exit_code == 0, result.output
    return target


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(generate, [str(argument) for argument in arguments], input=stdin)


def document(*arguments: object, stdin: bytes | None = None) -> dict[str, Any]:
    result = run(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def failure(*arguments: object) -> str:
    """What is said; the exit code is that of a user's mistake."""
    result = run(*arguments)
    assert result.exit_code == ExitCode.USER_ERROR, result.output
    assert result.stdout == ""
    return result.stderr


def test_a_text_is_continued_and_nothing_else_is_printed(checkpoint):
    result = run(checkpoint, *PROMPT)
    (sample,) = document(checkpoint, *PROMPT)["samples"]

    assert result.exit_code == 0, result.output
    assert result.stdout == sample["text"] + "\n"
    assert result.stderr == ""
    assert len(sample["tokens"]) == 12 and sample["end"] == "length"


def test_the_seed_decides(checkpoint):
    texts = [run(checkpoint, *PROMPT, "--seed", seed).stdout for seed in (1, 1, 2)]

    assert texts[0] == texts[1] != texts[2]


def test_a_checkpoint_and_its_export_write_the_same(checkpoint, folder):
    ours, exported = (document(model, *PROMPT, "--num-samples", 2) for model in (checkpoint, folder))

    assert ours["samples"] == exported["samples"]
    assert ours["promptTokens"] == exported["promptTokens"] == 7


def test_several_samples_come_one_below_the_other(checkpoint):
    samples = document(checkpoint, *PROMPT, "--num-samples", 2)["samples"]

    assert run(checkpoint, *PROMPT, "--num-samples", 2).stdout == (
        f"--- 1 of 2\n{samples[0]['text']}\n--- 2 of 2\n{samples[1]['text']}\n"
    )


def test_a_prompt_may_be_a_file(checkpoint, tmp_path):
    (tmp_path / "prompt.txt").write_bytes(b"the sea")
    expected = run(checkpoint, *PROMPT).stdout

    assert run(checkpoint, "--prompt-file", tmp_path / "prompt.txt", "--max-tokens", 12).stdout == expected
    assert run(checkpoint, "--prompt-file", "-", "--max-tokens", 12, stdin=b"the sea").stdout == expected


def test_a_stop_ends_the_text(checkpoint):
    options = (checkpoint, "--prompt", "the sea", "--max-tokens", 40, "--temperature", 2)
    whole = document(*options)["samples"][0]["text"]
    stop = next(character for character in whole[5:] if character.isalnum())

    (sample,) = document(*options, "--stop", stop)["samples"]

    assert sample["end"] == "stop"
    assert sample["text"] == whole[: whole.index(stop)]
    assert len(sample["tokens"]) < 40


def test_the_end_of_a_text_ends_it(folder, tmp_path):
    """generation_config.json may name several tokens."""
    greedy = ("--prompt", "the sea", "--max-tokens", 12, "--temperature", 0)
    tokens = document(folder, *greedy)["samples"][0]["tokens"]
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [256, tokens[3]]}))

    (sample,) = document(tmp_path, *greedy)["samples"]

    assert sample["tokens"] == tokens[: tokens.index(tokens[3]) + 1]
    assert sample["end"] == "endOfText"


def test_a_message_is_put_into_the_chat_template(folder, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "chat_template.jinja").write_text(
        "{% for message in messages %}{{ message.role }}: {{ message.content }}{{ eos_token }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )

    answer = document(tmp_path, "--chat", *PROMPT)

    assert answer["promptTokens"] == len("user: the sea") + 1 + len("assistant:")
    assert failure(folder, "--chat", *PROMPT).startswith(
        f"Error: --chat: the tokenizer {str(folder)!r} has no chat template: expected chat_template in its "
        "tokenizer_config.json, or a chat_template.jinja. Leave --chat out"
    )


def test_the_tokenizer_bytes_has_no_chat_template(checkpoint):
    assert "the tokenizer 'bytes' has no chat template" in failure(checkpoint, "--chat", *PROMPT)


def test_bfloat16(checkpoint, folder):
    ours, exported = (document(model, *PROMPT, "--dtype", "bfloat16") for model in (checkpoint, folder))
    assert ours["samples"] == exported["samples"]


def test_what_does_not_fit_into_the_context_is_refused(gpt2):
    assert failure(gpt2, "--prompt", "x" * 24) == (
        "Error: the prompt has 24 tokens: expected at most 23, as the model has 24 positions. Shorten it.\n"
    )
    assert failure(gpt2, "--prompt", "the sea", "--max-tokens", 20) == (
        "Error: --max-tokens is 20: expected at most 17, as the prompt has 7 tokens and the model 24 positions. Lower "
        "it, or shorten the prompt.\n"
    )
    assert len(document(gpt2, "--prompt", "the sea")["samples"][0]["tokens"]) == 17


def test_without_a_model_or_a_tokenizer_it_says_so(folder, tmp_path):
    assert f"MODEL is {str(tmp_path)!r}: there is neither config.json" in failure(tmp_path, *PROMPT)
    for file in folder.iterdir():
        if not file.name.startswith("tokenizer"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    assert failure(tmp_path, *PROMPT) == (
        f"Error: MODEL is {str(tmp_path)!r}: it has no tokenizer (tokenizer.json). Name the one that the model was "
        "trained with: --tokenizer.\n"
    )
    assert document(tmp_path, *PROMPT, "--tokenizer", "bytes")["samples"] == document(folder, *PROMPT)["samples"]


def test_a_tokenizer_that_is_gone_is_named(tmp_path):
    there = save(tmp_path / "run", replace(ABOUT, tokenizer="/gone/tokenizer.json"))
    said = failure(there, *PROMPT)
    assert said.startswith(f"Error: MODEL is {str(there)!r}, and its tokenizer cannot be loaded: ")
    assert "/gone/tokenizer.json" in said and said.endswith("Or name another one: --tokenizer.\n")


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(tmp_path):
    there = save(tmp_path / "run", replace(ABOUT, vocab_size=200))
    assert "its vocabulary has 200 entries, and the tokenizer 'bytes' has 257 tokens" in failure(there, *PROMPT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--temperature", "-1"], "-1.0 is not in the range x>=0"),
        (["--temperature", "nan"], "nan is not a finite number"),
        (["--top-p", "0"], "0.0 is not in the range 0<x<=1"),
        (["--top-p", "1.5"], "1.5 is not in the range 0<x<=1"),
        (["--top-k", "0"], "0 is not in the range x>=1"),
        (["--max-tokens", "0"], "0 is not in the range x>=1"),
        (["--num-samples", "0"], "0 is not in the range 1<=x<=1024"),
        (["--stop", ""], "--stop is empty: expected a text"),
        (["--dtype", "float16"], "'float16' is not one of 'float32', 'bfloat16'"),
        (["--prompt-file", "/dev/null"], "expected --prompt TEXT or --prompt-file FILE, one of them"),
    ],
)
def test_options_out_of_range_are_refused(arguments: list[str], message: str):
    result = run("anywhere", "--prompt", "a", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_a_prompt_is_needed():
    assert "expected --prompt TEXT or --prompt-file FILE" in run("anywhere").stderr


def test_help_loads_no_jax():
    code = (
        "import sys; from lateen_api.cli import main\n"
        "try: main(['generate', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'jax' not in sys.modules"
    )
    import subprocess

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "Let MODEL continue a prompt." in shown
