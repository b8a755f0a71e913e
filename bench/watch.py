"""How long the event loop was held: the longest wait for an answer that costs nothing to give."""

from __future__ import annotations

import contextlib
import http.client
import threading
import time


class Watch(threading.Thread):
    """Asks for /healthz every so often and remembers how long each answer took."""

    def __init__(self, port: int, every_s: float = 0.005) -> None:
        super().__init__(daemon=True)
        self.port, self.every_s, self.done = port, every_s, threading.Event()
        self.waits_ms: list[float] = []

    @property
    def longest_ms(self) -> float:
        """Of all so far; 0 before the first."""
        return max(self.waits_ms, default=0.0)

    def run(self) -> None:
        """See Thread."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        while not self.done.wait(self.every_s):
            begin = time.monotonic()
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                self.waits_ms.append((time.monotonic() - begin) * 1000)
                continue
            connection.close()

    def stop(self) -> None:
        """Ask no more."""
        self.done.set()
        self.join(30)
