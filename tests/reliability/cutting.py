"""A database behind a proxy that cuts a connection when a commit was done and before it is told.

The proxy reads the protocol of PostgreSQL or of MariaDB as far as it has to: it lets what commits
reach the server, waits until the server says that it is done, and closes the connection instead
of passing that on.
"""

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

#: What a statement of PostgreSQL says when it is done that may have changed something.
_WROTE = re.compile(
    rb"(COMMIT|INSERT|UPDATE|DELETE|MERGE|COPY|TRUNCATE|CREATE|DROP|ALTER)\b", re.IGNORECASE
)

#: The statements of MariaDB that end a transaction, most of them on their way to do something.
_ENDS = re.compile(rb"\s*(COMMIT|TRUNCATE|CREATE|DROP|ALTER)\b", re.IGNORECASE)

_COM_QUERY = 3


@dataclass
class Proxy:
    """Stands between a client and a server on this host.

    Attributes:
        server_port: Where the server listens.
        port: Where the proxy listens.
        lose: Is told each commit by its number, from 1, and the words of its last statement; tells
            whether its answer is to be lost.
        everywhere: Whether all other connections break at the same moment.
        commits: The words of each commit so far.
        statements: The first words of what was asked.
    """

    server_port: int
    port: int = 0
    lose: Callable[[int, str], bool] = lambda _number, _words: False
    everywhere: bool = False
    commits: list[str] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    _open: set[socket.socket] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def is_cut(self, words: str) -> bool:
        """Count a commit; tell whether its answer is to be lost."""
        with self._lock:
            self.commits.append(words)
            cut = self.lose(len(self.commits), words)
            others = list(self._open) if cut and self.everywhere else []
        for end in others:
            _shut(end)
        return cut

    def lose_first(self, *patterns: str) -> list[str]:
        """Lose the first answer to a commit of each pattern; return those that are left to lose."""
        left = list(patterns)

        def lose(_number: int, words: str) -> bool:
            for pattern in left:
                if re.search(pattern, words):
                    left.remove(pattern)
                    return True
            return False

        self.lose = lose
        return left

    def serve(self, client: socket.socket) -> None:
        """Pass on what is said in one connection until it ends or is cut."""
        with client, socket.create_connection(("127.0.0.1", self.server_port)) as server:
            link = (_Postgres if self.server_port == 5432 else _MariaDb)(self, client, server)
            asking = threading.Thread(target=link.pass_questions, daemon=True)
            with self._lock:
                self._open |= {client, server}
            asking.start()
            with contextlib.suppress(OSError):
                link.pass_answers()
            with self._lock:
                self._open -= {client, server}
            for end in (client, server):
                _shut(end)
            asking.join(10)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy_of(server_port: int) -> Iterator[Proxy]:
    """Start a proxy in front of a server of this host, for the block."""
    proxy = Proxy(server_port)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.port = listener.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=proxy.serve, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            _shut(listener)
    thread.join(10)


class _Link:
    """One connection: what the client asks and what the server answers."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy = proxy
        self.client = client
        self.server = server
        self.asked = b""

    def pass_questions(self) -> None:
        """Pass on what the client says, and keep its last statement."""
        with contextlib.suppress(OSError):
            while data := self.client.recv(1 << 16):
                self.look(data)
                self.server.sendall(data)
            self.server.shutdown(socket.SHUT_WR)

    def look(self, data: bytes) -> None:
        """Take notice of what the client says."""

    def pass_answers(self) -> None:
        """Pass on what the server says, up to a commit that is to be cut."""
        raise NotImplementedError


class _Postgres(_Link):
    def look(self, data: bytes) -> None:
        if data[:1] in (b"Q", b"P"):
            statement = data[5:300].strip(b"\0")
            self.proxy.statements.append(_words(statement))
            if not statement.upper().startswith((b"COMMIT", b"BEGIN")):
                self.asked = statement

    def pass_answers(self) -> None:
        with self.server.makefile("rb") as answers:
            held, wrote = b"", False
            while len(head := answers.read(5)) == 5:
                kind, size = head[:1], int.from_bytes(head[1:], "big")
                message = head + answers.read(size - 4)
                if kind == b"C" and _WROTE.match(message[5:]):
                    # Whether that is a commit says the state that comes with the next `Z`.
                    wrote = True
                held += message
                if kind == b"Z" and wrote:
                    if message[5:6] == b"I" and self.proxy.is_cut(_words(self.asked)):
                        return
                    wrote = False
                if not wrote:
                    self.client.sendall(held)
                    held = b""


class _MariaDb(_Link):
    ends = False

    def look(self, data: bytes) -> None:
        if len(data) > 5 and data[3] == 0 and data[4] == _COM_QUERY:
            self.proxy.statements.append(_words(data[5:300]))
            if not _ENDS.match(data[5:]):
                if data[5:15].strip()[:6].upper() in (b"INSERT", b"UPDATE", b"DELETE"):
                    self.asked = data[5:300]
                return
            self.ends = True
            if not data[5:].strip().upper().startswith(b"COMMIT"):
                self.asked = data[5:300]

    def pass_answers(self) -> None:
        while data := self.server.recv(1 << 16):
            if self.ends:
                self.ends = False
                asked, self.asked = self.asked, b""
                if asked and self.proxy.is_cut(_words(asked)):
                    return
            self.client.sendall(data)


def _words(statement: bytes) -> str:
    return " ".join(statement.decode(errors="replace").split())
