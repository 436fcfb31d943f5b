// `ws` with the broadcast that its README shows ("Server broadcast": a loop over the clients with `readyState` checked),
// one set of clients per room, and the native add-on that it recommends.
//   node ws.js [port]         rooms at /room/NAME (every message goes to the whole room), echo at /echo
const { createServer } = require('http');
const { WebSocket, WebSocketServer } = require('ws');

const rooms = new Map();
const server = createServer((request, response) => response.writeHead(404).end());
const wss = new WebSocketServer({ server, perMessageDeflate: false, maxPayload: 64 * 1024 });

wss.on('connection', (ws, request) => {
  ws.on('error', console.error);
  const name = /^\/room\/([^?]+)/.exec(request.url)?.[1];
  if (name) join(ws, name);
  else if (request.url === '/echo') ws.on('message', (data, isBinary) => ws.send(data, { binary: isBinary }));
  else ws.close(1008, 'rooms are at /room/NAME');
});

function join(ws, name) {
  const members = rooms.get(name) ?? new Set();
  rooms.set(name, members.add(ws));
  ws.on('message', (data, isBinary) => {
    for (const member of members) {
      if (member.readyState === WebSocket.OPEN) member.send(data, { binary: isBinary });
    }
  });
  ws.on('close', () => {
    members.delete(ws);
    if (members.size === 0) rooms.delete(name);
  });
}

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', 4096, () => {
  console.log(`peer ready listen=127.0.0.1:${server.address().port}`);
});
