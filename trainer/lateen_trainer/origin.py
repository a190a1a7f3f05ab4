"""What determines the losses of a run besides its model and optimizer, kept with everything that a run goes on from."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from lateen_api.spec import WeightStage

from lateen_trainer import storage
from lateen_trainer.data.cache import TokenCache
from lateen_trainer.data.ledger import HEADER, LEDGER
from lateen_trainer.data.writer import FIELD
from lateen_trainer.digest import DamagedError, unseal
from lateen_trainer.errors import TrainerError, UserError

SOURCES, DATA = "sources", "data"
"""Keys of an origin that say which tokens the run is trained on: the fingerprint of the sources, known from the start,
and the digest of the tokens, known once the cache is whole. Where either is the same, the tokens are."""

FIELDS = {
    "seed": "spec.trainer.seed",
    "batch": "spec.trainer.trainBatchSize",
    "lanes": "spec.trainer.lanes",
    "window": "spec.data.shuffle.window",
    "packing": "spec.data.packing",
    "weights": "spec.data.trainWeights",
}
"""Keys of an origin whose values must stay the same, in words."""

_BEFORE_THERE_WAS_A_CHOICE = {"window": None, "packing": "concatenate", "weights": None}
"""What earlier versions did where they kept no value."""

CONSEQUENCES = {"lanes": "the losses would no longer be those of one run, bit by bit"}
"""What comes of going on with another value, where it is not that the order of the data is another."""

_OTHER_ORDER = "the run would repeat some of the data and skip some"

TOKENS_FROM = "tokensFrom"
"""Key of an origin that says where the tokens came from. It may change, as long as the tokens are the same."""


def origin_of(
    train: Mapping[str, TokenCache],
    *,
    seed: int,
    batch: int,
    lanes: int | None,
    window: int | None = None,
    packing: str = "concatenate",
    weights: Sequence[WeightStage] | None = None,
) -> dict[str, Any]:
    """The origin of a run.

    Args:
        train: the tokens of the training data, by source.
        seed: `spec.trainer.seed`.
        batch: sequences per step.
        lanes: in elastic mode.
        window: sequences that are shuffled together; None: all.
        packing: `spec.data.packing`.
        weights: of a mixture.
    """
    first = next(iter(train.values()))
    is_whole = all(cache.is_whole for cache in train.values())
    return {
        SOURCES: _joined({name: cache.fingerprint for name, cache in train.items()}),
        **({DATA: _joined({name: cache.ledger.digest for name, cache in train.items()})} if is_whole else {}),
        "seed": seed,
        "batch": batch,
        **({} if lanes is None else {"lanes": lanes}),
        "window": window,
        "packing": packing,
        "weights": None if weights is None else [[stage.step, stage.weights] for stage in weights],
        TOKENS_FROM: {"cache": first.url, "tokenizer": first.header.tokenizer},
    }


def _joined(digests: Mapping[str, str]) -> str:
    """The digest of a job's only source, or one over those of all of them with their names."""
    if list(digests) == [""]:
        return digests[""]
    return hashlib.sha256(json.dumps(sorted(digests.items())).encode()).hexdigest()


def check_origin(what: str, before: Mapping[str, Any], now: Mapping[str, Any], tokens: TokenCache | None) -> None:
    """Compares what determined the losses when something was written with what determines them now.

    Args:
        what: was written; the message begins with it.
        before: the origin that was kept. Keys that it lacks are not compared: an older version wrote it.
        now: the run's origin.
        tokens: of the training data, to say what became another; None: it is not said.

    Raises:
        UserError: it differs.
    """
    if not _same_tokens(before, now):
        changed = "" if tokens is None else f": {_changed(before, tokens)}"
        raise _refusal(
            what, f"on other training data than now{changed}. Expected", _OTHER_ORDER, "Put back what was changed"
        )
    for name, field in FIELDS.items():
        kept = {**_BEFORE_THERE_WAS_A_CHOICE, **before}
        if name not in kept or not before or name not in now or kept[name] == now[name]:
            continue
        consequence, was = CONSEQUENCES.get(name, _OTHER_ORDER), kept[name]
        remedy = f"Set {field} to {was!r}" if was is not None else f"Remove {field}"
        raise _refusal(what, f"with {field} {was!r}, and now it is {now[name]!r}: expected", consequence, remedy)


def _same_tokens(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether both are of the same tokens; True where it is not known of what the first is."""
    if SOURCES not in before and DATA not in before:
        return True
    return any(name in before and before[name] == now.get(name) for name in (SOURCES, DATA))


def _refusal(what: str, difference: str, consequence: str, remedy: str) -> UserError:
    return UserError(
        f"spec.checkpoint.path has {what} {difference} the same, or {consequence}. {remedy}, or name another "
        "checkpoint.path (`lateen run --fresh` moves the old run aside)."
    )


def _changed(before: Mapping[str, Any], tokens: TokenCache) -> str:
    """What makes the tokens other ones, as far as it is known."""
    now, origin = tokens.header, before.get(TOKENS_FROM) or {}
    tokenizer = origin.get("tokenizer") or {}
    if tokenizer.get("fingerprint") not in (None, now.tokenizer["fingerprint"]):
        was, is_ = tokenizer.get("name"), now.tokenizer["name"]
        return (
            f"the tokenizer was {was!r} and is {is_!r}" if was != is_ else f"the files of the tokenizer {is_!r} changed"
        )
    files = _files_at(origin.get("cache"))
    if files is None:
        return "their digest is another one, and the tokens of before are no longer in spec.data.cacheDir"
    if changes := _changed_files(files, now.files):
        return changes
    if SOURCES not in before:
        return "it is by a version of lateen that read data of several parts in another order"
    return "spec.data.textKey is another one, or the version of lateen"


def _files_at(url: str | None) -> Sequence[Mapping[str, Any]] | None:
    """The source files of the cache of before, if it is still there."""
    if url is None:
        return None
    try:
        store = storage.open_store(url, field=FIELD)
        for name in (HEADER, LEDGER):  # caches of earlier versions have a ledger alone
            found = store.read(name).result()
            if found.state == "value":
                return unseal(found.value, name)["files"]
    except (ValueError, KeyError, OSError, TrainerError, DamagedError):
        return None
    return None


def _changed_files(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> str:
    """Which files came, went or changed; empty: none."""
    was, is_ = ({file["url"]: file for file in files} for files in (before, now))
    gone, new = [url for url in was if url not in is_], [url for url in is_ if url not in was]
    other = [url for url in is_ if url in was and is_[url] != was[url]]
    changes = [
        f"{urls[0]}{f' (and {len(urls) - 1} more)' if len(urls) > 1 else ''} {what}"
        for urls, what in ((other, "changed"), (gone, "is no longer read"), (new, "is new"))
        if urls
    ]
    return "; ".join(changes)
