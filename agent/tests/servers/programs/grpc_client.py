"""Calls the gRPC server on PORT in the way that KIND names; prints how many calls that were."""
import sys

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


with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    print(globals()[kind](channel))
