// An HTTP server that counts its requests; over TLS where it is given a key and a certificate.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

func main() {
	var requests int64
	handler := func(response http.ResponseWriter, request *http.Request) {
		atomic.AddInt64(&requests, 1)
		io.Copy(io.Discard, request.Body)
		io.WriteString(response, "ok\n")
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(handler)}
	if len(os.Args) > 1 {
		go server.ServeTLS(listener, os.Args[2], os.Args[1])
	} else {
		go server.Serve(listener)
	}
	fmt.Println("listening", listener.Addr().(*net.TCPAddr).Port)
	io.Copy(io.Discard, os.Stdin)
	server.Shutdown(context.Background())
	fmt.Println("requests", atomic.LoadInt64(&requests))
}
