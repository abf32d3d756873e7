package config

import (
	_ "embed"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
)

// fields holds what the source says of each key, one a line: the field of the Go
// type, a tab, its comment. A test writes it and fails where it is out of date.
//
//go:embed fields.txt
var fields string

// module is what the types' packages begin with, left out in fields.
const module = "github.com/flowstitch/flowstitch/"

// comments returns the comments of the keys of cfg by their YAML paths.
func comments(cfg any) yaml.CommentMap {
	said := make(map[string]string)
	for l := range strings.Lines(fields) {
		if name, text, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "\t"); ok {
			said[name] = text
		}
	}
	out := make(yaml.CommentMap)
	v := reflect.ValueOf(cfg)
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	if v.Kind() == reflect.Struct {
		comment(v, "$", said, out)
	}
	return out
}

// comment adds the comments of a struct's keys below path.
func comment(v reflect.Value, path string, said map[string]string, out yaml.CommentMap) {
	t := v.Type()
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		sub := path + "." + name
		switch {
		case name == "-" || !f.IsExported():
			continue
		case strings.Contains(options, "inline"):
			sub = path
		case name == "":
			continue
		default:
			key := strings.TrimPrefix(t.PkgPath(), module) + "." + t.Name() + "." + f.Name
			left := strings.Contains(options, "omitempty") && v.Field(i).IsZero()
			if text := said[key]; text != "" && !left {
				out[sub] = []*yaml.Comment{yaml.HeadComment(wrap(text)...)}
			}
		}
		if v.Field(i).Kind() == reflect.Struct {
			comment(v.Field(i), sub, said, out)
		}
	}
}

// wrap breaks a text into lines of a readable width, each with a space before it.
func wrap(text string) (lines []string) {
	const width = 96
	line := ""
	for w := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(w) > width {
			lines, line = append(lines, line), ""
		}
		line += " " + w
	}
	return append(lines, line)
}
