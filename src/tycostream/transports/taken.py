"""How much a peer has taken of what was written to it: who reads slowly is not gone."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import Final

_OFFSET: Final = 120  # of tcpi_bytes_acked in Linux' struct tcp_info, since 4.1
_SIZE: Final = 128


def bytes_taken(transport: asyncio.BaseTransport) -> int:
    """The bytes that the peer's kernel has acknowledged so far; 0 where nobody tells (only Linux does).

    Our own counts say nothing of it: megabytes may stand in the kernels' buffers, and a ping behind them, long after the
    transport's own buffer is empty.
    """
    if sys.platform != "linux":
        return 0
    sock = transport.get_extra_info("socket")
    if sock is None:
        return 0
    try:
        told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SIZE)
    except OSError:  # closed by now
        return 0
    return int(struct.unpack_from("=Q", told, _OFFSET)[0]) if len(told) == _SIZE else 0
