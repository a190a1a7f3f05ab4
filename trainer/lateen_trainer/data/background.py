"""Completing the caches of a run in the background, by a process of its own (`data.build_process`)."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from lateen_api.spec import JobSpec
from lateen_api.termination import ExitCode

from lateen_trainer.data.cache import TokenCache
from lateen_trainer.errors import DataError, TrainerError, UserError

_STARTS = 3
"""Times that a process which was killed is started again: the machine may have been out of memory."""

_KINDS = {ExitCode.USER_ERROR: UserError, ExitCode.BAD_DATA: DataError}

log = logging.getLogger(__name__)


class BackgroundBuilder:
    """Completes the caches of the training data, where they are not whole. Use it in a `with` statement.

    Args:
        spec: of the job.
        tokenizer: `spec.data.tokenizer`.
        caches: of the training data, by source.
        cache_dir: where they lie.
    """

    def __init__(self, spec: JobSpec, tokenizer: str, caches: Mapping[str, TokenCache], cache_dir: str):
        # Other pods complete them.
        self._is_builder = spec.data.prepare is None
        self._arguments: dict[str, Any] = {
            "spec": spec.model_dump(mode="json", by_alias=True),
            "tokenizer": tokenizer,
            "cache_dir": cache_dir,
            "layout": asdict(next(iter(caches.values())).layout),
            "fingerprints": {name: cache.fingerprint for name, cache in caches.items()},
        }
        self._caches = caches
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None
        self._starts = 0
        self._error: dict[str, Any] = {}
        self._progress: dict[str, str] = {}

    def detail(self, source: str | None) -> str:
        """How far the cache of a source is, for people.

        Args:
            source: its name; None: another process waits, and what this one knows does not say for which.
        """
        if source is None:
            return "other processes do not see all of the text yet"
        cache = self._caches[source]
        state = self._progress.get(source) or f"{len(cache.parts)} of {len(cache.order)} parts are there"
        return f"{source}: {state}" if source else state

    def check(self) -> None:
        """Sees to it that the caches are still being built, by this process's builder if by no other.

        Raises:
            TrainerError: it cannot be: the error that the builder ended with.
        """
        if self._process is None or self._are_whole:
            return
        code = self._process.poll()
        if code is None or code == 0:
            return
        if self._listener is not None:
            self._listener.join()  # the last line says why
        if self._error:
            known = next((exit_code for exit_code in ExitCode if exit_code == self._error["code"]), ExitCode.ERROR)
            raise _KINDS.get(known, TrainerError)(self._error["error"])
        if self._starts > _STARTS:
            raise TrainerError(
                f"The process that tokenizes in the background ended {self._starts} times, last with code {code}: "
                "expected it to complete the caches. Look for its messages above, and give the pods more memory."
            )
        log.warning("The process that tokenizes in the background ended with code %s; it is started again.", code)
        self._start()

    def __enter__(self) -> Self:
        if self._is_builder and not self._are_whole:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets the builder stop where it is; what it has done is kept."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    @property
    def _are_whole(self) -> bool:
        return all(cache.is_whole for cache in self._caches.values())

    def _start(self) -> None:
        self._starts += 1
        command = [sys.executable, "-m", "lateen_trainer.data.build_process"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._arguments) + "\n")
        self._process.stdin.flush()
        self._listener = threading.Thread(
            target=self._listen, args=(self._process,), name="background build", daemon=True
        )
        self._listener.start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said = json.loads(line)
            if "error" in said:
                self._error = said
            else:
                self._progress[said["source"]] = said["progress"]
        process.wait()
