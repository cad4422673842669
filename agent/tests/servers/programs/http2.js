// An HTTP/2 server without TLS that counts its requests.
const http2 = require('node:http2');
let requests = 0;

const server = http2.createServer((request, response) => {
  requests += 1;
  request.on('data', () => {});
  request.on('end', () => response.end('ok\n'));
});
server.listen(0, '127.0.0.1', () => console.log('listening', server.address().port));
process.stdin.resume();
process.stdin.on('end', () => server.close(() => console.log('requests', requests)));
