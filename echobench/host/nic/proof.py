"""Whether a change did what it says, by counters under load: what a driver reads back is no proof."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs

from ...kernel.card import KINDS
from .change import Change, Setting
from .spread import FEWEST, Spread

State = Literal["proved", "disproved", "not proved"]
LOAD: Final = "--watch SECONDS while a load runs, or --peer HOST[:PORT] with an echo server on the other side"
STEERED: Final = 0.1
"""The part of all packets that RPS hands on at least, where it works and there are two CPUs."""


@attrs.frozen(kw_only=True)
class Proof:
    """A change and whether it works."""

    setting: str
    state: State
    sentence: str

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return attrs.asdict(self)


def prove(setting: Setting, change: Change, before: Spread | None, after: Spread | None) -> Proof:
    """Compare the counters of two loads, before and after a change."""
    if change.refused is not None:
        state, sentence = "not proved", "it was refused"
    elif before is None or after is None:
        state, sentence = "not proved", f"the driver says {change.after}, and no load has shown it: add {LOAD}"
    elif (too_little := _too_little(setting, before, after)) is not None:
        state, sentence = "not proved", too_little
    elif setting.name == "rps":
        state, sentence = _rps(setting, before, after)
    elif setting.name == "channels":
        state, sentence = _channels(setting, before, after)
    else:
        state, sentence = _hash(setting, before, after)
    return Proof(setting=str(setting), state=state, sentence=sentence)  # type: ignore[arg-type]


def _too_little(setting: Setting, before: Spread, after: Spread) -> str | None:
    """Say why these two loads show nothing; None if they do."""
    for when, each in (("before", before), ("after", after)):
        if each.packets < FEWEST:
            return f"{each.packets} packets came {when} the change: too few. Add {LOAD}"
        if setting.name == "rps":
            continue
        if len(each.queues) < 2 and setting.name != "channels":
            return "the driver tells packets of one queue at most: nothing can be seen"
        if each.flows is None:
            return f"how many flows came {when} the change is not known: only root may look at packets"
        if each.flows.number < 2 * max(2, len(each.queues)):
            return f"{each.flows.number} flows came {when} the change: too few for {len(each.queues)} queues"
        if setting.name in KINDS and each.flows.kind != setting.name:
            return f"most of what came {when} the change was {each.flows.kind}, and not {setting.name}"
    return None


def _hash(setting: Setting, before: Spread, after: Spread) -> tuple[State, str]:
    wide = setting.value == "on" or {"f", "n"} <= set(setting.value)
    was, is_now = before.verdict.name, after.verdict.name
    seen = f"packets by queue were {packets(before)}, and are {packets(after)}"
    if wide and is_now == "one queue":
        return "disproved", f"{seen}: still on one queue, whatever the driver says"
    if wide and was == "one queue":
        return "proved", seen
    if not wide and setting.name in KINDS and was != "one queue" and is_now == "one queue":
        return "proved", seen
    return "not proved", f"{seen}: that is no change that shows it"


def _channels(setting: Setting, before: Spread, after: Spread) -> tuple[State, str]:
    used = [sum(each.packets > 0 for each in spread.queues.values()) for spread in (before, after)]
    seen = f"packets by queue were {packets(before)}, and are {packets(after)}"
    if used[1] > int(setting.value):
        return "disproved", f"{seen}: more queues than asked for are used"
    if used[0] != used[1] and used[1] == int(setting.value):
        return "proved", seen
    return "not proved", f"{seen}: {used[1]} of {setting.value} queues were used"


def _rps(setting: Setting, before: Spread, after: Spread) -> tuple[State, str]:
    handed = [sum(each.steered for each in spread.cpus.values()) for spread in (before, after)]
    parts = [number / max(1, spread.packets) for number, spread in zip(handed, (before, after), strict=True)]
    seen = f"CPUs handed {handed[0]:,} of {before.packets:,} packets on before, and {handed[1]:,} of {after.packets:,}"
    if int(setting.value.replace(",", ""), 16):
        if parts[1] >= STEERED > parts[0]:
            return "proved", seen
        return "not proved", f"{seen}: that is no change that shows it"
    if parts[0] >= STEERED > parts[1]:
        return "proved", seen
    return "not proved", f"{seen}: that is no change that shows it"


def packets(spread: Spread) -> str:
    """Write the packets of each queue in the order of the queues."""
    return "[" + " ".join(str(spread.queues[index].packets) for index in sorted(spread.queues)) + "]"
