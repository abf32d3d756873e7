package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/flowstitch/flowstitch/pkg/flow"
	"github.com/flowstitch/flowstitch/pkg/flowlog"
)

func decodeCommand() command {
	return command{
		name:    "decode",
		summary: "show what is understood of a flow log, line by line",
		usage: `Usage:  flowstitch decode [flags] FILE...

Reads flow logs the way ingest does and shows each record, and each line that
can not be read with the reason: the first tool when something looks wrong.
FILE may be text, gzip, Parquet, JSON from CloudWatch Logs or Firehose, or - for
standard input. The layout comes from -log-format, a header line, or the values.

Examples:
  flowstitch decode -explain flows.log.gz
  flowstitch decode -format json flows.parquet | head
  aws logs filter-log-events --log-group-name vpc | flowstitch decode -
  flowstitch decode -rejects -log-format '${version} ${srcaddr} ${dstaddr}
      ${srcport} ${dstport} ${protocol} ${start} ${end}' flows.log`,
		run: runDecode,
	}
}

// decodeFlags are the flags of decode.
type decodeFlags struct {
	format, logFormat string
	explain, rejects  bool
}

func (o *decodeFlags) register(fs *flag.FlagSet) {
	formatFlag(fs, &o.format, "table", "json")
	fs.StringVar(&o.logFormat, "log-format", "", logFormatHelp)
	fs.BoolVar(&o.explain, "explain", false, "say at the end which layout was chosen and why, and what was counted")
	fs.BoolVar(&o.rejects, "rejects", false, "print only what could not be read")
}

func runDecode(ctx context.Context, e *env, args []string) error {
	fs := newFlags(e, decodeCommand())
	var o decodeFlags
	o.register(fs)
	files, err := parseMixed(fs, args)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return usagef("name at least one flow log, or - for standard input")
	}
	d, err := flowlog.New(flowlog.Config{Format: o.logFormat})
	if err != nil {
		return usageError{err.Error()}
	}
	out := bufio.NewWriterSize(e.stdout, 64<<10)
	sink := &printer{out: out, json: o.format == "json", rejects: o.rejects, files: len(files) > 1}
	sink.header()
	var failed error
	for _, name := range files {
		failed = errors.Join(failed, decodeFile(ctx, e, d, name, sink))
	}
	if nothingRead(d, failed) {
		return failed
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if o.explain {
		explain(e.stderr, d, sink.unlaid)
	}
	return errors.Join(failed, allRejected(d))
}

// nothingRead reports that the files failed before a line of them was read: the
// error is then all there is to print, without a header or a summary.
func nothingRead(d *flowlog.Decoder, failed error) bool {
	st := d.Stats()
	return failed != nil && st.Lines == 0
}

// allRejected is an error where there were lines, and not one became a record:
// a script that goes by the exit status must not take that for an empty log.
func allRejected(d *flowlog.Decoder) error {
	st := d.Stats()
	n := st.Rejected()
	if n == 0 || st.Records > 0 {
		return nil
	}
	return fmt.Errorf("no line could be read, all %d were rejected; flowstitch decode -rejects says why, -log-format gives the layout", n)
}

// decodeFile reads one file, or standard input.
func decodeFile(ctx context.Context, e *env, d *flowlog.Decoder, name string, sink flowlog.Sink) error {
	o := flow.Origin{Source: name}
	if name == "-" {
		return d.Stream(&interruptible{ctx: ctx, r: e.stdin}, o, sink)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	magic := make([]byte, 4)
	if n, _ := io.ReadFull(f, magic); n == 4 && string(magic) == "PAR1" {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return d.Parquet(f, info.Size(), o, sink)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("%s can not be read twice; give it as standard input: %w", name, err)
	}
	return d.Stream(&interruptible{ctx: ctx, r: f}, o, sink)
}

// interruptible ends a stream when the program is told to stop.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(p)
}
