"""A threaded HTTP/1.1 server that counts its requests: a thread for each connection. Over TLS where it is given a key and a
certificate."""
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock = threading.Lock()
requests = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        self.count()
        self.answer()

    def do_POST(self):
        self.count()
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            self.read_chunks()
        else:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer()

    def read_chunks(self):
        while size := int(self.rfile.readline().split(b";")[0], 16):
            self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass

    def count(self):
        global requests
        with lock:
            requests += 1

    def answer(self):
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for every connection's end
    request_queue_size = 128


server = Server(("127.0.0.1", 0), Handler)
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[2], sys.argv[1])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, args=(0.01,)).start()
print("listening", server.server_port, flush=True)
sys.stdin.read()
server.shutdown()
server.server_close()
print("requests", requests, flush=True)
