// The hub of gorilla/websocket's chat example, one per room.
//
//	gorilla [port]         rooms at /room/NAME (every message goes to the whole room), echo at /echo
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/gorilla/websocket"
)

var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}

func main() {
	port := "0"
	if len(os.Args) > 1 {
		port = os.Args[1]
	}
	// Go sets TCP_NODELAY on every connection.
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	http.HandleFunc("/room/", serveRoom)
	http.HandleFunc("/echo", serveEcho)
	fmt.Printf("peer ready listen=%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, nil))
}

func serveRoom(writer http.ResponseWriter, request *http.Request) {
	conn, err := upgrader.Upgrade(writer, request, nil)
	if err != nil {
		log.Println(err)
		return
	}
	hub := hubOf(strings.TrimPrefix(request.URL.Path, "/room/"))
	client := &client{hub: hub, conn: conn, send: make(chan message, 256)}
	hub.register <- client
	go client.writePump()
	go client.readPump()
}

func serveEcho(writer http.ResponseWriter, request *http.Request) {
	conn, err := upgrader.Upgrade(writer, request, nil)
	if err != nil {
		log.Println(err)
		return
	}
	defer conn.Close()
	conn.SetReadLimit(messageBytesMax)
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil || conn.WriteMessage(kind, data) != nil {
			return
		}
	}
}
