"""Conversations in Parquet and Arrow: the tokens and masks of the same conversations as JSON lines, and bad columns."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from lateen_api.spec import DataSpec
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.job_data import job_sources
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import Tokenizer, load_tokenizer
from lateen_trainer.errors import DataError, UserError
from trainer.data.dataset_hub import serving
from trainer.data.test_hub import read as read_from_hub

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

TEMPLATE = """
{%- for m in messages -%}
{{ m.role + ': ' + m.content }}
{%- if m.tool_calls is defined %}{{ ' calls ' + m.tool_calls | tojson }}{% endif -%}
{%- if m.name is defined %}{{ ' as ' + m.name }}{% endif -%}
{{ '\n' }}
{%- endfor -%}
{%- if add_generation_prompt %}{{ 'assistant: ' }}{% endif -%}"""
"""It writes what a message has, so that a field that is null where JSON has none changes the text."""

CONVERSATIONS = [
    [
        {"role": "user", "content": f"How many sails has ship {number}?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [{"name": "count", "arguments": {"ship": number}}],
        },
        {"role": "tool", "content": str(number % 3), "name": "count"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "check", "arguments": {"deep": ["a", None]}}]},
        {"role": "assistant", "content": f"It has {number % 3}. — ü"},
    ]
    for number in range(30)
] + [[{"role": "user", "content": "Ships?"}, {"role": "assistant", "content": "Yes.", "tool_calls": []}]]
COLUMN = "messages (list<element: struct<{}>>)"


@pytest.fixture(scope="module")
def chat_folder(bpe_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat-tokenizer")
    (folder / "tokenizer.json").write_bytes((bpe_folder / "tokenizer.json").read_bytes())
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def tokenizer(chat_folder: Path) -> Tokenizer:
    return load_tokenizer(str(chat_folder))


def json_lines(conversations: list) -> bytes:
    return "".join(json.dumps({"id": 1, "messages": messages}) + "\n" for messages in conversations).encode()


def parquet(column: "pa.Array") -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"id": [1] * len(column), "messages": column}), stream, row_group_size=7)
    return stream.getvalue()


def arrow(column: "pa.Array", make) -> bytes:
    stream = io.BytesIO()
    table = pa.table({"id": [1] * len(column), "messages": column})
    with make(stream, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return stream.getvalue()


FILES = {
    "a.parquet": lambda: parquet(pa.array(CONVERSATIONS)),
    "large.parquet": lambda: parquet(
        pa.array(CONVERSATIONS).cast(pa.large_list(pa.array(CONVERSATIONS).type.value_type))
    ),
    "file.arrow": lambda: arrow(pa.array(CONVERSATIONS), pa.ipc.new_file),
    "stream.arrow": lambda: arrow(pa.array(CONVERSATIONS), pa.ipc.new_stream),
}


def build(folder: Path, tokenizer: Tokenizer, path: Path, **fields) -> TokenCache:
    spec = DataSpec(train_urls=[str(path)], format="chat", **fields)
    return open_or_build_cache(spec, "train", tokenizer, str(folder / "cache"), progress=lambda _: None)


def contents(cache: TokenCache) -> tuple[list[int], list[int]]:
    """The tokens, and which of them count."""
    cache.verify()
    return (
        np.concatenate(list(cache.blocks())).tolist(),
        cache.counted(np.array([0]), len(cache))[0].tolist(),
    )


@pytest.fixture(scope="module")
def of_json_lines(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[int], list[int]]:
    folder = tmp_path_factory.mktemp("lines")
    (folder / "a.jsonl").write_bytes(json_lines(CONVERSATIONS))
    return contents(build(folder, tokenizer, folder / "a.jsonl"))


@pytest.mark.parametrize("name", FILES)
def test_a_column_of_messages_gives_the_tokens_and_the_mask_of_json_lines(name, of_json_lines, tokenizer, tmp_path):
    (tmp_path / name).write_bytes(FILES[name]())

    found = contents(build(tmp_path, tokenizer, tmp_path / name))

    assert found == of_json_lines
    assert 0 < sum(found[1]) < len(found[1])


def test_a_data_set_of_the_hub_gives_them_too(of_json_lines, chat_folder, tmp_path):
    repositories = {"org/chats": {"main": {"data/train-0.parquet": FILES["a.parquet"]()}}}
    with serving(repositories) as hub:
        spec = {"id": "org/chats", "format": "chat", "tokenizer": str(chat_folder)}
        (found,) = read_from_hub(tmp_path, spec, HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path / "home"))
    assert (found["tokens"], found["counted"]) == of_json_lines


def test_a_null_in_a_list_or_a_map_is_a_value_and_stays(tokenizer, tmp_path):
    calls = pa.list_(pa.struct([("extra", pa.string()), ("arguments", pa.map_(pa.string(), pa.string()))]))
    kind = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), ("tool_calls", calls)]))
    message = {"role": "assistant", "content": "x", "tool_calls": [{"arguments": [("a", None)]}, None]}
    (tmp_path / "a.parquet").write_bytes(parquet(pa.array([[message, {"role": "user", "content": "y"}]], kind)))

    tokens, _ = contents(build(tmp_path, tokenizer, tmp_path / "a.parquet"))

    text = tokenizer.decode(tokens)
    assert text == 'assistant: x calls [{"arguments": {"a": null}}, null]\nuser: y\n'


TURN = {"role": "user", "content": "x"}
WITH_MAP = pa.list_(
    pa.struct([("role", pa.string()), ("content", pa.string()), ("more", pa.map_(pa.string(), pa.string()))])
)
REMEDY = "Name a column of messages in spec.data.messagesKey"
EXPECTED = "expected a list of structs with role and content"
BAD = {
    "no column": (
        parquet(pa.array([[TURN]])),
        {"messages_key": "turns"},
        "{path} has no column 'turns': expected the messages there. Its columns are id (int64), "
        + COLUMN.format("role: string, content: string") + f". {REMEDY}.",
    ),
    "text": (
        parquet(pa.array(["[]"])),
        {},
        "{path} has the column 'messages' of type string, which is no list: " + EXPECTED + ". Its columns are id "
        f"(int64), messages (string). {REMEDY}, or write the file again with one.",
    ),
    "list of text": (
        parquet(pa.array([["user: x"]])),
        {},
        "{path} has the column 'messages' of type list<element: string>, whose items are no structs: " + EXPECTED
        + ". Its columns are id (int64), messages (list<element: string>). "
        + f"{REMEDY}, or write the file again with one.",
    ),
    "other fields": (
        parquet(pa.array([[{"from": "user", "value": "x"}]])),
        {},
        "{path} has the column 'messages' of type list<element: struct<from: string, value: string>>, whose structs "
        "have no field 'role': " + EXPECTED + ". Its columns are id (int64), "
        + COLUMN.format("from: string, value: string") + f". {REMEDY}, or write the file again with one.",
    ),
    "content of parts": (
        parquet(pa.array([[{"role": "user", "content": ["x"]}]])),
        {},
        "{path} has the column 'messages' of type list<element: struct<role: string, content: list<element: string>>>, "
        "whose field 'content' is no text: " + EXPECTED + ". Its columns are id (int64), "
        + COLUMN.format("role: string, content: list<element: string>")
        + f". {REMEDY}, or write the file again with one.",
    ),
    "null": (
        parquet(pa.array([[TURN], None])),
        {},
        "{path}, row 1 (from 0 on), is null in 'messages': expected messages. Remove such rows, or set "
        "spec.data.onBadDocument to skip.",
    ),
    "no content": (
        parquet(pa.array([[TURN], [TURN, {"role": "assistant"}]])),
        {},
        "{path}, row 1 (from 0 on), 'messages': message 2 (assistant) has no content: expected text.",
    ),
    "key twice": (
        parquet(pa.array([[{**TURN, "more": [("a", "x"), ("a", "y")]}]], WITH_MAP)),
        {},
        "{path}, row 0 (from 0 on), has several entries of one name in 'messages': expected one of each. Write the "
        "file again, or set spec.data.onBadDocument to skip.",
    ),
    "null message": (
        parquet(pa.array([[TURN, None]])),
        {},
        "{path}, row 0 (from 0 on), 'messages': message 2 is a NoneType: expected role and content.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_the_message_names_the_file_what_is_wrong_and_what_to_do(name, tokenizer, tmp_path):
    content, fields, message = BAD[name]
    path = tmp_path / "a.parquet"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        build(tmp_path, tokenizer, path, **fields)
    assert str(raised.value) == message.replace("{path}", str(path))


def test_bad_rows_are_skipped_and_counted_and_a_bad_column_never_is(tokenizer, tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(parquet(pa.array([[TURN], None, [], [TURN]])))
    cache = build(tmp_path, tokenizer, path, on_bad_document="skip")
    assert cache.ledger.documents == 2
    assert [file["places"] for file in cache.skipped] == [["row 1", "row 2"]]

    path.write_bytes(parquet(pa.array(["text"])))
    with pytest.raises(DataError, match="which is no list"):
        build(tmp_path, tokenizer, path, on_bad_document="skip")


def lines(**record: object) -> bytes:
    return json.dumps(record).encode()


OF_A_SOURCE = {
    # name of the file: (its content, fields of the source, the message)
    "text.jsonl": (
        lines(body="x"),
        {},
        "{path}, line 1, has no 'text': expected the text there. Its fields are ['body']; name the right one in "
        "spec.data.configs.web.textKey.",
    ),
    "text.parquet": (
        parquet(pa.array(["x"])),
        {},
        "{path} has no column 'text': expected the text there. Its columns are id (int64), messages (string). Name a "
        "column of text in spec.data.configs.web.textKey.",
    ),
    "chat.jsonl": (
        lines(body="x"),
        {"format": "chat"},
        "{path}, line 1, has no 'messages': expected the messages there. Its fields are ['body']; name the right one "
        "in spec.data.configs.web.messagesKey.",
    ),
    "chat.arrow": (
        arrow(pa.array([1]), pa.ipc.new_file),
        {"format": "chat"},
        "{path} has the column 'messages' of type int64, which is no list: " + EXPECTED + ". Its columns are id "
        "(int64), messages (int64). Name a column of messages in spec.data.configs.web.messagesKey, or write the file "
        "again with one.",
    ),
    "chat.npy": (
        b"",
        {"format": "chat"},
        "spec.data.configs.web.trainUrls names '{path}', which is a .npy array by its name: conversations (format: "
        "chat) are read from JSON lines (.jsonl), Parquet or Arrow. Convert it, or give it the suffix of what it "
        "holds.",
    ),
}


def build_source(folder: Path, tokenizer: Tokenizer, path: Path, **fields) -> TokenCache:
    web = {"train_urls": [str(path)], **fields}
    (source,) = job_sources(DataSpec.model_validate({"configs": {"web": web}, "train_weights": {"web": 1}}), "train")
    cache_dir = str(folder / "cache")
    return open_or_build_cache(source.data, "train", tokenizer, cache_dir, where=source.where, progress=lambda _: None)


@pytest.mark.parametrize("name", OF_A_SOURCE)
def test_of_a_source_of_a_mixture_its_own_fields_are_named(name, tokenizer, tmp_path):
    content, fields, message = OF_A_SOURCE[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((DataError, UserError)) as raised:
        build_source(tmp_path, tokenizer, path, **fields)
    assert str(raised.value) == message.replace("{path}", str(path))


def test_a_template_that_cannot_be_used_is_named_with_the_source(bpe_folder, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json_lines(CONVERSATIONS))
    plain = load_tokenizer(str(bpe_folder))
    with pytest.raises(UserError) as raised:
        build_source(tmp_path, plain, path, format="chat")
    assert str(raised.value) == (
        f"spec.data.tokenizer is {plain.name!r}, which has no chat template, and spec.data.configs.web.format is "
        "'chat': expected chat_template in its tokenizer_config.json, or a chat_template.jinja beside it. Add one, or "
        "name the tokenizer of an instruction-tuned model."
    )
    (tmp_path / "tokenizer.json").write_bytes((bpe_folder / "tokenizer.json").read_bytes())
    (tmp_path / "chat_template.jinja").write_text("{{ strftime_now('%d') }}")
    with pytest.raises(
        UserError, match=r"^spec\.data\.configs\.web\.format is 'chat': the chat template of spec\.data"
    ):
        build_source(tmp_path, load_tokenizer(str(tmp_path)), path, format="chat")
