package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/segmentio/encoding/json"

	"github.com/flowstitch/flowstitch/pkg/rule"
)

func fieldsCommand() command {
	return command{
		name:    "fields",
		summary: "list the fields that filters, queries and rules may use",
		usage: `Usage:  flowstitch fields [flags] [WORD ...]

Lists the names of the filter language with their types, what they mean and an
example. Words keep the fields whose name or meaning holds one of them.

Examples:
  flowstitch fields
  flowstitch fields bytes
  flowstitch fields -of flows -format json`,
		run: runFields,
	}
}

func runFields(_ context.Context, e *env, args []string) error {
	fs := newFlags(e, fieldsCommand())
	of := fs.String("of", "sessions", "sessions, flows or alerts")
	var format string
	formatFlag(fs, &format, "table", "json")
	if err := parseFlags(fs, args); err != nil {
		return err
	}
	schema, err := schemaOf(*of)
	if err != nil {
		return err
	}
	var fields []rule.Field
	for _, f := range schema.Fields() {
		if wanted(f, fs.Args()) {
			fields = append(fields, f)
		}
	}
	if format == "json" {
		return fieldsJSON(e, fields)
	}
	return fieldsTable(e, fields)
}

func wanted(f rule.Field, words []string) bool {
	for _, w := range words {
		if strings.Contains(f.Name, w) || strings.Contains(f.Doc, w) {
			return true
		}
	}
	return len(words) == 0
}

// maxValues is up to how many values of an enumerated field are listed.
const maxValues = 8

func fieldsTable(e *env, fields []rule.Field) error {
	for _, f := range fields {
		typ := f.Type.String()
		if f.Unit != "" {
			typ += " (" + f.Unit + ")"
		}
		doc := f.Doc
		values := slices.DeleteFunc(slices.Clone(f.Values), func(v string) bool { return v == "" })
		if n := len(values); n > 0 && n <= maxValues {
			doc += ": " + strings.Join(values, ", ")
		}
		if _, err := fmt.Fprintf(e.stdout, "%-17s %-18s %s\n%36s e.g. %s\n", f.Name, typ, doc, "", f.Example); err != nil {
			return err
		}
	}
	return nil
}

func fieldsJSON(e *env, fields []rule.Field) error {
	type line struct {
		Name    string   `json:"name"`
		Type    string   `json:"type"`
		Unit    string   `json:"unit,omitempty"`
		Doc     string   `json:"doc"`
		Example string   `json:"example"`
		Values  []string `json:"values,omitempty"`
		Grows   bool     `json:"grows,omitempty"`
	}
	enc := json.NewEncoder(e.stdout)
	enc.SetEscapeHTML(false)
	for _, f := range fields {
		if err := enc.Encode(line{f.Name, f.Type.String(), f.Unit, f.Doc, f.Example, f.Values, f.Grows}); err != nil {
			return err
		}
	}
	return nil
}
