package kinesis

import (
	"os"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
)

// services are the services that the same matrix runs against. The reader
// knows nothing of any of them.
func services() map[string]func(testing.TB) string {
	return map[string]func(testing.TB) string{
		"fake":          fake,
		"fan-out":       fake, // which no emulator can: kinesis-local leaves out the first frame
		"kinesalite":    kinesistest.Kinesalite,
		"kinesis-local": kinesistest.KinesisLocal,
	}
}

func fake(t testing.TB) string { return kinesistest.Start(t).URL }

func long() bool { return os.Getenv("FLOWSTITCH_LONG") == "1" }

// TestMatrix is the reshard matrix: splits and merges while running, with one pod
// and with a second that joins and leaves, and twice in a row while stopped,
// throttled reads, and crashes all along, some of them in the middle of an
// aggregate, over 16 shards, polled and by fan-out. The emulators never throttle, and the fake only when
// told: a proxy before each does what AWS documents.
func TestMatrix(t *testing.T) {
	n, rounds := 100, 1
	if long() {
		n, rounds = 1000, 8
	}
	for name, start := range services() {
		t.Run(name, func(t *testing.T) {
			service := start(t)
			p := newDriver(t, service)
			p.KPL = true
			p.Create(16)
			cfg := testConfig(service)
			switch name {
			case "fake":
			case "fan-out":
				cfg.Streams[0].FanOut = "flowstitch"
			default: // they are slow: AWS's own pace, and longer naps
				cfg.Streams[0].ReadsPerSecond, cfg.IdlePoll = awsReadsPerSecond+3, 500*time.Millisecond
			}
			throttler := kinesistest.Throttle(t, service, awsReadsPerSecond)
			cfg.Streams[0].Endpoint = throttler.URL
			d := newDeployment(t, cfg, 6)
			d.limit = 5 * time.Minute
			crashes := d.crashEvery(10)
			for i := range rounds {
				matrixRound(d, p, i, n)
			}
			if throttler.Refused() == 0 {
				t.Error("no read was throttled")
			}
			if len(d.gaps) > 0 {
				t.Errorf("gaps are told where nothing was missing: %+v", d.gaps)
			}
			if long() && (crashes() < 50 || d.cut == 0) {
				t.Errorf("%d crashes, %d of them inside an aggregate", crashes(), d.cut)
			}
			t.Logf("%d records in %d Kinesis records, %d reshards, %d crashes, %d of them inside an aggregate, %d reads throttled: each once, in order",
				p.Total(), p.Records, 6*rounds, crashes(), d.cut, throttler.Refused())
		})
	}
}

// matrixRound begins and ends with nobody running, and puts six times n records.
func matrixRound(d *deployment, p *kinesistest.Driver, i, n int) {
	first := d.join(all(6)...)
	p.Feed(n)
	p.Split(i % 16)
	p.Feed(n)
	p.Merge((5 * i) % 15)
	second := d.join(1, 3)
	p.Feed(n)
	p.Split((3*i + 1) % 16)
	d.wait("some of what was put", func() bool { return d.total() > p.Total()-5*n/2 })
	second.leave()
	first.take(1, 3)
	p.Feed(n)
	first.kill()
	p.Merge((7*i + 2) % 15)
	p.Feed(n)
	p.Split((5*i + 3) % 16)
	p.Merge((2*i + 9) % 15)
	p.Feed(n)
	last := d.join(all(6)...)
	d.check(p)
	last.kill()
}
