"""Android's public API as typings, and whether compiled classes keep to it.

The SDK's android.jar comes only from Google's own server. The typings that NativeScript generates from it
come from the npm registry (Apache-2.0), and say for every class and member since which API level it exists.
For java.* they do not say it everywhere; the modules are compiled against Java 8's own library as well.
"""

from __future__ import annotations

import functools
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from android_harness.toolchain.api_levels import ApiLevels, read_levels
from android_harness.toolchain.class_file import ClassFile, Member, read_class
from android_harness.toolchain.fetch import Pin, downloads, install, npm_package, tools
from android_harness.toolchain.sdk_guards import bounds, index

PIN = Pin(
    "@nativescript/types-android", "9.1.1", "16193ea9c70286d5b0d3e2dc559abb483ad61fb599219c59d1a4146fe370b25a"
)
TYPINGS = "android-platform-21-37-merged.d.ts"
PLATFORM = ("android.", "java.", "javax.", "dalvik.")
DESUGARED = ("java.lang.invoke.",)
"""What D8 replaces whenever it compiles for Android: string concatenation and lambdas of Java 9 and later."""
REFERRING = {*range(0xB2, 0xBA)}
"""Instructions that name a member: get and put of fields, all calls but invokedynamic."""
NAMING_CLASSES = {0xBB, 0xBD, 0xC0, 0xC1, 0xC5}
"""Instructions that name a class: new, arrays of it, casts and tests."""


def fetch(folder: Path) -> None:
    """Have the typings in `folder`. Raises UserError when npm is missing or gives another file."""
    install(folder, f"{PIN.name} {PIN.version}", _fill)


@functools.cache
def platform() -> ApiLevels:
    """Android's API with its levels, fetched at first use."""
    folder = tools() / "android-api"
    fetch(folder)
    return read_levels(folder / TYPINGS)


def violations(classes: Iterable[Path], levels: ApiLevels, min_sdk: int) -> list[str]:
    """What compiled classes use that some Android from `min_sdk` on does not have, a line each.

    A newer member is in order where the same method has made sure of SDK_INT before. Classes that are not the
    platform's are taken to be the app's own or its libraries'.
    """
    own = {read.name: read for read in map(read_class, classes)}
    found = [line for read in own.values() for line in _Check(read, own, levels).lines(min_sdk)]
    return sorted(set(found))


class _Check:
    def __init__(self, read: ClassFile, own: dict[str, ClassFile], levels: ApiLevels) -> None:
        self._read, self._own, self._levels = read, own, levels

    def lines(self, min_sdk: int) -> Iterator[str]:
        for member in self._read.handles:
            yield from self._member(member, "a reference", min_sdk)
        for method in self._read.methods:
            for at, bound in bounds(self._read, method, min_sdk).items():
                op = method.code[at]
                if op in REFERRING:
                    yield from self._member(self._read.members[index(method.code, at)], method.name, bound)
                elif op in NAMING_CLASSES:
                    yield from self._class(self._read.classes[index(method.code, at)], method.name, bound)

    def _member(self, member: Member, where: str, bound: int) -> Iterator[str]:
        owners = list(self._inherited_from(member.owner, member.name))
        if not owners or not all(map(_is_platform, owners)):
            return
        levels = [self._levels.of_member(Member(one, member.name, member.descriptor)) for one in owners]
        arity = "" if member.arity is None else f" with {member.arity} parameters"
        known = min((level for level in levels if level is not None), default=None)
        yield from self._judge(f"{owners[0]}.{member.name}{arity}", known, where, bound)

    def _class(self, name: str, where: str, bound: int) -> Iterator[str]:
        element = name.lstrip("[").removeprefix("L").removesuffix(";") if name.startswith("[") else name
        if _is_platform(element):
            yield from self._judge(element, self._levels.of_class(element), where, bound)

    def _inherited_from(self, owner: str, name: str) -> Iterator[str]:
        """The classes beyond the checked ones that a member may come from; none when it is of these."""
        if owner not in self._own:
            yield owner
        elif name not in self._own[owner].declared:
            for parent in self._own[owner].parents:
                yield from self._inherited_from(parent, name)

    def _judge(self, what: str, known: int | None, where: str, bound: int) -> Iterator[str]:
        place = f"{self._read.name}.{where}"
        if known is None:
            yield f"{place}: {what} is not in Android's API"
        elif known > bound:
            yield f"{place}: {what} needs API {known}, and API {bound} can get there"


def _is_platform(name: str) -> bool:
    return name.startswith(PLATFORM) and not name.startswith(DESUGARED)


def _fill(folder: Path) -> None:
    with downloads() as packages:
        archive = npm_package(PIN, packages)
        with tarfile.open(archive) as package:
            name = f"package/lib/android/{TYPINGS}"
            source = package.extractfile(name)
            if source is None:
                raise FileNotFoundError(f"{archive.name}: no {name}")
            (folder / TYPINGS).write_bytes(source.read())
