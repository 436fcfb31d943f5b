module loadtest/peers/gorilla

go 1.21

require github.com/gorilla/websocket v1.5.0

// Debian's package of the source, which `../setup` unpacks: it needs no module proxy.
replace github.com/gorilla/websocket => ../build/gorilla/usr/share/gocode/src/github.com/gorilla/websocket
