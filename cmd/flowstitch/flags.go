package main

import (
	"net"
	"strconv"
	"strings"
)

// listFlag is a flag that may be repeated, and takes several values separated
// by commas.
type listFlag []string

func (l *listFlag) String() string { return strings.Join(*l, ",") }

// Set implements flag.Value.
func (l *listFlag) Set(s string) error {
	*l = append(*l, strings.Split(s, ",")...)
	return nil
}

// The help of flags that several commands have.
const (
	logFormatHelp = "the flow log's LogFormat, in AWS's ${field} `syntax`, several with |; without it a header line tells it, or the values do"
	ownHelp       = "`networks` whose addresses are ours, such as 10.0.0.0/8; may be repeated. Without it they are learned from the log"
)

// loopbackPort returns the port of a loopback address: the embedded broker
// knows neither TLS nor passwords and is nobody else's business.
func loopbackPort(addr string) (int, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, usagef("-serve: %q is not host:port, such as 127.0.0.1:9092", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return 0, usagef("-serve: %q is not a loopback address; the embedded broker serves this machine only", host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, usagef("-serve: %q is not a port", port)
	}
	return int(n), nil
}
