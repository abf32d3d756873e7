package wholebody

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// transport is a client made of a function.
type transport func(*http.Request) (*http.Response, error)

func (f transport) Do(r *http.Request) (*http.Response, error) { return f(r) }

func request(t *testing.T, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://stub.invalid", body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestARequestIsSentWholeThoughItsBodyIsClosed, as the SDK does when the head of
// the response is there.
func TestARequestIsSentWholeThoughItsBodyIsClosed(t *testing.T) {
	r := request(t, io.NopCloser(strings.NewReader("all of it")))
	c := Client(transport(func(r *http.Request) (*http.Response, error) {
		if err := r.Body.Close(); err != nil {
			t.Error(err)
		}
		b, err := io.ReadAll(r.Body)
		if string(b) != "all of it" || err != nil || r.ContentLength != 9 {
			t.Errorf("%q of %d bytes was sent, %v", b, r.ContentLength, err)
		}
		return &http.Response{Body: http.NoBody}, nil
	}))
	if _, err := c.Do(r); err != nil {
		t.Error(err)
	}
}

// cut is a body that breaks off.
type cut struct{ io.Reader }

var errCut = errors.New("the connection was reset")

func (c cut) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		err = errCut
	}
	return n, err
}

func (cut) Close() error { return nil }

// TestAResponseThatBreaksOffIsAnError whatever it says of its length, and an
// event stream is handed on as it comes.
func TestAResponseThatBreaksOffIsAnError(t *testing.T) {
	for _, length := range []int64{-1, 0, 4, 1 << 40} {
		for _, c := range []struct {
			kind string
			body io.ReadCloser
			want error
		}{
			{"application/x-amz-json-1.1", cut{strings.NewReader("half")}, errCut},
			{"application/x-amz-json-1.1", io.NopCloser(strings.NewReader("half")), nil},
			{"application/vnd.amazon.eventstream", cut{strings.NewReader("half")}, nil},
		} {
			resp, err := Client(transport(func(*http.Request) (*http.Response, error) {
				return &http.Response{Header: http.Header{"Content-Type": {c.kind}}, ContentLength: length, Body: c.body}, nil
			})).Do(request(t, http.NoBody))
			if !errors.Is(err, c.want) {
				t.Errorf("%s of %d bytes: %v, want %v", c.kind, length, err, c.want)
			}
			if err != nil {
				continue
			}
			b, err := io.ReadAll(resp.Body)
			if string(b) != "half" || (err != nil) != (resp.Header.Get("Content-Type") != "application/x-amz-json-1.1") {
				t.Errorf("%s: %q, %v", c.kind, b, err)
			}
		}
	}
}

func TestErrorsOfTheTransportAreHandedOn(t *testing.T) {
	c := Client(transport(func(*http.Request) (*http.Response, error) { return nil, errCut }))
	if _, err := c.Do(request(t, cut{strings.NewReader("x")})); !errors.Is(err, errCut) {
		t.Errorf("a body that can not be read: %v", err)
	}
	if _, err := c.Do(request(t, http.NoBody)); !errors.Is(err, errCut) {
		t.Errorf("%v", err)
	}
}
