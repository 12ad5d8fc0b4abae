"""The sync service of a simulated phone's adbd (version 1): files pushed and pulled, and what goes wrong."""

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulated_adbd import Daemon, Stream

CHUNK = 1 << 16


class ConnectionDropped(Exception):  # noqa: N818 - not an error: it was asked for
    """The cable is pulled."""


class Sync:
    """Files pushed and pulled (version 1 of the sync service)."""

    def __init__(self, daemon: "Daemon", stream: "Stream") -> None:
        self._daemon, self._stream = daemon, stream
        self._moved = 0

    async def serve(self) -> None:
        requests = {b"STAT": self._stat, b"LIST": self._list, b"SEND": self._send, b"RECV": self._receive}
        while True:
            name, size = struct.unpack("<4sI", await self._stream.read(8))
            if name == b"QUIT":
                return
            await requests[name]((await self._stream.read(size)).decode())

    async def _stat(self, path: str) -> None:
        try:
            found = self._daemon.place(path).stat()
            values = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime))
        except OSError:
            values = (0, 0, 0)
        await self._stream.write(struct.pack("<4sIII", b"STAT", *values))

    async def _list(self, path: str) -> None:
        place = self._daemon.place(path)
        for entry in sorted(place.iterdir()) if place.is_dir() else []:
            found, name = entry.stat(), entry.name.encode()
            head = (found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime), len(name))
            await self._stream.write(struct.pack("<4sIIII", b"DENT", *head) + name)
        await self._stream.write(struct.pack("<4sIIII", b"DONE", 0, 0, 0, 0))

    async def _send(self, target: str) -> None:
        path, _, mode = target.rpartition(",")
        place, wrong = self._daemon.place(path), ""
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, int(mode) & 0o777)
        except OSError as error:
            file, wrong = -1, os.strerror(error.errno or 0)
        while True:
            name, size = struct.unpack("<4sI", await self._stream.read(8))
            if name == b"DONE":
                break
            wrong = self._store(path, file, await self._stream.read(size)) or wrong
        if file >= 0:
            os.close(file)
        said = struct.pack("<4sI", b"FAIL", len(wrong)) + wrong.encode()
        await self._stream.write(said if wrong else struct.pack("<4sI", b"OKAY", 0))

    def _store(self, path: str, file: int, data: bytes) -> str:
        pushed = self._daemon.traffic.pushed
        pushed[path] = pushed.get(path, 0) + len(data)
        self._moved += len(data)
        most = self._daemon.faults.drop_push_after
        if most is not None and sum(pushed.values()) > most:
            raise ConnectionDropped
        if wrong := self._daemon.faults.corrupt_push:
            data = bytes([data[0] ^ 1]) + data[1:] if path.endswith(wrong) else data
        try:
            if file >= 0 and os.write(file, data) < len(data):
                return os.strerror(28)
        except OSError as error:
            return os.strerror(error.errno or 0)
        return ""

    async def _receive(self, path: str) -> None:
        faults = self._daemon.faults
        self._daemon.traffic.pulled.append(path)
        try:
            data = self._daemon.place(path).read_bytes()
        except OSError as error:
            wrong = os.strerror(error.errno or 0).encode()
            await self._stream.write(struct.pack("<4sI", b"FAIL", len(wrong)) + wrong)
            return
        if faults.truncate_pull and path.endswith(faults.truncate_pull):
            data = data[: len(data) // 2]
        for start in range(0, len(data), CHUNK):
            part = data[start : start + CHUNK]
            self._moved += len(part)
            if faults.drop_pull_after is not None and self._moved > faults.drop_pull_after:
                raise ConnectionDropped
            await self._stream.write(struct.pack("<4sI", b"DATA", len(part)) + part)
        await self._stream.write(struct.pack("<4sI", b"DONE", 0))
