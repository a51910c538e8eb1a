# SPDX-License-Identifier: GPL-2.0
"""A line between client and server that can be cut, with a bang or silently, and after so many bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

from guest.intersync import PORT


class Link:
    """Takes connections on a port of its own and passes their bytes on to the server's.

    Cut with a bang, both ends see their connections end, and new ones are refused. Cut silently, no byte
    passes, as when a cable is pulled: what was sent waits for the line to come back.
    """

    def __init__(self, to: int = PORT) -> None:
        self.to = to
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.state = threading.Condition()
        self.is_up, self.is_silent, self.ended = True, False, False
        self.open: set[socket.socket] = set()
        self.passed = self.requests = 0
        self.left: int | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def server(self) -> str:
        """What the client is told to connect to."""
        return f"127.0.0.1:{self.port}"

    def cut(self, silently: bool = False) -> None:
        """Now."""
        with self.state:
            if silently:
                self.is_silent = True
                return
            self.is_up = False
            for end in self.open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def cut_after(self, size: int) -> None:
        """With a bang, when so many more bytes have passed, of both directions."""
        with self.state:
            self.left = size

    def is_cut(self) -> bool:
        """Is it?"""
        return not self.is_up or self.is_silent

    def mend(self) -> None:
        """It works again."""
        with self.state:
            self.is_up, self.is_silent, self.left = True, False, None
            self.state.notify_all()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
                far = socket.create_connection(("127.0.0.1", self.to)) if self.is_up else None
            except OSError:
                if self.ended:
                    return
                far = None
            if far is None:
                near.close()
                continue
            with self.state:
                self.open |= {near, far}
            for forth in (True, False):
                threading.Thread(target=self._pass_on, args=(near, far, forth), daemon=True).start()

    def altered(self, near: socket.socket, forth: bool, data: bytes) -> tuple[bytes, bool]:
        """What passes instead of these bytes of a connection, and does it stay open? For lines that do
        damage."""
        del near, forth
        return data, True

    def _may_pass(self, data: bytes) -> int:
        """How many of these bytes; waits while the line is silent."""
        with self.state:
            self.state.wait_for(lambda: not self.is_silent or self.ended)
            if not self.is_up or self.ended:
                return 0
            size = len(data)
            if self.left is not None:
                size = min(size, self.left)
                self.left -= size
            self.passed += size
            # The client sends one only when the answer to the last one on that connection has come.
            self.requests += data.startswith(b"POST /izo/")
            return size

    def _pass_on(self, near: socket.socket, far: socket.socket, forth: bool) -> None:
        one, other = (near, far) if forth else (far, near)
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                data, stays = self.altered(near, forth, data)
                size = self._may_pass(data)
                other.sendall(data[:size])
                if size < len(data):
                    self.cut()
                if size < len(data) or not stays:
                    break
        with self.state:
            self.open -= {one, other}
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *unused: Any) -> None:
        with self.state:
            self.ended = True
            self.state.notify_all()
        self.cut()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
