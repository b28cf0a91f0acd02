"""On a machine reached by ssh: agents, as the lines of an execnet channel order them."""

from __future__ import annotations

import json
import threading
from typing import Any

from .clocks import read
from .relay import Relay


def serve(channel: Any) -> None:
    """Do what the leader says until the connection ends, and end the agent with it."""
    relay: Relay | None = None
    try:
        while True:
            word, _, rest = channel.receive().partition(" ")
            if word == "clock":
                channel.send(json.dumps([0, "clock", read()]))
            elif word == "start":
                run, _, order = rest.partition(" ")
                try:
                    relay = Relay(order)
                except OSError as error:
                    channel.send(json.dumps([int(run), "failed", f"no process can be started there: {error}"]))
                    continue
                threading.Thread(target=_hand_on, args=(int(run), relay, channel), daemon=True).start()
            elif word == "tell" and relay is not None:
                relay.tell(rest)
            elif word == "end":
                if relay is not None:
                    relay.end()
                relay = None
                channel.send(json.dumps([0, "ended", None]))
    except (EOFError, OSError):  # the leader is gone
        pass
    finally:
        if relay is not None:
            relay.end()


def _hand_on(run: int, relay: Relay, channel: Any) -> None:
    try:
        for word, said in relay:
            channel.send(json.dumps([run, word, said]))
    except OSError:  # the leader is gone, which the other thread has seen too
        pass
