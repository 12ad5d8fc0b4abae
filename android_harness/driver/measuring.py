"""Artifacts on phones, several at once, into a report for each: what `pocketvec device` does."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict

from android_harness.driver.adb import POLL_SECONDS
from android_harness.driver.phone import Phone
from android_harness.driver.profiles import make_profile
from android_harness.driver.session import Measured, Order, Session
from bench.bearings import Bearings
from bench.compare import compare_runtimes
from bench.measure import data_facts
from bench.report import EMULATED, REPORT_SCHEMA, UNGATED, Context, Report, Target
from bench.report_file import parse_report
from common.errors import UserError
from common.progress import Display, silent
from common.prompts import choose_query_prompt
from common.retrieval import RetrievalSet
from export.artifact import Artifact

CACHES = {
    "shell": (
        "page cache: every file is read back before measuring. Profiles with a weight cache were opened in "
        "two fresh processes: at first use (build: packed and written) and with the file there (warm), which "
        "gives the main figures"
    ),
    "app": (
        "page cache as the push left it. Profiles with a weight cache were opened in two launches of the "
        "app: at first use (build: packed and written) and with the file there (warm), which gives the main "
        "figures"
    ),
}


def measure_phones(phones: Sequence[Phone], order: Order, display: Display) -> list[Measured]:
    """Measure on all phones at once, a thread for each, every one to its end.

    Raises UserError with the line of each phone that failed. Ctrl-C ends what runs on the phones.
    """
    with ThreadPoolExecutor(len(phones), thread_name_prefix="phone") as pool:
        futures = [pool.submit(_measure, phone, order, display) for phone in phones]
        try:
            while wait(futures, POLL_SECONDS).not_done:
                pass
        except BaseException:
            phones[0].adb.stop.set()
            raise
    return _gather(futures)


def _measure(phone: Phone, order: Order, display: Display) -> Measured:
    with display.stage(phone.serial, len(order.artifacts)) as step:
        return Session(phone, order, step).measure()


def _gather(futures: Sequence[Future[Measured]]) -> list[Measured]:
    errors = [error for one in futures if (error := one.exception())]
    if errors and all(isinstance(one, UserError) for one in errors):
        raise UserError("; ".join(map(str, errors)))
    return [one.result() for one in futures]


def forget_results(phones: Sequence[Phone], found: Sequence[Measured], order: Order) -> None:
    """Remove the results from the phones, once they are in a report."""
    for phone, one in zip(phones, found, strict=True):
        session = Session(phone, order, silent)
        for answers in one.answers:
            for answer in answers:
                session.forget(answer.job)


def make_report(
    measured: Measured, artifacts: Sequence[Artifact], data: RetrievalSet, bearings: Bearings, order: Order
) -> Report:
    """One phone's ungated report. Raises UserError for answers that no report can hold."""
    profiles, found = [], {}
    for artifact, answers in zip(artifacts, measured.answers, strict=True):
        profile, quality = make_profile(artifact, answers, data, bearings)
        profiles.append(profile)
        found[profile.name] = quality
    report = Report(
        REPORT_SCHEMA,
        _context(measured, artifacts[0], data, order),
        UNGATED,
        list(data.queries),
        bearings.reference,
        profiles,
        compare_runtimes(profiles, found),
    )
    parse_report(asdict(report), f"{measured.name}: its report")
    return report


def _context(measured: Measured, artifact: Artifact, data: RetrievalSet, order: Order) -> Context:
    results = [answer.result for answers in measured.answers for answer in answers]
    told = results[0].target
    kinds = {measured.kind, *(one.target.kind for one in results)}
    kind = EMULATED if EMULATED in kinds else measured.kind
    versions = {name: number for one in results for name, number in one.versions.items()}
    notes = sorted({note for one in results for note in one.notes})
    return Context(
        created=max(one.created for one in results),
        target=Target(kind, told.cpu, told.cores, told.threads, told.os),
        versions=versions | {"client": results[0].client},
        data=data_facts(data),
        query_prompt=choose_query_prompt(artifact.manifest.prompts, order.config.prompt_name),
        cache=". ".join([CACHES[order.config.mode], *notes]),
        device=measured.device,
    )
