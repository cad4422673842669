"""Calls the gRPC server on PORT in the way that KIND names; prints how many calls that were."""
import queue
import sys
import threading

import grpc

port, kind = sys.argv[1], sys.argv[2]
FAKE = b"GET / HTTP/1.1\r\nHost: fake\r\n\r\n" * 20


def unary(channel):
    call = channel.unary_unary("/Test/Unary")
    for _ in range(100):
        assert call(FAKE) == FAKE
    return 100


def concurrent(channel):
    calls = 0
    for together in (1, 2, 100):
        call = channel.stream_stream("/Test/Both")
        # A stream stays open until its own answer has arrived on all of them.
        streams = [call(iter([FAKE] * 20)) for _ in range(together)]
        for stream in streams:
            assert len(list(stream)) == 20
        calls += together
    return calls


def streaming(channel):
    for _ in range(20):
        assert len(list(channel.unary_stream("/Test/Download")(FAKE))) == 50
        assert channel.stream_unary("/Test/Upload")(iter([FAKE] * 50)) == str(len(FAKE) * 50).encode()
    return 40


def rounds(channel):
    """From one line of input to the next, on one connection; after each second one it says how many calls there were so far."""
    lines = queue.Queue()

    def read():
        for line in sys.stdin:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    one, streams = channel.unary_unary("/Test/Unary"), channel.stream_stream("/Test/Both")
    calls = number = 0
    while lines.get():
        while lines.empty():
            assert one(FAKE) == FAKE
            together = [streams(iter([FAKE] * 3)) for _ in range(10)]
            assert all(len(list(stream)) == 3 for stream in together)
            calls += 11
        if not lines.get():
            break
        number += 1
        print(f"calls of {number} rounds:", calls, flush=True)
    return calls


with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    print(globals()[kind](channel))
