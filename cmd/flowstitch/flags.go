package main

import (
	"errors"
	"flag"
	"net"
	"net/netip"
	"slices"
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

// networks reads the values as prefixes, for the flag of this name.
func (l *listFlag) networks(name string) (out []netip.Prefix, err error) {
	var errs []error
	for _, s := range *l {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			errs = append(errs, usagef("-%s: %q is no network such as 10.0.0.0/8", name, s))
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

// formatFlag is the flag -format of a command: one of these, the first unless
// another is given.
func formatFlag(fs *flag.FlagSet, p *string, formats ...string) {
	*p = formats[0]
	last := len(formats) - 1
	text := strings.Join(formats[:last], ", ") + " or " + formats[last]
	fs.Func("format", "`how` to print: "+text+" (default "+formats[0]+")", func(s string) error {
		if !slices.Contains(formats, s) {
			return errors.New("it is " + text)
		}
		*p = s
		return nil
	})
}

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
