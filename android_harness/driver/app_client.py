"""App mode: the harness app is installed where it changed, and one instrumentation run does one job."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from android_harness.driver.adb import Stopped, TimeUp
from android_harness.driver.delivery import check_room, local_file
from android_harness.driver.facts import Facts
from android_harness.driver.instrumentation import check_instrumentation
from android_harness.driver.phone import ROOT, TRANSFER_SECONDS, Phone, quoted
from android_harness.protocol import Job
from common.errors import UserError

PACKAGE = "dev.pocketvec.harness"
COMPONENT = f"{PACKAGE}/{PACKAGE}.BenchInstrumentation"
INSTALLED = f'path=$(pm path {PACKAGE} | head -n 1) && sha256sum "${{path#package:}}"'
"""Tells the hash of the .apk that is installed: Android Studio may have put another one there since."""


@dataclass(frozen=True)
class AppClient:
    """The app's .apk."""

    path: Path
    sha256: str
    results = f"/sdcard/Android/media/{PACKAGE}/results"

    def affinity(self, facts: Facts) -> str | None:
        """An app's threads are not bound."""
        return None

    def prepare(self, phone: Phone, facts: Facts) -> int:
        """Have this very app installed and not running; the number of bytes that were pushed."""
        phone.quietly(f"am force-stop {PACKAGE}")
        installed = phone.ask(INSTALLED, "looking for the app")
        if installed.code == 0 and installed.out.split()[:1] == [self.sha256]:
            return 0
        size = self.path.stat().st_size
        check_room(phone, 2 * size)
        said = phone.adb.call("-s", phone.serial, "install", "-r", str(self.path), seconds=TRANSFER_SECONDS)
        if said.code or "Success" not in said.out:
            if reason := re.search(r"Failure \[([^\]]*)\]|(INSTALL_\w+)", said.out + said.err):
                raise UserError(
                    f"{phone.serial}: {self.path.name} is not installed: {reason[1] or reason[2]}"
                )
            raise phone.failure(f"installing {self.path.name}", said)
        return size

    def run(self, phone: Phone, facts: Facts, job: Job, seconds: int) -> None:
        """Do a job. Raises UserError when the app crashes, says what is wrong, or time is up."""
        command = f"am instrument -w -e root {ROOT} -e job {quoted(f'jobs/{job.id}.json')} {COMPONENT}"
        try:
            said = phone.ask(command, "the run", seconds)
        except TimeUp:
            phone.quietly(f"am force-stop {PACKAGE}")
            raise UserError(
                f"{phone.serial}: {job.artifact} did not end within {seconds} s, the app was stopped"
            ) from None
        except (Stopped, KeyboardInterrupt):
            phone.quietly(f"am force-stop {PACKAGE}")
            raise
        place = f"{phone.serial}: {job.artifact}"
        check_instrumentation(said.out + said.err, place)
        if said.code:
            raise phone.failure(f"{job.artifact}, exit code {said.code},", said)


def read_app(path: Path) -> AppClient:
    """The app of an .apk. Raises UserError where there is no such file."""
    if not path.is_file():
        raise UserError(
            f"{path}: no such .apk; build it with gradlew :app:assembleRelease in android_harness"
        )
    return AppClient(path, local_file(path).sha256)
