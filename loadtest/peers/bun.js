// Bun's built-in WebSocket server (its core is uWebSockets) as its documentation recommends: `ws.subscribe`, `server.publish`.
//   bun bun.js [port]         rooms at /room/NAME (every message goes to the whole room), echo at /echo
const server = Bun.serve({
  hostname: '127.0.0.1',
  port: Number(process.argv[2] ?? 0),
  fetch(request, server) {
    const { pathname } = new URL(request.url);
    const room = pathname.startsWith('/room/') ? pathname.slice('/room/'.length) : null;
    if ((room || pathname === '/echo') && server.upgrade(request, { data: { room } })) return undefined;
    return new Response('not found', { status: 404 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 64 * 1024,
    backpressureLimit: 1024 * 1024,
    open(ws) { if (ws.data.room) ws.subscribe(ws.data.room); },
    message(ws, message) {
      if (ws.data.room) server.publish(ws.data.room, message);
      else ws.send(message);
    },
  },
});
console.log(`peer ready listen=127.0.0.1:${server.port}`);
