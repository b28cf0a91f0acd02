"""Changes how an interface spreads packets, and says how to undo it."""

from __future__ import annotations

import errno
import os
import re
import shlex
from collections.abc import Sequence
from typing import Any, Final

import attrs

from ...kernel import card, ethtool
from ..facts import Facts
from . import steering
from .picture import opened

SWITCHES: Final = {"on": True, "off": False}
MOST_CHANNELS: Final = 1024
RXHASH: Final = "rx-hashing"
CAP_NET_ADMIN: Final = 12  # linux/capability.h
CHOICES: Final = "udp4=sdfn (also udp6, tcp4, tcp6), rxhash=on, channels=N or rps=MASK"


@attrs.frozen
class Setting:
    """What is to be changed, as it is written: ``udp4=sdfn``."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


@attrs.frozen(kw_only=True)
class Change:
    """A setting before and after; both as the driver reads it back, which is no proof."""

    setting: str
    before: str
    after: str
    undo: tuple[str, ...]
    """The commands that undo it; empty if there is none, or nothing was changed."""
    refused: str | None = None
    """Why it was not changed, in a sentence."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {**attrs.asdict(self), "undo": list(self.undo)}


def parse(text: str) -> Setting:
    """Read a setting. Raises ValueError with a sentence."""
    name, equals, value = text.partition("=")
    wrong = f"{text!r} is no setting: give {CHOICES}"
    if not equals or not value:
        raise ValueError(wrong)
    if name in card.KINDS:
        if "r" in value:
            raise ValueError(f"{text!r}: r has the card throw these packets away; ethtool can do that")
        if set(value) - set(card.LETTERS):
            unknown = "".join(sorted(set(value) - set(card.LETTERS)))
            raise ValueError(f"{text!r}: {unknown!r} is no field of a packet: s, d, f and n are")
        return Setting(name, card.letters(card.bits_of(value)))
    if name == "rxhash":
        if value not in SWITCHES:
            raise ValueError(f"{text!r}: rxhash is on or off")
        return Setting(name, value)
    if name == "channels":
        if not re.fullmatch("[0-9]{1,4}", value) or not 1 <= int(value) <= MOST_CHANNELS:
            raise ValueError(f"{text!r}: channels is a whole number from 1 to {MOST_CHANNELS}")
        return Setting(name, str(int(value)))
    if name == "rps":
        try:
            steering.mask(value)
        except ValueError:
            raise ValueError(f"{text!r}: rps is a mask of CPUs in hexadecimal, such as 3 for CPUs 0 and 1") from None
        return Setting(name, value.lower())
    raise ValueError(wrong)


def apply(
    interface: str, settings: Sequence[Setting], facts: Facts | None = None, ask: ethtool.Ask | None = None
) -> list[Change]:
    """Make the changes in turn, up to the first that is refused. Raises NicError where nothing can be asked."""
    facts = facts or Facts()
    made: list[Change] = []
    if ask is not None:
        _all(interface, settings, facts, ask, made)
    else:
        with opened(interface) as own:
            _all(interface, settings, facts, own, made)
    return made


def forbidden(interface: str, settings: Sequence[Setting], facts: Facts | None = None) -> str | None:
    """Say before a long watch that a change would be refused; None if nothing is known against it."""
    facts = facts or Facts()
    denied = OSError(errno.EPERM, os.strerror(errno.EPERM))
    held = facts.fields("proc/self/status").get("CapEff", "")
    may = not re.fullmatch("[0-9a-f]{1,16}", held) or int(held, 16) >> CAP_NET_ADMIN & 1
    for each in settings:
        queues = steering.receive(facts, interface) if each.name == "rps" else ()
        if any(not os.access(_path(interface, found.queue, facts), os.W_OK) for found in queues):
            return _why(each, denied)
        if each.name != "rps" and not may:
            return _why(each, denied)
    return None


def _all(interface: str, settings: Sequence[Setting], facts: Facts, ask: ethtool.Ask, made: list[Change]) -> None:
    for setting in settings:
        made.append(_one(interface, setting, facts, ask))
        if made[-1].refused is not None:
            return


def _one(interface: str, setting: Setting, facts: Facts, ask: ethtool.Ask) -> Change:
    before = now(interface, setting.name, facts, ask)
    try:
        _set(interface, setting, facts, ask)
    except OSError as error:
        return Change(setting=str(setting), before=before, after=before, undo=(), refused=_why(setting, error))
    after = now(interface, setting.name, facts, ask)
    undo = _undo(interface, setting.name, before, facts) if after != before else ()
    return Change(setting=str(setting), before=before, after=after, undo=undo)


def now(interface: str, name: str, facts: Facts, ask: ethtool.Ask) -> str:
    """Read a setting as the driver tells it now, as it is written here; or that it is not told."""
    try:
        if name in card.KINDS:
            return card.fields(ask, name) or "none"
        if name == "rxhash":
            return "on" if ethtool.features(ask)[RXHASH][0] else "off"
        if name == "channels":
            told = card.channels(ask)
            return str(told.combined if told.most_combined else told.rx)
    except (OSError, KeyError):
        return "not told"
    return " ".join(each.rps_cpus for each in steering.receive(facts, interface)) or "not told"


def _set(interface: str, setting: Setting, facts: Facts, ask: ethtool.Ask) -> None:
    if setting.name in card.KINDS:
        card.set_fields(ask, setting.name, setting.value)
    elif setting.name == "rxhash":
        ethtool.set_feature(ask, RXHASH, SWITCHES[setting.value])
    elif setting.name == "channels":
        card.set_channels(ask, int(setting.value))
    else:
        queues = steering.receive(facts, interface)
        if not queues:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        for each in queues:
            _path(interface, each.queue, facts).write_text(setting.value)


def _path(interface: str, queue: int, facts: Facts) -> Any:
    return facts.root / f"sys/class/net/{interface}/queues/rx-{queue}/rps_cpus"


def _undo(interface: str, name: str, before: str, facts: Facts) -> tuple[str, ...]:
    own = f"echobench nic {shlex.quote(interface)} --apply"
    if before in ("none", "not told"):
        return ()
    if name != "rps":
        return (f"{own} {name}={before}",)
    masks = before.split(" ")
    if len(set(masks)) == 1:
        return (f"{own} rps={masks[0]}",)
    queues = steering.receive(facts, interface)
    return tuple(
        f"echo {was} > /sys/class/net/{interface}/queues/rx-{each.queue}/rps_cpus"
        for was, each in zip(masks, queues, strict=False)
    )


def _why(setting: Setting, error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS):
        return (
            f"{setting} was refused: it needs root, or the capability CAP_NET_ADMIN (and for rps a /sys that can be "
            "written). Run it with sudo"
        )
    if error.errno == errno.EOPNOTSUPP:
        return f"{setting} was refused: the driver has no such setting"
    if error.errno == errno.EINVAL:
        return f"{setting} was refused: the driver does not take this value"
    return f"{setting} was refused: {error.strerror or error}"
