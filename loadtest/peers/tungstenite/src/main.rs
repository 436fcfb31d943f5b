//! tokio-tungstenite in the idiom of its own server example: a task per connection, a shared map of unbounded senders
//! (here one per room), and `forward` from a connection's receiver to its sink.
//!
//!     tungstenite-peer [port]     rooms at /room/NAME (every message goes to the whole room), echo at /echo
//!
//! Worker threads as `TOKIO_WORKER_THREADS` says.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::{StreamExt, TryStreamExt, future, pin_mut};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

const MESSAGE_BYTES_MAX: usize = 64 * 1024;

type Peers = HashMap<SocketAddr, UnboundedSender<Message>>;
type Room = Arc<Mutex<Peers>>;
type Rooms = Arc<Mutex<HashMap<String, Room>>>;

#[tokio::main]
async fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).map_or(Ok(0), |port| port.parse()).map_err(io::Error::other)?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("peer ready listen={}", listener.local_addr()?);
    let rooms = Rooms::default();
    while let Ok((stream, address)) = listener.accept().await {
        tokio::spawn(serve(stream, address, Arc::clone(&rooms)));
    }
    Ok(())
}

async fn serve(stream: TcpStream, address: SocketAddr, rooms: Rooms) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX));
    let mut path = String::new();
    #[expect(clippy::result_large_err, reason = "the library's signature")]
    let keep_path = |request: &Request, response: Response| {
        path = request.uri().path().to_owned();
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async_with_config(stream, keep_path, Some(config)).await.ok()?;
    match path.strip_prefix("/room/") {
        Some(name) => {
            let room = Arc::clone(rooms.lock().expect("no holder panics").entry(name.to_owned()).or_default());
            attend(socket, address, &room).await;
        }
        None if path == "/echo" => {
            let (outgoing, incoming) = socket.split();
            incoming.try_filter(|message| future::ready(is_data(message))).forward(outgoing).await.ok()?;
        }
        None => {}
    }
    Some(())
}

fn is_data(message: &Message) -> bool {
    message.is_text() || message.is_binary()
}

async fn attend(socket: WebSocketStream<TcpStream>, address: SocketAddr, room: &Room) {
    let (sender, receiver) = unbounded();
    room.lock().expect("no holder panics").insert(address, sender);
    let (outgoing, incoming) = socket.split();
    let broadcast = incoming.try_for_each(|message| {
        if is_data(&message) {
            for member in room.lock().expect("no holder panics").values() {
                // A member that is leaving has dropped its receiver.
                let _ = member.unbounded_send(message.clone());
            }
        }
        future::ok(())
    });
    let deliver = receiver.map(Ok).forward(outgoing);
    pin_mut!(broadcast, deliver);
    future::select(broadcast, deliver).await;
    room.lock().expect("no holder panics").remove(&address);
}
