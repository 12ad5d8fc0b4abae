"""Shell mode: the payload does a job in a process of adb's shell user, bound to big cores if so asked."""

from __future__ import annotations

from dataclasses import dataclass

from android_harness.driver.adb import Stopped, TimeUp
from android_harness.driver.defaults import ALL
from android_harness.driver.facts import Facts
from android_harness.driver.payload import Payload, deliver_payload
from android_harness.driver.phone import ROOT, Phone, quoted
from android_harness.protocol import Job
from common.errors import UserError

PROCESS_FILE = f"{ROOT}/run.pid"
KILL = (
    f"if [ -f {PROCESS_FILE} ]; then leader=$(cat {PROCESS_FILE}); rm -f {PROCESS_FILE}; "
    "if [ ! -e /proc/$leader ] || grep -q pocketvec /proc/$leader/cmdline; "
    "then kill -9 -- -$leader 2>/dev/null; tries=0; "
    "while kill -0 -- -$leader 2>/dev/null && [ $tries -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done; "
    "fi; fi; true"
)
"""Ends a run with all its processes: adbd gives every command a session of its own, so they are one group.

Its leader may be gone while others go on: adbd hangs up on the leader alone. Another program by its number is
left alone.
"""


@dataclass(frozen=True)
class ShellClient:
    """The payload, which cores it may use (big or all), and how many threads are to have one each."""

    payload: Payload
    cores: str
    threads: int
    results = f"{ROOT}/results"

    @property
    def sha256(self) -> str:
        """What the answers depend on."""
        return self.payload.sha256

    def affinity(self, facts: Facts) -> str | None:
        """The cores that threads are bound to, in words; None where they are not bound."""
        cores = self._bound(facts)
        if not cores:
            return None
        capacities = sorted({facts.capacities[core] for core in cores}, reverse=True)
        shown = ", ".join(map(str, capacities))
        return f"cores {', '.join(map(str, cores))}, the ones of highest capacity ({shown})"

    def prepare(self, phone: Phone, facts: Facts) -> int:
        """Have the payload there and nothing running; the number of bytes that were pushed."""
        phone.shell(KILL, "ending an earlier run")
        return deliver_payload(phone, self.payload, facts.abi)

    def run(self, phone: Phone, facts: Facts, job: Job, seconds: int) -> None:
        """Do a job. Raises UserError with the payload's last line when it fails, or when time is up."""
        cores = self._bound(facts)
        bound = f"taskset {sum(1 << core for core in cores):x} " if cores else ""
        command = (
            f"cd {ROOT} && echo $$ > {PROCESS_FILE} && "
            f"{bound}sh {quoted(self.payload.folder, 'run')} {ROOT} jobs/{job.id}.json results\n"
            f"code=$?; rm -f {PROCESS_FILE}; exit $code"
        )
        try:
            said = phone.ask(command, "the run", seconds)
        except TimeUp:
            phone.quietly(KILL)
            raise UserError(
                f"{phone.serial}: {job.artifact} did not end within {seconds} s, it was ended on the device"
            ) from None
        except (Stopped, KeyboardInterrupt):
            phone.quietly(KILL)
            raise
        if said.code:
            raise phone.failure(f"{job.artifact}, exit code {said.code},", said)

    def _bound(self, facts: Facts) -> list[int]:
        big = facts.big_cores(self.threads)
        return [] if self.cores == ALL or len(big) == len(facts.capacities) else big
