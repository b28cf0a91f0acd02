"""The pages ``/-/healthy`` and ``/-/ready``, for orchestrators and load balancers.

Healthy: it echoes, or refuses because of a limit; to start it again would help nobody. Ready: it echoes everywhere, so
that it can be sent more.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from .probe import Answer, Probe
from .site import say

Judge = Callable[[Answer], bool]


def healthy(answer: Answer) -> bool:
    """Return whether the server works at an address."""
    return answer.echoes or answer.limited


def ready(answer: Answer) -> bool:
    """Return whether the server takes more at an address.

    A rate of datagrams is one source's: if the probe's own is used up, others are still answered.
    """
    return answer.echoes or (answer.limited and answer.kind == "udp")


class Health(Resource):
    """Answers with 200 if the server passes at each address, with 503 if not, and with a line for each."""

    isLeaf = True

    def __init__(self, probe: Probe, passes: Judge) -> None:
        super().__init__()
        self._probe, self._passes = probe, passes

    def render_GET(self, request: Request) -> int:
        """Ask, and answer later."""
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)

        def answer(answers: list[Answer]) -> None:
            if gone:
                return
            good = bool(answers) and all(map(self._passes, answers))
            say(request, 200 if good else 503, "\n".join(map(str, answers)) or "nothing is served")

        self._probe.ask().addCallback(answer)
        return NOT_DONE_YET
