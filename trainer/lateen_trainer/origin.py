"""What determines the losses of a run besides its model and optimizer, kept with everything that a run goes on from."""

from collections.abc import Mapping
from typing import Any

import tensorstore as ts

from lateen_trainer import storage
from lateen_trainer.data.cache import FIELD, TokenCache
from lateen_trainer.data.ledger import LEDGER, Ledger, read_ledger
from lateen_trainer.errors import TrainerError, UserError

FIELDS = {
    "data": "training data",
    "seed": "spec.trainer.seed",
    "batch": "spec.trainer.trainBatchSize",
    "lanes": "spec.trainer.lanes",
}
"""Keys of an origin whose values must stay the same, in words."""

CONSEQUENCES = {"lanes": "the losses would no longer be those of one run, bit by bit"}
"""What comes of going on with another value, where it is not that the order of the data is another."""

TOKENS_FROM = "tokensFrom"
"""Key of an origin that says where the tokens came from. It may change, as long as the tokens are the same."""


def origin_of(tokens: TokenCache, *, seed: int, batch: int, lanes: int | None) -> dict[str, Any]:
    """The origin of a run.

    Args:
        tokens: of the training data.
        seed: `spec.trainer.seed`.
        batch: sequences per step.
        lanes: in elastic mode.
    """
    ledger = tokens.ledger
    return {
        "data": ledger.digest,
        "seed": seed,
        "batch": batch,
        **({} if lanes is None else {"lanes": lanes}),
        TOKENS_FROM: {"cache": tokens.url, "tokenizer": ledger.tokenizer},
    }


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
    for name, field in FIELDS.items():
        if name not in before or name not in now or before[name] == now[name]:
            continue
        consequence = CONSEQUENCES.get(name, "the run would repeat some of the data and skip some")
        if name == "data":
            changed = "" if tokens is None else f": {_changed(before.get(TOKENS_FROM) or {}, tokens)}"
            difference, remedy = f"on other {field} than now{changed}. Expected", "Put back what was changed"
        else:
            difference = f"with {field} {before[name]!r}, and now it is {now[name]!r}: expected"
            remedy = f"Set {field} to {before[name]!r}"
        raise UserError(
            f"spec.checkpoint.path has {what} {difference} the same, or {consequence}. {remedy}, or name another "
            "checkpoint.path (`lateen run --fresh` moves the old run aside)."
        )


def _changed(before: Mapping[str, Any], tokens: TokenCache) -> str:
    """What makes the tokens other ones, as far as it is known."""
    now = tokens.ledger
    tokenizer = before.get("tokenizer") or {}
    if tokenizer.get("fingerprint") not in (None, now.tokenizer["fingerprint"]):
        was, is_ = tokenizer.get("name"), now.tokenizer["name"]
        return (
            f"the tokenizer was {was!r} and is {is_!r}" if was != is_ else f"the files of the tokenizer {is_!r} changed"
        )
    ledger = _ledger_at(before.get("cache"))
    if ledger is None:
        return "their digest is another one, and the tokens of before are no longer in spec.data.cacheDir"
    return _changed_files(ledger, now)


def _ledger_at(url: str | None) -> Ledger | None:
    """The ledger of the cache of before, if it is still there."""
    if url is None:
        return None
    try:
        store = ts.KvStore.open(storage.kvstore_spec(url, field=FIELD)).result()
        return read_ledger(store, storage.join(url, LEDGER))
    except (ValueError, OSError, TrainerError):
        return None


def _changed_files(before: Ledger, now: Ledger) -> str:
    was, is_ = ({file["url"]: file for file in ledger.files} for ledger in (before, now))
    gone, new = [url for url in was if url not in is_], [url for url in is_ if url not in was]
    other = [url for url in is_ if url in was and is_[url] != was[url]]
    changes = [
        f"{urls[0]}{f' (and {len(urls) - 1} more)' if len(urls) > 1 else ''} {what}"
        for urls, what in ((other, "changed"), (gone, "is no longer read"), (new, "is new"))
        if urls
    ]
    return "; ".join(changes) or "spec.data.textKey is another one, or the version of lateen"
