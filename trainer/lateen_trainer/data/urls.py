"""From the patterns in a job to the list of files: braces, globs, exclusions, any fsspec URL."""

import difflib
import glob
import logging
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import braceexpand
import fsspec
from fsspec.utils import glob_translate
from lateen_api.wording import listing

from lateen_trainer import storage
from lateen_trainer.data import stdlib
from lateen_trainer.data.file_info import LOCAL, source_file
from lateen_trainer.data.source import SourceFile, explained
from lateen_trainer.errors import UserError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BUCKET = re.compile(r"gc?s://([^/*?\[]+)", re.IGNORECASE)
LOOKUPS = 16
"""Files that are looked up at once: each costs a round trip to an object store."""

log = logging.getLogger(__name__)


def expand_urls(patterns: Sequence[str], *, field: str) -> list[SourceFile]:
    """The files that `patterns` name, sorted by URL, each once.

    A pattern is a path (relative to the working directory) or a URL of any scheme that fsspec knows, or
    `python-stdlib://`. Braces are expanded first (`{1..128}`, `{a,b}`), then globs (`*`, `**`, `?`,
    `[..]`); as in a shell, globs leave hidden files out. A file that is called exactly as the pattern is meant
    by it alone, and so are folders on the way. What a pattern with a leading `!` matches is
    taken out again, wherever in the list it stands.

    Args:
        patterns: `spec.data.trainUrls` or its like.
        field: the job's field that holds them, for messages.

    Raises:
        UserError: a pattern is malformed or matches nothing, a file cannot be seen, or all files are
            excluded.
        TrainerError: an object store cannot be reached.
    """
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    if not wanted:
        raise UserError(
            f"{field} is {list(patterns)!r}: expected at least one path or URL of a file to read, "
            "such as data/*.jsonl.gz."
        )
    found: dict[str, SourceFile] = {}
    for pattern in wanted:
        found |= {file.url: file for file in _expand(pattern, field)}
    excluded = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    kept = _without(found, excluded, field)
    return [kept[url] for url in sorted(kept)]


def _expand(pattern: str, field: str) -> list[SourceFile]:
    """The files of one pattern. Each alternative of its braces must match something."""
    singles = [pattern] if _is_literal_with_braces(pattern) else _expand_braces(pattern, field)
    # gcsfs tries on for a minute before it says that there is no network.
    for bucket in sorted({match[1] for match in map(_BUCKET.match, singles) if match}):
        with explained(field, pattern):
            _reach(f"gs://{bucket}", field)
    with ThreadPoolExecutor(LOOKUPS) as pool:
        found = list(pool.map(lambda single: _look_up(single, field), singles))
    for single, files in zip(singles, found, strict=True):
        if not files:
            origin = "" if single == pattern else f" (from {pattern!r})"
            raise UserError(
                f"{field} holds {single!r}{origin}, which matches no file: expected at least one. "
                f"{_taken_for_a_pattern(single, _scheme(single, field))}Relative "
                f"paths start at the working directory, {Path.cwd()}; `*` stays within a folder, `**/` goes "
                "below it."
            )
    return [file for files in found for file in files]


def _reach(bucket: str, field: str) -> None:
    try:
        storage.check_reachable(bucket, field=field)
    except ValueError as error:
        raise ConnectionError(str(error)) from error


def _expand_braces(pattern: str, field: str) -> list[str]:
    if not pattern.strip():
        raise UserError(f"{field} holds the empty pattern {pattern!r}: expected a path or URL.")
    try:
        return list(braceexpand.braceexpand(pattern, escape=False))
    except ValueError as error:
        raise UserError(
            f"{field} holds {pattern!r}: {error}. Expected braces in pairs, as in train_{{1..128}}.jsonl "
            "or {a,b}.txt."
        ) from error


def _look_up(single: str, field: str) -> list[SourceFile]:
    """The files of one pattern without braces."""
    scheme = _scheme(single, field)
    if scheme == stdlib.SCHEME:
        return list(stdlib.find(_matcher(_canonical(single, scheme), scheme, field)))
    with explained(field, single):
        filesystem, path = fsspec.url_to_fs(single)
        is_glob = _is_glob(single, scheme)
        # A web server may answer any name, so that it says nothing of a pattern.
        if is_glob and not scheme.startswith("http") and filesystem.exists(path):
            if "*" in single:  # a shell may have made it by mistake, beside the files that are meant
                log.warning("%s: %r is read alone: it is the name of a file, so not a pattern", field, single)
            is_glob = False
        if not is_glob:
            return [source_file(path, filesystem.info(path), scheme, _canonical(single, scheme), field)]
        _matcher(single, scheme, field)  # its message about `**` is better
        if not scheme.startswith("http"):
            path = _with_literal_folders(path, filesystem.isdir)
        found = filesystem.glob(path, detail=True)
        names = [
            name for name, info in found.items() if not _is_hidden(name, path) and not _is_folder(name, info, scheme)
        ]
        if scheme.startswith("http"):
            # A page of links has no sizes and stamps.
            with ThreadPoolExecutor(LOOKUPS) as pool:
                found = dict(zip(names, pool.map(filesystem.info, names), strict=True))
        return [
            source_file(name, found[name], scheme, _canonical(filesystem.unstrip_protocol(name), scheme), field)
            for name in names
        ]


def _scheme(single: str, field: str) -> str:
    """The scheme of a URL, empty for a path.

    Raises:
        UserError: nothing that we know reads URLs of this scheme.
    """
    match = _SCHEME.match(single)
    if match is None:
        return ""
    scheme = match[1].lower()
    known = [stdlib.SCHEME, *fsspec.available_protocols()]
    if scheme not in known:
        near = difflib.get_close_matches(scheme, known, n=1)
        hint = f"Did you mean {near[0]}://?" if near else f"{stdlib.SCHEME}:// is known too."
        raise UserError(
            f"{field} holds {single!r}: the scheme {match[1]}:// is unknown, expected a path or a URL that "
            f"fsspec reads, such as gs://, s3:// or https://. {hint}"
        )
    return scheme


def _canonical(single: str, scheme: str) -> str:
    """The one spelling of a URL or pattern, by which files are ordered and exclusions compared."""
    if scheme == stdlib.SCHEME:
        return single if single.partition("://")[2] else f"{scheme}://**/*.py"
    filesystem, path = fsspec.url_to_fs(single)
    return path if scheme in LOCAL else filesystem.unstrip_protocol(path)


def _is_glob(single: str, scheme: str) -> bool:
    return any(mark in single for mark in _marks(scheme))


def _marks(scheme: str) -> str:
    """Characters that make a pattern of a name. In http URLs `?` starts the query and brackets are data."""
    return "*" if scheme.startswith("http") else "*?["


def _is_literal_with_braces(pattern: str) -> bool:
    """Whether a file of this machine has braces in its name that would be expanded."""
    return "{" in pattern and _SCHEME.match(pattern) is None and os.path.exists(pattern)  # noqa: PTH110  # no error for names that are too long


def _with_literal_folders(path: str, is_folder: Callable[[str], bool]) -> str:
    """A pattern in which folders that exist under the very name are no patterns."""
    *folders, name = path.split("/")
    literal, so_far = [], ""
    for folder in folders:
        so_far = f"{so_far}{folder}"
        is_literal = _is_glob(folder, "") and is_folder(so_far)
        literal.append(glob.escape(folder) if is_literal else folder)
        so_far += "/"
    return "/".join([*literal, name])


def _taken_for_a_pattern(single: str, scheme: str) -> str:
    """A sentence that says which characters of a pattern are no letters of a name."""
    marks = [mark for mark in _marks(scheme) if mark in single]
    if not marks:
        return ""
    shown = listing([f"`{mark}`" for mark in marks], "and")
    return f"{shown} {'is' if len(marks) == 1 else 'are'} taken for a pattern, since no file has this very name. "


def _matcher(canonical: str, scheme: str, field: str) -> Callable[[str], Any]:
    """Function that says whether a canonical URL matches."""
    if not _is_glob(canonical, scheme):
        return lambda url: url == canonical
    try:
        return re.compile(glob_translate(canonical)).match
    except ValueError as error:
        raise UserError(
            f"{field} holds {canonical!r}: {error}. Expected `**` between slashes, as in data/**/*.txt."
        ) from error


def _is_hidden(name: str, pattern: str) -> bool:
    """Whether the glob reached `name` through a leading dot that the pattern does not spell out."""
    return name.count("/.") > pattern.count("/.")


def _is_folder(name: str, info: dict[str, Any], scheme: str) -> bool:
    # fsspec calls a link to a folder "other"; such links are not followed.
    if info["type"] == "other" and scheme in LOCAL:
        return Path(name).is_dir()
    return info["type"] == "directory"


def current(file: SourceFile, *, field: str) -> SourceFile:
    """The file as it is now, past what was listed before.

    Raises:
        UserError: it is gone or cannot be seen.
    """
    scheme = _scheme(file.path, field)
    with explained(field, file.url):
        filesystem, path = fsspec.url_to_fs(file.path)
        filesystem.invalidate_cache(filesystem._parent(path))
        return replace(source_file(path, filesystem.info(path), scheme, file.path, field), url=file.url)


def _without(found: dict[str, SourceFile], patterns: list[str], field: str) -> dict[str, SourceFile]:
    """`found` less the files that one of `patterns` matches.

    Raises:
        UserError: nothing is left.
    """
    kept = found
    for pattern in patterns:
        matchers = []
        for single in [pattern] if _is_literal_with_braces(pattern) else _expand_braces(pattern, field):
            scheme = _scheme(single, field)
            canonical = _canonical(single, scheme)
            if canonical not in found and scheme != stdlib.SCHEME and not scheme.startswith("http"):
                canonical = _with_literal_folders(
                    canonical, lambda folder: any(url.startswith(f"{folder}/") for url in found)
                )
            matchers.append(canonical.__eq__ if canonical in found else _matcher(canonical, scheme, field))
        before = kept
        kept = {url: file for url, file in before.items() if not any(matches(url) for matches in matchers)}
        if len(kept) == len(before):
            log.warning("%s: the exclusion %r takes no file out", field, "!" + pattern)
    if not kept:
        raise UserError(
            f"{field}: its exclusions {['!' + pattern for pattern in patterns]!r} take out all "
            f"{len(found)} files that the other patterns match: expected at least one to remain."
        )
    return kept
