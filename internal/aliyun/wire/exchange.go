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

// Exchange is one call: the SDK builds and signs the request, and hands it to the
// exchange, which runs it and keeps what came back. The SDK itself loses the status
// of an answer that it can't parse, and its errors hold the URL.
type Exchange struct {
	attempt
	ctx    context.Context
	client *http.Client

	asked bool  // the SDK got as far as handing over a request
	err   error // no readable answer came

	Written  bool            // bytes of the request may have left
	Status   int             // of the answer; 0 where none came
	Date     string          // the answer's Date header
	Began    time.Time       // when the request was handed to the transport
	Took     time.Duration   // from there to the answer's headers
	Envelope answer.Envelope // of a readable answer, as is
	Body     []byte          // must never be shown to anybody
	SDKErr   error           // what the SDK made of it; must never be shown either
}

// Do makes one exchange. The function has the SDK make its call with the exchange as
// its HTTP client. Nothing is written after notAfter (zero: no such bound).
func (c *Client) Do(ctx context.Context, now func() time.Time, notAfter time.Time, call func(*Exchange) error) *Exchange {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x := &Exchange{ctx: ctx, client: c.HTTP}
	x.now, x.notAfter, x.cancel, x.done = now, notAfter, cancel, ctx.Done()
	x.SDKErr = Guard(func() error { return call(x) })
	x.Written = x.seal()
	return x
}

// Guard turns a panic into an error: the SDK parses bytes from outside by
// reflection, and an odd answer must cost one call, not the process. The value
// is dropped, since it may quote the answer.
func Guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the SDK panicked: %T", p)
		}
	}()
	return call()
}

// Call implements the SDK's HttpClient. The transport that the SDK would use is
// ignored.
func (x *Exchange) Call(req *http.Request, _ *http.Transport) (*http.Response, error) {
	if x.asked {
		return nil, errSecondWrite // the SDK's own retries are off; this keeps them off
	}
	x.asked = true
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
	// net/http repeats a request that carries one of these on another
	// connection, even where the first may have been acted upon.
	req.Header.Del("Idempotency-Key")
	req.Header.Del("X-Idempotency-Key")
	x.Began = x.now()
	resp, err := x.client.Do(req.WithContext(x.trace(x.ctx)))
	if err != nil {
		return nil, err
	}
	x.Status, x.Date, x.Took = resp.StatusCode, resp.Header.Get("Date"), x.now().Sub(x.Began)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// The transport has handed the connection over and no longer ends it with
		// the context: whoever reads on may wait for ever.
		return nil, errors.Join(answer.ErrUnreadable, resp.Body.Close())
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, answer.MaxBytes+1))
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	return body, err
}

// Built reports whether the SDK could make a request at all.
func (x *Exchange) Built() bool { return x.asked || x.Written }

// Answered reports whether a readable answer to our request came. One that came
// before anything was written answers something else.
func (x *Exchange) Answered() bool { return x.Written && x.asked && x.err == nil }

// Handshake returns why the TLS handshake failed; nil where it didn't.
func (x *Exchange) Handshake() error {
	var handshake *tlsError
	if errors.As(x.err, &handshake) {
		return handshake
	}
	return nil
}

// Fault says, by a code of ours and a text for people, why no readable answer came.
// The context is the call's.
func (x *Exchange) Fault(ctx context.Context) (code, text string) {
	code = x.faultCode(ctx)
	text = answer.Texts[code]
	if x.Status != 0 {
		text = fmt.Sprintf("HTTP %d: %s", x.Status, text)
	}
	return code, text
}

func (x *Exchange) faultCode(ctx context.Context) string {
	switch {
	case !x.Written && x.late():
		return answer.CodeTooLate
	case x.err == nil:
		return answer.CodeUnsolicited
	case ctx.Err() != nil:
		return EndCode(ctx, x.Written)
	case errors.Is(x.err, answer.ErrUnreadable):
		return answer.CodeUnreadable
	case timedOut(x.err):
		return timeoutCode(x.Written)
	default:
		return networkCode(x.err)
	}
}

// EndCode tells a caller who gave up from time that ran out, by a context that ended.
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

// timedOut asks every link of the chain: a *url.Error answers for its next link
// alone, so that errors.As would stop too early.
func timedOut(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // each link is asked
			return true
		}
	}
	return false
}

func networkCode(err error) string {
	var dns *net.DNSError
	var handshake *tlsError
	switch {
	case errors.As(err, &dns):
		return answer.CodeDNS
	case errors.As(err, &handshake):
		return answer.CodeTLS
	case errors.Is(err, syscall.ECONNREFUSED):
		return answer.CodeRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return answer.CodeReset
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return answer.CodeUnreachable
	// net/http has no name for the error of an idle connection that the server
	// closed at the moment of use.
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed idle connection"):
		return answer.CodeClosed
	default:
		return answer.CodeNetwork
	}
}
