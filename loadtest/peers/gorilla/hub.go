package main

import "sync"

// hub keeps the clients of one room and broadcasts to them, as the chat example's does.
type hub struct {
	clients    map[*client]bool
	broadcast  chan message
	register   chan *client
	unregister chan *client
}

// message is what a client sent: its kind and its bytes.
type message struct {
	kind int
	data []byte
}

// hubs are kept for the process's life: the example has one, here are as many as rooms.
var hubs sync.Map

// hubOf returns the hub of a room, running.
func hubOf(room string) *hub {
	fresh := &hub{
		clients:    make(map[*client]bool),
		broadcast:  make(chan message),
		register:   make(chan *client),
		unregister: make(chan *client),
	}
	found, loaded := hubs.LoadOrStore(room, fresh)
	if !loaded {
		go fresh.run()
	}
	return found.(*hub)
}

func (h *hub) run() {
	for {
		select {
		case client := <-h.register:
			h.clients[client] = true
		case client := <-h.unregister:
			if h.clients[client] {
				delete(h.clients, client)
				close(client.send)
			}
		case message := <-h.broadcast:
			for client := range h.clients {
				select {
				case client.send <- message:
				default:
					close(client.send)
					delete(h.clients, client)
				}
			}
		}
	}
}
