#!/usr/bin/env python3
"""The user network as Linux sees it: DHCP, a download, an upload, a forwarded port; and one that is restricted.

usage: net_test.py VMM SOURCE_DIR
"""
import hashlib
import http.server
import os
import pathlib
import socket
import sys
import threading
import time

from guest import Guest, Verdict

CONTENT = os.urandom(24 << 20)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT under any name."""

    def do_GET(self) -> None:  # the name that http.server wants
        self.server.requests += 1
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


class Upload(threading.Thread):
    """Takes what one connection sends."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.digest = ""

    def run(self) -> None:
        connection, _ = self.socket.accept()
        digest = hashlib.sha256()
        while piece := connection.recv(1 << 16):
            digest.update(piece)
        self.digest = digest.hexdigest()


class Caller(threading.Thread):
    """Calls the forwarded port until the guest's service answers."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.answer = b""

    def run(self) -> None:
        while not self.answer:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
                    while piece := connection.recv(4096):
                        self.answer += piece
            except OSError:
                pass
            time.sleep(0.2)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def run_guest(verdict: Verdict, mode: str, options: str) -> tuple[Guest, int, Upload, Caller]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    upload, caller = Upload(), Caller(free_port())
    upload.start()
    caller.start()
    guest = Guest(sys.argv[1], pathlib.Path(sys.argv[2]), f"net-check {server.server_address[1]} file {upload.port} {mode}",
                  ["-c", "2", "-m", "512", "--network", f"mode=user,forward={caller.port}:7000{options}"], verdict=verdict)
    server.shutdown()
    upload.join(5)
    caller.join(5)
    return guest, server.requests, upload, caller


def main() -> int:
    verdict = Verdict()
    guest, requests, upload, caller = run_guest(verdict, "open", ",mtu=9000")
    verdict.expect(guest.all("failed:") == [], f"nothing fails: {guest.all('failed:')}")
    verdict.expect(guest.all("lease") == ["192.168.33.15 192.168.33.1 192.168.33.3"], f"DHCP: {guest.all('lease')}")
    verdict.expect(guest.all("mtu") == ["9000"], f"the MTU is as asked for: {guest.all('mtu')}")
    verdict.expect(guest.all("mac") == ["02:15:15:15:15:15"], f"the MAC address is kvmtool's: {guest.all('mac')}")
    verdict.expect(guest.all("download") == [f"{len(CONTENT)} {DIGEST}"] and requests == 1, "a download is as it was served")
    verdict.expect(upload.digest == DIGEST, "an upload is as it was sent")
    verdict.expect(guest.all("ping") == ["3 3"], f"the gateway answers: {guest.all('ping')}")
    verdict.expect(guest.all("tx-errors") == ["0 0"], f"no errors are counted: {guest.all('tx-errors')}")
    verdict.expect(caller.answer == b"served by the guest\n", f"a forwarded port reaches the guest: {caller.answer!r}")

    guest, requests, _, caller = run_guest(verdict, "restricted", ",restrict=on")
    verdict.expect(requests == 0 and "reached the host" not in guest.facts, "a restricted guest reaches nothing")
    verdict.expect(guest.all("mtu") == ["1500"], f"the MTU is Ethernet's: {guest.all('mtu')}")
    verdict.expect(caller.answer == b"served by the guest\n", f"and can be reached: {caller.answer!r}")
    return verdict.status()


if __name__ == "__main__":
    sys.exit(main())
