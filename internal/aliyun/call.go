package aliyun

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	openapi "github.com/alibabacloud-go/darabonba-openapi/v2/client"
	dysmsapi "github.com/alibabacloud-go/dysmsapi-20170525/v3/client"
)

// maxAnswerBytes bounds an answer. A full page of send details has some 50 KiB.
const maxAnswerBytes = 1 << 20

var (
	errCallTimeout    = errors.New("the call took too long")
	errUnreadable     = errors.New("the answer is not one of the service's")
	errAnswerTooLarge = errors.New("the answer is too large")
)

// exchange is one call: the SDK builds and signs the request, and hands it to
// the exchange, which runs it and keeps what came back. The SDK itself loses the
// status of an answer that it can't parse and wraps errors in texts that hold
// the URL.
type exchange struct {
	attempt
	ctx    context.Context
	client *http.Client

	asked    bool          // the SDK got as far as handing over a request
	written  bool          // bytes of it may have left; final, since the attempt is sealed
	err      error         // no readable answer came
	status   int           // of the answer; 0 where none came
	date     string        // the answer's Date header
	began    time.Time     // when the request was handed to the transport
	took     time.Duration // from there to the answer's headers
	envelope envelope
	body     []byte // of a readable answer; never shown to anybody
	sdkErr   error  // what the SDK made of it; never shown to anybody
}

// Call implements the SDK's HttpClient. The transport that the SDK would use is
// ignored.
func (x *exchange) Call(req *http.Request, _ *http.Transport) (*http.Response, error) {
	if x.asked {
		return nil, errSecondWrite // the SDK's own retries are off; this keeps them off
	}
	x.asked = true
	body, err := x.roundTrip(req)
	if err == nil {
		x.envelope, err = openEnvelope(x.status, body)
	}
	if err != nil {
		x.err = err
		return nil, errUnreadable
	}
	x.body = body
	// The headers are left out: the SDK would choose a parser by them.
	return &http.Response{StatusCode: x.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}, nil
}

func (x *exchange) roundTrip(req *http.Request) ([]byte, error) {
	if x.late() {
		return nil, errTooLate
	}
	// net/http repeats a request that carries one of these on another
	// connection, even where the first may have been acted upon.
	req.Header.Del("Idempotency-Key")
	req.Header.Del("X-Idempotency-Key")
	x.began = x.now()
	resp, err := x.client.Do(req.WithContext(x.trace(x.ctx)))
	if err != nil {
		return nil, err
	}
	x.status, x.date, x.took = resp.StatusCode, resp.Header.Get("Date"), x.now().Sub(x.began)
	var body []byte
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// The transport has handed the connection over and no longer ends it with
		// the context: whoever reads on may wait for ever.
		err = errUnreadable
	} else {
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	}
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err == nil && len(body) > maxAnswerBytes {
		err = errAnswerTooLarge
	}
	return body, err
}

// answered reports whether a readable answer to our request came. One that came
// before anything was written answers something else.
func (x *exchange) answered() bool { return x.written && x.asked && x.err == nil }

// exchange runs one call of the SDK. The function gets a client of its own,
// because the SDK writes to the client's fields in each call.
func (s *Sender) exchange(ctx context.Context, keys *keys, notAfter time.Time, call func(*dysmsapi.Client) error) *exchange {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x := &exchange{ctx: ctx, client: s.http}
	x.now, x.notAfter, x.cancel, x.done = s.opts.Now, notAfter, cancel, ctx.Done()

	client := *s.sdk
	client.Credential = keys
	client.HttpClient = x
	x.sdkErr = guard(func() error { return call(&client) })
	x.written = x.seal()
	return x
}

// guard turns a panic into an error: the SDK parses bytes from outside by
// reflection, and an odd answer must cost one call, not the process. The value
// is dropped, since it may quote the answer.
func guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the SDK panicked: %T", p)
		}
	}()
	return call()
}

// newSDK makes the client that every call copies.
func newSDK(o Options) (*dysmsapi.Client, error) {
	client, err := dysmsapi.NewClient(&openapi.Config{
		Endpoint: &o.Endpoint,
		Protocol: &o.Protocol,
		// The SDK builds a transport for each call before it asks for ours, and
		// takes a proxy for it from the environment: a bad one fails the call, a
		// good one adds its password to our headers. This keeps it from looking.
		NoProxy: &o.Endpoint,
	})
	if err != nil {
		return nil, fmt.Errorf("make the SDK's client: %w", err)
	}
	return client, nil
}
