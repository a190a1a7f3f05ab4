"""From a job's data section to the batches it trains and evaluates on: mixtures, packed documents, conversations."""

import json
from pathlib import Path

import numpy as np
import pytest
from lateen_api.spec import JobSpec
from lateen_trainer.data.batch import PADDING
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.evaluation import EvalBatches
from lateen_trainer.data.job_data import JobData, JobSource, mixture_of
from lateen_trainer.data.loader import Loader
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import ByteTokenizer, HuggingFaceTokenizer, Tokenizer, load_tokenizer
from lateen_trainer.errors import DataError, UserError

SEQ_LEN, BATCH = 16, 8

TEMPLATE = """
{%- for m in messages -%}{{ m.role + ': ' + m.content + '\n' }}{%- endfor -%}
{%- if add_generation_prompt %}{{ 'assistant: ' }}{% endif -%}"""


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Files whose bytes say where they are from: `a` of letters a, `b` of letters b, …; each in lines of documents."""
    for letter, documents in (("a", 400), ("b", 60), ("c", 40)):
        records = [json.dumps({"text": letter * (3 + number % 29)}) for number in range(documents)]
        (tmp_path / f"{letter}.jsonl").write_text("\n".join(records))
    return tmp_path


def job(data: dict) -> JobSpec:
    return JobSpec.model_validate(
        {
            "data": {"tokenizer": "bytes", **data},
            "model": {"type": "gpt2", "seqLen": SEQ_LEN},
            "trainer": {"trainBatchSize": BATCH, "numTrainSteps": 100, "seed": 5},
        }
    )


def open_data(spec: JobSpec, folder: Path, tokenizer: Tokenizer | None = None) -> JobData:
    def open_cache(source: JobSource) -> TokenCache:
        return open_or_build_cache(
            source.data, source.split, tokenizer or ByteTokenizer(), str(folder / "cache"),
            where=source.where, progress=lambda _: None,
        )  # fmt: skip

    return JobData.open(spec.data, open_cache)


def mixture(texts: Path, **more) -> JobSpec:
    configs = {letter: {"trainUrls": [str(texts / f"{letter}.jsonl")]} for letter in "abc"}
    return job({"configs": configs, **more})


def letters(rows: np.ndarray) -> list[str]:
    """Of which source each row is: its most frequent letter."""
    return [chr(np.bincount(row[row < 256]).argmax()) for row in rows]


def test_batches_hold_the_sources_that_the_mixture_names(texts):
    spec = mixture(texts, trainWeights={"a": 0.5, "b": 0.3, "c": 0.2})
    loader = Loader(open_data(spec, texts).sequences(spec), batch_size=BATCH)

    found = [letter for step in range(20) for letter in letters(loader.batch(step).tokens)]

    sources, _ = mixture_of(spec).locate(np.arange(20 * BATCH))
    assert found == ["abc"[source] for source in sources]
    assert set(found) == set("abc")


def test_each_source_has_epochs_of_its_own(texts):
    spec = mixture(texts, trainWeights={"a": 0.5, "c": 0.5})
    data = open_data(spec, texts)
    sequences = (len(data.train["c"]) - 1) // SEQ_LEN
    rows = data.sequences(spec).read(np.arange(4 * sequences)).tokens
    of_c = [row.tobytes() for row, letter in zip(rows, letters(rows), strict=True) if letter == "c"]
    first, second = of_c[:sequences], of_c[sequences : 2 * sequences]
    stream = next(data.train["c"].blocks())
    everything = sorted(stream[SEQ_LEN * i : SEQ_LEN * i + SEQ_LEN + 1].tobytes() for i in range(sequences))
    assert sorted(first) == everything
    assert first != second
    assert "b" not in data.train, "a source without a weight is not read"


def test_a_stage_begins_exactly_at_its_step_whichever_step_the_loader_starts_from(texts):
    stages = [
        {"step": 0, "weights": {"a": 1}},
        {"step": 7, "weights": {"b": 1}},
        {"step": 9, "weights": {"a": 1, "c": 1}},
    ]
    spec = mixture(texts, trainWeightStages=stages)
    data = open_data(spec, texts)
    for start in (0, 6, 7, 8, 9):
        with Loader(data.sequences(spec), batch_size=BATCH).prefetch(start, 12) as batches:
            for step, batch in batches:
                expected = {"a"} if step < 7 else {"b"} if step < 9 else {"a", "c"}
                assert set(letters(batch.tokens)) <= expected
                if step in (6, 7, 8):
                    assert set(letters(batch.tokens)) == expected


def test_levanters_list_of_stages_means_the_same(texts):
    configs = {"a": {"trainUrls": [str(texts / "a.jsonl")]}, "b": {"trainUrls": [str(texts / "b.jsonl")]}}
    theirs = job({"configs": configs, "train_weights": [[0, {"a": 1.0}], [4, {"a": 1.0, "b": 3.0}]]})
    ours = job(
        {
            "configs": configs,
            "trainWeightStages": [{"step": 0, "weights": {"a": 1}}, {"step": 4, "weights": {"a": 1, "b": 3}}],
        }
    )
    assert theirs == ours
    counts = mixture_of(theirs).counts(4 * BATCH + 2048)
    assert counts == {"a": 4 * BATCH + 512, "b": 1536}, "weights are shares of sequences, from the step on"


def test_each_builder_begins_with_another_source_and_all_have_the_same_data(texts):
    spec = mixture(texts, trainWeights={"a": 1, "b": 1, "c": 1})
    caches = open_data(spec, texts).train

    for builder, expected in ((0, "abc"), (1, "bca"), (2, "cab"), (3, "abc")):
        opened: list[str] = []

        def open_cache(source: JobSource, opened=opened) -> TokenCache:
            opened.append(source.name)
            return caches[source.name]

        data = JobData.open(spec.data, open_cache, builder=builder)
        assert "".join(opened) == expected
        assert list(data.train) == ["a", "b", "c"]
        assert data.train == caches


def test_each_source_is_evaluated_by_itself(texts):
    configs = {letter: {"validationUrls": [str(texts / f"{letter}.jsonl")]} for letter in "bc"}
    configs["a"] = {"trainUrls": [str(texts / "a.jsonl")]}
    spec = job({"configs": configs, "trainWeights": {"a": 1}})
    sources = open_data(spec, texts).validation_sources(spec)
    assert sorted(sources) == ["b", "c"]
    for letter, source in sources.items():
        batch, mask = next(iter(EvalBatches(source, batch_size=4)))
        assert set(letters(batch.tokens[mask == 1])) == {letter}


def test_packed_documents_are_read_whole(texts):
    spec = job({"trainUrls": [str(texts / f"{letter}.jsonl") for letter in "abc"], "packing": "documents"})
    data = open_data(spec, texts)
    batch = data.sequences(spec).read(np.arange(40))
    assert batch.counted is None
    assert batch.segments.shape == batch.tokens.shape == (40, SEQ_LEN + 1)
    for row, segments in zip(batch.tokens, batch.segments, strict=True):
        for segment in set(segments.tolist()) - {PADDING}:
            document = row[segments == segment].tolist()
            assert len({token for token in document if token < 256}) == 1
            assert 256 not in document[:-1], "the end of text ends a document"
    (source,) = job_sources(spec, data)
    targets = sum(2 + number % 29 + 1 for count in (400, 60, 40) for number in range(count))
    assert source.ready * SEQ_LEN * source.fill == pytest.approx(targets)
    assert source.fill > 0.85


@pytest.mark.parametrize("packing", ["concatenate", "documents"])
def test_windows_are_of_sequences_whichever_way_they_are_made(packing, texts):
    spec = job({"trainUrls": [str(texts / "a.jsonl")], "packing": packing, "shuffle": {"window": 16}})
    data = open_data(spec, texts)
    (source,) = job_sources(spec, data)
    for window in (0, 1):
        numbers = np.arange(16 * window, 16 * window + 16)
        found, in_order = data.sequences(spec).read(numbers).tokens, source.read(numbers).tokens
        assert sorted(row.tobytes() for row in found) == sorted(row.tobytes() for row in in_order)
        assert (found != in_order).any()


def job_sources(spec: JobSpec, data: JobData) -> list:
    return list(JobData(data.train, data.train).validation_sources(spec).values())


@pytest.fixture
def chat_tokenizer(bpe_folder: Path, tmp_path: Path) -> HuggingFaceTokenizer:
    folder = tmp_path / "chat-tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((bpe_folder / "tokenizer.json").read_bytes())
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    tokenizer = load_tokenizer(str(folder))
    assert isinstance(tokenizer, HuggingFaceTokenizer)
    return tokenizer


def conversations(path: Path, *answers: str) -> str:
    turns = [[{"role": "user", "content": "Ships?"}, {"role": "assistant", "content": answer}] for answer in answers]
    path.write_text("\n".join(json.dumps({"messages": messages}) for messages in turns))
    return str(path)


def test_of_conversations_the_assistants_turns_count(chat_tokenizer, tmp_path):
    answers = [f"There are {number} ships and {number} sails." for number in range(60)]
    spec = job({"trainUrls": [conversations(tmp_path / "chat.jsonl", *answers)], "format": "chat"})
    data = open_data(spec, tmp_path, chat_tokenizer)
    sequences = data.sequences(spec)
    assert data.train[""].header.has_counted

    batch = sequences.read(np.arange(8))

    assert batch.counted.dtype == np.uint8
    assert 0 < batch.counted.sum() < batch.counted.size
    tokens, counted = next(data.train[""].blocks()), data.train[""].counted(np.array([0]), len(data.train[""]))[0]
    said = chat_tokenizer.decode(tokens[counted == 1])
    assert said == "".join(f"{answer}\n" for answer in answers)


def test_text_beside_conversations_counts_as_a_whole(chat_tokenizer, texts):
    chat = conversations(texts / "chat.jsonl", *["Yes." for _ in range(60)])
    configs = {"chat": {"trainUrls": [chat], "format": "chat"}, "text": {"trainUrls": [str(texts / "a.jsonl")]}}
    spec = job({"configs": configs, "trainWeights": {"chat": 1, "text": 1}})
    data = open_data(spec, texts, chat_tokenizer)
    numbers = np.arange(64)
    batch = data.sequences(spec).read(numbers)
    sources, _ = mixture_of(spec).locate(numbers)
    assert batch.counted[sources == 1].all()
    assert not batch.counted[sources == 0].all()
    assert (data.sequences(spec).read(numbers[sources == 1]).counted == 1).all(), "the same arrays in every batch"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"text": "a"}, "has no 'messages': expected the messages there. Its fields are ['text']; name the right one"),
        ({"messages": []}, "'messages': is an empty list: expected a list of messages."),
        ({"messages": [{"role": "user"}]}, "'messages': message 1 (user) has no content: expected text."),
    ],
)
def test_a_bad_conversation_is_named_with_file_and_line(line, problem, chat_tokenizer, tmp_path):
    path = tmp_path / "chat.jsonl"
    path.write_text(Path(conversations(path, *["Yes."] * 60)).read_text() + "\n" + json.dumps(line))
    spec = job({"trainUrls": [str(path)], "format": "chat"})
    with pytest.raises(DataError) as refused:
        open_data(spec, tmp_path, chat_tokenizer)
    assert f"{path}, line 61, {problem}" in str(refused.value)

    skipping = job({"trainUrls": [str(path)], "format": "chat", "onBadDocument": "skip"})
    assert open_data(skipping, tmp_path, chat_tokenizer).skipped_documents == 1


def test_conversations_need_a_template_and_records(chat_tokenizer, bpe_folder, tmp_path):
    spec = job({"trainUrls": [conversations(tmp_path / "chat.jsonl", "Yes.")], "format": "chat"})
    for tokenizer in (ByteTokenizer(), load_tokenizer(str(bpe_folder))):
        with pytest.raises(UserError, match=r"which has no chat template, and spec\.data\.format is 'chat': expected"):
            open_data(spec, tmp_path, tokenizer)
    (tmp_path / "a.txt").write_text("text")
    spec = job({"trainUrls": [str(tmp_path / "a.txt")], "format": "chat"})
    with pytest.raises(UserError, match=r"a.txt', which is text by its name: conversations \(format: chat\) are read"):
        open_data(spec, tmp_path, chat_tokenizer)


def test_a_source_with_too_little_text_is_named(texts):
    (texts / "b.jsonl").write_text('{"text": "b"}')
    spec = mixture(texts, trainWeights={"a": 1, "b": 1})
    data = open_data(spec, texts)
    with pytest.raises(
        UserError, match=r"^spec\.data\.configs\.b\.trainUrls hold 2 tokens in 1 documents, which make 0"
    ):
        data.sequences(spec)
