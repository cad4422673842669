// An HTTP/1.1 server that counts its requests. What follows an Upgrade or a CONNECT it sends back.
const http = require('node:http');
let requests = 0;

function tunnel(answer) {
  return (request, socket, head) => {
    requests += 1;
    socket.on('error', () => {});
    socket.write(answer);
    socket.write(head);
    socket.pipe(socket);
  };
}

const server = http.createServer((request, response) => {
  requests += 1;
  request.on('data', () => {});
  request.on('end', () => response.end('ok\n'));
});
server.on('upgrade', tunnel('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'));
server.on('connect', tunnel('HTTP/1.1 200 Connected\r\n\r\n'));
server.listen(0, '127.0.0.1', () => console.log('listening', server.address().port));
process.stdin.resume();
process.stdin.on('end', () => {
  server.close(() => console.log('requests', requests));
  server.closeIdleConnections();
});
