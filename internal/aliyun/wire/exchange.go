// Package wire carries requests to Aliyun over connections of its own, and knows of each
// whether a byte of it was written.
package wire

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
)

// ErrCallTimeout is the cause with which the context of a whole call ends.
var ErrCallTimeout = errors.New("the call took too long")

var (
	errTooLate       = errors.New("too late to write the request")
	errPlain         = errors.New("the answer has been read already")
	errSecondRequest = errors.New("an exchange carries one request")
)

// Exchange is one call. The SDK builds and signs the request; the exchange carries it and keeps the answer, because
// the SDK loses the status of what it can't parse, and its errors hold the URL.
//
// It knows whether bytes of the request left this process, and keeps them in when they must not leave any more.
type Exchange struct {
	client   *Client
	ctx      context.Context // of the call
	now      func() time.Time
	notAfter time.Time // zero: no fence
	call     func(*Exchange) error
	done     chan struct{} // closed after the call

	err error // no readable answer came

	Built    bool            // the SDK could make a request at all
	Written  bool            // bytes of the request may have left
	Status   int             // of the answer; 0: none
	Date     string          // the answer's Date header
	Began    time.Time       // when the request was about to be written
	Took     time.Duration   // from there to the answer's headers
	Envelope answer.Envelope // of a readable answer, unscrubbed
	Plain    bool            // the answer says OK plainly, so the SDK was not asked
	Body     []byte          // may not be shown
	SDKErr   error           // the SDK's opinion; may not be shown either
}

// Do makes one exchange: call has the SDK use it as its HTTP client. Nothing is written
// after notAfter (zero: no such bound).
func (c *Client) Do(ctx context.Context, now func() time.Time, notAfter time.Time, call func(*Exchange) error) *Exchange {
	x := &Exchange{client: c, ctx: ctx, now: now, notAfter: notAfter, call: call, done: make(chan struct{})}
	// On a goroutine of its own, whose stack is short: for each nonce the SDK has its whole stack printed, to read the
	// goroutine's number off the first line. From a handler's depth that takes 9 % of a job's CPU.
	select {
	case c.calls <- x:
	default:
		c.callers.Add(1)
		go x.carry() // not by WaitGroup.Go, which adds to the stack
	}
	<-x.done
	return x
}

// carry makes the call of an exchange, and of those that come after it.
func (x *Exchange) carry() {
	defer x.client.callers.Done()
	for next := x; next != nil; next = x.client.nextCall() {
		next.guard()
	}
}

// guard is [Guard], without its frames on the stack.
func (x *Exchange) guard() {
	defer close(x.done)
	defer func() {
		if p := recover(); p != nil {
			x.SDKErr = panicked(p)
		}
		if x.Plain {
			x.SDKErr = nil
		}
	}()
	x.SDKErr = x.call(x)
}

// Guard turns a panic into an error: the SDK parses answers by reflection, and an odd one
// must not end the process. The panic's value may quote the answer, so it is dropped.
func Guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked(p)
		}
	}()
	return call()
}

func panicked(p any) error { return fmt.Errorf("the SDK panicked: %T", p) }

// Call implements the SDK's HttpClient. It ignores the SDK's transport.
func (x *Exchange) Call(req *http.Request, _ *http.Transport) (*http.Response, error) {
	if x.Built {
		return nil, errSecondRequest // the SDK's own retries are off; this keeps them off
	}
	x.Built = true
	if x.Body, x.err = x.roundTrip(req); x.err == nil {
		if x.Envelope, x.Plain = answer.Plain(x.Status, x.Body); x.Plain {
			return nil, errPlain
		}
		x.Envelope, x.err = answer.Open(x.Status, x.Body)
	}
	if x.err != nil {
		return nil, answer.ErrUnreadable
	}
	// The headers are left out: the SDK would choose a parser by them.
	return &http.Response{StatusCode: x.Status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(x.Body))}, nil
}

// roundTrip makes the exchange on the connection that was used last. One that turns out
// to take nothing was closed by the server, and another one follows.
func (x *Exchange) roundTrip(req *http.Request) ([]byte, error) {
	var out bytes.Buffer
	out.Grow(2 << 10) // more than a request has
	if err := req.Write(&out); err != nil {
		return nil, err
	}
	for {
		if x.late(x.now()) {
			return nil, errTooLate
		}
		conn, kept, err := x.client.take(x.ctx, req.URL)
		if err != nil {
			return nil, err
		}
		body, reusable, err := x.on(conn, req, out.Bytes())
		if reusable {
			x.client.put(conn)
		} else {
			_ = conn.Close() // what was read of the answer counts
		}
		if err == nil || x.Written || !kept || x.ctx.Err() != nil {
			return body, err
		}
	}
}

// on makes the exchange on one connection. It is reusable where nothing is left on it.
func (x *Exchange) on(conn *conn, req *http.Request, request []byte) (body []byte, reusable bool, err error) {
	// The end of the call ends reads and writes.
	live := context.AfterFunc(x.ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer func() { reusable = live() && reusable }()

	// Only a few instructions lie between this look at the clock and the system call.
	now := x.now()
	if x.late(now) {
		return nil, true, errTooLate
	}
	x.Began = now
	n, err := conn.Write(request)
	// A first write that took no byte counts as none under TLS too: nobody can decrypt a part of a record.
	if x.Written = n > 0; err != nil {
		return nil, false, err
	}
	conn.limit.N = maxHeader
	resp, err := readHead(conn.in, req) //nolint:bodyclose // it is read to its end, or its connection is closed
	if err != nil {
		return nil, false, err
	}
	x.Status, x.Date, x.Took = resp.StatusCode, resp.Header.Get("Date"), x.now().Sub(now)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return nil, false, answer.ErrUnreadable
	}
	conn.limit.N = maxHeader + answer.MaxBytes // chunks have heads too
	body, err = io.ReadAll(io.LimitReader(resp.Body, answer.MaxBytes+1))
	whole := err == nil && len(body) <= answer.MaxBytes
	return body, whole && !resp.Close && conn.in.Buffered() == 0, err
}

// readHead reads an answer as far as its body, past any that only says to wait.
func readHead(in *bufio.Reader, req *http.Request) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(in, req)
		if err != nil || resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp, err
		}
	}
}

// late reports whether the fence is passed, by either clock: the monotonic one stands
// still while a machine is suspended, the wall clock can be set back.
func (x *Exchange) late(now time.Time) bool {
	return !x.notAfter.IsZero() && (now.After(x.notAfter) || now.Round(0).After(x.notAfter.Round(0)))
}

// Answered reports whether a readable answer came.
func (x *Exchange) Answered() bool { return x.Built && x.err == nil }

// Handshake returns why the TLS handshake failed, if it did.
func (x *Exchange) Handshake() error {
	if handshake, failed := errors.AsType[*tlsError](x.err); failed {
		return handshake
	}
	return nil
}

// Fault says why no readable answer came, by a code of ours and its text. The context is the call's.
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
	case errors.Is(x.err, errTooLate):
		return answer.CodeTooLate
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
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return answer.CodeClosed
	default:
		return answer.CodeNetwork
	}
}
