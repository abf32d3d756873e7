// Command ingest reads VPC flow logs into the flows topic; package ingester
// says what it guarantees.
package main

import (
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/services/ingest/ingester"
)

func main() { service.Main("ingest", ingester.Default(), ingester.Run) }
