package eval

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/flowstitch/flowstitch/pkg/detect"
)

func TestProbe(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join("../../../shared/data/labelled", os.Getenv("SET")+"*.log.gz"))
	for _, f := range files {
		in, err := os.Open(f)
		if err != nil {
			t.Fatal(err)
		}
		list, err := ReadLog(in, f)
		in.Close()
		if err != nil {
			t.Fatal(f, err)
		}
		set := detect.DefaultSettings()
		p := NewPipeline(&set)
		begin := time.Now()
		for i := range list {
			p.Record(&list[i])
		}
		p.Finish()
		uids := map[string]int{}
		fmt.Printf("=== %s: %d records %d events %d obs %d bytes in %v\n", filepath.Base(f), p.Records, p.Events, p.Obs, p.Bytes, time.Since(begin))
		for _, s := range p.Statements {
			uids[s.UID.String()]++
			if os.Getenv("ALL") != "" || s.Activity == 3 {
				fmt.Printf("  %v %s %s %s %s p=%d: %s\n", s.Said.UTC().Format("15:04:05"), s.Detector.ID, s.Activity, s.Verdict, s.Severity, len(s.Peers), s.Sentence)
			}
		}
		fmt.Println("  findings:", len(uids), "statements:", len(p.Statements))
	}
}
