"""A phone without a phone: mksh, toybox and stubs of Android's programs in namespaces of their own.

The root is a tmpfs with bind mounts that only the phone's own processes see; they see no others, and end with
it. What is real: the shell, the tools, files, full and read-only disks, processes and signals. What is not:
bionic, SELinux, ART, the kernel, and getprop, am, pm and dumpsys, which are scripts of the test's.
"""

import os
import shlex
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from simulated_adbd import Daemon

SETUP = """
set -eu
root=$1 data=$2 options=$3
mount -t tmpfs -o mode=755 phone "$root"
cd "$root"
mkdir -p system/bin proc sys dev tmp lib lib64 usr/lib data/local/tmp sdcard/Android/media
for folder in lib lib64 usr/lib; do
    if [ -d "/$folder" ]; then mount --rbind -o ro "/$folder" "$folder"; fi
done
mount -t proc proc proc
mount --rbind /sys sys
mount --rbind /dev dev
case $options in
    *M) mount -t tmpfs -o "size=$options" data data/local/tmp ;;
    ro) mount --bind "$data" data/local/tmp; mount -o remount,bind,ro data/local/tmp ;;
    missing) rmdir data/local/tmp ;;
    *) mount --bind "$data" data/local/tmp ;;
esac
cp "$4" system/bin/sh
cp "$5" system/bin/toybox
if [ -n "${7:-}" ]; then . "$7"; fi
for name in $(chroot "$root" /system/bin/toybox); do ln -s toybox "system/bin/$name"; done
for name in $(ls "$6"); do rm -f "system/bin/$name"; cp "$6/$name" "system/bin/$name"; done
echo ready
exec chroot "$root" /system/bin/sh -c 'trap : HUP; while :; do sleep 3600; done'
"""
GETPROP = """#!/system/bin/sh
case "$1" in
{cases}*) echo ;;
esac
"""
PROPERTIES = {
    "ro.product.cpu.abi": "x86_64",
    "ro.product.cpu.abilist": "x86_64",
    "ro.product.brand": "Simulated",
    "ro.product.model": "Simulated Phone",
    "ro.product.device": "simulated",
    "ro.build.fingerprint": "simulated/phone:15/TEST/1:user/test-keys",
    "ro.build.version.release": "15",
    "ro.build.version.sdk": "35",
    "ro.kernel.qemu": "1",
}


class SimulatedPhone:
    """To be used in a `with`. Paths are the phone's own.

    data: how /data/local/tmp is: a size such as 8M (a disk that fills up), ro, missing, or plain.
    programs: further scripts for /system/bin by name; mksh and toybox come as `tools`, for another machine
    than this one together with a `setup` script that lets its programs run and what they need in their
    `environment`.
    """

    def __init__(
        self,
        folder: Path,
        tools: dict[str, Path],
        *,
        properties: dict[str, str] | None = None,
        programs: dict[str, str] | None = None,
        data: str = "plain",
        setup: Path | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self._root, self._data, self._bin = (folder / name for name in ("root", "data", "bin"))
        for made in (self._root, self._data, self._bin):
            made.mkdir(parents=True)
        self.properties = PROPERTIES | (properties or {})
        self._tools, self._options, self._setup = tools, data, setup
        self._environment = {"PATH": "/system/bin", "HOME": "/", "TERM": "dumb"} | (environment or {})
        for name, text in ({"getprop": _getprop(self.properties)} | (programs or {})).items():
            (self._bin / name).write_text(text)
            (self._bin / name).chmod(0o755)
        banner = f"device::ro.product.name=simulated;ro.product.model={self.properties['ro.product.model']};"
        self.adbd = Daemon(f"{banner}ro.product.device=simulated;features=shell_v2", self._words, self.place)

    def __enter__(self) -> Self:
        words = ["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh"]
        words += ["-c", SETUP, "phone", str(self._root), str(self._data), self._options]
        words += [
            str(self._tools["mksh"]),
            str(self._tools["toybox"]),
            str(self._bin),
            str(self._setup or ""),
        ]
        self._outer = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self._environment, "PATH": f"{os.environ['PATH']}:/system/bin"},
        )
        assert self._outer.stdout is not None
        if self._outer.stdout.readline() != "ready\n":
            raise RuntimeError(f"the simulated phone does not start: {self._outer.communicate()[1]}")
        outer = self._outer.pid
        self._pid = int(Path(f"/proc/{outer}/task/{outer}/children").read_text().split()[0])
        self.adbd.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self._outer.communicate()
        self.adbd.close()

    @property
    def address(self) -> str:
        """What `adb connect` takes, and then the serial."""
        return f"127.0.0.1:{self.adbd.port}"

    def place(self, path: str) -> Path:
        """Where a file of the phone's lies for this machine."""
        inside = os.path.normpath("/" + path)
        return Path(f"/proc/{self._pid}/root{inside}")

    def run(self, command: str) -> str:
        """What a command on the phone says, past adb."""
        return subprocess.run(self._words(command), capture_output=True, text=True, check=True).stdout

    def processes(self) -> str:
        """Command lines of all processes of the phone, a line each."""
        lines = [one.read_bytes() for one in self.place("/proc").glob("[0-9]*/cmdline")]
        return "\n".join(line.replace(b"\0", b" ").decode() for line in lines)

    def _words(self, command: str) -> list[str]:
        enter = ["nsenter", "--target", str(self._pid), "--user", "--mount", "--pid", "--root", "--wd"]
        values = [f"{name}={value}" for name, value in self._environment.items()]
        shell = ["/system/bin/env", "-i", *values, "setsid", "/system/bin/sh", "-c", command or ":"]
        return [*enter, "--preserve-credentials", *shell]


def _getprop(properties: dict[str, str]) -> str:
    cases = "".join(f"{name}) echo {shlex.quote(value)} ;;\n" for name, value in properties.items())
    return GETPROP.format(cases=cases)
