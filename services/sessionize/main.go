// Command sessionize stitches flows into sessions; package sessionizer says
// what it guarantees.
package main

import (
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/services/sessionize/sessionizer"
)

func main() { service.Main("sessionize", sessionizer.Default(), sessionizer.Run) }
