"""gates.toml: what a profile must hold to ship.

Tables by precision take the name of one profile as well, a precision of one runtime (`litert-int8`), and
`default` for whatever is not named; tables by dimension and by length take `default` too. The nearest entry
counts: profile, runtime and precision, precision, default.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bench.report import Profile, Report
from bench.statistics import CONFIDENCE
from common.errors import UserError
from common.files import sha256_file
from common.records import from_dict

GATES_SCHEMA = "pocketvec.gates/2"
DEFAULT_KEY = "default"
FAIL_UNDECIDED, WARN_UNDECIDED = UNDECIDED = ("fail", "warn")
PROFILE_NAME = re.compile(r"\w+-.+-\d+d")
NDCG_BUDGET = re.compile(r"(ndcg_drop_\w+|regression\.ndcg)\.")

T = TypeVar("T")


@dataclass(frozen=True)
class RamLimits:
    """MB: peak of the process above its baseline, and anonymous memory by itself."""

    peak_above_baseline: float
    anonymous: float


@dataclass(frozen=True)
class CosineLimits:
    """Least cosine to the golden vectors: over all texts on average, and for the worst one."""

    mean: float
    min: float


@dataclass(frozen=True)
class Budget:
    """The most NDCG@10 that may be lost: `absolute`, or as a share of the reference's score (`relative`).

    inconclusive: `fail` or `warn` when the interval holds the budget (None: as the file says for all).
    """

    absolute: float | None = None
    relative: float | None = None
    inconclusive: str | None = None

    def __post_init__(self) -> None:
        if (self.absolute is None) == (self.relative is None):
            raise UserError("a budget is either absolute or relative: { relative = 0.01 }")
        _check_undecided(self.inconclusive or FAIL_UNDECIDED)

    def limit(self, reference: float) -> float:
        """The absolute loss it allows where the reference scores `reference`."""
        return self.absolute if self.absolute is not None else (self.relative or 0.0) * reference


@dataclass(frozen=True)
class AgreementLimits:
    """A LiteRT profile and its ONNX counterpart: least overlap of the top 10, most relative NDCG@10 apart.

    standard_errors: how many standard errors of the difference are allowed on top, since a few hundred
    queries cannot tell two equally good roundings apart.
    """

    top10_overlap: float
    ndcg_relative: float
    standard_errors: float = 0.0


@dataclass(frozen=True)
class RegressionLimits:
    """How much worse than in an earlier report a profile may be, each as a share of the earlier figure.

    ndcg: of NDCG@10, query by query with its interval, or absolute. golden: of the worst golden cosine. file,
    ram (peak above the baseline), anonymous: of the MB. latency_ratio: of the ratio to fp32 at each length,
    with the interval of both. What is None is shown and not gated.
    """

    ndcg: Budget | None = None
    golden: float | None = None
    file: float | None = None
    ram: float | None = None
    anonymous: float | None = None
    latency_ratio: Budget | None = None


@dataclass(frozen=True)
class Gates:
    """gates.toml as a whole.

    confidence: of every interval. inconclusive: `fail` or `warn`. require: profiles that a report must hold.
    file_mb, ndcg_drop_*: by precision, then by dimension. latency_ratio: against the fp32 profile measured in
    turn, by precision, then by length. latency_p90_ms: by length, counted on a device alone.
    runtime_agreement: by LiteRT's precision, for reports that hold both runtimes. regression: for
    `pocketvec compare`.
    """

    schema: str
    confidence: float = CONFIDENCE
    inconclusive: str = FAIL_UNDECIDED
    require: list[str] = field(default_factory=list)
    ram_mb: RamLimits | None = None
    file_mb: dict[str, dict[str, float]] = field(default_factory=dict)
    latency_ratio: dict[str, dict[str, float]] = field(default_factory=dict)
    latency_p90_ms: dict[str, float] = field(default_factory=dict)
    golden_cosine: dict[str, CosineLimits] = field(default_factory=dict)
    golden_norm_error: float | None = None
    ndcg_drop_same_dim: dict[str, dict[str, Budget]] = field(default_factory=dict)
    ndcg_drop_full_dim: dict[str, dict[str, Budget]] = field(default_factory=dict)
    ndcg_drop_asymmetric: dict[str, dict[str, Budget]] = field(default_factory=dict)
    runtime_agreement: dict[str, AgreementLimits] = field(default_factory=dict)
    regression: RegressionLimits | None = None

    def __post_init__(self) -> None:
        _check_undecided(self.inconclusive)
        if not 0.5 <= self.confidence < 1:
            raise UserError(f"confidence {self.confidence:g}: from 0.5 up to, but not, 1")

    @property
    def tables(self) -> dict[str, Mapping[str, object]]:
        """Every table by precision, by its name."""
        names = ("file_mb", "latency_ratio", "golden_cosine", "ndcg_drop_same_dim", "ndcg_drop_full_dim")
        return {one: getattr(self, one) for one in (*names, "ndcg_drop_asymmetric", "runtime_agreement")}


def read_gates(path: Path) -> Gates:
    """Parse a gates file strictly. Raises UserError with the place of what is wrong."""
    gates = _parse(path)
    neutral = Gates(
        GATES_SCHEMA, gates.confidence, gates.inconclusive, gates.require, regression=gates.regression
    )
    if gates == neutral:
        raise UserError(f"{path}: it sets no limit, so every model would pass")
    return gates


def read_regression_gates(path: Path) -> Gates:
    """A gates file for the comparison with an earlier report. Raises UserError if it limits no change."""
    gates = _parse(path)
    if gates.regression in (None, RegressionLimits()):
        raise UserError(f"{path}: its [regression] table sets no limit, so every change would pass")
    return gates


def _parse(path: Path) -> Gates:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such gates file") from None
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, nesting without end
        raise UserError(f"{path}: not valid TOML ({error})") from None
    if raw.get("schema") != GATES_SCHEMA:
        raise UserError(f"{path}: schema '{raw.get('schema')}' is not '{GATES_SCHEMA}'")
    for where, number in _floats(raw, ""):
        if not 0 <= number < math.inf:
            raise UserError(f"{path}: {where} is {number}, which is no limit")
        if number >= 1 and NDCG_BUDGET.match(where):
            raise UserError(f"{path}: {where} is {number}: all of a score may be lost; 0.02 is 2 %")
    gates = from_dict(Gates, raw, str(path))
    for where, key in _inner_keys(gates):
        if not (key.isascii() and key.isdigit()):
            raise UserError(f"{path}: {where}.{key}: '{key}' is neither a dimension nor a length in tokens")
    return gates


def _floats(value: Any, where: str) -> Iterator[tuple[str, float]]:
    """Every number of parsed TOML with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _floats(inner, f"{where}.{key}" if where else key)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield where, value


def _inner_keys(gates: Gates) -> Iterator[tuple[str, str]]:
    """Every key that means a dimension or a length, with its table."""
    yield from (("latency_p90_ms", key) for key in gates.latency_p90_ms)
    for name, table in gates.tables.items():
        for precision, entries in table.items():
            if isinstance(entries, dict):
                yield from ((f"{name}.{precision}", key) for key in entries if key != DEFAULT_KEY)


def gates_identity(path: Path) -> dict[str, str]:
    """What a report says of the limits that were applied."""
    return {"name": path.name, "sha256": sha256_file(path)}


def check_names(gates: Gates, report: Report) -> None:
    """Raise UserError where the gates name a profile that the report does not hold."""
    known = {profile.name for profile in report.profiles}
    named = [("require", name) for name in gates.require]
    named += [(t, key) for t, table in gates.tables.items() for key in table if PROFILE_NAME.fullmatch(key)]
    for table, name in named:
        if name not in known:
            raise UserError(
                f"gates: {table} names the profile '{name}', which the report does not hold; "
                f"it holds {', '.join(sorted(known))}"
            )


def for_profile(table: Mapping[str, T], profile: Profile) -> T | None:
    """The entry of a table by precision that counts for a profile."""
    return next((table[key] for key in _keys(profile) if key in table), None)


def nearest(table: Mapping[str, Mapping[str, T]], profile: Profile, inner: str) -> T | None:
    """The entry of a table by precision and then by `inner` key (a dimension, a length)."""
    for key in _keys(profile):
        entries = table.get(key, {})
        for name in (inner, DEFAULT_KEY):
            if name in entries:
                return entries[name]
    return None


def _keys(profile: Profile) -> tuple[str, ...]:
    return profile.name, f"{profile.runtime}-{profile.precision}", profile.precision, DEFAULT_KEY


def _check_undecided(word: str) -> None:
    if word not in UNDECIDED:
        raise UserError(f"inconclusive '{word}': either fail or warn")
