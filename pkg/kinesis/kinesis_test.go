package kinesis

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/flowstitch/flowstitch/pkg/kinesis/kinesistest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"),
		goleak.IgnoreTopFunction("internal/poll.runtime_pollWait"))
}

func TestReadsEveryRecordOnceInOrder(t *testing.T) {
	srv := kinesistest.Start(t)
	srv.PageSize(5)
	p := newDriver(t, srv.URL)
	p.Create(16)
	p.KPL = true
	d := newDeployment(t, testConfig(srv.URL), 6)
	d.join(all(6)...)
	p.Feed(2000)
	d.check(p)
	if srv.Calls("ListShards") < 4 {
		t.Error("only a part of the pages was listed")
	}
}

func TestSplitsAndMergesWhileRunning(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(16)
	d := newDeployment(t, testConfig(srv.URL), 6)
	d.join(0, 2, 4)
	d.join(1, 3, 5)
	for i := range 8 {
		p.Feed(200)
		if i%2 == 0 {
			p.Split(i)
		} else {
			p.Merge(i)
		}
		p.Feed(200)
	}
	d.check(p)
}

func TestSplitsAndMergesTwiceWhileStopped(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(16)
	d := newDeployment(t, testConfig(srv.URL), 6)
	pod := d.join(all(6)...)
	p.Feed(500)
	d.wait("some records", func() bool { return d.total() > 100 })
	pod.kill()
	for range 2 {
		p.Feed(300)
		p.Split(3)
		p.Feed(300)
		p.Merge(3)
		p.Split(7)
		p.Feed(300)
		p.Merge(9)
	}
	p.Feed(300)
	d.join(all(6)...)
	d.check(p)
}

func TestCrashesBetweenProduceAndCommit(t *testing.T) {
	srv := kinesistest.Start(t)
	p := newDriver(t, srv.URL)
	p.Create(16)
	p.KPL = true
	d := newDeployment(t, testConfig(srv.URL), 6)
	crashes := d.crashEvery(6)
	d.join(all(6)...)
	for i := 0; i < 6 || crashes() < 50; i++ {
		p.Feed(500)
		if i < 6 {
			p.Split(i * 2)
		}
		d.check(p)
	}
}
