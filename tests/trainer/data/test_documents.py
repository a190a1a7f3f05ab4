"""From files to documents, and what is said about broken ones."""

import bz2
import gzip
import json
import logging
import lzma
from pathlib import Path
from typing import Any

import pytest
import zstandard
from lateen_trainer.data import documents
from lateen_trainer.data.compression import suffixes
from lateen_trainer.data.documents import read_documents
from lateen_trainer.data.record_key import RecordKey
from lateen_trainer.data.tokenizer import load_tokenizer
from lateen_trainer.data.urls import expand_urls
from lateen_trainer.errors import DataError, UserError

FIELD = "spec.data.trainUrls"
TEXT = RecordKey("text", "spec.data.textKey")
COMPRESS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def read(path: Path, *, as_bytes: bool = False, text_key: str = "text") -> list[Any]:
    """The documents of a file, each put together from its pieces."""
    (file,) = expand_urls([str(path)], field=FIELD)
    found, parts = [], []
    key = RecordKey(text_key, "spec.data.textKey")
    for piece in read_documents(file, text_key=key, as_bytes=as_bytes, field=FIELD):
        parts.append(piece.text)
        if piece.ends_document:
            found.append((b"" if as_bytes else "").join(parts))
            parts = []
    assert not parts
    return found


def lines(*records: object) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_text_file_is_one_document(tmp_path):
    path = write(tmp_path, "a.txt", "Grüße\r\naus Überlingen\n".encode())
    assert read(path) == ["Grüße\r\naus Überlingen\n"]


def test_an_empty_file_holds_no_document(tmp_path):
    assert read(write(tmp_path, "a.txt", b"")) == []
    assert read(write(tmp_path, "b.txt", b""), as_bytes=True) == []
    assert read(write(tmp_path, "c.jsonl", b"")) == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json"])
def test_json_lines_hold_a_document_each(tmp_path, name):
    path = write(tmp_path, name, lines({"text": "one", "id": 1}, {"text": "zwei ü"}))
    assert read(path) == ["one", "zwei ü"]


def test_blank_lines_and_empty_texts_are_left_out(tmp_path):
    path = write(tmp_path, "a.jsonl", b"\n" + lines({"text": ""}) + b"  \n" + lines({"text": "x"}))
    assert read(path) == ["x"]


def test_another_text_key(tmp_path):
    assert read(write(tmp_path, "a.jsonl", lines({"content": "x"})), text_key="content") == ["x"]


def test_json_lines_as_bytes(tmp_path):
    assert read(write(tmp_path, "a.jsonl", lines({"text": "ü"})), as_bytes=True) == ["ü".encode()]


def test_a_byte_order_mark_before_json_is_skipped(tmp_path):
    assert read(write(tmp_path, "a.jsonl", b"\xef\xbb\xbf" + lines({"text": "x"}))) == ["x"]


def test_half_a_surrogate_pair_becomes_a_replacement_character(tmp_path):
    path = write(tmp_path, "a.jsonl", b'{"text": "a\\ud800b \\ud83d\\ude00"}\n')
    assert read(path) == ["a\ufffdb \U0001f600"]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("as_bytes", [False, True])
def test_compressed_text(tmp_path, suffix, as_bytes):
    path = write(tmp_path, f"a.txt{suffix}", COMPRESS[suffix]("Grüße\n".encode() * 1000))
    assert read(path, as_bytes=as_bytes) == ["Grüße\n".encode() * 1000 if as_bytes else "Grüße\n" * 1000]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressed_json_lines(tmp_path, suffix):
    path = write(tmp_path, f"a.jsonl{suffix}", COMPRESS[suffix](lines({"text": "x"}, {"text": "y"})))
    assert read(path) == ["x", "y"]


@pytest.mark.parametrize("suffix", COMPRESS)
def test_parts_that_were_compressed_alone_are_all_read(tmp_path, suffix):
    path = write(tmp_path, f"a.txt{suffix}", COMPRESS[suffix](b"one ") + COMPRESS[suffix](b"two"))
    assert read(path) == ["one two"]


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("kept", [0.5, 0.99])
def test_a_compressed_file_that_was_cut_off_is_named(tmp_path, suffix, kept):
    whole = COMPRESS[suffix](bytes(range(1, 256)) * 100 + str(list(range(5000))).encode())
    path = write(tmp_path, f"a.txt{suffix}", whole[: int(len(whole) * kept)])
    with pytest.raises(DataError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path} cannot be decompressed: ")
    assert f"cut off or corrupt ({path.stat().st_size:,} bytes): expected a whole file." in str(raised.value)


HUNDRED = lines(*({"text": str(number)} for number in range(100)))


@pytest.mark.parametrize(("suffix", "padding"), [(".xz", 4), (".xz", 8), (".gz", 1), (".gz", 700_000)])
def test_zeros_between_streams_and_behind_them_are_padding(tmp_path, suffix, padding):
    one = COMPRESS[suffix](HUNDRED)
    assert len(read(write(tmp_path, f"a.jsonl{suffix}", one + bytes(padding) + one + bytes(padding)))) == 200


@pytest.mark.parametrize(
    ("suffix", "behind", "reason"),
    [
        (".xz", bytes(3), "its padding is not a multiple of 4 bytes"),
        (".bz2", bytes(4), "Invalid data stream"),
        (".zst", bytes(4), "zstd decompressor error: Unknown frame descriptor"),
        (".gz", b"<html>503</html>", "Error -3 while decompressing data: incorrect header check"),
        (".bz2", b"<html>503</html>", "Invalid data stream"),
        (".xz", b"<html>503</html>", "Input format not supported by decoder"),
        (".zst", b"<html>503</html>", "zstd decompressor error: Unknown frame descriptor"),
    ],
)
def test_anything_else_behind_a_stream_is_an_error_with_its_offset(tmp_path, suffix, behind, reason):
    one = COMPRESS[suffix](HUNDRED)
    path = write(tmp_path, f"a.jsonl{suffix}", one + behind)
    with pytest.raises(DataError) as raised:
        read(path)
    expected = (
        f"{path} cannot be decompressed: {reason} (in the stream that begins at byte {len(one):,}). It is cut off "
    )
    assert str(raised.value).startswith(expected)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_flipped_bit_in_the_header_of_a_joined_stream_is_found(tmp_path, suffix):
    one = COMPRESS[suffix](HUNDRED)
    content = bytearray(one * 3)
    content[len(one) + 1] ^= 4
    with pytest.raises(DataError, match=f"begins at byte {len(one):,}"):
        read(write(tmp_path, f"a.jsonl{suffix}", bytes(content)))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_compressed_file_of_no_bytes_is_cut_off(tmp_path, suffix):
    with pytest.raises(DataError, match="the file is empty"):
        read(write(tmp_path, f"a.txt{suffix}", b""))
    assert read(write(tmp_path, f"b.txt{suffix}", COMPRESS[suffix](b""))) == []


def test_a_zstd_window_larger_than_the_librarys_limit_is_read(tmp_path):
    """`zstd --long=28` asks for it; the library's own limit is 2^27 bytes."""
    parameters = zstandard.ZstdCompressionParameters(window_log=28)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert len(read(write(tmp_path, "a.jsonl.zst", stream.compress(HUNDRED) + stream.flush()))) == 100


def test_frames_of_zstd_that_readers_skip_are_skipped(tmp_path):
    skipped = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"
    path = write(tmp_path, "a.jsonl.zst", skipped + COMPRESS[".zst"](HUNDRED) + skipped)
    assert len(read(path)) == 100


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_file_that_is_not_compressed_as_its_name_says_is_named(tmp_path, suffix):
    path = write(tmp_path, f"a.txt{suffix}", b"plain text, no header of any kind")
    with pytest.raises(DataError) as raised:
        read(path)
    assert str(raised.value).startswith(f"{path} cannot be decompressed: ")


def test_a_flipped_bit_in_gzip_is_found(tmp_path):
    content = bytearray(gzip.compress(str(list(range(5000))).encode()))
    content[len(content) // 2] ^= 1
    with pytest.raises(DataError, match="cannot be decompressed"):
        read(write(tmp_path, "a.txt.gz", bytes(content)))


def test_bytes_that_are_not_utf8_stay_as_they_are_for_a_tokenizer_of_bytes(tmp_path):
    path = write(tmp_path, "a.txt", b"caf\xe9 \xff\x00")
    assert read(path, as_bytes=True) == [b"caf\xe9 \xff\x00"]


def test_text_gets_replacement_characters_and_one_warning_a_file(tmp_path, caplog):
    path = write(tmp_path, "a.txt", b"caf\xe9 and \xff")
    assert read(path) == ["caf\ufffd and \ufffd"]
    assert caplog.messages == [f"{path} is not UTF-8 at byte 3: such bytes become U+FFFD"]


def test_a_character_that_is_cut_off_at_the_end_is_warned_of(tmp_path, caplog):
    path = write(tmp_path, "a.txt", "ab€".encode()[:-1])
    assert read(path) == ["ab\ufffd"]
    assert caplog.messages == [f"{path} is not UTF-8 at byte 2: such bytes become U+FFFD"]


def test_the_offset_of_bad_bytes_counts_from_the_start_of_the_file(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(documents, "PIECE", 4)
    path = write(tmp_path, "a.txt", "€€€".encode() + b"\xff")
    assert "".join(read(path)) == "€€€\ufffd"
    assert caplog.messages == [f"{path} is not UTF-8 at byte 9: such bytes become U+FFFD"]


def test_characters_across_reads_are_whole(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(documents, "PIECE", 5)
    caplog.set_level(logging.WARNING)
    text = "a€ü\U0001f600" * 7
    assert read(write(tmp_path, "a.txt", text.encode())) == [text]
    assert not caplog.messages


def pieces(path: Path, as_bytes: bool = False) -> list[str | bytes]:
    (file,) = expand_urls([str(path)], field=FIELD)
    return [piece.text for piece in read_documents(file, text_key=TEXT, as_bytes=as_bytes, field=FIELD)]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_long_text_is_cut_behind_a_line_before_a_line_that_is_not_indented(tmp_path, monkeypatch, name):
    monkeypatch.setattr(documents, "PIECE", 16)
    text = "first\nsecond\n  third\nfourth\n"
    content = text.encode() if name == "a.txt" else lines({"text": text})
    assert pieces(write(tmp_path, name, content)) == ["first\n", "second\n  third\n", "fourth\n"]


def test_pieces_give_the_tokens_of_the_whole(tmp_path, monkeypatch, bpe_folder):
    text = Path(documents.__file__).read_text()
    tokenizer = load_tokenizer(str(bpe_folder))
    whole = tokenizer.encode_batch([text])[0].tolist()
    monkeypatch.setattr(documents, "PIECE", 400)
    parts = pieces(write(tmp_path, "a.txt", text.encode()))
    assert len(parts) > len(text) / 400
    assert [token for tokens in tokenizer.encode_batch(parts) for token in tokens.tolist()] == whole


def test_text_without_lines_is_cut_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "PIECE", 4)
    assert pieces(write(tmp_path, "a.txt", b"abcdefghij")) == ["abcd", "efgh", "ij"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_bytes_are_cut_at_the_same_length_everywhere(tmp_path, monkeypatch, name):
    monkeypatch.setattr(documents, "PIECE", 4)
    content = b"abcdefgh" if name == "a.txt" else lines({"text": "abcdefgh"})
    assert pieces(write(tmp_path, name, content), as_bytes=True) == [b"abcd", b"efgh"]


def message(path: Path, expected: type[Exception] = DataError) -> str:
    with pytest.raises(expected) as raised:
        read(path)
    return str(raised.value)


def test_a_line_that_is_not_json(tmp_path):
    path = write(tmp_path, "a.jsonl", lines({"text": "x"}) + b'{"text": "y"\n')
    assert message(path) == (
        f"{path}, line 2, is not JSON: Expecting ',' delimiter: line 2 column 1 (char 13). Expected one JSON object "
        'a line; the line begins b\'{"text": "y"\\n\'.'
    )


def test_a_line_that_is_not_utf8(tmp_path):
    path = write(tmp_path, "a.jsonl", b'{"text": "caf\xe9"}\n')
    assert message(path).startswith(f"{path}, line 1, is not JSON: 'utf-8' codec can't decode byte 0xe9 in position 13")


def test_a_line_that_is_no_object(tmp_path):
    path = write(tmp_path, "a.jsonl", lines(["x"]))
    assert message(path) == f"{path}, line 1, holds a JSON list: expected one JSON object a line."


def test_a_record_without_the_text_key(tmp_path):
    path = write(tmp_path, "a.jsonl", lines({"text": "x"}, {"content": "y", "id": 1}))
    assert message(path) == (
        f"{path}, line 2, has no 'text': expected the text there. Its fields are ['content', 'id']; name the right "
        "one in spec.data.textKey."
    )


def test_a_record_whose_text_is_no_text(tmp_path):
    path = write(tmp_path, "a.jsonl", lines({"text": 7}))
    assert message(path).startswith(f"{path}, line 1, holds a int under 'text': expected the text there.")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.npz", "a.pdf", "a.csv", "a.tsv.zst"])
def test_files_that_hold_no_text_are_refused(tmp_path, name):
    text = message(write(tmp_path, name, b"PAR1"), UserError)
    assert text.startswith(f"{FIELD} names '{tmp_path}/{name}': files of the kind .")
    assert text.endswith(
        "cannot be read, expected text, JSON lines (.jsonl), Parquet, Arrow or tokens (.npy, .bin), compressed or not. "
        "Convert it, or leave it out by a pattern that starts with `!`."
    )


def test_a_file_that_is_gone_when_it_is_read(tmp_path):
    path = write(tmp_path, "a.txt", b"x")
    (file,) = expand_urls([str(path)], field=FIELD)
    path.unlink()
    with pytest.raises(UserError, match=r"names '.*a\.txt', which does not exist"):
        list(read_documents(file, text_key=TEXT, as_bytes=False, field=FIELD))


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_byte_order_mark_of_utf8_is_no_part_of_the_text(tmp_path, name, as_bytes):
    content = "\ufeff".encode() + (lines({"text": "x"}) if name == "a.jsonl" else b"x")
    assert read(write(tmp_path, name, content), as_bytes=as_bytes) == [b"x" if as_bytes else "x"]


OTHER_CONTENT = {
    "gzip": (gzip.compress(b"x"), "gzip data: it is compressed. Give it the suffix .gz, or decompress it."),
    "bzip2": (bz2.compress(b"x"), "bzip2 data: it is compressed. Give it the suffix .bz2, or decompress it."),
    "xz": (lzma.compress(b"x"), "xz data: it is compressed. Give it the suffix .xz, or decompress it."),
    "zst": (COMPRESS[".zst"](b"x"), "Zstandard data: it is compressed. Give it the suffix .zst, or decompress it."),
    "zip": (b"PK\x03\x04x", "a zip archive: it is not read as one by this name. Give it the suffix .zip."),
    "parquet": (
        b"PAR1\x15\x04\x15",
        "a Parquet file: it is not read as one by this name. Give it the suffix .parquet.",
    ),
    "tar": (bytes(257) + b"ustar", "a tar archive: it cannot be read, expected text, JSON lines (.jsonl), "),
    "pdf": (b"%PDF-1.7", "a PDF file: it cannot be read, expected text, JSON lines (.jsonl), "),
    "utf-16": (
        "\ufeffx".encode("utf-16-le"),
        "text in UTF-16: it is not UTF-8. Convert it, for instance by `iconv -f ",
    ),
    "utf-32": (
        "\ufeffx".encode("utf-32-le"),
        "text in UTF-32: it is not UTF-8. Convert it, for instance by `iconv -f ",
    ),
}


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize("name", ["a.txt", "a", "a.jsonl"])
@pytest.mark.parametrize("kind", OTHER_CONTENT)
def test_what_is_no_text_does_not_become_text(tmp_path, kind, name, as_bytes):
    content, says = OTHER_CONTENT[kind]
    path = write(tmp_path, name, content)
    with pytest.raises(UserError) as raised:
        read(path, as_bytes=as_bytes)
    assert str(raised.value).startswith(f"{FIELD} names {str(path)!r}, which holds {says}")


def test_what_is_compressed_twice_is_named(tmp_path):
    with pytest.raises(UserError, match="which holds gzip data"):
        read(write(tmp_path, "a.jsonl.gz", gzip.compress(gzip.compress(b"x"))))


def test_a_zero_byte_is_in_no_text(tmp_path):
    path = write(tmp_path, "a.txt", "Grüße".encode("utf-16-le"))
    with pytest.raises(UserError, match=r"holds a zero byte \(at byte 1\): it is no text, or text in UTF-16"):
        read(path)


@pytest.mark.parametrize("name", ["a", "a.txt", "a.log.gz"])
@pytest.mark.parametrize("text", ["x", "x" * 10_000])
def test_json_lines_by_another_name_do_not_become_one_text(tmp_path, name, text):
    content = lines({"text": text}, {"text": "y"})
    path = write(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content)
    with pytest.raises(UserError, match=r"begins with a JSON record that has 'text', .* Give it the suffix \.jsonl\."):
        read(path)


def test_text_that_begins_with_a_brace_is_text(tmp_path):
    assert read(write(tmp_path, "a.txt", b'{"name": "x"}\n')) == ['{"name": "x"}\n']


@pytest.mark.parametrize(
    ("url", "kinds"),
    [
        ("http://host/a.jsonl?sig=x", (".jsonl", "")),
        ("https://host/a.jsonl.gz?sig=a.txt#b.zst", (".jsonl", ".gz")),
        ("HTTPS://host/A.TXT", (".txt", "")),
        ("https://host/download?file=a.jsonl.gz", ("", "")),
        ("gs://bucket/a?.jsonl.gz", (".jsonl", ".gz")),
        ("/data/a?b.txt", (".txt", "")),
    ],
)
def test_the_query_of_a_url_says_nothing_of_the_kind(url, kinds):
    assert suffixes(url) == kinds


UNREAD = "it cannot be read, expected text, JSON lines (.jsonl), Parquet, Arrow or tokens (.npy, .bin). Convert it."
RENAME = "it is not read as one by this name. Give it the suffix"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\x04\x22\x4d\x18\x60\x40\x82", f"LZ4 data: {UNREAD}"),
        (b"7z\xbc\xaf\x27\x1c\0\4", f"a 7z archive: {UNREAD}"),
        (b"Rar!\x1a\x07\x01\0", f"a RAR archive: {UNREAD}"),
        (b"PK\x05\x06" + bytes(18), f"a zip archive: {RENAME} .zip."),
        (b"PARE\x15\x04", f"a Parquet file: {RENAME} .parquet."),
        (bz2.compress(b""), "bzip2 data: it is compressed. Give it the suffix .bz2, or decompress it."),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_more_contents_that_are_no_text(tmp_path, name, content, says):
    path = write(tmp_path, name, content)
    assert message(path, UserError) == f"{FIELD} names {str(path)!r}, which holds {says}"


@pytest.mark.parametrize("text", ["BZhang wrote this.", "PAR1 is a gene.", "PAR1\n", "PK and Rar! and 7z", "ustar"])
def test_text_that_begins_with_the_letters_of_a_format_is_text(tmp_path, text):
    assert read(write(tmp_path, "a.txt", text.encode())) == [text]


def test_a_zstandard_window_that_no_tool_writes_is_named(tmp_path):
    parameters = zstandard.ZstdCompressionParameters(window_log=28, enable_ldm=True)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    content = bytearray(compressor.compress(b"text") + compressor.flush())
    content[5] = 22 << 3 | 1
    path = write(tmp_path, "a.txt.zst", bytes(content))
    assert message(path) == (
        f"{path} cannot be decompressed: its window is 4,831,838,208 bytes (in the stream that begins at byte 0). "
        "Expected at most 2,147,483,648. Compress it again by `zstd --long=27`."
    )


def test_a_zstandard_frame_that_needs_a_dictionary_says_so(tmp_path):
    dictionary = zstandard.train_dictionary(1024, [f"sample {n} of ships and sails".encode() * 3 for n in range(300)])
    whole = zstandard.ZstdCompressor().compress(b"text")
    other = zstandard.ZstdCompressor(dict_data=dictionary).compress(b"more text")
    path = write(tmp_path, "a.txt.zst", whole + other)
    assert message(path) == (
        f"{path} cannot be decompressed: it needs the dictionary {dictionary.dict_id()}, which is not in it (in the "
        f"stream that begins at byte {len(whole)}). Compress it again without a dictionary."
    )
