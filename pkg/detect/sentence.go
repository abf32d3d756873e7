package detect

import "github.com/flowstitch/flowstitch/pkg/flow"

// subject begins a sentence with the address that does something, and says
// first of all whether it is ours.
func subject(a flow.Addr, ours bool) string {
	if ours {
		return "Our host " + a.String()
	}
	return a.String()
}

// none is a number in a sentence: "none" instead of 0.
func none(n int64) string {
	if n == 0 {
		return "none"
	}
	return amount(n)
}
