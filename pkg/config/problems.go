package config

import (
	"errors"
	"fmt"
)

// Problems collects what is wrong with a configuration, so that a user mends
// it in one go.
type Problems struct{ errs []error }

// Check adds a problem unless ok holds. The sentence names the key first.
func (p *Problems) Check(ok bool, format string, args ...any) {
	if !ok {
		p.errs = append(p.errs, fmt.Errorf(format, args...))
	}
}

// Add adds the problems of a part under its key; nil adds nothing.
func (p *Problems) Add(key string, err error) {
	var joined interface{ Unwrap() []error }
	switch {
	case err == nil:
	case errors.As(err, &joined):
		for _, e := range joined.Unwrap() {
			p.Add(key, e)
		}
	default:
		p.errs = append(p.errs, fmt.Errorf("%s.%w", key, err))
	}
}

// Join adds the problems of a part whose keys are on the same level.
func (p *Problems) Join(err error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// Err returns the problems joined, or nil.
func (p *Problems) Err() error { return errors.Join(p.errs...) }
