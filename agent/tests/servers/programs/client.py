"""Fetches PATH from PORT so many TIMES, each on the same connection and on one of its own."""
import http.client
import sys

port, path, times = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
kept = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
for _ in range(times):
    fresh = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for connection in (kept, fresh):
        connection.request("GET", path)
        body = connection.getresponse().read()
        assert body.startswith(b"GET / HTTP/1.1\r\n"), body[:40]
    fresh.close()
