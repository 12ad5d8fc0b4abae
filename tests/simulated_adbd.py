"""The phone's end of adb's protocol over TCP: shell, exec and sync, with faults that can be asked for.

Written after the protocol's description in AOSP (packages/modules/adb: protocol.txt, SYNC.TXT and
shell_protocol.h). It speaks to the real adb client, for one phone, on the loopback alone, in its own thread.
"""

import asyncio
import os
import signal
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from simulated_sync import CHUNK, ConnectionDropped, Sync

VERSION, MAX_DATA = 0x01000001, 256 * 1024
CNXN, AUTH, OPEN, OKAY, CLSE, WRTE = (
    int.from_bytes(name, "little") for name in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"CLSE", b"WRTE")
)
AUTH_TOKEN, AUTH_SIGNATURE = 1, 2
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
"""Packets of shell_v2."""


@dataclass
class Faults:
    """What goes wrong, until it is set back. Counts are bytes, of all files together.

    asks: what a computer gets for its greeting: a greeting, "permission" asked for (which it never gets) or
    "silence".
    drop_shell: the cable is pulled when a command that holds this text starts. corrupt_push: files whose
    names end like this arrive with a wrong byte.
    """

    asks: str = ""
    drop_push_after: int | None = None
    drop_pull_after: int | None = None
    drop_shell: str | None = None
    truncate_pull: str | None = None
    corrupt_push: str | None = None


@dataclass
class Traffic:
    """What went over the cable: bytes pushed by path, paths pulled, commands run."""

    pushed: dict[str, int] = field(default_factory=dict)
    pulled: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)


class Daemon:
    """adbd: `command` gives the words that run a shell command, `place` where a path of the phone's lies."""

    def __init__(
        self, banner: str, command: Callable[[str], list[str]], place: Callable[[str], Path]
    ) -> None:
        self.banner, self.command, self.place = banner, command, place
        self.faults, self.traffic = Faults(), Traffic()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def start(self) -> None:
        """Listen on the same port as before, at first on any."""
        if not self._thread.is_alive():
            self._thread.start()
        self._wait(self._listen())

    def stop(self) -> None:
        """Let go of the cable and take no other."""
        self._wait(self._hang_up())

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _hang_up(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for one in list(self._connections):
            one.drop()
        if tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(tasks, timeout=5)
        await asyncio.sleep(0.1)  # for the pipes of processes that have ended

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(self, reader, writer)
        self._connections.add(connection)
        try:
            await connection.serve()
        finally:
            self._connections.discard(connection)
            connection.drop()

    def unplug(self) -> None:
        """From within: the phone is gone, until `start`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for one in list(self._connections):
            one.drop()


class Connection:
    """One computer at the other end, and its streams."""

    def __init__(self, daemon: Daemon, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.daemon, self._reader, self._writer = daemon, reader, writer
        self.max_data = MAX_DATA
        self._streams: dict[int, Stream] = {}
        self._next = 1
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        head = (command, first, second, len(data), sum(data) & 0xFFFFFFFF, command ^ 0xFFFFFFFF)
        self._writer.write(struct.pack("<6I", *head) + data)
        await self._writer.drain()

    def drop(self) -> None:
        self._writer.close()
        for stream in self._streams.values():
            stream.end()

    async def serve(self) -> None:
        """Answer until the other end is gone."""
        try:
            while True:
                command, first, second, size, _, _ = struct.unpack("<6I", await self._reader.readexactly(24))
                data = await self._reader.readexactly(size) if size else b""
                await self._receive(command, first, second, data)
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def _receive(self, command: int, first: int, second: int, data: bytes) -> None:
        if command == CNXN:
            await self._greet(first, second)
        elif command == AUTH:
            if first == AUTH_SIGNATURE:  # by no key that it knows; a public key is not accepted
                await self.send(AUTH, AUTH_TOKEN, 0, os.urandom(20))
        elif command == OPEN:
            await self._open(first, data.rstrip(b"\0").decode())
        elif stream := self._streams.get(second):
            if command == WRTE:
                stream.put(data)
                await self.send(OKAY, second, first)
            elif command == OKAY:
                stream.acknowledged.release()
            elif command == CLSE:
                del self._streams[second]
                stream.end()

    async def _greet(self, _version: int, max_data: int) -> None:
        self.max_data = min(max_data, MAX_DATA)
        if self.daemon.faults.asks == "permission":
            await self.send(AUTH, AUTH_TOKEN, 0, os.urandom(20))
        elif not self.daemon.faults.asks:
            await self.send(CNXN, VERSION, MAX_DATA, self.daemon.banner.encode())

    async def _open(self, remote: int, service: str) -> None:
        kind, _, rest = service.partition(":")
        stream = Stream(self, self._next, remote)
        if kind.split(",")[0] in ("shell", "exec"):
            work = run_shell(self.daemon, stream, rest, ",v2" in kind)
        elif kind == "sync":
            work = Sync(self.daemon, stream).serve()
        else:
            await self.send(CLSE, 0, remote)
            return
        self._streams[self._next] = stream
        self._next += 1
        await self.send(OKAY, stream.local, remote)
        task = asyncio.create_task(self._finish(work, stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, work: Coroutine[Any, Any, None], stream: "Stream") -> None:
        try:
            await work
        except (EOFError, ConnectionError):
            pass
        except ConnectionDropped:
            self.daemon.unplug()
        finally:
            if self._streams.pop(stream.local, None) and not stream.ended:
                await self.send(CLSE, stream.local, stream.remote)


class Stream:
    """One conversation: bytes in order both ways, one packet of ours in flight."""

    def __init__(self, connection: Connection, local: int, remote: int) -> None:
        self.local, self.remote, self.ended = local, remote, False
        self.acknowledged = asyncio.Semaphore(0)
        self._connection = connection
        self._queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._rest = b""

    def put(self, data: bytes) -> None:
        self._queue.put_nowait(data)

    def end(self) -> None:
        """The other end has closed."""
        self.ended = True
        self._queue.put_nowait(b"")
        self.acknowledged.release()

    async def read(self, size: int) -> bytes:
        while len(self._rest) < size:
            more = await self._queue.get()
            if not more:
                raise EOFError
            self._rest += more
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), self._connection.max_data):
            if self.ended:
                raise EOFError
            part = data[start : start + self._connection.max_data]
            await self._connection.send(WRTE, self.local, self.remote, part)
            await self.acknowledged.acquire()


async def run_shell(daemon: Daemon, stream: Stream, command: str, framed: bool) -> None:
    """A command's output and, `framed` (shell_v2), its exit code. When the client goes, it is hung up on."""
    daemon.traffic.commands.append(command)
    lost = daemon.faults.drop_shell
    process = await asyncio.create_subprocess_exec(
        *daemon.command(command),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if framed else asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    feeding = asyncio.create_task(_feed(process, stream, framed))
    try:
        if lost and lost in command:
            await asyncio.sleep(0.5)
            raise ConnectionDropped
        outputs = [(process.stdout, STDOUT), *([(process.stderr, STDERR)] if framed else [])]
        await asyncio.gather(*(_pump(file, stream, kind, framed) for file, kind in outputs if file))
        code = await process.wait()
        if framed:
            await stream.write(struct.pack("<BIB", EXIT, 1, code & 255))
    finally:
        feeding.cancel()
        if process.returncode is None:
            _hang_up(process.pid)


def _hang_up(outer: int) -> None:
    """What adbd does to a command whose client is gone: SIGHUP to its shell, and to nothing else."""
    children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split()
    for pid in map(int, children):
        os.kill(pid, signal.SIGHUP)


async def _pump(file: asyncio.StreamReader, stream: Stream, kind: int, framed: bool) -> None:
    while data := await file.read(CHUNK):
        await stream.write(struct.pack("<BI", kind, len(data)) + data if framed else data)


async def _feed(process: asyncio.subprocess.Process, stream: Stream, framed: bool) -> None:
    try:
        while process.stdin:
            kind, size = struct.unpack("<BI", await stream.read(5)) if framed else (STDIN, 1)
            data = await stream.read(size)
            if kind == STDIN:
                process.stdin.write(data)
            elif kind == CLOSE_STDIN:
                process.stdin.close()
    except EOFError:
        if process.returncode is None:
            _hang_up(process.pid)
