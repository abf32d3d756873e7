package kpl

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
)

func collect(t *testing.T, b []byte) (out []string) {
	t.Helper()
	n, records, err := Split(b)
	if err != nil {
		t.Fatal(err)
	}
	for r := range records {
		out = append(out, string(r))
	}
	if n != len(out) {
		t.Errorf("said %d records, gave %d", n, len(out))
	}
	return out
}

// The bytes were put together by hand from the published format: two partition
// keys, two records, the second with an explicit hash key index and a tag.
func TestGolden(t *testing.T) {
	body := ""
	body += "0a026b31" + "0a026b32" + "1203313233"
	body += "1a0a" + "0800" + "1a06" + "68656c6c6f31"
	body += "1a11" + "0801" + "1000" + "1a05" + "776f726c64" + "2204" + "0a026b31"
	raw, err := hex.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	sum := md5.Sum(raw)
	agg := append(append([]byte{0xf3, 0x89, 0x9a, 0xc2}, raw...), sum[:]...)
	if got := collect(t, agg); fmt.Sprint(got) != "[hello1 world]" {
		t.Errorf("got %q", got)
	}
}

func TestBroken(t *testing.T) {
	good := Join("k", []byte("a"), []byte("b"))
	flipped := bytes.Clone(good)
	flipped[6] ^= 1
	noRecords := append([]byte{}, magic[:]...)
	empty := md5.Sum(nil)
	for name, b := range map[string][]byte{"flipped": flipped, "cut": good[:len(good)-1], "magic only": magic[:],
		"empty body": append(noRecords, empty[:]...), "not one": []byte("2 1234 eni-1")} {
		if _, _, err := Split(b); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("one"), []byte(""), false)
	f.Add([]byte("x"), Join("k", []byte("y")), true)
	f.Fuzz(func(t *testing.T, a, b []byte, sign bool) {
		if got := collect(t, Join("pk", a, b)); got[0] != string(a) || got[1] != string(b) {
			t.Errorf("got %q", got)
		}
		raw := append(append([]byte{}, magic[:]...), b...)
		if sign { // a right MD5 over arbitrary bytes gets to the structure
			sum := md5.Sum(b)
			raw = append(raw, sum[:]...)
		}
		if n, records, err := Split(raw); err == nil {
			for range records {
				n--
			}
			if n != 0 {
				t.Errorf("the number of records is off by %d", n)
			}
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	line := []byte("2 123456789012 eni-0a1b2c3d4e5f60718 10.0.1.5 203.0.113.9 49152 443 6 20 4249 1700000000 1700000060 ACCEPT OK")
	lines := make([][]byte, 100)
	for i := range lines {
		lines[i] = line
	}
	agg := Join("k", lines...)
	b.SetBytes(int64(len(agg)))
	b.ReportAllocs()
	for b.Loop() {
		_, records, err := Split(agg)
		if err != nil {
			b.Fatal(err)
		}
		for range records {
		}
	}
}
