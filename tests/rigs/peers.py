"""The programs of docs/measures/peers, built for the tests."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from rigs.places import DOCS

MEASURES = DOCS / "measures"


@pytest.fixture(scope="module")
def peers(tmp_path_factory):
    """The directory of the programs, built."""
    for needed in ("cc", "make"):
        if shutil.which(needed) is None:
            pytest.skip(f"{needed} is not installed")
    copy = tmp_path_factory.mktemp("measures") / "peers"
    shutil.copytree(
        MEASURES / "peers", copy, ignore=shutil.ignore_patterns("driver", "epoll_tcp", "mmsg_udp", "tls_epoll")
    )
    done = subprocess.run(["make", "-C", str(copy)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return copy
