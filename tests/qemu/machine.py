"""A virtual machine with a network card of several queues: QEMU, a kernel, and this host's own files to read.

The machine boots from a small archive with busybox and a few modules. It then sees the root of this host, read only,
and runs this host's Python. Its card is a tap device in a network namespace of its own.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, SimpleQueue

SPACE = f"echobench-q{os.getpid()}"
TAP = "tap0"
THEIRS, OURS, MAC = "10.77.0.1", "10.77.0.2", "52:54:00:00:00:01"
QUEUES = 4
ACCELERATOR = os.environ.get("ACCELERATOR", "tcg")
"""tcg works everywhere; kvm is faster where it works, which a virtual machine's own is not always."""

CARDS = {
    "igb": ("igb", f"tap,id=n0,ifname={TAP},script=no,downscript=no", f"igb,netdev=n0,mac={MAC}"),
    "virtio": (
        "virtio_net",
        f"tap,id=n0,ifname={TAP},script=no,downscript=no,queues={QUEUES}",
        f"virtio-net-pci,netdev=n0,mac={MAC},mq=on,vectors={2 * QUEUES + 2},rss=on,hash=on",
    ),
    "virtio-plain": (
        "virtio_net",
        f"tap,id=n0,ifname={TAP},script=no,downscript=no",
        f"virtio-net-pci,netdev=n0,mac={MAC}",
    ),
}
"""The module, the network and the device of each card, in QEMU's words."""

INIT = """#!/bin/sh
busybox mkdir -p /proc /sys /dev /host
busybox mount -t proc none /proc
busybox mount -t sysfs none /sys
busybox mount -t devtmpfs none /dev
for each in {modules}; do busybox insmod /modules/$each || echo "@failed $each"; done
busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 root /host || echo "@failed 9p"
busybox mount -t proc none /host/proc
busybox mount -t sysfs none /host/sys
busybox mount -t devtmpfs none /host/dev
busybox mount -t tmpfs none /host/tmp
busybox ip link set lo up
busybox stty -F /dev/ttyS0 -echo -onlcr
card=$(busybox ls -d /sys/class/net/*/device | busybox cut -d/ -f5)
busybox ip link set "$card" up
busybox ip addr add {theirs}/24 dev "$card"
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={root} COLUMNS=80 TERM=dumb
busybox chroot /host {python} {guest} "$card" </dev/ttyS0 >/dev/ttyS0 2>&1
echo "@ended"
busybox poweroff -f
"""


class SkipError(Exception):
    """What this host lacks; the message is one sentence."""


def needed(kernel: Path | None, modules: Path | None) -> tuple[Path, Path, str, str]:
    """Find the kernel, its modules, QEMU and busybox. Raises SkipError."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise SkipError("it makes a network namespace and a tap device, which needs Linux and root")
    qemu, busybox = shutil.which("qemu-system-x86_64"), shutil.which("busybox")
    if qemu is None:
        raise SkipError("QEMU is missing: apt-get install qemu-system-x86 (8 or newer has igb)")
    known = subprocess.run([qemu, "-device", "help"], capture_output=True, text=True).stdout
    if '"igb"' not in known:
        raise SkipError("this QEMU has no igb: version 8 or newer has")
    busybox = os.environ.get("BUSYBOX", busybox)
    if busybox is None or b"/ld-linux" in Path(busybox).read_bytes():
        raise SkipError("a static busybox is missing: apt-get install busybox-static, or name one in BUSYBOX")
    if not Path("/dev/net/tun").exists():
        raise SkipError("there is no /dev/net/tun")
    if kernel is None:
        known_kernels = sorted(Path("/boot").glob("vmlinuz-*"))
        if not known_kernels:
            raise SkipError("there is no kernel in /boot: give one with --kernel and --modules")
        kernel = known_kernels[-1]
    if modules is None:
        modules = Path("/lib/modules") / kernel.name.removeprefix("vmlinuz-")
    if not list(modules.rglob("igb.ko*")):
        raise SkipError(f"there is no module igb below {modules}: give its folder with --modules")
    return kernel, modules, qemu, busybox


def with_dependencies(names: list[str], folder: Path) -> dict[str, bytes]:
    """Give modules and what they need, in the order in which they can be loaded; those built in have no file."""
    files = {path.name.partition(".ko")[0].replace("-", "_"): path for path in folder.rglob("*.ko*")}
    found: dict[str, bytes] = {}

    def add(name: str) -> None:
        path = files.get(name.replace("-", "_"))
        if path is None or f"{name}.ko" in found:
            return
        packed = path.read_bytes()
        data = lzma.decompress(packed) if path.suffix == ".xz" else packed
        if path.suffix == ".zst":
            data = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for each in filter(None, depends[1].decode().split(",") if depends else []):
            add(each)
        found[f"{name}.ko"] = data

    for name in names:
        add(name)
    return found


def archive(files: dict[str, tuple[int, bytes]]) -> bytes:
    """Write an archive for the kernel to unpack (cpio, newc; Documentation/driver-api/early-userspace)."""
    whole = b""
    for number, (name, (mode, data)) in enumerate([*files.items(), ("TRAILER!!!", (0, b""))], 1):
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + "".join(f"{each:08x}" for each in fields).encode() + name.encode() + b"\0"
        head += bytes(-len(head) % 4)
        whole += head + data + bytes(-len(data) % 4)
    return whole


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Machine:
    """A machine that boots, says lines that begin with @, and is told lines."""

    def __init__(self, card: str, kernel: Path, modules: Path, qemu: str, busybox: str, folder: Path) -> None:
        module, network, device = CARDS[card]
        root = Path(__file__).parents[2]
        loaded = with_dependencies(["9p", "9pnet_virtio", module], modules)
        guest = root / "tests/qemu/guest.py"
        init = INIT.format(
            modules=" ".join(loaded), theirs=THEIRS, root=root, python=sys.executable, guest=guest
        )  # fmt: skip
        image = folder / "initramfs"
        image.write_bytes(
            archive(
                {
                    "bin": (0o40755, b""),
                    "modules": (0o40755, b""),
                    "dev": (0o40755, b""),
                    "bin/busybox": (0o100755, Path(busybox).read_bytes()),
                    "bin/sh": (0o100755, Path(busybox).read_bytes()),
                    "init": (0o100755, init.encode()),
                    **{f"modules/{name}": (0o100644, data) for name, data in loaded.items()},
                }
            )
        )
        command = [
            "ip", "netns", "exec", SPACE, qemu, "-accel", ACCELERATOR, "-machine", "q35", "-cpu", "max", "-smp", "4",
            "-m", "768", "-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio",
            "-kernel", str(kernel), "-initrd", str(image), "-append", "console=ttyS0 quiet panic=-1",
            "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
            "-netdev", network, "-device", device,
        ]  # fmt: skip
        self.said: list[str] = []
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        threading.Thread(target=self._hear, daemon=True).start()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.decode(errors="replace").rstrip("\r\n"))
        self._lines.put(None)

    def line(self, limit: float) -> str | None:
        """Give its next line; None at its end. Raises TimeoutError."""
        try:
            found = self._lines.get(timeout=limit)
        except Empty:
            raise TimeoutError("the machine says nothing; its last lines: " + " | ".join(self.said[-5:])) from None
        if found is not None:
            self.said.append(found)
        return found

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def make_space() -> None:
    """Make the network namespace; the tap device comes with QEMU."""
    ip("netns", "add", SPACE)
    ip("-n", SPACE, "link", "set", "lo", "up")


def wire_up(limit: float = 30.0) -> None:
    """Give our end of the wire its address, once QEMU has made it, and tell it the card's, so that nobody asks."""
    end = time.monotonic() + limit
    while True:
        try:
            ip("-n", SPACE, "link", "show", TAP)
            break
        except subprocess.CalledProcessError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
    off = f"net.ipv6.conf.{TAP}.disable_ipv6=1"  # no neighbour discovery among the packets that are counted
    subprocess.run(["ip", "netns", "exec", SPACE, "sysctl", "-q", "-w", off], check=True)
    ip("-n", SPACE, "addr", "add", f"{OURS}/24", "dev", TAP)
    ip("-n", SPACE, "link", "set", TAP, "up")
    ip("-n", SPACE, "neigh", "replace", THEIRS, "lladdr", MAC, "dev", TAP, "nud", "permanent")


def drop_space() -> None:
    subprocess.run(["ip", "netns", "delete", SPACE], capture_output=True)
