package stage_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/flowstitch/flowstitch/pkg/kafkatest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, kafkatest.Leaks()...) }
