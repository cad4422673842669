#!/usr/bin/env python3
"""Counts of nginx, of this agent and of another tool, case by case, and what each adds to a request. Prints a table.

    beside.py AGENT NGINX REQUESTS [PEER ARGUMENT...]

It runs in a machine of its own (.ci/beside), whose processor makes one instruction a nanosecond. The other tool serves its figures as
Prometheus metrics at PEER_METRICS; PEER_COUNT is a regular expression of the samples' names to add up, PEER_SAMPLE one for what their labels must
contain, and PEER_SETTLE how many seconds it gets before it must count.
"""

import atexit
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request

HTTP1, HTTP2, UNIX = ("127.0.0.1", 8080), ("127.0.0.1", 8081), "/tmp/nginx.sock"
LOG = "/tmp/access.log"
PLUGINS = "/tmp/plugins"
GET = b"GET /a HTTP/1.1\r\nHost: beside\r\n\r\n"
FAKES = b"GET /fake HTTP/1.1\r\nHost: beside\r\n\r\n" * 20
POST = b"POST /a HTTP/1.1\r\nHost: beside\r\nContent-Length: %d\r\n\r\n" % len(FAKES)
# How long a figure may take to become what it should be.
PATIENCE_SECONDS = 20
CONFIG = f"""
user root; daemon off; worker_processes 1; pid /tmp/nginx.pid; error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log {LOG}; keepalive_requests 100000000; keepalive_timeout 1h; client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi; uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
    server {{ listen 127.0.0.1:8080; listen unix:{UNIX}; return 200 "{'x' * 612}"; }}
    server {{ listen 127.0.0.1:8081 http2; return 200 "{'x' * 612}"; }}
}}
"""


class Http1:
    """A connection on which requests are sent in pieces, and answers are awaited."""

    def __init__(self, address=HTTP1):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.connect(address)
        if not isinstance(address, str):
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, *pieces, answers=1):
        for number, piece in enumerate(pieces):
            if number > 0:
                time.sleep(0.02)  # so that nginx reads each by itself
            self.socket.sendall(piece)
        received = b""
        while received.count(b"HTTP/1.1 200") < answers or not received.endswith(b"x" * 612):
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise RuntimeError("nginx closed the connection")
            received += piece


class Http2:
    """A connection with as many streams at once as it is told."""

    HEADERS, SETTINGS, WINDOW_UPDATE = 1, 4, 8
    # All that nginx will ever send here.
    WINDOW = struct.pack(">I", (1 << 31) - (1 << 16))
    END_STREAM, END_HEADERS, ACKNOWLEDGES = 1, 4, 1
    # :method GET, :scheme http, :path /, and an authority that is not indexed.
    BLOCK = b"\x82\x86\x84\x01\x06beside"

    def __init__(self):
        self.socket = socket.create_connection(HTTP2)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = self.socket.makefile("rb")
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(self.SETTINGS, 0, 0, b""))
        self.socket.sendall(self.frame(self.WINDOW_UPDATE, 0, 0, self.WINDOW))
        self.next = 1

    @staticmethod
    def frame(kind, flags, stream, payload):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    def ask(self, streams):
        flags = self.END_STREAM | self.END_HEADERS
        numbers = [self.next + 2 * turn for turn in range(streams)]
        self.socket.sendall(b"".join(self.frame(self.HEADERS, flags, number, self.BLOCK) for number in numbers))
        self.next += 2 * streams
        while streams > 0:
            head = self.reader.read(9)
            length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            self.reader.read(length)
            if kind == self.SETTINGS and not flags & self.ACKNOWLEDGES:
                self.socket.sendall(self.frame(self.SETTINGS, self.ACKNOWLEDGES, 0, b""))
            elif kind in (0, self.HEADERS) and flags & self.END_STREAM:
                streams -= 1


class Agent:
    """This agent, and what its `top` says."""

    def __init__(self, binary):
        self.binary = binary
        self.process = subprocess.Popen([binary, "--no-terminal", f"--plugins-root={PLUGINS}"], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while subprocess.run([binary, "health", "ready", f"--plugins-root={PLUGINS}"], capture_output=True).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the agent does not count")
            time.sleep(0.2)

    def count(self):
        top = [self.binary, "top", "--json", "--ticks=1", f"--plugins-root={PLUGINS}"]
        said = json.loads(subprocess.run(top, capture_output=True, check=True).stdout.splitlines()[-1])
        return sum(row["total"] for row in said["rows"] if row["name"].startswith("nginx"))


class Peer:
    """Another tool, and what its metrics say."""

    def __init__(self, command):
        self.names = re.compile(os.environ.get("PEER_COUNT", r"(http_server_request|rpc_server)_duration_seconds_count"))
        self.labels = re.compile(os.environ.get("PEER_SAMPLE", ""))
        self.address = os.environ.get("PEER_METRICS", "http://127.0.0.1:9400/metrics")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(float(os.environ.get("PEER_SETTLE", "30")))

    def count(self):
        total = 0
        for line in urllib.request.urlopen(self.address).read().decode().splitlines():
            sample = re.fullmatch(r"(\w+)(\{.*\})? (\S+)( \d+)?", line)
            if sample and self.names.fullmatch(sample[1]) and self.labels.search(sample[2] or ""):
                total += float(sample[3])
        return round(total)


def repeat(times, act):
    for _ in range(times):
        act()


def cases():
    """What it is called, how often nginx must answer, and how it is sent."""

    def keep_alive(connections, requests):
        opened = [Http1() for _ in range(connections)]
        for turn in range(requests):
            opened[turn % connections].send(GET)

    def http2(streams, requests):
        connection = Http2()
        repeat(requests // streams, lambda: connection.ask(streams))

    on_one = lambda times, *pieces, **more: (lambda connection: repeat(times, lambda: connection.send(*pieces, **more)))(Http1())
    return [
        ("keep-alive GETs, 1 connection", 1000, lambda: keep_alive(1, 1000)),
        ("keep-alive GETs, 16 connections", 1600, lambda: keep_alive(16, 1600)),
        ("16 pipelined in one write", 1600, lambda: on_one(100, GET * 16, answers=16)),
        ("POST with requests in its body, one write", 200, lambda: on_one(200, POST + FAKES)),
        ("the same, the body in a write of its own", 200, lambda: on_one(200, POST, FAKES)),
        ("a request cut after its method", 200, lambda: on_one(200, GET[:4], GET[4:])),
        ("cut in its path", 200, lambda: on_one(200, GET[:5], GET[5:])),
        ("cut in its headers", 200, lambda: on_one(200, GET[:24], GET[24:])),
        ("HTTP/2 without TLS, 1 stream at a time", 1000, lambda: http2(1, 1000)),
        ("10 streams at a time", 1000, lambda: http2(10, 1000)),
        ("100 streams at a time", 1000, lambda: http2(100, 1000)),
        ("short connections", 200, lambda: repeat(200, lambda: Http1().send(GET))),
        ("a Unix socket", 1000, lambda: (lambda opened: repeat(1000, lambda: opened.send(GET)))(Http1(UNIX))),
    ]


def logged():
    with open(LOG, "rb") as log:
        return sum(1 for _ in log)


def settled(read, wanted):
    """What it says once it is that, or in the end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (said := read()) != wanted and time.monotonic() < deadline:
        time.sleep(0.5)
    return said


def instructions(requests):
    """A request's, of everything on this one processor, in nanoseconds that are instructions."""
    opened = [Http1() for _ in range(16)]
    start = time.monotonic_ns()
    for turn in range(requests):
        opened[turn % len(opened)].send(GET)
    return (time.monotonic_ns() - start) / requests


def run(nginx, start, requests):
    """Counts by case, and instructions a request; `start` makes the tool, or nothing."""
    open(LOG, "w").close()
    server = subprocess.Popen([nginx, "-c", "/tmp/nginx.conf", "-p", "/tmp"])
    atexit.register(server.kill)
    while not (os.path.exists(UNIX) and os.path.exists("/tmp/nginx.pid")):
        time.sleep(0.1)
    older = [Http1(), Http2()]
    older[0].send(GET)
    older[1].ask(1)
    tool = start()
    if tool:
        atexit.register(tool.process.kill)
    counts = []
    late = [
        ("HTTP/1, a connection older than the tool", 100, lambda: repeat(100, lambda: older[0].send(GET))),
        ("HTTP/2, a connection older than the tool", 100, lambda: repeat(100, lambda: older[1].ask(1))),
    ]
    for name, requests_of_case, send in (cases() + late) if tool else []:
        before = logged(), tool.count()
        print(f"{name} ...", file=sys.stderr)
        send()
        own = settled(logged, before[0] + requests_of_case) - before[0]
        counts.append((name, own, settled(tool.count, before[1] + own) - before[1]))
    cost = instructions(requests)
    for process in ([tool.process] if tool else []) + [server]:
        process.terminate()
        process.wait()
    for path in (UNIX, "/tmp/nginx.pid"):
        if os.path.exists(path):
            os.remove(path)
    return counts, cost


def main():
    agent, nginx, requests, *peer = sys.argv[1:]
    with open("/tmp/nginx.conf", "w") as config:
        config.write(CONFIG)
    os.makedirs(PLUGINS, exist_ok=True)
    tools = [("nothing", lambda: None), ("this agent", lambda: Agent(agent))]
    if peer:
        tools.append((os.path.basename(peer[0]), lambda: Peer(peer)))
    results = [(name, *run(nginx, start, int(requests))) for name, start in tools]
    named = results[1:]
    print("| case | nginx's own |" + "".join(f" {name} |" for name, _, _ in named))
    print("|---|---|" + "---|" * len(named))
    for rows in zip(*(counts for _, counts, _ in named)):
        print(f"| {rows[0][0]} | {rows[0][1]} |" + "".join(f" {counted} |" for _, _, counted in rows))
    print(f"\n| {requests} keep-alive GETs, 16 connections | instructions a request | added |\n|---|---|---|")
    for name, _, cost in results:
        print(f"| {name} | {cost:.0f} | {cost - results[0][2]:+.0f} ({cost / results[0][2] - 1:+.1%}) |")
    # What this agent must be: equal to nginx, but for what docs/accuracy.md says of older connections.
    wrong = [row for row in named[0][1][:-2] if row[1] != row[2]]
    sys.exit(f"counted wrong: {wrong}" if wrong else 0)


main()
