"""Tokenizers: the one of bytes, those of Hugging Face, and what is said where there is none."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.errors import UserError


def message(name: str | Path) -> str:
    with pytest.raises(UserError) as raised:
        load_tokenizer(str(name))
    return str(raised.value)


def test_bytes_are_their_own_tokens():
    tokenizer = load_tokenizer("bytes")
    assert (tokenizer.vocab_size, tokenizer.eos_id, tokenizer.takes_bytes) == (257, 256, True)
    encoded = tokenizer.encode_batch([b"a\xff\x00", b""])
    assert [tokens.tolist() for tokens in encoded] == [[97, 255, 0], []]
    assert [tokens.tolist() for tokens in tokenizer.encode_batch(["ü"])] == [[0xC3, 0xBC]]


def test_bytes_decode_without_end_of_text():
    assert load_tokenizer("bytes").decode(np.array([72, 105, 256, 0xC3, 0xBC, 0xFF])) == "Hiü\ufffd"


def test_a_folder_and_its_file_are_the_same_tokenizer(bpe_folder):
    folder, file = load_tokenizer(str(bpe_folder)), load_tokenizer(str(bpe_folder / "tokenizer.json"))
    assert folder.fingerprint == file.fingerprint
    assert (folder.vocab_size, folder.eos_id, folder.takes_bytes) == (512, 0, False)


@pytest.mark.slow
def test_hugging_face_tokens_are_those_of_transformers(bpe_folder):
    """Imports transformers: buys the comparison with the library that users know."""
    from transformers import PreTrainedTokenizerFast

    peer = PreTrainedTokenizerFast(tokenizer_file=str(bpe_folder / "tokenizer.json"), split_special_tokens=True)
    texts = ["Sentence 7 of the corpus", "Grüße, 世界 \U0001f600", " ", "a<|endoftext|>b"]
    tokenizer = load_tokenizer(str(bpe_folder))
    encoded = [tokens.tolist() for tokens in tokenizer.encode_batch(texts)]
    assert encoded == [peer(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert tokenizer.decode(encoded[1]) == texts[1]
    assert tokenizer.decode(encoded[3]) == texts[3]
    assert tokenizer.decode([65, tokenizer.eos_id, 66]) == "ab"


def copy_with(bpe_folder: Path, folder: Path, **files: object) -> Path:
    shutil.copy(bpe_folder / "tokenizer.json", folder)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_the_name_of_a_special_token_in_a_text_is_text(bpe_folder):
    tokenizer = load_tokenizer(str(bpe_folder))
    name = tokenizer._tokenizer.id_to_token(tokenizer.eos_id)  # type: ignore[attr-defined]
    text = f"before {name} behind"
    tokens = tokenizer.encode_batch([text])[0]
    assert tokenizer.eos_id not in tokens
    assert tokenizer.decode(tokens) == text


@pytest.mark.parametrize("token", ["Z", {"content": "Z", "lstrip": False}])
@pytest.mark.parametrize("file", ["tokenizer_config", "special_tokens_map"])
def test_the_configuration_names_the_end_of_text(bpe_folder, tmp_path, file, token):
    folder = copy_with(bpe_folder, tmp_path, **{file: {"eos_token": token}})
    tokenizer = load_tokenizer(str(folder))
    assert tokenizer.eos_id == tokenizer.encode_batch(["Z"])[0][0]
    assert tokenizer.fingerprint != load_tokenizer(str(bpe_folder)).fingerprint


def test_truncation_and_padding_of_the_file_do_not_count(bpe_folder, tmp_path):
    content = json.loads((bpe_folder / "tokenizer.json").read_text())
    content["truncation"] = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<|endoftext|>",
    }  # fmt: skip
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    texts = ["Sentence 7 of the corpus", "a"]
    plain, limited = load_tokenizer(str(bpe_folder)), load_tokenizer(str(tmp_path))
    for one, other in zip(plain.encode_batch(texts), limited.encode_batch(texts), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.slow
def test_a_folder_without_tokenizer_json_is_converted_by_transformers(tmp_path):
    """GPT-2's own files, vocab.json and merges.txt. Imports transformers: buys the way of older tokenizers."""
    letters = {chr(code): number for number, code in enumerate(range(97, 123))}
    vocabulary = {**letters, "ab": 26, "<|endoftext|>": 27}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    tokenizer = load_tokenizer(str(tmp_path))
    assert [tokens.tolist() for tokens in tokenizer.encode_batch(["cab"])] == [[2, 26]]
    assert (tokenizer.eos_id, tokenizer.vocab_size) == (27, 28)


def test_no_such_file():
    assert message("tokenizers/mine.json") == (
        "spec.data.tokenizer is 'tokenizers/mine.json': there is no such file or folder "
        f"(seen from {Path.cwd()}), and it is no name on the Hugging Face hub. Expected `bytes`, a folder, a "
        "tokenizer.json, or a name such as gpt2."
    )


def test_a_file_that_is_not_json(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("vocabulary")
    assert message(path).startswith(f"spec.data.tokenizer is '{path}': {path} is not JSON: ")


def test_json_that_is_no_tokenizer(tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    text = message(path)
    assert text.startswith(f"spec.data.tokenizer is '{path}': {path} is no tokenizer in Hugging Face's format: ")
    assert text.endswith("Expected a tokenizer.json as `tokenizer.save_pretrained(folder)` of transformers writes it.")


def test_an_empty_folder(tmp_path):
    assert message(tmp_path) == (
        f"spec.data.tokenizer is '{tmp_path}': the folder is empty. Expected a tokenizer.json in it."
    )


@pytest.mark.slow
def test_a_folder_with_other_things(tmp_path):
    """Imports transformers: buys that its many errors become one of ours."""
    (tmp_path / "weights.bin").write_bytes(b"\0")
    assert message(tmp_path).startswith(
        f"spec.data.tokenizer is '{tmp_path}': there is no tokenizer.json, and transformers cannot make one"
    )


def test_an_end_of_text_that_is_not_in_the_vocabulary(bpe_folder, tmp_path):
    folder = copy_with(bpe_folder, tmp_path, tokenizer_config={"eos_token": "</eot>"})
    assert message(folder) == (
        f"spec.data.tokenizer is '{folder}': {folder}/tokenizer_config.json names the end-of-text token '</eot>', "
        "which is not in the vocabulary."
    )


def test_no_end_of_text_at_all(bpe_folder, tmp_path):
    content = (bpe_folder / "tokenizer.json").read_text().replace("<|endoftext|>", "<|other|>")
    (tmp_path / "tokenizer.json").write_text(content)
    assert "no end-of-text token is known" in message(tmp_path)


def in_fresh_process(name: str, **environ: str) -> str:
    """What loading a tokenizer prints in a process of its own: the hub's client reads its settings at import."""
    script = (
        "import sys\n"
        "from lateen_trainer.data.tokenizer import load_tokenizer\n"
        "from lateen_trainer.errors import UserError\n"
        "try:\n"
        "    print(load_tokenizer(sys.argv[1]).vocab_size, 'transformers' in sys.modules)\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, name],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()


def test_the_hub_cannot_be_reached(tmp_path):
    text = in_fresh_process("gpt2", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert text == (
        "spec.data.tokenizer is 'gpt2': it is not on this machine (no such file or folder, not in the hub's cache), "
        "and the Hugging Face hub cannot be reached. Or name a folder that holds its tokenizer.json."
    )


def test_the_hubs_cache_is_enough_and_transformers_is_not_imported(bpe_folder, tmp_path):
    repository = tmp_path / "hub/models--someone--ships"
    snapshot = repository / "snapshots/0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(snapshot.name)
    shutil.copy(bpe_folder / "tokenizer.json", snapshot)
    text = in_fresh_process("someone/ships", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert text == "512 False"


def test_an_end_of_text_that_is_no_special_token_does_not_come_out_of_text_either(bpe_folder, tmp_path):
    content = json.loads((bpe_folder / "tokenizer.json").read_text())
    (token,) = content["added_tokens"]
    token["special"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    tokenizer, usual = load_tokenizer(str(tmp_path)), load_tokenizer(str(bpe_folder))
    (ids,) = tokenizer.encode_batch(["a<|endoftext|>b"])
    assert tokenizer.eos_id not in ids
    assert ids.tolist() == usual.encode_batch(["a<|endoftext|>b"])[0].tolist()
    assert tokenizer.decode(ids) == "a<|endoftext|>b"
