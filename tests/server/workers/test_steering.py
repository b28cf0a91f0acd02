"""The program that chooses a worker by CPU, and what it needs of cards."""

from __future__ import annotations

import socket
import struct

import pytest
from rigs.helpers import needs_linux

from echobench.server.workers.steering import SteeringError, advice, attach, program


def run(code, cpu):
    """Run the program as the kernel would (Documentation/networking/filter.rst)."""
    accumulator, place = None, 0
    while True:
        operation, if_true, if_false, operand = struct.unpack_from("=HBBI", code, 8 * place)
        place += 1
        if operation == 0x20:
            assert operand == 0xFFFFF000 + 36, "SKF_AD_CPU"
            accumulator = cpu
        elif operation == 0x15:
            place += if_true if accumulator == operand else if_false
        elif operation == 0x94:
            accumulator %= operand
        elif operation == 0x06:
            return operand
        elif operation == 0x16:
            return accumulator
        else:
            raise AssertionError(hex(operation))


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [
        ([0, 1], {0: 0, 1: 1, 2: 0, 7: 1}),
        ([6, 2, 4], {6: 0, 2: 1, 4: 2, 0: 0, 1: 1, 5: 2, 300: 0}),
        ([3, 5, 3], {3: 0, 5: 1, 4: 1}),
        ([9], {0: 0, 9: 0}),
    ],
)
def test_each_cpu_has_its_worker_and_others_go_by_number(cpus, expected):
    code = program(cpus)
    assert {cpu: run(code, cpu) for cpu in expected} == expected


def test_as_many_workers_as_may_be_fit_into_a_program():
    assert len(program(list(range(256)))) // 8 <= 4096  # BPF_MAXINSNS


@needs_linux
def test_a_socket_without_a_group_is_refused_with_the_reason():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        with pytest.raises(SteeringError, match=r"--steer cpu cannot be had here: .+; leave it out"):
            attach(sock, [0, 1])


@pytest.fixture
def host(tmp_path):
    """Make network cards: their queues, and the CPUs of their interrupts."""

    def make(name, queues, irqs, state="up", virtual=False, above=False):
        folder = tmp_path / "sys/class/net" / name
        for number in range(queues):
            (folder / f"queues/rx-{number}").mkdir(parents=True)
            (folder / f"queues/tx-{number}").mkdir(parents=True)
        (folder / "operstate").write_text(state + "\n")
        if not virtual:
            (folder / "device/virtio0").mkdir(parents=True)
            place = folder / "msi_irqs" if above else folder / "device/msi_irqs"
            place.mkdir()
            for irq, cpus in irqs.items():
                (place / irq).touch()
                (tmp_path / "proc/irq" / irq).mkdir(parents=True)
                (tmp_path / "proc/irq" / irq / "effective_affinity_list").write_text(cpus + "\n")
        return tmp_path

    return make


def test_a_card_that_fits(host):
    assert [*advice([0, 1], host("eth0", 2, {"26": "0", "27": "1"}))] == []


def test_too_few_queues(host):
    (sentence,) = advice([0, 1, 2, 3], host("eth0", 2, {"26": "0", "27": "1"}))
    assert sentence == ("eth0 has 2 receive queues for 4 workers: as many are best ('ethtool -L eth0 combined 4')")


def test_interrupts_where_no_worker_is(host):
    (sentence,) = advice([0, 1], host("eth0", 2, {"26": "0", "27": "5"}))
    assert sentence.startswith(
        "interrupt 27 of eth0 goes to CPU 5, where no worker is: write a worker's CPU to /proc/irq"
    )


@pytest.mark.parametrize("how", [{"state": "down"}, {"virtual": True}])
def test_interfaces_that_do_not_count(host, how):
    assert [*advice([0, 1], host("eth0", 1, {"26": "7"}, **how))] == []


def test_no_cards_are_known(tmp_path):
    assert [*advice([0, 1], tmp_path)] == []
