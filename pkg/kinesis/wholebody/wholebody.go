// Package wholebody works around the AWS SDK closing a request's body too early.
//
// It guarantees that a request sent through it is sent whole, whatever the SDK
// does to its body meanwhile. The SDK closes the body as soon as it has the
// response's head, while a fast server's answer may overtake the sending; with
// large responses 7 to 16 % of the calls then fail with "use of closed network
// connection" (aws-sdk-go-v2 issues 1825, 2737, 2935).
//
// It also guarantees that a response reaches the SDK whole or as an error, event
// streams apart: the SDK takes a response whose reading fails half way for a
// shorter one, and then a page of GetRecords lacks records, or lacks the next
// iterator and looks like the end of the shard.
package wholebody

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// Client returns a client that sends every request with a body of its own that
// closing does not take away.
func Client(next aws.HTTPClient) aws.HTTPClient { return &client{next} }

type client struct{ next aws.HTTPClient }

// Do implements aws.HTTPClient.
func (c *client) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		if err := r.Body.Close(); err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(b))
		r.ContentLength = int64(len(b))
	}
	resp, err := c.next.Do(r)
	if err != nil || strings.HasPrefix(resp.Header.Get("Content-Type"), "application/vnd.amazon.eventstream") {
		return resp, err
	}
	var whole bytes.Buffer
	if n := resp.ContentLength; n > 0 && n <= mostAhead {
		whole.Grow(int(n) + bytes.MinRead)
	}
	_, err = whole.ReadFrom(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(&whole)
	return resp, nil
}

// mostAhead is for how much a response is believed about its own length: 10 MiB
// of records in base64, with room.
const mostAhead = 16 << 20
