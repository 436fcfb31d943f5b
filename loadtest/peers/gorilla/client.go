package main

import (
	"time"

	"github.com/gorilla/websocket"
)

// The chat example's settings, but for the largest message.
const (
	writeWait       = 10 * time.Second
	pongWait        = 60 * time.Second
	pingPeriod      = pongWait * 9 / 10
	messageBytesMax = 64 * 1024
)

// client stands between a connection and its room's hub.
type client struct {
	hub  *hub
	conn *websocket.Conn
	send chan message
}

// readPump takes messages from the connection to the hub.
func (c *client) readPump() {
	defer func() {
		c.hub.unregister <- c
		c.conn.Close()
	}()
	c.conn.SetReadLimit(messageBytesMax)
	c.conn.SetReadDeadline(time.Now().Add(pongWait))
	c.conn.SetPongHandler(func(string) error {
		return c.conn.SetReadDeadline(time.Now().Add(pongWait))
	})
	for {
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		c.hub.broadcast <- message{kind, data}
	}
}

// writePump takes messages from the hub to the connection. Those that wait go into one WebSocket message, a line each:
// the example's way of batching.
func (c *client) writePump() {
	ticker := time.NewTicker(pingPeriod)
	defer func() {
		ticker.Stop()
		c.conn.Close()
	}()
	for {
		select {
		case first, ok := <-c.send:
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if !ok {
				c.conn.WriteMessage(websocket.CloseMessage, []byte{})
				return
			}
			if c.write(first) != nil {
				return
			}
		case <-ticker.C:
			c.conn.SetWriteDeadline(time.Now().Add(writeWait))
			if c.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}

func (c *client) write(first message) error {
	writer, err := c.conn.NextWriter(first.kind)
	if err != nil {
		return err
	}
	writer.Write(first.data)
	for waiting := len(c.send); waiting > 0; waiting-- {
		// A hub that gave this client up has closed the channel: then there is no more.
		next, ok := <-c.send
		if !ok {
			break
		}
		writer.Write(newline)
		writer.Write(next.data)
	}
	return writer.Close()
}

var newline = []byte{'\n'}
