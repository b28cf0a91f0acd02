"""Which CPUs workers get: containers, control groups, hyper-threads."""

from __future__ import annotations

import pytest

from echobench.server.workers.cpus import PinningError, allowed_cpus, cores, in_order, numbers_of, pins, quota


@pytest.fixture
def machine(tmp_path):
    """Make a machine's /proc and /sys: the core of each CPU, and control groups by path."""

    def make(threads=(), groups=None, path="/", version=2):
        for cpu, core in enumerate(threads):
            folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
            folder.mkdir(parents=True)
            (folder / "core_id").write_text(f"{core}\n")
            (folder / "physical_package_id").write_text("0\n")
        (tmp_path / "proc/self").mkdir(parents=True)
        row = f"0::{path}" if version == 2 else f"5:cpu,cpuacct:{path}\n1:name=systemd:/"
        (tmp_path / "proc/self/cgroup").write_text(row + "\n")
        for name, text in (groups or {}).items():
            file = tmp_path / "sys/fs/cgroup" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path

    return make


SIBLINGS = (0, 1, 2, 3, 0, 1, 2, 3)


def test_siblings_come_last(machine):
    root = machine(SIBLINGS)
    assert in_order(root, range(8)) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert in_order(root, {1, 2, 5, 6}) == [1, 2, 5, 6]
    assert cores(root, range(8)) == 4


def test_siblings_that_are_numbered_side_by_side(machine):
    root = machine((0, 0, 1, 1))
    assert in_order(root, range(4)) == [0, 2, 1, 3]
    assert cores(root, {0, 1}) == 1


def test_a_machine_that_tells_no_topology(machine):
    root = machine()
    assert (in_order(root, {3, 1}), cores(root, {3, 1})) == ([1, 3], 2)


def test_a_container_that_may_use_some_cpus(machine):
    root = machine(SIBLINGS)
    assert cores(root, {2, 6}) == 1
    assert pins("auto", 3, root, {2, 3, 6}) == [2, 3, 6]


@pytest.mark.parametrize(
    ("groups", "path", "expected"),
    [
        ({}, "/", None),
        ({"cpu.max": "max 100000\n"}, "/", None),
        ({"cpu.max": "250000 100000\n"}, "/", 2.5),
        ({"a/cpu.max": "400000 100000", "a/b/cpu.max": "150000 100000"}, "/a/b", 1.5),
        ({"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, "/a/b", 0.5),
        ({"cpu.max": "nonsense"}, "/", None),
    ],
)
def test_quotas(machine, groups, path, expected):
    assert quota(machine(groups=groups, path=path)) == expected


def test_quotas_of_version_1(machine):
    root = machine(
        groups={"cpu/a/cpu.cfs_quota_us": "300000\n", "cpu/a/cpu.cfs_period_us": "100000\n",
                "cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
        path="/a", version=1,
    )  # fmt: skip
    assert quota(root) == 3.0


@pytest.mark.parametrize(("text", "number"), [("250000 100000", 2), ("50000 100000", 1), ("max 100000", 4)])
def test_no_more_workers_than_the_quota_pays_for(machine, text, number):
    assert cores(machine(SIBLINGS, {"cpu.max": text}), range(8)) == number


def test_this_machine_has_a_core():
    assert 1 <= cores() <= 256
    assert set(in_order()) == set(allowed_cpus())


def test_pins_go_round(machine):
    assert pins([5, 2], 3, machine(SIBLINGS), range(8)) == [5, 2, 5]


def test_what_cannot_be_pinned(machine):
    root = machine(SIBLINGS)
    with pytest.raises(PinningError, match=r"CPU 9 is none that this process may use: choose among 0,1,2"):
        pins([0, 9], 2, root, range(3))
    with pytest.raises(PinningError, match="this system pins no process to a CPU"):
        pins("auto", 2, root, ())


@pytest.mark.parametrize(
    ("text", "expected"), [("0-2,5", {0, 1, 2, 5}), ("7", {7}), ("", set()), ("3-1", set()), ("x", set())]
)
def test_lists_of_the_kernel(text, expected):
    assert numbers_of(text) == expected
