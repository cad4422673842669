// An HTTP/2 server that counts its requests: without TLS, or, given key and certificate, over TLS and with HTTP/1.1, too.
const fs = require('node:fs');
const http2 = require('node:http2');
let requests = 0;

const answer = (request, response) => {
  requests += 1;
  request.on('data', () => {});
  request.on('end', () => response.end('ok\n'));
};
const [key, cert] = process.argv.slice(2).map((path) => fs.readFileSync(path));
const server = key ? http2.createSecureServer({ key, cert, allowHTTP1: true }, answer) : http2.createServer(answer);
server.listen(0, '127.0.0.1', () => console.log('listening', server.address().port));
process.stdin.resume();
process.stdin.on('end', () => server.close(() => console.log('requests', requests)));
