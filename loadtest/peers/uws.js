// uWebSockets.js as its documentation recommends: topics, `subscribe` in `open`, `app.publish` in `message`.
//   node uws.js [port]        rooms at /room/NAME (every message goes to the whole room), echo at /echo
const { App, DISABLED, us_socket_local_port } = require('uwebsockets');

const settings = { compression: DISABLED, maxPayloadLength: 64 * 1024, idleTimeout: 120, maxBackpressure: 1024 * 1024 };
const app = App();

app.ws('/room/:name', {
  ...settings,
  upgrade: (res, req, context) => {
    res.upgrade({ room: req.getParameter(0) }, req.getHeader('sec-websocket-key'),
      req.getHeader('sec-websocket-protocol'), req.getHeader('sec-websocket-extensions'), context);
  },
  open: (ws) => { ws.subscribe(ws.room); },
  message: (ws, message, isBinary) => { app.publish(ws.room, message, isBinary); },
});

app.ws('/echo', { ...settings, message: (ws, message, isBinary) => { ws.send(message, isBinary); } });

app.listen('127.0.0.1', Number(process.argv[2] ?? 0), (socket) => {
  if (!socket) {
    console.error('uws.js: cannot listen on this port');
    process.exit(1);
  }
  console.log(`peer ready listen=127.0.0.1:${us_socket_local_port(socket)}`);
});
