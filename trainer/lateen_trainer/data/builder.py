"""Building a cache beside other builders: each takes the first part that nobody has, until all parts are whole."""

import time
from collections.abc import Callable, Sequence

from lateen_trainer import storage
from lateen_trainer.data import ledger as ledgers
from lateen_trainer.data import source
from lateen_trainer.data.build import PartProgress, Reading, build_part
from lateen_trainer.data.build_progress import BuildProgress, Speed
from lateen_trainer.data.leases import Lease, Leases
from lateen_trainer.data.ledger import HEADER, LEDGER, RECORDS, Header, Ledger, Record
from lateen_trainer.data.parts import Part
from lateen_trainer.data.source import SourceFile
from lateen_trainer.data.writer import FIELD, Target
from lateen_trainer.errors import LostPeerError, UserError

POLL_SECONDS = (0.03, 0.5)
"""Between two looks at parts that others have: at first, and when nothing has happened for a while."""

_WATCHED = 4
"""Parts of others whose leases are looked at while there are parts that nobody has."""


class Builder:
    """One of the builders of a cache.

    Args:
        files: what the cache is of, in order.
        parts: the files' cut.
        reading: how files become tokens.
        target: the cache.
        progress: called with where the work is.
        leases: of the cache; None: with the usual time-out.
    """

    def __init__(
        self,
        files: Sequence[SourceFile],
        parts: Sequence[Part],
        reading: Reading,
        target: Target,
        *,
        progress: Callable[[BuildProgress], None],
        leases: Leases | None = None,
    ):
        self._files, self._parts, self._reading, self._target = files, parts, reading, target
        self._progress = progress
        self._leases = leases or Leases(target.store)
        self._records: dict[int, Record] = {}
        # Sums over the records and over the other parts: progress is reported for each document.
        self._whole = PartProgress()
        self._bytes_done = 0
        self._bytes = sum(part.size for part in parts)
        self._speed = Speed()

    def build(self, order: Sequence[int], *, enough: Callable[[], bool] = lambda: False, timeout: float | None) -> None:
        """Returns when all parts are whole and the ledger is written, or earlier when there is enough.

        Args:
            order: numbers of the parts, those first that are needed first.
            enough: asked whenever another part is whole.
            timeout: seconds without any progress of the others after which a builder that builds nothing itself
                gives up; None: this one builds.

        Raises:
            UserError: a source or the cache's folder cannot be used, the disk is full, there is no text, or (with
                `timeout`) no builder has begun.
            DataError: a source is broken, or changed meanwhile.
            LostPeerError: (with `timeout`) the builders have stopped.
        """
        header = self._header(writes=timeout is None)
        waiting = _Waiting(self._target.url, self._files, timeout)
        while True:
            missing = self._look(order)
            self._report()
            if not missing:
                if header is None:
                    header = self._header(writes=timeout is None)
                if header is not None:
                    self._finish(header)
                    return
            if enough():
                return
            lease = None if timeout is not None else self._take(missing)
            if lease is None:
                time.sleep(waiting.check(len(self._records), self._leases_held()))
                continue
            part, held = lease
            try:
                self._build(self._parts[part])
            finally:
                held.release()

    def _header(self, *, writes: bool) -> Header | None:
        """What the cache is of, by its first builder: files that were moved meanwhile keep their old names in it."""
        target, tokenizer = self._target, self._reading.tokenizer
        with storage.explained(target.url, field=FIELD):
            found = ledgers.read_header(target.store, target.url)
            if found is not None or not writes:
                return found
            header = Header(
                fingerprint=target.fingerprint,
                split=target.split,
                tokenizer={
                    "name": tokenizer.name,
                    "fingerprint": tokenizer.fingerprint,
                    "vocab_size": tokenizer.vocab_size,
                    "eos_id": tokenizer.eos_id,
                },
                files=source.to_json(self._files),
                cuts=[part.first for part in self._parts],
                dtype=target.dtype.name,
                layout=target.layout,
                has_counted=target.has_counted,
            )
            missing = target.store.read(HEADER).result().stamp.generation
            written = target.store.write(HEADER, header.to_json(), if_equal=missing).result()
            return header if written.generation else ledgers.read_header(target.store, target.url)

    def _leases_held(self) -> set[int]:
        with storage.explained(self._target.url, field=FIELD):
            return ledgers.numbers(self._target.store, ledgers.LEASES)

    def _look(self, order: Sequence[int]) -> list[int]:
        """The parts that are not whole, in order; reads the records of those that have become so."""
        target = self._target
        with storage.explained(target.url, field=FIELD):
            whole = ledgers.numbers(target.store, RECORDS)
            new = [part for part in order if part in whole and part not in self._records]
            for number, record in ledgers.read_records(target.store, target.url, new).items():
                self._add(number, record)
        return [part for part in order if part not in self._records]

    def _take(self, missing: Sequence[int]) -> tuple[int, Lease] | None:
        """The first of the missing parts that this builder can have."""
        with storage.explained(self._target.url, field=FIELD):
            held = ledgers.numbers(self._target.store, ledgers.LEASES)
            # The first ones that others have are looked at in time: training may wait for a part whose builder is gone.
            others = [part for part in missing if part in held]
            free = [part for part in missing if part not in held]
            for part in [*others[:_WATCHED], *free, *others[_WATCHED:]]:
                lease = self._leases.take(part)
                if lease is None:
                    continue
                # Its builder may have completed it between our look and our lease.
                if not ledgers.read_records(self._target.store, self._target.url, [part]):
                    return part, lease
                lease.release()
        return None

    def _build(self, part: Part) -> None:
        elsewhere = self._bytes - self._bytes_done - part.size
        record = build_part(part, self._reading, self._target, progress=self._report, bytes_elsewhere=elsewhere)
        self._add(part.number, record)

    def _add(self, number: int, record: Record) -> None:
        part = self._parts[number]
        skipped = sum(file["documents"] for file in record.skipped)
        self._records[number] = record
        self._whole += PartProgress(len(part.files), record.tokens, record.documents, skipped)
        self._bytes_done += part.size

    def _finish(self, header: Header) -> None:
        """Writes the ledger, which is the same whichever builder writes it."""
        ledger = Ledger.of(header, [self._records[number] for number in range(len(self._parts))])
        if ledger.tokens == 0:
            skipped = sum(file["documents"] for file in ledger.skipped)
            raise UserError(
                f"{self._reading.field}: its {len(self._files)} files hold no text "
                f"({sum(file.size for file in self._files):,} bytes). Expected at least one document that is not "
                f"empty.{f', {skipped:,} bad documents skipped' if skipped else ''}"
            )
        with storage.explained(self._target.url, field=FIELD):
            self._target.store.write(LEDGER, ledger.to_json()).result()
            # Of builders that died just behind their records. One by one: in a local folder TensorStore's
            # `delete_range` takes the lock file of a builder away that is writing a lease, and its write then fails.
            for prefix in (ledgers.STATES, ledgers.LEASES):
                for key in self._target.store.list(ledgers.keys_below(prefix)).result():
                    self._target.store.write(key, None).result()

    def _report(self, current: PartProgress | None = None) -> None:
        sum_of_all = self._whole if current is None else self._whole + current
        now = BuildProgress(
            files=sum_of_all.files,
            of_files=len(self._files),
            parts=len(self._records),
            of_parts=len(self._parts),
            tokens=sum_of_all.tokens,
            documents=sum_of_all.documents,
            skipped=sum_of_all.skipped,
        )
        self._progress(self._speed.added_to(now, done=self._bytes_done, left=self._bytes - self._bytes_done))


class _Waiting:
    """Gives up where no builder does anything.

    Args:
        url: of the cache.
        files: what it is of, as this process sees them.
        timeout: seconds without progress; None: it never gives up.
    """

    def __init__(self, url: str, files: Sequence[SourceFile], timeout: float | None):
        self._url, self._files, self._timeout = url, files, timeout
        self._seen: object = None
        self._since = time.monotonic()
        self._begun = False
        self._delay = POLL_SECONDS[0]

    def check(self, whole: int, leased: set[int]) -> float:
        """Called with what the builders have come to, again and again; seconds until the next time.

        Raises:
            UserError: no builder has begun.
            LostPeerError: builders had begun, and have stopped.
        """
        now = time.monotonic()
        self._begun = self._begun or whole > 0 or bool(leased)
        if (whole, leased) != self._seen:
            self._seen, self._since, self._delay = (whole, leased), now, POLL_SECONDS[0]
        if self._timeout is None or now - self._since <= self._timeout:
            self._delay = min(2 * self._delay, POLL_SECONDS[1])
            return self._delay if self._timeout is None else min(self._delay, self._timeout)
        if not self._begun:
            raise UserError(
                f"{FIELD}: no process has begun to build {self._url} within {self._timeout:g} s, while this process "
                "waits for it. Expected a folder that all hosts share, and the same source files on all of them (this "
                f"one sees {len(self._files)} files, {sum(file.size for file in self._files):,} bytes). Name a "
                "shared folder or bucket."
            )
        raise LostPeerError(
            f"The builders of {self._url} have made no progress for {self._timeout:g} s ({whole} of its parts are "
            "whole): expected them to go on tokenizing. The next attempt goes on from there."
        )
