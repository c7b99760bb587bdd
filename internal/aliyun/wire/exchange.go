package wire

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
)

// ErrCallTimeout is the cause with which the context of a whole call ends.
var ErrCallTimeout = errors.New("the call took too long")

// Exchange is one call. The SDK builds and signs the request; the exchange carries it
// and keeps the answer, because the SDK loses the status of what it can't parse, and its
// errors hold the URL.
type Exchange struct {
	attempt
	transport http.RoundTripper

	err error // no readable answer came

	Built    bool            // the SDK could make a request at all
	Written  bool            // bytes of the request may have left
	Status   int             // of the answer; 0: none
	Date     string          // the answer's Date header
	Began    time.Time       // when the request was handed to the transport
	Took     time.Duration   // from there to the answer's headers
	Envelope answer.Envelope // of a readable answer, unscrubbed
	Body     []byte          // may not be shown
	SDKErr   error           // the SDK's opinion; may not be shown either
}

// Do makes one exchange: call has the SDK use it as its HTTP client. Nothing is written
// after notAfter (zero: no such bound).
func (c *Client) Do(ctx context.Context, now func() time.Time, notAfter time.Time, call func(*Exchange) error) *Exchange {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x := &Exchange{transport: c.Transport}
	x.ctx, x.cancel, x.now, x.notAfter = ctx, cancel, now, notAfter
	x.SDKErr = Guard(func() error { return call(x) })
	x.Written = x.seal()
	return x
}

// Guard turns a panic into an error: the SDK parses answers by reflection, and an odd one
// must not end the process. The panic's value may quote the answer, so it is dropped.
func Guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the SDK panicked: %T", p)
		}
	}()
	return call()
}

// Call implements the SDK's HttpClient. It ignores the SDK's transport.
func (x *Exchange) Call(req *http.Request, _ *http.Transport) (*http.Response, error) {
	if x.Built {
		return nil, errSecondWrite // the SDK's own retries are off; this keeps them off
	}
	x.Built = true
	if x.Body, x.err = x.roundTrip(req); x.err == nil {
		x.Envelope, x.err = answer.Open(x.Status, x.Body)
	}
	if x.err != nil {
		return nil, answer.ErrUnreadable
	}
	// The headers are left out: the SDK would choose a parser by them.
	return &http.Response{StatusCode: x.Status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(x.Body))}, nil
}

func (x *Exchange) roundTrip(req *http.Request) ([]byte, error) {
	if x.late() {
		return nil, errTooLate
	}
	x.Began = x.now()
	// An http.Client would follow redirects, with phone and passcode, and put the URL into
	// its errors.
	resp, err := x.transport.RoundTrip(req.WithContext(x.traced()))
	if err != nil {
		return nil, err
	}
	x.Status, x.Date, x.Took = resp.StatusCode, resp.Header.Get("Date"), x.now().Sub(x.Began)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// The transport has handed the connection over: the context no longer ends a read.
		return nil, errors.Join(answer.ErrUnreadable, resp.Body.Close())
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, answer.MaxBytes+1))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	return body, err
}

// Answered reports whether a readable answer came, after the request was written.
func (x *Exchange) Answered() bool { return x.Written && x.err == nil }

// Handshake returns why the TLS handshake failed, if it did.
func (x *Exchange) Handshake() error {
	if handshake, failed := errors.AsType[*tlsError](x.err); failed {
		return handshake
	}
	return nil
}

// Fault says why no readable answer came, by a code of ours and its text. The context
// is the call's.
func (x *Exchange) Fault(ctx context.Context) (code, text string) {
	code = x.faultCode(ctx)
	text = answer.Texts[code]
	if x.Status != 0 {
		text = fmt.Sprintf("HTTP %d: %s", x.Status, text)
	}
	return code, text
}

func (x *Exchange) faultCode(ctx context.Context) string {
	timeout, _ := errors.AsType[net.Error](x.err)
	switch {
	case !x.Written && x.late():
		return answer.CodeTooLate
	case x.err == nil:
		return answer.CodeUnsolicited
	case ctx.Err() != nil:
		return EndCode(ctx, x.Written)
	case errors.Is(x.err, answer.ErrUnreadable):
		return answer.CodeUnreadable
	case timeout != nil && timeout.Timeout():
		return timeoutCode(x.Written)
	default:
		return networkCode(x.err)
	}
}

// EndCode tells by a context that ended whether the caller gave up or time ran out.
func EndCode(ctx context.Context, written bool) string {
	if cause := context.Cause(ctx); errors.Is(cause, ErrCallTimeout) || errors.Is(cause, context.DeadlineExceeded) {
		return timeoutCode(written)
	}
	return answer.CodeCanceled
}

func timeoutCode(written bool) string {
	if written {
		return answer.CodeTimeout
	}
	return answer.CodeConnTimeout
}

func networkCode(err error) string {
	if _, isDNS := errors.AsType[*net.DNSError](err); isDNS {
		return answer.CodeDNS
	}
	if _, isTLS := errors.AsType[*tlsError](err); isTLS {
		return answer.CodeTLS
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return answer.CodeRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return answer.CodeReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return answer.CodeUnreachable
	// net/http exports no error for an idle connection that was closed when it was used.
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed idle connection"):
		return answer.CodeClosed
	default:
		return answer.CodeNetwork
	}
}
