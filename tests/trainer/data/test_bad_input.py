"""Bad input, case by case: the file, and the whole message that it gets. Nothing is dropped silently."""

import bz2
import gzip
import io
import json
import lzma
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from lateen_api.spec import DataSpec
from lateen_trainer.data.prepare import open_or_build_cache
from lateen_trainer.data.tokenizer import ByteTokenizer
from lateen_trainer.errors import DataError, UserError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

CUT = "It is cut off or corrupt ({size:,} bytes): expected a whole file. Copy it again, or exclude it with a pattern "
CUT += "that starts with `!`."
CUT_ZIP = CUT.replace("file", "zip archive")
CUT_TABLE = (
    "It is cut off or corrupt: expected one that pyarrow reads. Copy it again, or exclude it with a pattern that "
)
CUT_TABLE += "starts with `!`."
NAME = "Name a column of text in spec.data.textKey"
UNREAD = "cannot be read, expected text, JSON lines (.jsonl), Parquet, Arrow or tokens (.npy, .bin)"
LINES = "".join(json.dumps({"text": f"line {number} of a file"}) + "\n" for number in range(100)).encode()


def parquet(table: "pa.Table", **options) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def arrow(table: "pa.Table", make=None) -> bytes:
    stream = io.BytesIO()
    with (make or pa.ipc.new_file)(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue()


def archive(members: dict[str, bytes], change: Callable[[bytearray], None] = lambda content: None, **options) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **{"compression": zipfile.ZIP_DEFLATED, **options}) as file:
        for name, content in members.items():
            file.writestr(name, content)
    content = bytearray(stream.getvalue())
    change(content)
    return bytes(content)


def encrypt(content: bytearray) -> None:
    """Sets the flag of an encrypted member, in its own header and in the directory."""
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1


def flip(at: int) -> Callable[[bytearray], None]:
    def change(content: bytearray) -> None:
        content[at] ^= 255

    return change


def twice() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("a.txt", b"x")
        file.writestr("a.txt", b"y")
    return stream.getvalue()


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


TABLE = {"text": ["a", None, "c"], "tags": [["x"], [], None], "id": [1, 2, 3]}
COLUMNS = "text (string), tags (list<element: string>), id (int64)"
IPC_COLUMNS = COLUMNS.replace("element", "item")

CASES = {
    # name of the file: (its content, other fields of spec.data, the message)
    "line.jsonl": (
        b'{"text": "x"}\n{"text": "y"\n',
        {},
        "{path}, line 2, is not JSON: Expecting ',' delimiter: line 2 column 1 (char 13). Expected one JSON object a "
        'line; the line begins b\'{"text": "y"\\n\'.',
    ),
    "array.json": (b'["x"]', {}, "{path}, line 1, holds a JSON list: expected one JSON object a line."),
    "field.jsonl": (
        b'{"body": "x", "id": 1}',
        {},
        "{path}, line 1, has no 'text': expected the text there. Its fields are ['body', 'id']; name the right one in "
        "spec.data.textKey.",
    ),
    "null.jsonl": (
        b'{"text": null}',
        {},
        "{path}, line 1, holds a NoneType under 'text': expected the text there. Its fields are ['text']; name the "
        "right one in spec.data.textKey.",
    ),
    "utf8.jsonl": (
        b'{"text": "caf\xe9"}',
        {},
        "{path}, line 1, is not JSON: 'utf-8' codec can't decode byte 0xe9 in position 13: invalid continuation byte. "
        'Expected one JSON object a line; the line begins b\'{{"text": "caf\\xe9"}}\'.',
    ),
    "cut.jsonl.gz": (
        gzip.compress(LINES)[:-20],
        {},
        "{path} cannot be decompressed: the file ends in the middle of a stream (in the stream that begins at byte 0). "
        + CUT,
    ),
    "cut.jsonl.bz2": (
        bz2.compress(LINES)[:-20],
        {},
        "{path} cannot be decompressed: the file ends in the middle of a stream (in the stream that begins at byte 0). "
        + CUT,
    ),
    "cut.jsonl.xz": (
        lzma.compress(LINES)[:-20],
        {},
        "{path} cannot be decompressed: the file ends in the middle of a stream (in the stream that begins at byte 0). "
        + CUT,
    ),
    "cut.jsonl.zst": (
        zstandard.ZstdCompressor().compress(LINES)[:-20],
        {},
        "{path} cannot be decompressed: the file ends in the middle of a stream (in the stream that begins at byte 0). "
        + CUT,
    ),
    "no.txt.gz": (
        b"",
        {},
        "{path} cannot be decompressed: the file is empty (in the stream that begins at byte 0). " + CUT,
    ),
    "plain.txt.gz": (
        b"plain text",
        {},
        "{path} cannot be decompressed: Error -3 while decompressing data: incorrect header check (in the stream that "
        "begins at byte 0). " + CUT,
    ),
    "empty.txt": (
        b"",
        {},
        "spec.data.trainUrls: its 1 files hold no text (0 bytes). Expected at least one document that is not empty.",
    ),
    "column.parquet": (
        parquet(pa.table(TABLE)),
        {"text_key": "body"},
        "{path} has no column 'body': expected the text there. Its columns are " + COLUMNS + f". {NAME}.",
    ),
    "nested.parquet": (
        parquet(pa.table(TABLE)),
        {"text_key": "tags"},
        "{path} has the column 'tags' of type list<element: string>, which is nested: expected string. Its columns are "
        + COLUMNS
        + f". {NAME}, or write the file again with one.",
    ),
    "number.parquet": (
        parquet(pa.table(TABLE)),
        {"text_key": "id"},
        "{path} has the column 'id' of type int64, which is no text: expected string. Its columns are "
        + COLUMNS
        + f". {NAME}, or write the file again with one.",
    ),
    "bytes.parquet": (
        parquet(pa.table({"text": [b"x"]})),
        {},
        "{path} has the column 'text' of type binary, which is bytes rather than text; cast it to string: expected "
        f"string. Its columns are text (binary). {NAME}, or write the file again with one.",
    ),
    "null.parquet": (
        parquet(pa.table(TABLE), row_group_size=1),
        {},
        "{path}, row 1 (from 0 on), is null in 'text': expected text. Remove such rows, or set spec.data.onBadDocument "
        "to skip.",
    ),
    "footer.parquet": (
        parquet(pa.table(TABLE))[:-30],
        {},
        "{path} is not a whole Parquet file: Parquet magic bytes not found in footer. Either the file is corrupted or "
        "this is not a parquet file. " + CUT_TABLE,
    ),
    "none.parquet": (
        b"",
        {},
        "{path} is not a whole Parquet file: Parquet file size is 0 bytes. " + CUT_TABLE,
    ),
    "column.arrow": (
        arrow(pa.table(TABLE)),
        {"text_key": "body"},
        "{path} has no column 'body': expected the text there. Its columns are " + IPC_COLUMNS + f". {NAME}.",
    ),
    "null.feather": (
        arrow(pa.table(TABLE)),
        {},
        "{path}, row 1 (from 0 on), is null in 'text': expected text. Remove such rows, or set spec.data.onBadDocument "
        "to skip.",
    ),
    "one.feather": (
        b"FEA1" + bytes(100),
        {},
        "{path} is in version 1 of Feather: expected version 2, or Parquet. Write it again.",
    ),
    "cut.arrow": (
        arrow(pa.table(TABLE))[:-40],
        {},
        "{path} is not a whole Arrow file: Not an Arrow file. " + CUT_TABLE,
    ),
    "cut.zip": (
        archive({"a.txt": LINES})[:-40],
        {},
        "{path} cannot be unpacked: File is not a zip file. " + CUT_ZIP,
    ),
    "crc.zip": (
        archive({"a.txt": b"stored text"}, flip(40), compression=zipfile.ZIP_STORED),
        {},
        "{path}, member 'a.txt', cannot be unpacked: Bad CRC-32 for file 'a.txt'. " + CUT_ZIP,
    ),
    "password.zip": (
        archive({"a.txt": b"secret"}, encrypt),
        {},
        "{path}, member 'a.txt', is encrypted: expected one that needs no password. Write the archive without.",
    ),
    "nested.zip": (
        archive({"in/b.zip": archive({"a.txt": b"x"})}),
        {},
        "{path}, member 'in/b.zip', is an archive too: expected files of text. Unpack the outer one.",
    ),
    "folder.zip": (
        archive({"a/": b""}),
        {},
        "{path} has no member to read: expected files in it. Exclude it, or write it again.",
    ),
    "member.zip": (
        archive({"a.jsonl": b'{"text": "x"}\n{}\n'}),
        {},
        "{path}/a.jsonl, line 2, has no 'text': expected the text there. Its fields are []; name the right one in "
        "spec.data.textKey.",
    ),
    "kind.zip": (
        archive({"a.pdf": b"%PDF-1.7"}),
        {},
        "spec.data.trainUrls names '{path}/a.pdf': files of the kind .pdf " + UNREAD + ", compressed or not. Convert "
        "it, or leave it out by a pattern that starts with `!`.",
    ),
    "archive.zip.gz": (
        gzip.compress(archive({"a.txt": b"x"})),
        {},
        "{path} is a compressed archive: expected the archive itself. Decompress it.",
    ),
    "high.npy": (
        npy(np.array([1, 2, 300, 4], np.uint16)),
        {},
        "{path} has the id 300 at position 2 (from 0 on): expected ids from 0 to 256, as spec.data.tokenizer has them. "
        "Name the tokenizer that made the file, or correct spec.data.dtype.",
    ),
    "negative.npy": (
        npy(np.array([1, -1], np.int32)),
        {},
        "{path} has the id -1 at position 1 (from 0 on): expected ids from 0 to 256, as spec.data.tokenizer has them. "
        "Name the tokenizer that made the file, or correct spec.data.dtype.",
    ),
    "matrix.npy": (
        npy(np.zeros((2, 3), np.uint16)),
        {},
        "{path} holds an array of shape (2, 3) and type uint16: expected integers of shape (tokens,). Write it again, "
        "as by numpy.save(file, ids.reshape(-1)) with an end-of-text id behind each document.",
    ),
    "float.npy": (
        npy(np.zeros(3)),
        {},
        "{path} holds an array of shape (3,) and type float64: expected integers of shape (tokens,). Write it again, "
        "as by numpy.save(file, ids.reshape(-1)) with an end-of-text id behind each document.",
    ),
    "cut.npy": (
        npy(np.zeros(100, np.uint16))[:-50],
        {},
        "{path} holds 75 ids, but its header says 100: it is cut off or corrupt. Copy it again.",
    ),
    "text.npy": (
        b"not an array at all",
        {},
        "{path} is not a .npy file: the magic string is not correct; expected b'\\x93NUMPY', got b'not an'. Expected "
        "one as numpy.save writes it. Write it again.",
    ),
    "untyped.bin": (
        struct.pack("<2H", 1, 2),
        {},
        "spec.data.dtype is missing, and {path} is read as token ids of that type: expected uint16, uint32, int32 or "
        "int64. Set it to the type that the file was written with.",
    ),
    "odd.bin": (
        b"\1\0\2\0\3",
        {"dtype": "uint16"},
        "{path} has 5 bytes, which is no multiple of 2: expected ids of the type uint16. Correct spec.data.dtype, or "
        "copy the file again.",
    ),
    "type.bin": (
        struct.pack("<4H", 1, 2, 3, 4),
        {"dtype": "uint32"},
        "{path} has the id 131,073 at position 0 (from 0 on): expected ids from 0 to 256, as spec.data.tokenizer has "
        "them. Name the tokenizer that made the file, or correct spec.data.dtype.",
    ),
    "two.tar": (
        b"",
        {},
        "spec.data.trainUrls names '{path}': files of the kind .tar " + UNREAD + ", compressed or not. Convert it, or "
        "leave it out by a pattern that starts with `!`.",
    ),
    "table.txt": (
        parquet(pa.table(TABLE)),
        {},
        "spec.data.trainUrls names '{path}', which holds a Parquet file: it is not read as one by this name. Give it "
        "the suffix .parquet.",
    ),
}


def build(folder: Path, urls: list[str], progress=lambda _: None, **fields):
    return open_or_build_cache(
        DataSpec(tokenizer="bytes", train_urls=urls, **fields),
        "train",
        ByteTokenizer(),
        str(folder / "cache"),
        is_builder=True,
        progress=progress,
    )


@pytest.mark.parametrize("name", CASES)
def test_the_message_names_the_file_what_is_wrong_and_what_to_do(name, tmp_path):
    content, fields, message = CASES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises((DataError, UserError)) as raised:
        build(tmp_path, [str(path)], **fields)
    expected = message.replace("{path}", str(path)).replace("{size:,}", f"{len(content):,}")
    assert str(raised.value) == expected.replace("{{", "{").replace("}}", "}")


def test_two_members_of_one_name_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(twice())
    with pytest.raises(DataError) as raised:
        build(tmp_path, [str(path)])
    assert str(raised.value) == (f"{path} has two members called 'a.txt': expected one of each name. Write it again.")


@pytest.fixture
def locked_file(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("x")
    path.chmod(0)
    for folder in path.parents:
        if folder.owner() == path.owner() and "pytest" in str(folder):
            folder.chmod(0o777)
    return path


def test_a_file_that_may_not_be_read_is_named_with_the_user(tmp_path, locked_file, nobody):
    with pytest.raises(UserError) as raised:
        build(tmp_path, [str(locked_file)])
    assert str(raised.value) == (
        f"spec.data.trainUrls names '{locked_file}', which user {nobody} may not read: expected read permission on the "
        "file and its folders. Change the permissions or run as another user. ([Errno 13] Permission denied: "
        f"'{locked_file}')"
    )


@pytest.mark.parametrize("change", ["replaced", "gone"])
def test_a_file_that_changes_during_the_build_ends_it(change, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def meanwhile(_: str) -> None:
        if change == "gone":
            path.unlink()
        else:
            path.write_text("afterwards")

    with pytest.raises((DataError, UserError)) as raised:
        build(tmp_path, [str(path)], progress=meanwhile)
    says = {
        "replaced": f"{path} changed while it was tokenized (6 bytes, stamp ",
        "gone": f"spec.data.trainUrls names '{path}', which does not exist: ",
    }
    assert str(raised.value).startswith(says[change])
    path.write_text("at last")
    assert len(build(tmp_path, [str(path)])) == len("at last") + 1


def test_without_pyarrow_the_package_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"a\.parquet is read by pyarrow, which is not installed \(.*\)\. Install it:"):
        build(tmp_path, [str(path)])


def test_without_s3fs_the_package_is_named(tmp_path):
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(UserError) as raised:
            build(tmp_path, ["s3://bucket/a.txt"])
        assert str(raised.value) == (
            "spec.data.trainUrls names 's3://bucket/a.txt': this scheme needs a package that is not installed. Install "
            "s3fs to access S3."
        )
