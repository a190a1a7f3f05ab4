"""Which files of a data set on the Hugging Face hub make a configuration's split. Pure: from names and the card alone.

The rules are those of the hub: what the card's `configs` name
(https://huggingface.co/docs/hub/datasets-manual-configuration), else what folders and files are called
(https://huggingface.co/docs/hub/datasets-file-names-and-splits), else, where a script makes the data set or its files
are CSV, the hub's own conversion (https://huggingface.co/docs/dataset-viewer/parquet). A script is never run.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import yaml
from fsspec.utils import glob_translate

from lateen_trainer.data.compression import suffixes
from lateen_trainer.data.kinds import DELIMITED

CONVERTED = "refs/convert/parquet"
"""Branch with the hub's own conversion: `CONFIG/SPLIT/0000.parquet`."""

_DATA = (".parquet", ".arrow", ".feather", ".jsonl", ".ndjson", ".json", ".txt", ".zip", ".npy", *DELIMITED)
_NO_DATA = ("dataset_infos.json", "dataset_info.json", "state.json", "metadata.json", "requirements.txt")
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}


class LayoutError(Exception):
    """A data set has no such configuration or split. The message says what there is, as the end of a sentence."""


def card_configs(card: str) -> list[dict[str, Any]]:
    """`configs` of the YAML block at the beginning of a README.md; empty where it has none.

    Raises:
        LayoutError: the block is not YAML, or `configs` no list of mappings with a name.
    """
    match = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", card.removeprefix("\ufeff"), re.DOTALL)
    if match is None:
        return []
    try:
        block = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        raise LayoutError(f"has a README.md whose first block is not YAML ({' '.join(str(error).split())})") from error
    configs = (block.get("configs") or []) if isinstance(block, dict) else []
    if not isinstance(configs, list) or not all(isinstance(c, dict) and c.get("config_name") for c in configs):
        raise LayoutError("has a README.md whose `configs` are no list of mappings with config_name")
    # What has no files of its own only says how to show the data set, or what a script takes.
    return [config for config in configs if "data_files" in config or "data_dir" in config]


def has_script(paths: Sequence[str], repository: str) -> bool:
    """Whether the files are made by a script, which has the data set's own name."""
    return f"{repository.rpartition('/')[2]}.py" in paths


def is_delimited(path: str) -> bool:
    """Whether a file is a table of values between commas or tabs."""
    return suffixes(path)[0] in DELIMITED


def choose_files(
    paths: Sequence[str],
    configs: Sequence[Mapping[str, Any]],
    name: str | None,
    split: str,
    *,
    converted: bool = False,
    where: str = "spec.data",
) -> list[str]:
    """The files of a split, sorted.

    Args:
        paths: of all files of the repository.
        configs: `card_configs` of it.
        name: configuration; None: the only one, or the default.
        split: such as `train`.
        converted: the files are those of `CONVERTED`.
        where: the job's field that has the source, for messages.

    Raises:
        LayoutError: there is no such configuration or split, or several configurations and no default.
    """
    if converted:
        return _converted(paths, name, split, where)
    if configs:
        config = configs[_index([str(config["config_name"]) for config in configs], name, _default(configs), where)]
        return _of_config(paths, config, split)
    if name not in (None, "default"):
        raise LayoutError(f"has no configuration {name!r}: it has one only, without a name. Leave {where}.name out")
    data = [path for path in paths if _is_data(path)]
    return _of_split(_by_names(data), split)


def _default(configs: Sequence[Mapping[str, Any]]) -> str | None:
    marked = [str(config["config_name"]) for config in configs if config.get("default") is True]
    names = [str(config["config_name"]) for config in configs]
    return marked[0] if marked else "default" if "default" in names else None


def _index(names: Sequence[str], name: str | None, default: str | None, where: str) -> int:
    wanted = name or default or (names[0] if len(names) == 1 else None)
    if wanted is None:
        raise LayoutError(f"has several configurations: expected one of {_listed(names)} in {where}.name")
    if wanted not in names:
        raise LayoutError(f"has no configuration {wanted!r}: expected one of {_listed(names)} in {where}.name")
    return names.index(wanted)


def _of_config(paths: Sequence[str], config: Mapping[str, Any], split: str) -> list[str]:
    folder = str(config.get("data_dir") or "").strip("/")
    files = config.get("data_files")
    if files is None:
        below = [path for path in paths if _is_data(path) and (not folder or path.startswith(f"{folder}/"))]
        return _of_split(_by_names(below, folder), split)
    patterns = _patterns(files)
    if split not in patterns:
        raise LayoutError(f"has no split {split!r}: expected one of {_listed(list(patterns))}")
    found: set[str] = set()
    for pattern in patterns[split]:
        whole = f"{folder}/{pattern}" if folder else pattern
        matches = re.compile(glob_translate(whole.removeprefix("./"))).match
        matching = [path for path in paths if path == whole or matches(path)]
        if not matching:
            raise LayoutError(f"has a card that names {whole!r} for the split {split!r}, which matches no file of it")
        found.update(matching)
    return sorted(found)


def _patterns(files: Any) -> dict[str, list[str]]:
    """Patterns by split, from all forms of `data_files`."""
    if isinstance(files, str) or (isinstance(files, list) and all(isinstance(entry, str) for entry in files)):
        return {"train": [files] if isinstance(files, str) else files}
    if isinstance(files, dict):
        entries = list(files.items())
    else:
        is_list = isinstance(files, list) and all(isinstance(e, dict) and {"split", "path"} <= e.keys() for e in files)
        if not is_list:
            raise LayoutError("has a card whose `data_files` are neither patterns nor a list of split and path")
        entries = [(entry["split"], entry["path"]) for entry in files]
    patterns: dict[str, list[str]] = {}
    for name, paths in entries:
        patterns.setdefault(str(name), []).extend([paths] if isinstance(paths, str) else map(str, paths))
    return patterns


def _converted(paths: Sequence[str], name: str | None, split: str, where: str) -> list[str]:
    tables = [path.split("/") for path in paths if path.endswith(".parquet") and path.count("/") == 2]
    names = sorted({config for config, _, _ in tables})
    if not names:
        raise LayoutError(f"has no Parquet files in its branch {CONVERTED}")
    config = names[_index(names, name, "default" if "default" in names else None, where)]
    splits: dict[str, list[str]] = {}
    for owner, folder, file in tables:
        if owner == config:
            splits.setdefault(folder, []).append(f"{owner}/{folder}/{file}")
    if f"partial-{split}" in splits:
        raise LayoutError(
            f"was converted to Parquet in part only ({config}/partial-{split}): expected all of {split!r}"
        )
    return _of_split(splits, split)


def _by_names(paths: Sequence[str], root: str = "") -> dict[str, list[str]]:
    """Files by the split that a folder's name tells, else a file's; where none tells any, all are `train`."""
    for key in (lambda path: path.parts[:-1], lambda path: path.parts[-1:]):
        found: dict[str, list[str]] = {}
        for path in paths:
            inner = PurePosixPath(path[len(root) :].lstrip("/"))
            for split, words in _SPLITS.items():
                if any(re.search(rf"(^|[\W_\d])({'|'.join(words)})($|[\W_\d])", part.lower()) for part in key(inner)):
                    found.setdefault(split, []).append(path)
                    break
        if found:
            return found
    return {"train": list(paths)} if paths else {}


def _of_split(splits: Mapping[str, Sequence[str]], split: str) -> list[str]:
    if not splits:
        raise LayoutError("has no files of a kind that is known to hold data")
    if split not in splits:
        raise LayoutError(f"has no split {split!r}: expected one of {_listed(sorted(splits))}")
    return sorted(splits[split])


def _is_data(path: str) -> bool:
    hidden = any(part.startswith((".", "__")) for part in path.split("/"))
    return not hidden and suffixes(path)[0] in _DATA and PurePosixPath(path).name not in _NO_DATA


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown
