"""Messages between trainer processes: JSON objects, one a line, over TCP."""

import json
import socket
from typing import Any

Message = dict[str, Any]
LONGEST_LINE = 64 * 1024


class Link:
    """One end of a connection to another process. Nothing here ever blocks.

    Args:
        connection: a connected stream socket, which the link takes over.
    """

    def __init__(self, connection: socket.socket):
        connection.setblocking(False)
        if connection.family in (socket.AF_INET, socket.AF_INET6):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection
        self._pending = b""
        self.closed = False
        """The other side is gone, or sent what is no message."""

    def fileno(self) -> int:
        """For selectors."""
        return self._connection.fileno()

    def send(self, kind: str, **fields: Any) -> None:
        """Sends `{"kind": kind, **fields}`. That the other side is gone shows in `receive`, behind all that it
        has sent before."""
        line = json.dumps({"kind": kind, **fields}).encode() + b"\n"
        try:
            sent = self._connection.send(line)
        except BlockingIOError:
            # The buffer holds thousands of messages: the other side is frozen, and its silence will be
            # noticed.
            return
        except OSError:
            return
        if sent < len(line):
            # The rest would have to wait for a frozen peer, and half a line spoils all that follow.
            self.closed = True

    def receive(self) -> list[Message]:
        """All messages that have arrived since the last call."""
        while not self.closed:
            try:
                data = self._connection.recv(LONGEST_LINE)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            self.closed = not data
            self._pending += data
        *lines, self._pending = self._pending.split(b"\n")
        if len(self._pending) > LONGEST_LINE:
            self.closed = True
        messages = []
        for line in lines:
            try:
                message = json.loads(line)
                messages.append({**message, "kind": str(message["kind"])})
            except (ValueError, TypeError, KeyError):
                self.closed = True
                break
        return messages

    def close(self) -> None:
        """Ends the connection; what was sent still arrives."""
        self.closed = True
        self._connection.close()
