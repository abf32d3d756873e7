package wholebody

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
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

// do makes a call and reads what it gives.
func do(c aws.HTTPClient, r *http.Request) (got string, sent, received error) {
	resp, err := c.Do(r)
	if err != nil {
		return "", err, nil
	}
	b, err := io.ReadAll(resp.Body)
	return string(b), nil, errors.Join(err, resp.Body.Close())
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
	if _, sent, received := do(c, r); sent != nil || received != nil {
		t.Error(sent, received)
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
			kind           string
			body           io.ReadCloser
			sent, received error
		}{
			{"application/x-amz-json-1.1", cut{strings.NewReader("half")}, errCut, nil},
			{"application/x-amz-json-1.1", io.NopCloser(strings.NewReader("half")), nil, nil},
			{"application/vnd.amazon.eventstream", cut{strings.NewReader("half")}, nil, errCut},
		} {
			got, sent, received := do(Client(transport(func(*http.Request) (*http.Response, error) {
				return &http.Response{Header: http.Header{"Content-Type": {c.kind}}, ContentLength: length, Body: c.body}, nil
			})), request(t, http.NoBody))
			if !errors.Is(sent, c.sent) || !errors.Is(received, c.received) {
				t.Errorf("%s of %d bytes: %v and %v, want %v and %v", c.kind, length, sent, received, c.sent, c.received)
			}
			if sent == nil && got != "half" {
				t.Errorf("%s: %q", c.kind, got)
			}
		}
	}
}

func TestErrorsOfTheTransportAreHandedOn(t *testing.T) {
	c := Client(transport(func(*http.Request) (*http.Response, error) { return nil, errCut }))
	for _, body := range []io.Reader{cut{strings.NewReader("x")}, http.NoBody} {
		if _, sent, _ := do(c, request(t, body)); !errors.Is(sent, errCut) {
			t.Errorf("%v", sent)
		}
	}
}
