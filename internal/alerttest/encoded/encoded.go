// Package encoded holds alerts against the standards in every form in which
// they can be written, for the tests of packages that raise some.
//
// It guarantees that an alert which passes is valid as OCSF 1.8.0, 1.5.0 and
// 1.1.0 and as ECS 9, and below alert.MaxSize in each. It is apart from alerttest
// because pkg/alert's own tests need that one.
package encoded

import (
	"errors"
	"fmt"
	"testing"

	"github.com/flowstitch/flowstitch/internal/alerttest"
	"github.com/flowstitch/flowstitch/pkg/alert"
)

// Validator returns a function that encodes an alert in every form and says
// what is wrong with any of them.
func Validator(t testing.TB) func(a *alert.Alert) error {
	t.Helper()
	checks := alerttest.All(t)
	encoders := map[string]*alert.Encoder{}
	for form := range checks {
		o := alert.Options{Format: alert.ECS}
		if form != "ecs" {
			schema, err := alert.ParseSchema(form)
			if err != nil {
				t.Fatal(err)
			}
			o = alert.Options{Schema: schema}
		}
		encoders[form] = alert.NewEncoder(o)
	}
	return func(a *alert.Alert) error {
		var errs []error
		for form, check := range checks {
			b, err := encoders[form].Append(nil, a)
			if err == nil && len(b) > alert.MaxSize {
				err = fmt.Errorf("%d bytes", len(b))
			}
			if err == nil {
				err = check(b)
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s of %s as %s: %w", a.Activity, a.Detector.ID, form, err))
			}
		}
		return errors.Join(errs...)
	}
}
