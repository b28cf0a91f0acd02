"""The checks of a host, on hosts that are made of files: each says what it saw, and how it is changed and undone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from echobench.host.examination import SPOILS, examine, sorted_by_weight, spoiling
from echobench.host.facts import Facts
from echobench.host.finding import LEVELS, USES

NET = "proc/sys/net"
CPU = "sys/devices/system/cpu"
CALM = {
    "net/core/rmem_max": "4194304", "net/core/wmem_max": "4194304", "net/core/somaxconn": "4096",
    "net/core/netdev_max_backlog": "1000", "net/core/netdev_budget": "300", "net/ipv4/tcp_syncookies": "1",
    "net/ipv4/ip_local_port_range": "10000\t65535", "net/ipv4/tcp_tw_reuse": "2", "net/ipv6/bindv6only": "0",
    "net/ipv6/conf/all/disable_ipv6": "0", "kernel/io_uring_disabled": "0",
}  # fmt: skip
"""A host on which nothing is bad."""


@pytest.fixture
def host(tmp_path):
    """Make a host of files, and examine it."""

    def make(files=None, *, uses=(), calm=True, **known):
        whole = {f"proc/sys/{name}": text for name, text in CALM.items()} if calm else {}
        whole |= {"proc/net/if_inet6": "", "proc/loadavg": "0.01 0.00 0.00 1/100 1", **(files or {})}
        for name, text in whole.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is None:
                path.unlink(missing_ok=True)
            else:
                path.write_text(text)
        limits = {"nofile": (100_000, 100_000), "memlock": (-1, -1)}
        facts = Facts(root=tmp_path, **{"cpus": 4, "usable": 4, "limits": limits, "privileged": False, **known})
        return {each.name: each for each in examine(facts, uses)}, facts

    return make


def test_a_calm_host(host):
    found, _ = host()
    assert {each.level for each in found.values()} == {"good"}
    assert all(each.change is None and each.undo is None for each in found.values())


def test_a_host_that_tells_nothing(tmp_path):
    """Not Linux, or a sandbox: nothing is said of what cannot be seen."""
    facts = Facts(root=tmp_path / "nowhere", limits={}, cpus=2, usable=2)
    assert [each.name for each in examine(facts)] == ["IPv6"]


@pytest.mark.parametrize(
    ("files", "name", "level", "change", "undo"),
    [
        ({f"{NET}/core/rmem_max": "212992"}, "net.core.rmem_max", "bad", "sysctl -w net.core.rmem_max=4194304",
         "sysctl -w net.core.rmem_max=212992"),
        ({f"{NET}/core/somaxconn": "128"}, "net.core.somaxconn", "bad", "sysctl -w net.core.somaxconn=4096",
         "sysctl -w net.core.somaxconn=128"),
        ({f"{NET}/ipv4/tcp_syncookies": "0", f"{NET}/ipv4/tcp_max_syn_backlog": "128"}, "net.ipv4.tcp_max_syn_backlog",
         "bad", "sysctl -w net.ipv4.tcp_max_syn_backlog=4096", "sysctl -w net.ipv4.tcp_max_syn_backlog=128"),
        ({f"{NET}/ipv4/ip_local_port_range": "32768\t60999"}, "net.ipv4.ip_local_port_range", "bad",
         "sysctl -w net.ipv4.ip_local_port_range='10000 65535'",
         "sysctl -w net.ipv4.ip_local_port_range='32768 60999'"),
        ({f"{NET}/ipv4/tcp_tw_reuse": "0"}, "net.ipv4.tcp_tw_reuse", "bad", "sysctl -w net.ipv4.tcp_tw_reuse=2",
         "sysctl -w net.ipv4.tcp_tw_reuse=0"),
        ({f"{NET}/ipv6/conf/all/disable_ipv6": "1"}, "IPv6", "note", "sysctl -w net.ipv6.conf.all.disable_ipv6=0",
         "sysctl -w net.ipv6.conf.all.disable_ipv6=1"),
        ({"proc/net/if_inet6": None}, "IPv6", "note", None, None),
        ({f"{NET}/netfilter/nf_conntrack_count": "5", f"{NET}/netfilter/nf_conntrack_max": "1000"},
         "connection tracking", "note", "for the echo port only: nft add rule … udp dport 7 notrack", None),
        ({f"{NET}/netfilter/nf_conntrack_count": "900", f"{NET}/netfilter/nf_conntrack_max": "1000"},
         "connection tracking", "bad", "sysctl -w net.netfilter.nf_conntrack_max=4000",
         "sysctl -w net.netfilter.nf_conntrack_max=1000"),
        ({"proc/net/softnet_stat": "000000ff 0000000a 00000000 0\n000000ff 00000000 00000000 0"},
         "packets dropped before a CPU took them", "bad", "sysctl -w net.core.netdev_max_backlog=10000",
         "sysctl -w net.core.netdev_max_backlog=1000"),
        ({"proc/net/softnet_stat": "000000ff 00000000 00000010 0"},
         "rounds of the network softirq that ran out of budget", "note", "sysctl -w net.core.netdev_budget=600",
         "sysctl -w net.core.netdev_budget=300"),
        ({"proc/sys/kernel/io_uring_disabled": "2"}, "kernel.io_uring_disabled", "bad",
         "sysctl -w kernel.io_uring_disabled=0", "sysctl -w kernel.io_uring_disabled=2"),
        ({"proc/sys/kernel/io_uring_disabled": "1"}, "kernel.io_uring_disabled", "bad",
         "sysctl -w kernel.io_uring_disabled=0", "sysctl -w kernel.io_uring_disabled=1"),
        ({f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave"}, "frequency governor", "bad",
         "cpupower frequency-set -g performance", "cpupower frequency-set -g powersave"),
        ({f"{CPU}/intel_pstate/no_turbo": "0"}, "turbo", "note",
         "echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo",
         "echo 0 > /sys/devices/system/cpu/intel_pstate/no_turbo"),
        ({f"{CPU}/cpufreq/boost": "1"}, "turbo", "note", "echo 0 > /sys/devices/system/cpu/cpufreq/boost",
         "echo 1 > /sys/devices/system/cpu/cpufreq/boost"),
        ({f"{CPU}/cpu0/cpuidle/state0/latency": "0", f"{CPU}/cpu0/cpuidle/state0/disable": "0",
          f"{CPU}/cpu0/cpuidle/state3/latency": "170", f"{CPU}/cpu0/cpuidle/state3/disable": "0"},
         "idle states", "bad", "cpupower idle-set -D 50", "cpupower idle-set -E"),
        ({f"{CPU}/smt/active": "1"}, "hyper-threads (SMT)", "note",
         "echo off > /sys/devices/system/cpu/smt/control", "echo on > /sys/devices/system/cpu/smt/control"),
        ({f"{CPU}/vulnerabilities/spectre_v2": "Mitigation: Retpolines", f"{CPU}/vulnerabilities/l1tf": "Not affected"},
         "mitigations", "note", None, None),
        ({"proc/self/cgroup": "0::/kube/pod", "sys/fs/cgroup/kube/pod/cpu.max": "150000 100000",
          "sys/fs/cgroup/kube/pod/cpu.stat": "usage_usec 5\nnr_throttled 12"}, "CPU quota", "bad",
         "give the container or the unit more (CPUQuota=, --cpus), or none", None),
        ({"proc/self/cgroup": "0::/kube/pod", "sys/fs/cgroup/kube/cpu.max": "800000 100000",
          "sys/fs/cgroup/kube/pod/cpu.max": "max 100000"}, "CPU quota", "note",
         "give the container or the unit more (CPUQuota=, --cpus), or none", None),
        ({"proc/self/cgroup": "4:cpu,cpuacct:/pod\n3:memory:/", "sys/fs/cgroup/cpu/pod/cpu.cfs_quota_us": "150000",
          "sys/fs/cgroup/cpu/pod/cpu.cfs_period_us": "100000", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
          "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, "CPU quota", "bad",
         "give the container or the unit more (CPUQuota=, --cpus), or none", None),
        ({"proc/cpuinfo": "processor : 0\nflags : fpu hypervisor", "proc/stat": "cpu  90 0 0 0 0 0 0 10 0 0"},
         "virtual machine", "bad", "measure at a quieter hour, or on a host of your own", None),
        ({"proc/cpuinfo": "processor : 0\nflags : fpu hypervisor", "proc/stat": "cpu  900 0 0 99 0 0 0 1 0 0"},
         "virtual machine", "note", None, None),
        ({".dockerenv": ""}, "container", "note", "run it with the host's network (docker run --network host)", None),
        ({"run/systemd/container": "lxc"}, "container", "note",
         "run it with the host's network (docker run --network host)", None),
        ({"sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet",
          "sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet acpi_pm"}, "clock source",
         "bad", "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
         "echo hpet > /sys/devices/system/clocksource/clocksource0/current_clocksource"),
        ({"proc/loadavg": "3.10 1.0 1.0 1/100 1"}, "other work", "bad",
         "stop it, or wait; 'top' shows what runs", None),
        ({"proc/42/comm": "irqbalance"}, "irqbalance", "note", "systemctl stop irqbalance",
         "systemctl start irqbalance"),
        ({"sys/devices/system/node/node0/x": "", "sys/devices/system/node/node1/x": ""}, "memory nodes (NUMA)", "note",
         "numactl --cpunodebind=N --membind=N …, with N from /sys/class/net/IFACE/device/numa_node", None),
        ({"proc/self/status": "Name: x\nSeccomp:\t2"}, "seccomp", "note",
         "docker run --security-opt seccomp=unconfined, or SystemCallFilter= of the unit", None),
    ],
)  # fmt: skip
def test_what_is_found(host, files, name, level, change, undo):
    found, _ = host(files)
    each = found[name]
    assert (each.level, each.change, each.undo) == (level, change, undo)
    assert each.why.endswith((".", "does."))
    assert each.source
    assert [other.name for other in found.values() if other.level == "bad"] == ([name] if level == "bad" else [])


@pytest.mark.parametrize(
    ("known", "name", "change"),
    [
        ({"limits": {"nofile": (1024, 524_288)}}, "file descriptors", "ulimit -n 20000"),
        ({"limits": {"nofile": (256, 4096)}}, "file descriptors", "ulimit -n 4096"),
        ({"limits": {"memlock": (65536, 65536)}}, "locked memory", "ulimit -l 512, as root"),
        ({"limits": {"memlock": (65536, -1)}}, "locked memory", "ulimit -l 512"),
    ],
)
def test_limits(host, known, name, change):
    found, _ = host(**known)
    assert (found[name].level, found[name].change) == ("bad", change)


def test_root_needs_no_limit_for_locked_memory(host):
    found, _ = host(limits={"memlock": (0, 0)}, privileged=True)
    assert "locked memory" not in found
    found, _ = host({"proc/sys/kernel/io_uring_disabled": "1"}, privileged=True)
    assert found["kernel.io_uring_disabled"].level == "good"


def test_fewer_cpus(host):
    found, _ = host(usable=2)
    assert found["CPUs that this process may use"].seen == "2 of 4"


def test_only_what_matters_for_a_use(host):
    files = {f"{NET}/core/rmem_max": "212992", f"{NET}/ipv4/tcp_tw_reuse": "0"}
    assert {name for name, each in host(files, uses=["many-connections"])[0].items() if each.level == "bad"} == {
        "net.ipv4.tcp_tw_reuse"
    }
    assert {name for name, each in host(files, uses=["lan"])[0].items() if each.level == "bad"} == {"net.core.rmem_max"}


def test_the_worst_comes_first(host):
    found, _ = host({f"{NET}/core/rmem_max": "1", f"{CPU}/smt/active": "1", "proc/loadavg": "9.00 9.00 9.00 1/1 1"})
    levels = [LEVELS.index(each.level) for each in found.values()]
    assert levels == sorted(levels)
    assert sorted_by_weight(reversed(found.values())) == list(found.values())


def test_what_spoils_figures(host):
    _, facts = host({"proc/loadavg": "9.00 9.00 9.00 1/1 1", f"{NET}/core/rmem_max": "1"})
    assert [each.name for each in spoiling(facts)] == ["other work"]


def test_a_check_that_spoils_is_one_that_there_is(host):
    """A name that nobody gives any more would never be found."""
    files = {
        "proc/loadavg": "9.00 9.00 9.00 1/1 1", f"{CPU}/cpu0/cpufreq/scaling_governor": "ondemand",
        "proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "1000 100000",
        "proc/cpuinfo": "flags : hypervisor", "proc/stat": "cpu 1 1 1 1 1 1 1 1",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet",
    }  # fmt: skip
    _, facts = host(files)
    assert {each.name for each in spoiling(facts)} == SPOILS


FILES = [
    *(f"proc/sys/{name}" for name in CALM), "proc/net/softnet_stat", "proc/loadavg", "proc/stat", "proc/cpuinfo",
    "proc/self/cgroup", "proc/self/status", "sys/fs/cgroup/cpu.max", "sys/fs/cgroup/cpu.stat",
    f"{CPU}/cpu0/cpufreq/scaling_governor", f"{CPU}/smt/active", f"{CPU}/cpu0/cpuidle/state0/latency",
    f"{CPU}/cpu0/cpuidle/state0/disable", "sys/devices/system/clocksource/clocksource0/current_clocksource",
    f"{NET}/netfilter/nf_conntrack_count", f"{NET}/netfilter/nf_conntrack_max", f"{NET}/ipv4/tcp_max_syn_backlog",
]  # fmt: skip
WORDS = st.sampled_from(
    ["0", "1", "2", "-1", "max", "cpu", "0::/", "0::/../x", "flags : hypervisor", "Seccomp: 2", "²"]
)
TEXTS = st.lists(WORDS | st.text(max_size=8) | st.integers().map(str), max_size=12).map(" ".join)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from(FILES), TEXTS | st.just("\n1 2 3\n0::/a/b\n")))
def test_whatever_the_files_hold(tmp_path_factory, files):
    """A kernel of another day may write what nobody here has seen: that is no traceback."""
    root = tmp_path_factory.mktemp("host")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8", errors="replace")
    for each in examine(Facts(root=root, cpus=2, usable=2, limits={"nofile": (0, 0), "memlock": (0, 0)})):
        assert each.level in LEVELS
        assert set(each.uses) <= set(USES)
