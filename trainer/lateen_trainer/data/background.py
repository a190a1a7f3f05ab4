"""Completing a cache in the background, by a process of its own (`data.build_process`)."""

import json
import logging
import subprocess
import sys
import threading
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from lateen_api.spec import DataSpec
from lateen_api.termination import ExitCode

from lateen_trainer.data.cache import TokenCache
from lateen_trainer.errors import DataError, TrainerError, UserError

_STARTS = 3
"""Times that a process which was killed is started again: the machine may have been out of memory."""

_KINDS = {ExitCode.USER_ERROR: UserError, ExitCode.BAD_DATA: DataError}

log = logging.getLogger(__name__)


class BackgroundBuilder:
    """Completes the cache of the training data, if it is not whole. Use it in a `with` statement.

    Args:
        spec: what to read.
        tokenizer: `spec.data.tokenizer`.
        cache: the beginning of which is there.
        cache_dir: of which it is one.
        seed: of the order of the parts.
    """

    def __init__(self, spec: DataSpec, tokenizer: str, cache: TokenCache, cache_dir: str, *, seed: int):
        # Other pods complete it.
        self._is_builder = spec.prepare is None
        self._arguments: dict[str, Any] = {
            "spec": spec.model_dump(mode="json", by_alias=True),
            "split": cache.split,
            "tokenizer": tokenizer,
            "cache_dir": cache_dir,
            "seed": seed,
            "layout": asdict(cache.layout),
            "fingerprint": cache.fingerprint,
        }
        self._cache = cache
        self._process: subprocess.Popen[str] | None = None
        self._starts = 0
        self._last: dict[str, Any] = {}

    @property
    def detail(self) -> str:
        """How far the cache is, for people."""
        return str(
            self._last.get("progress") or f"{len(self._cache.parts)} of {len(self._cache.order)} parts are there"
        )

    def check(self) -> None:
        """Sees to it that the cache is still being built, by this process's builder if by no other.

        Raises:
            TrainerError: it cannot be: the error that the builder ended with.
        """
        if self._process is None or self._cache.is_whole:
            return
        code = self._process.poll()
        if code is None or code == 0:
            return
        if "error" in self._last:
            known = next((exit_code for exit_code in ExitCode if exit_code == self._last["code"]), ExitCode.ERROR)
            raise _KINDS.get(known, TrainerError)(self._last["error"])
        if self._starts > _STARTS:
            raise TrainerError(
                f"The process that tokenizes in the background ended {self._starts} times, last with code {code}: "
                "expected it to complete the cache. Look for its messages above, and give the pods more memory."
            )
        log.warning("The process that tokenizes in the background ended with code %s; it is started again.", code)
        self._start()

    def __enter__(self) -> Self:
        if self._is_builder and not self._cache.is_whole:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets the builder stop where it is; what it has done is kept."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _start(self) -> None:
        self._starts += 1
        command = [sys.executable, "-m", "lateen_trainer.data.build_process"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._arguments) + "\n")
        self._process.stdin.flush()
        threading.Thread(target=self._listen, args=(self._process,), name="background build", daemon=True).start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._last = json.loads(line)
        process.wait()
