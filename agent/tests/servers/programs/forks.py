"""A process for each connection: it reads one request, answers and ends. Its parent never reads."""
import os
import select
import socket
import sys


def serve(connection):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = connection.recv(4096)
        if not data:
            os._exit(1)
        head += data
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n")
    os._exit(0)


def reap(options):
    while children:
        pid, status = os.waitpid(-1, options)
        if pid == 0:
            return
        children.discard(pid)
        if status == 0:
            served.append(pid)


children, served = set(), []
listener = socket.create_server(("127.0.0.1", 0), backlog=256)
print("listening", listener.getsockname()[1], flush=True)
while True:
    ready, _, _ = select.select([listener, sys.stdin], [], [])
    if listener not in ready:
        break
    connection, _ = listener.accept()
    pid = os.fork()
    if pid == 0:
        serve(connection)
    children.add(pid)
    connection.close()
    reap(os.WNOHANG)
reap(0)
for pid in served:
    print("served", pid)
print("requests", len(served), flush=True)
