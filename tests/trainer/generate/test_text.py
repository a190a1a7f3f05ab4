"""Text of tokens while they come."""

import pytest
from lateen_trainer.data.tokenizer import ByteTokenizer
from lateen_trainer.generate.text import TextStream
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEXT = "naïve 帆 ⛵ 👩‍🚀 done"


def stream(text: bytes, stops: tuple[str, ...] = (), prompt: bytes = b"") -> list[str]:
    """What comes of each byte, and at the end."""
    tokenizer = ByteTokenizer()
    output = TextStream(tokenizer.decode, list(prompt), stops)
    return [output.push(byte) for byte in text] + [output.finish()]


def test_only_whole_characters_come():
    parts = stream(TEXT.encode())

    assert "".join(parts) == TEXT
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(parts)
    assert parts[2:4] == ["", "ï"]


@pytest.mark.parametrize("bad", [b"a\xffb", b"\xff\xfe\xfd\xfc\xfb\xe5\xb8\x86", b"a\xe5\xb8", b"\xf0\x9f\xffz"])
def test_bytes_that_are_no_characters_are_replaced(bad: bytes):
    assert "".join(stream(bad)) == bad.decode(errors="replace")


def test_a_stop_ends_the_text_also_where_it_comes_in_parts():
    assert "".join(stream(b"one\n\nQ: two", ("\n\nQ:", "two"))) == "one"
    assert "".join(stream(b"one\n\nP: two", ("\n\nQ:",))) == "one\n\nP: two"


def test_what_may_begin_a_stop_is_held_back():
    parts = stream(b"ab<en", ("<end>",))

    assert parts == ["a", "b", "", "", "", "<en"]


def test_nothing_comes_behind_a_stop():
    output = TextStream(ByteTokenizer().decode, [], ("b",))
    assert [output.push(token) for token in b"abc"] == ["a", "", ""]
    assert output.stopped and output.finish() == ""


def test_a_space_that_the_decoder_drops_at_the_beginning_of_a_text_is_kept_behind_a_prompt():
    vocab = {"▁blue": 0, "▁sea": 1, "<unk>": 2}
    tokenizer = Tokenizer(models.WordLevel(vocab, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    assert tokenizer.decode([1]) == "sea"

    output = TextStream(tokenizer.decode, [0])

    assert [output.push(1), output.push(0)] == [" sea", " blue"]
