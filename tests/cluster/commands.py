"""Run another program to its end."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cluster.failure import ClusterError


def output_of(
    *command: str | Path,
    input: str | bytes | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = 600,
) -> str:
    """What `command` prints. ClusterError with its standard error if it fails or does not end within `timeout` seconds.

    `environment` is added to this process's own.
    """
    arguments = [str(part) for part in command]
    try:
        done = subprocess.run(
            arguments,
            input=input.encode() if isinstance(input, str) else input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            env=os.environ | dict(environment or {}),
            cwd=cwd,
            timeout=timeout,
        )
    except FileNotFoundError as error:
        raise ClusterError(
            f"{arguments[0]} is not installed ({error}); it is needed for: {' '.join(arguments)}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{' '.join(arguments)} did not end within {timeout} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace").strip()
        raise ClusterError(f"{' '.join(arguments)} ended with {done.returncode}: {said[-4000:]}")
    return done.stdout.decode()
