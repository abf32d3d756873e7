package ingester

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(envPod) != "" {
		os.Exit(pod())
	}
	os.Exit(m.Run())
}
