"""A gRPC server that counts its calls. Messages are bytes, so that no code has to be generated."""
import sys
import threading
from concurrent import futures

import grpc

lock = threading.Lock()
requests = 0


def count():
    global requests
    with lock:
        requests += 1


def unary(message, _):
    count()
    return message


def download(message, _):
    count()
    for _ in range(50):
        yield message


def upload(messages, _):
    count()
    return str(sum(map(len, messages))).encode()


def both(messages, _):
    count()
    yield from messages


handlers = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Download": grpc.unary_stream_rpc_method_handler(download),
    "Upload": grpc.stream_unary_rpc_method_handler(upload),
    "Both": grpc.stream_stream_rpc_method_handler(both),
}
server = grpc.server(futures.ThreadPoolExecutor(max_workers=110), options=[("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Test", handlers),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print("listening", port, flush=True)
for number, _ in enumerate(sys.stdin, 1):
    print(f"requests at line {number}:", requests, flush=True)
server.stop(5).wait()
print("requests", requests, flush=True)
