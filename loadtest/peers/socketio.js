// Socket.IO as its documentation shows: `socket.join`, `io.to(room).emit`; WebSocket only, with the native add-on and
// without the reference to the first request, both of which its page on performance recommends.
//   node socketio.js [port]   join by `40{"room":"NAME"}` (the handshake's `auth`), publish by `42["m","DATA"]`, which the
//                             whole room gets
const { createServer } = require('http');
const { Server } = require('socket.io');

const server = createServer();
const io = new Server(server, {
  transports: ['websocket'],
  serveClient: false,
  maxHttpBufferSize: 64 * 1024,
});

io.engine.on('connection', (rawSocket) => { rawSocket.request = null; });

io.on('connection', (socket) => {
  const { room } = socket.handshake.auth;
  if (typeof room !== 'string') return socket.disconnect(true);
  socket.join(room);
  socket.on('m', (data) => { io.to(room).emit('m', data); });
});

server.listen(Number(process.argv[2] ?? 0), '127.0.0.1', 4096, () => {
  console.log(`peer ready listen=127.0.0.1:${server.address().port}`);
});
