// Command detect judges sessions and writes alerts: what is confirmed is a
// function of the final session events.
package main

import (
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/services/detect/detector"
)

func main() { service.Main("detect", detector.Default(), detector.Run) }
