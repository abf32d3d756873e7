// Package config reads a service's YAML file.
//
// It guarantees that a key which the service does not know is an error with
// its line and column, that every problem of a file is told at once, and that
// what it dumps explains each key and loads again to the same configuration.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Validator is a configuration that can judge itself. Validate returns every
// problem at once, joined, each one sentence that names the key.
type Validator interface{ Validate() error }

// maxFile bounds a configuration file, in bytes: far above any real one, far
// below what would hurt.
const maxFile = 4 << 20

// Load reads the YAML file at path over the defaults in cfg, a pointer, and
// validates the result. An empty path leaves the defaults.
func Load(path string, cfg Validator) error {
	if path == "" {
		return cfg.Validate()
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return fmt.Errorf("config %s: %w", path, err)
	}
	if len(b) > maxFile {
		return fmt.Errorf("config %s: larger than %d bytes; is it a configuration file?", path, maxFile)
	}
	if err := Parse(b, cfg); err != nil {
		return fmt.Errorf("config %s: %w", path, err)
	}
	return nil
}

// Parse reads YAML over the defaults in cfg, a pointer, and validates the result.
func Parse(b []byte, cfg Validator) error {
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 { // a fault's excerpt would go to the terminal
		return errors.New("it is not text; is it the YAML file that was meant?")
	}
	err := decode(b, cfg)
	if err != nil && !errors.Is(err, io.EOF) {
		return errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	return cfg.Validate()
}

// decode leaves the defaults alone where the file says nothing: the decoder
// would take a file of comments alone for null, and null for the zero value.
func decode(b []byte, cfg any) error {
	file, err := parser.ParseBytes(b, 0)
	if err != nil {
		return err
	}
	if len(file.Docs) == 0 || file.Docs[0].Body == nil || file.Docs[0].Body.Type() == ast.CommentType {
		return nil
	}
	return yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(cfg)
}

// Dump writes cfg as YAML, each key under what the source says of it: the unit,
// why, how to size it.
func Dump(w io.Writer, cfg any) error {
	b, err := yaml.MarshalWithOptions(cfg, yaml.UseLiteralStyleIfMultiline(true), yaml.WithComment(comments(cfg)))
	if err != nil {
		return fmt.Errorf("config: dump: %w", err)
	}
	_, err = w.Write(b)
	return err
}
