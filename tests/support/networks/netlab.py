"""Small networks of namespaces. One has a public place for the bridge and cart sites behind NAT, on poor lines:

    cart 192.168.0.2 ── 192.168.0.1 router (masquerade) 198.18.N.2 ═══ slow line ═══ 198.18.N.1 public 203.0.113.1

Every site has the same private addresses, so nothing reaches a cart but what its router has a mapping for. The other is
two halves joined by one cable. Everything is removed at the end, also after a failure.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

BRIDGE_ADDRESS = "203.0.113.1"
CLONE_NEWNET = 0x40000000
MASQUERADE = """
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "wan" masquerade
    }
}
"""
CUT = """
table inet cut {
    chain incoming {
        type filter hook input priority filter;
        iifname "cable" drop
    }
    chain outgoing {
        type filter hook output priority filter;
        oifname "cable" drop
    }
}
"""
_numbers = itertools.count()
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(Exception):
    """A command that builds the lab was refused."""


@dataclass(frozen=True)
class Line:
    """What a line does to packets, in each direction."""

    delay_s: float = 0.1
    loss: float = 0.02
    bytes_per_s: float = 500_000.0

    @property
    def netem(self) -> list[str]:
        """The arguments of ``tc`` for it."""
        return [
            *("delay", f"{self.delay_s * 1000:g}ms", "loss", f"{self.loss * 100:g}%"),
            *("rate", f"{self.bytes_per_s * 8:.0f}bit"),
        ]


def command(*words: str, given: str = "") -> str:
    """Run a command and return what it prints.

    Raises:
        LabError: with its words, if it fails.
    """
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    ended = subprocess.run(words, input=given, capture_output=True, text=True, env={**os.environ, "PATH": path})
    if ended.returncode:
        raise LabError(f"{' '.join(words)}: {(ended.stderr or ended.stdout).strip()}")
    return ended.stdout


@dataclass(frozen=True)
class Namespace:
    """A network namespace with a name of its own."""

    name: str

    def ip(self, *words: str) -> str:
        """Run ``ip`` on it."""
        return command("ip", "-n", self.name, *words)

    def run(self, *words: str, given: str = "") -> str:
        """Run a command in it and wait for its end."""
        return command("ip", "netns", "exec", self.name, *words, given=given)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Move this thread into it: sockets opened and processes started in the block belong there."""
        home = os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        away = os.open(f"/run/netns/{self.name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _move_to(away)
            try:
                yield
            finally:
                _move_to(home)
        finally:
            os.close(away)
            os.close(home)

    def forward(self, on: bool) -> None:
        """Let it pass on packets between its devices, or not."""
        with self.inside():
            Path("/proc/sys/net/ipv4/ip_forward").write_text(str(int(on)))

    def remove(self) -> None:
        """End what still runs in it and remove it."""
        for process_id in map(int, command("ip", "netns", "pids", self.name).split()):
            if process_id != os.getpid():
                with suppress(ProcessLookupError):
                    os.kill(process_id, signal.SIGKILL)
        command("ip", "netns", "del", self.name)


class Site:
    """A place with one cart behind a router."""

    def __init__(self, number: int, cart: Namespace, router: Namespace) -> None:
        self.cart = cart
        self._router = router
        self._net = f"198.18.{number}"
        self._host = 2

    @property
    def address(self) -> str:
        """The public address that the bridge sees."""
        return f"{self._net}.{self._host}"

    def change_address(self) -> None:
        """Give the router another public address, as a mobile network does; its mappings go with the old one."""
        self._router.ip("address", "flush", "dev", "wan")
        self._host += 1
        self.raise_line()

    def cut_line(self) -> None:
        """Take the line down."""
        self._router.ip("link", "set", "wan", "down")

    def raise_line(self) -> None:
        """Take the line up again."""
        self._router.ip("address", "replace", f"{self.address}/24", "dev", "wan")
        self._router.ip("link", "set", "wan", "up")
        self._router.ip("route", "replace", "default", "via", f"{self._net}.1")


@dataclass(frozen=True)
class Lab:
    """The public namespace, and the sites."""

    public: Namespace
    sites: list[Site]


@contextmanager
def lab(sites: int, line: Line | None = None) -> Iterator[Lab]:
    """Build a lab and remove it after the block.

    Raises:
        LabError: if the system refuses a part of it.
    """
    run = f"cartlab-{os.getpid()}-{next(_numbers)}"
    with ExitStack() as made:
        public = _namespace(made, f"{run}-public")
        public.ip("address", "add", f"{BRIDGE_ADDRESS}/32", "dev", "lo")
        public.forward(False)
        places = []
        for number in range(sites):
            router, cart = _namespace(made, f"{run}-router{number}"), _namespace(made, f"{run}-cart{number}")
            router.forward(True)
            router.run("nft", "-f", "-", given=MASQUERADE)
            router.ip("link", "add", "lan", "type", "veth", "peer", "name", "eth0", "netns", cart.name)
            _address(router, "lan", "192.168.0.1/24")
            _address(cart, "eth0", "192.168.0.2/24")
            cart.ip("route", "add", "default", "via", "192.168.0.1")
            places.append((router, cart))
        _draw_lines(made, public, [router for router, _ in places], line or Line())
        site_list = [Site(number, cart, router) for number, (router, cart) in enumerate(places)]
        for number, site in enumerate(site_list):
            _address(public, f"site{number}", f"198.18.{number}.1/24")
            site.raise_line()
        yield Lab(public, site_list)


@dataclass(frozen=True)
class Halves:
    """Two networks that a cable joins, each with one address."""

    left: Namespace
    right: Namespace
    addresses: tuple[str, str] = ("198.18.0.1", "198.18.0.2")

    def cut(self) -> None:
        """Drop every packet between the two, without an error at either end."""
        self.left.run("nft", "-f", "-", given=CUT)

    def join(self) -> None:
        """Let it through again."""
        self.left.run("nft", "delete", "table", "inet", "cut")


@contextmanager
def halves() -> Iterator[Halves]:
    """Build two networks, and remove them after the block.

    Raises:
        LabError: if the system refuses a part of it.
    """
    run = f"cartlab-{os.getpid()}-{next(_numbers)}"
    with ExitStack() as made:
        both = Halves(_namespace(made, f"{run}-left"), _namespace(made, f"{run}-right"))
        both.left.ip("link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", both.right.name)
        for half, address in zip((both.left, both.right), both.addresses, strict=True):
            _address(half, "cable", f"{address}/24")
        yield both


def has_netem() -> bool:
    """Whether this kernel can delay and lose packets by itself; asked on a namespace made for it."""
    with ExitStack() as made:
        probe = _namespace(made, f"cartlab-{os.getpid()}-{next(_numbers)}-probe")
        try:
            probe.run("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
        except LabError:
            return False
        return True


def missing() -> str:
    """Return which tool or right a lab lacks here, or nothing."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    lacking = [tool for tool in ("ip", "tc", "nft") if shutil.which(tool, path=path) is None]
    return f"{', '.join(lacking)} cannot be found; `sh .ci/system tests` installs them on Debian" if lacking else ""


def refused() -> str:
    """Return why the kernel refuses a lab here, or nothing."""
    try:
        with lab(1):
            return ""
    except LabError as error:
        return str(error)


def _namespace(made: ExitStack, name: str) -> Namespace:
    command("ip", "netns", "add", name)
    namespace = Namespace(name)
    made.callback(namespace.remove)
    namespace.ip("link", "set", "lo", "up")
    return namespace


def _address(namespace: Namespace, device: str, address: str) -> None:
    namespace.ip("address", "add", address, "dev", device)
    namespace.ip("link", "set", device, "up")


def _draw_lines(made: ExitStack, public: Namespace, routers: list[Namespace], line: Line) -> None:
    """Join ``siteN`` of the public namespace with ``wan`` of each router."""
    if has_netem():
        for number, router in enumerate(routers):
            ends = [(public, f"site{number}"), (router, "wan")]
            public.ip("link", "add", f"site{number}", "type", "veth", "peer", "name", "wan", "netns", router.name)
            for namespace, device in ends:
                namespace.run("tc", "qdisc", "add", "dev", device, "root", "netem", *line.netem, "limit", "1000")
        return
    # Unique in the namespace where they are made, also beside the labs of other processes.
    stem = f"w{os.getpid() % 1_000_000}x{next(_numbers)}"
    wires = [(f"{stem}p{number}", f"{stem}r{number}") for number in range(len(routers))]
    asked = json.dumps({"wires": wires, "seed": 1, **asdict(line)})
    script = Path(__file__).with_name("slow_wire.py")
    process = subprocess.Popen(
        [sys.executable, script, asked], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    made.callback(_end, process)
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise LabError("this kernel has neither netem nor TUN devices")
    for number, ((at_public, at_router), router) in enumerate(zip(wires, routers, strict=True)):
        command("ip", "link", "set", at_public, "netns", public.name, "name", f"site{number}")
        command("ip", "link", "set", at_router, "netns", router.name, "name", "wan")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _move_to(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        raise LabError(f"this process may not enter a namespace ({os.strerror(ctypes.get_errno())})")
