package doctest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/segmentio/encoding/json"
	"go.uber.org/goleak"

	"github.com/flowstitch/flowstitch/internal/pipeline"
	"github.com/flowstitch/flowstitch/pkg/kafkatest"
	"github.com/flowstitch/flowstitch/pkg/service"
	"github.com/flowstitch/flowstitch/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, kafkatest.Leaks()...) }

const incident = "examples/incident.log.gz"

// asker runs command lines with bash, as a reader of the pages would.
type asker struct {
	bin, work string
	files     string // what stands for the page's own log
	source    string // flags that name the running pipeline
}

func (a *asker) ask(t *testing.T, line string) (out, errs string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", line)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "PATH="+a.bin+":"+os.Getenv("PATH"), "WORK="+a.work, "NO_COLOR=1")
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &o, &e, 5*time.Second
	err = cmd.Run()
	return o.String(), e.String(), err
}

// must is ask for what has to work.
func (a *asker) must(t *testing.T, line string) string {
	t.Helper()
	out, errs, err := a.ask(t, line)
	if err != nil {
		t.Errorf("%s: %v\n%s%s", line, err, out, errs)
	}
	return out
}

var (
	reads   = regexp.MustCompile(`flowstitch (query|rules backtest|tail)\b`)
	broker  = regexp.MustCompile(` -brokers \S+`)
	listTop = regexp.MustCompile(` -top \d+`)
	seconds = regexp.MustCompile(`\([0-9.]+m?s\)`)
)

// overTopics makes of a command of the pages the same question to the running
// pipeline, and overFiles to the log.
func (a *asker) overTopics(line string) string {
	line = strings.ReplaceAll(broker.ReplaceAllString(line, ""), " "+incident, "")
	return reads.ReplaceAllString(line, "$0 "+a.source)
}

func (a *asker) overFiles(line string) string {
	line = strings.ReplaceAll(broker.ReplaceAllString(line, ""), " "+incident, "")
	return line + " " + a.files
}

// questions returns the commands of a page that ask for traffic, without what
// a page cuts off for brevity: rows of a list in the order of reading.
func questions(t *testing.T, page string) (lines []string) {
	for _, b := range blocks(t, filepath.Join(root, page)) {
		if !strings.HasPrefix(b.info, "sh") {
			continue
		}
		for line := range strings.Lines(b.text) {
			line, _, _ = strings.Cut(strings.TrimSpace(line), " | ")
			if !strings.HasPrefix(line, "flowstitch query") && !strings.HasPrefix(line, "flowstitch rules backtest") {
				continue
			}
			if !strings.Contains(line, "-group-by") && !strings.Contains(line, "-order-by") {
				line = listTop.ReplaceAllString(line, "")
			}
			lines = append(lines, line)
		}
	}
	return lines
}

// sorted makes answers comparable: rows that begin in the same second are
// listed as they were read, and a back-test says how long it took.
func sorted(out string) string {
	lines := strings.Split(seconds.ReplaceAllString(out, "(time)"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// wants is what the answers to the pages' questions must say, by a part of the
// question that no other has. The facts are those of examples/incident.truth.csv
// and of recentLog.
var wants = map[string][]string{
	`-filter 'server_port == 22 && failed'`:            {`(?m)^2026-03-02T08:12:00Z  198\.51\.100\.77 .* 22  tcp    inbound    rejected`, `(?s)(198\.51\.100\.77.*){6}`},
	`-filter 'server_port == 23' `:                     {`(?m)^198\.51\.100\.77 +10\.0\.0\.50 +rejected +1$`, `(?m)^203\.0\.113\.7 +10\.0\.0\.10 +rejected +3$`},
	`-sum bytes -count -distinct server -top 10`:       {`(?m)^CLIENT +SUM\(BYTES\) +COUNT +DISTINCT\(SERVER\)\n10\.0\.40\.107 +7\d\d\.\d MB`, `\n\(\d+ more\)\n$`},
	`'"198.51.100.77" in addresses'`:                   {`(?m)^(2026\S+  198\.51\.100\.77 .*\n){30}`},
	`-group-by service -every 1h`:                      {`(?m)^2026-03-02T08:00:00Z  ssh +2\.7 MB$`, `(?m)^2026-03-02T09:00:00Z  https +1\.1 GB$`},
	`-group-by service -every 10m`:                     {`(?m)^https +.*█.* peak 7\d\d\.\d MB$`, `2026-03-02T08:00:00Z to `},
	`-group-by client,server_port -count`:              {`(?m)^203\.0\.113\.7 +23 +3$`, `(?m)^198\.51\.100\.77 +22 +6$`},
	`-of flows -filter 'action == "REJECT"' -group-by`: {`(?m)^eni-064d4d22cf562027a +23 +2$`},
	`-from 2026-03-02T09:00:00Z`:                       {`(?m)^ +443 +1\.1 GB +358\.\d MB +\+7\d\d\.\d MB$`, `(?m)^ +22 .* -2\.\d MB$`},
	`-from 24h -compare 24h`:                           {`(?m)^ +443 +9 +5 +\+4$`, `(?m)^ +23 +3 +0 +\+3$`},
	`-order-by bytes_out`:                              {`(?m)^2026-03-02T09:20:00Z  10\.0\.40\.107  192\.0\.2\.45 +443 +174\.0 MB +119 s$`},
	`-group-by hour,outcome`:                           {`(?m)^8 answered +[\d,]+ █+`, `(?m)^8 rejected +929 █+`},
	`-format csv`:                                      {`^first,last,src,src_port,`, `,REJECT,`},
	`-format json -top 3`:                              {`^\{"client":"10\.0\.40\.107","sum\(bytes\)":7\d+\}`},
	`-format parquet`:                                  {`^$`},
	`-from 2h -group-by client -sum bytes`:             {`^CLIENT  SUM\(BYTES\)\n$`},
	`-rules examples/rules -examples 1`:                {`26 rules, \d+ alerts`, `198\.51\.100\.78 tried 910 ports`, `(?m)^rule:ssh-refused-often: 1$`},
	`-rules examples/rules/data.yaml -against`:         {`against 10 rules with \d+ alerts: \d+ added, \d+ removed`, `(?m)^\+ rule:upload-large: 1$`, `(?m)^- rule:many-sources: 1$`},
	`-rules "$WORK/imported.yaml"`:                     {`Many Refused Logins: 198\.51\.100\.77`},
}

// check holds an answer to what the page's reader is promised.
func check(t *testing.T, line, out string) {
	t.Helper()
	found := false
	for part, res := range wants {
		if !strings.Contains(line+" ", part) {
			continue
		}
		found = true
		for _, re := range res {
			if !regexp.MustCompile(re).MatchString(out) {
				t.Errorf("%s: %q is not in\n%.3000s", line, re, out)
			}
		}
	}
	if !found {
		t.Errorf("the page asks what this test knows no answer to: %s", line)
	}
}

// recentLog is a log of yesterday and today: five sessions a day earlier, nine
// today, and three refused attempts at telnet.
func recentLog(t *testing.T, path string) {
	t.Helper()
	var b strings.Builder
	now, n := time.Now().Unix(), int64(0)
	session := func(at int64, client, server string, port int, action string) {
		n++
		fmt.Fprintf(&b, "2 123456789010 eni-0aaaaaaaaaaaaaaaa %s %s %d %d 6 6 600 %d %d %s OK\n", client, server, 30000+n, port, at, at+20, action)
		if action == "ACCEPT" {
			fmt.Fprintf(&b, "2 123456789010 eni-0aaaaaaaaaaaaaaaa %s %s %d %d 6 5 5000 %d %d %s OK\n", server, client, port, 30000+n, at, at+20, action)
		}
	}
	for i := range int64(5) {
		session(now-40*3600+60*i, "10.0.0.10", "192.0.2.1", 443, "ACCEPT")
	}
	for i := range int64(9) {
		session(now-10*3600+60*i, "10.0.0.10", "192.0.2.1", 443, "ACCEPT")
	}
	for i := range int64(3) {
		session(now-9*3600+60*i, "203.0.113.7", "10.0.0.10", 23, "REJECT")
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestQuestions asks every question of docs/query.md and docs/rules.md of a
// running pipeline: of `flowstitch run -serve`, and of the three services over
// the best broker that the machine has, after both were fed the same logs. Each
// answer says what the log is known to hold, and is the answer that the same
// question over the files has.
func TestQuestions(t *testing.T) {
	if os.Getenv(kafkatest.EnvReal) != "1" && os.Getenv("FLOWSTITCH_LONG") != "1" {
		t.Skip("set FLOWSTITCH_REAL=1 or FLOWSTITCH_LONG=1: two pipelines and some minutes")
	}
	a := asker{bin: build(t), work: t.TempDir()}
	recent := filepath.Join(a.work, "recent.log")
	recentLog(t, recent)
	a.files = incident + " " + recent
	a.must(t, `flowstitch rules import -o "$WORK/imported.yaml" examples/rules/sigma`)
	var lines, answers []string
	for _, page := range []string{"docs/query.md", "docs/rules.md"} {
		lines = append(lines, questions(t, page)...)
	}
	for _, line := range lines {
		out := a.must(t, a.overFiles(line))
		answers = append(answers, sorted(out))
		check(t, line, out)
	}
	for name, start := range map[string]func(*testing.T, *asker){"run -serve": serve, "three services": services} {
		t.Run(name, func(t *testing.T) {
			b := a
			b.work = t.TempDir()
			start(t, &b)
			b.must(t, `flowstitch rules import -o "$WORK/imported.yaml" examples/rules/sigma`)
			for i, line := range lines {
				out := b.must(t, b.overTopics(line))
				if got := sorted(out); got != answers[i] {
					t.Errorf("%s: over the topics\n%.2000s\nover the files\n%.2000s", line, got, answers[i])
				}
				check(t, line, out)
			}
			b.parquet(t)
			b.tails(t)
			b.partial(t)
		})
	}
}

// serve runs `flowstitch run -serve` until the test ends.
func serve(t *testing.T, a *asker) {
	t.Helper()
	cmd := exec.Command(filepath.Join(a.bin, "flowstitch"), append([]string{"run", "-quiet", "-serve", "127.0.0.1:0"}, strings.Fields(a.files)...)...)
	cmd.Dir = root
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, over := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(over)
		var text []byte
		stays := regexp.MustCompile(`The broker stays at (\S+);`)
		for buf := make([]byte, 4096); ; {
			n, err := out.Read(buf)
			text = append(text, buf[:n]...)
			if m := stays.FindSubmatch(text); m != nil && len(said) == 0 {
				said <- string(m[1])
				_, _ = io.Copy(io.Discard, out)
				return
			}
			if err != nil {
				said <- ""
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-over
		if err := cmd.Wait(); err != nil {
			t.Errorf("run -serve ended with %v", err)
		}
	})
	select {
	case addr := <-said:
		if addr == "" {
			t.Fatal("run -serve ended before the broker was there")
		}
		a.source = "-brokers " + addr
	case <-time.After(3 * time.Minute):
		t.Fatal("run -serve did not finish the files")
	}
}

// services runs the three services over the best broker until the test ends.
func services(t *testing.T, a *asker) {
	t.Helper()
	c := kafkatest.Start(t)
	common := service.DefaultCommon()
	common.Kafka.Brokers = c.Addrs
	common.Pipeline.Prefix = kafkatest.Prefix(t)
	common.Pipeline.Partitions, common.Pipeline.Slots = 4, 2
	common.Pipeline.CommitInterval = 200 * time.Millisecond
	common.Telemetry.Listen = ""
	cfg := pipeline.Default(common)
	for _, f := range strings.Fields(a.files) {
		if !filepath.IsAbs(f) {
			f = filepath.Join(root, f)
		}
		cfg.Ingest.Files = append(cfg.Ingest.Files, f)
	}
	tel := telemetry.Quiet()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- pipeline.Run(ctx, cfg, tel) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the services ended with %v", err)
		}
	})
	limit := time.NewTimer(4 * time.Minute)
	defer limit.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !pipeline.Finished(tel.Registry, int(common.Pipeline.Partitions)) {
		select {
		case err := <-done:
			done <- err
			t.Fatalf("the services ended with %v", err)
		case <-limit.C:
			t.Fatal("the services did not finish the files")
		case <-tick.C:
		}
	}
	a.source = "-brokers " + strings.Join(c.Addrs, ",") + " -prefix " + common.Pipeline.Prefix
}

// parquet reads back what the page writes for DuckDB.
func (a *asker) parquet(t *testing.T) {
	t.Helper()
	a.must(t, a.overTopics(`flowstitch query -format parquet -o "$WORK/sessions.parquet" `+incident))
	type row struct {
		First    time.Time `parquet:"first,timestamp"`
		Client   string    `parquet:"client"`
		Port     int64     `parquet:"server_port,optional"`
		BytesOut int64     `parquet:"bytes_out,optional"`
	}
	rows, err := parquet.ReadFile[row](filepath.Join(a.work, "sessions.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	var want [2]float64
	for i, col := range strings.Split(strings.TrimSpace(a.must(t, a.overTopics("flowstitch query -count -sum bytes_out -format csv "+incident)+" | sed -n 2p")), ",") {
		if want[i], err = strconv.ParseFloat(col, 64); err != nil {
			t.Fatal(err)
		}
	}
	sum := int64(0)
	for _, r := range rows {
		if sum += r.BytesOut; r.First.Year() < 2026 || r.Client == "" || r.Port < 0 || r.Port > math.MaxUint16 {
			t.Fatalf("a row of the parquet file: %+v", r)
		}
	}
	if float64(len(rows)) != want[0] || float64(sum) != want[1] {
		t.Errorf("the parquet file holds %d sessions with %d bytes, the query says %v", len(rows), sum, want)
	}
}

// tails runs the commands of the page that watch, from the beginning.
func (a *asker) tails(t *testing.T) {
	t.Helper()
	seen := 0
	for _, b := range blocks(t, filepath.Join(root, "docs/query.md")) {
		for line := range strings.Lines(b.text) {
			line = strings.TrimSpace(line)
			if !strings.HasPrefix(line, "flowstitch tail") || !strings.HasPrefix(b.info, "sh") {
				continue
			}
			seen++
			out := a.must(t, a.overTopics(line)+" -from 2026-01-01 -n 3")
			switch {
			case strings.Contains(line, "-format json"):
				for l := range strings.Lines(out) {
					var alert struct {
						Severity int `json:"severity_id"`
						Finding  struct {
							UID string `json:"uid"`
						} `json:"finding_info"`
					}
					if err := json.Unmarshal([]byte(l), &alert); err != nil || alert.Severity < 4 || alert.Finding.UID == "" {
						t.Errorf("%s: %v %+v in %.200s", line, err, alert, l)
					}
				}
			case strings.HasSuffix(line, "alerts"):
				matches(t, line, out, `(?m)^2026-0\S+ \S+Z  [A-Z]+ +\S`, 3)
			case strings.HasSuffix(line, "sessions"):
				matches(t, line, out, `(?m)^2026-\S+Z close    \S+ > \S+:22 tcp `, 3)
			case strings.HasSuffix(line, "flows"):
				matches(t, line, out, `(?m)^2026-\S+Z \S+ > \S+ tcp REJECT `, 3)
			}
		}
	}
	if seen < 4 {
		t.Errorf("the page shows %d tails", seen)
	}
}

func matches(t *testing.T, line, out, re string, n int) {
	t.Helper()
	if got := len(regexp.MustCompile(re).FindAllString(out, -1)); got != n {
		t.Errorf("%s: %d times %s in\n%s", line, got, re, out)
	}
}

// partial interrupts a query that still reads: it prints what there is and
// says that it is partial.
func (a *asker) partial(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(a.bin, "flowstitch"), "query", "-of", "flows", "-count", "-")
	cmd.Dir = root
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for i := range 20_000 { // 20,000 s of traffic, a pipe's buffer and more
		if _, err := fmt.Fprintf(in, "2 123456789010 eni-1 10.0.0.1 192.0.2.1 %d 443 6 6 600 %d %d ACCEPT OK\n", 1024+i%50000, 1772438400+i, 1772438420+i); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	in.Close()
	if cmd.ProcessState.ExitCode() != 1 || !regexp.MustCompile(`^ *COUNT\n *[1-9]`).MatchString(out.String()) || !strings.Contains(errs.String(), "PARTIAL: stopped") {
		t.Errorf("an interrupted query: status %d\n%s%s", cmd.ProcessState.ExitCode(), out.String(), errs.String())
	}
}
