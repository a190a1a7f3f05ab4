"""Free TCP ports of this machine."""

import errno
import random
import socket

# Below the range from which Linux takes ports for outgoing connections (32768 on): a port from that range
# could be taken by one in the seconds until the trainer listens, even by the very connection that asks
# whether it listens yet.
_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES = 200


def free_ports(count: int, source: random.Random) -> list[int]:
    """`count` different ports on which nobody listens now.

    Raises:
        OSError: none was found in a bounded number of tries.
    """
    found: list[int] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return found
        port = source.randint(_LOWEST, _HIGHEST)
        if port not in found and _is_free(port):
            found.append(port)
    if len(found) == count:
        return found
    raise OSError(errno.EADDRINUSE, f"no {count} free TCP ports found between {_LOWEST} and {_HIGHEST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: connections of an ended attempt that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
