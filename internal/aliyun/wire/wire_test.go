package wire

import (
	"bufio"
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stubConn takes as many bytes of a write as it is told to, and answers nothing.
type stubConn struct {
	net.Conn
	take int
}

func (c *stubConn) Write(p []byte) (int, error) {
	if c.take < len(p) {
		return c.take, errors.New("broken")
	}
	return len(p), nil
}
func (*stubConn) Read([]byte) (int, error)    { return 0, io.EOF }
func (*stubConn) SetDeadline(time.Time) error { return nil }
func (*stubConn) Close() error                { return nil }

func exchange(t *testing.T, c *Client) *Exchange {
	t.Helper()
	return c.Do(t.Context(), time.Now, time.Time{}, func(x *Exchange) error {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:1/", nil)
		require.NoError(t, err)
		_, err = x.Call(request, nil) //nolint:bodyclose // there is none
		return err
	})
}

func TestAnExchangeKnowsWhetherBytesLeft(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		take    int
		written bool
	}{
		{"a whole write", 1 << 20, true},
		{"a part of it", 1, true},
		{"none of it", 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := New(time.Minute, time.Minute, 1, nil)
			defer c.Close()
			dials := 0
			c.Dial = func(context.Context, string, string) (net.Conn, error) {
				dials++
				return &stubConn{take: test.take}, nil
			}
			x := exchange(t, c)
			require.Error(t, x.SDKErr)
			assert.Equal(t, test.written, x.Written)
			assert.Equal(t, 1, dials, "a new connection that fails is not followed by another one")
		})
	}
}

func TestAnExchangeCarriesOneRequest(t *testing.T) {
	t.Parallel()
	c := New(time.Minute, time.Minute, 1, nil)
	defer c.Close()
	c.Dial = func(context.Context, string, string) (net.Conn, error) { return &stubConn{take: 1 << 20}, nil }
	x := exchange(t, c)
	_, err := x.Call(nil, nil) //nolint:bodyclose // there is none
	require.ErrorIs(t, err, errSecondRequest)
}

func TestTheFenceIsPassedByEitherClock(t *testing.T) {
	t.Parallel()
	now := time.Now() // with a monotonic reading
	fenced := &Exchange{notAfter: now.Add(time.Second)}
	assert.True(t, fenced.late(now.Round(0).Add(time.Hour)), "the machine was suspended")
	// The wall clock was set back by an hour, and two seconds passed.
	assert.True(t, fenced.late(now.Add(2*time.Second)))
	assert.False(t, fenced.late(fenced.notAfter), "the bound itself is not late")
	assert.False(t, new(Exchange).late(now), "no bound")
}

func TestFaultCodes(t *testing.T) {
	t.Parallel()
	wrap := func(err error) error {
		return fmt.Errorf("wrapped: %w", &net.OpError{Op: "dial", Err: err})
	}
	live := t.Context()
	canceled, cancel := context.WithCancel(live)
	cancel()
	expired, cancel := context.WithTimeoutCause(live, -1, ErrCallTimeout)
	defer cancel()
	for _, test := range []struct {
		ctx     context.Context
		err     error
		written bool
		want    string
	}{
		{live, wrap(&net.DNSError{Err: "no such host", Name: "h", IsNotFound: true}), false, "dns"},
		{live, wrap(os.NewSyscallError("connect", syscall.ECONNREFUSED)), false, "connection_refused"},
		{live, wrap(os.NewSyscallError("connect", syscall.ENETUNREACH)), false, "unreachable"},
		{live, wrap(os.NewSyscallError("write", syscall.EPIPE)), true, "connection_reset"},
		{live, wrap(&tlsError{x509.UnknownAuthorityError{}}), false, "tls"},
		{live, wrap(os.ErrDeadlineExceeded), false, "connect_timeout"},
		{live, &tlsError{context.DeadlineExceeded}, false, "connect_timeout"},
		{live, wrap(os.ErrDeadlineExceeded), true, "timeout"},
		{live, wrap(io.EOF), true, "connection_closed"},
		{live, wrap(errors.New("odd")), true, "network"},
		{canceled, wrap(context.Canceled), true, "canceled"},
		{expired, wrap(context.DeadlineExceeded), false, "connect_timeout"},
		{expired, wrap(context.DeadlineExceeded), true, "timeout"},
	} {
		x := &Exchange{Built: true, Written: test.written, err: test.err, Status: 500}
		code, text := x.Fault(test.ctx)
		assert.Equal(t, test.want, code, "%v", test.err)
		assert.Equal(t, "HTTP 500: "+answer.Texts[test.want], text)
	}
}

// TestARequestIsWrittenAsTheTransportDoes: byte for byte, whatever the SDK may build.
func TestARequestIsWrittenAsTheTransportDoes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, url, body string
		header            http.Header
	}{
		{http.MethodGet, "http://127.0.0.1:1/", "", nil},
		{http.MethodPost, "http://127.0.0.1:1/?PhoneNumbers=1&SignName=%E6%B5%8B", "", http.Header{
			"User-Agent": {"AlibabaCloud"}, "X-Acs-Date": {"2026-11-26T00:00:00Z"}, "Authorization": {"ACS3"},
		}},
		{http.MethodPost, "http://127.0.0.1:1", "a=b", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}},
	} {
		var sent []string
		dial := func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() {
				var read bytes.Buffer
				request, err := http.ReadRequest(bufio.NewReader(io.TeeReader(far, &read)))
				if err == nil {
					_, err = io.Copy(io.Discard, request.Body)
				}
				assert.NoError(t, err)
				sent = append(sent, read.String())
				_, _ = io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
				_ = far.Close()
			}()
			return near, nil
		}
		request := func() *http.Request {
			r, err := http.NewRequestWithContext(t.Context(), test.method, test.url, strings.NewReader(test.body))
			require.NoError(t, err)
			if r.Header = test.header.Clone(); r.Header == nil {
				r.Header = http.Header{}
			}
			return r
		}
		theirs := &http.Transport{DialContext: dial, DisableCompression: true}
		response, err := theirs.RoundTrip(request())
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		theirs.CloseIdleConnections()

		c := New(time.Minute, time.Minute, 1, nil)
		c.Dial = dial
		x := c.Do(t.Context(), time.Now, time.Time{}, func(x *Exchange) error {
			_, err := x.Call(request(), nil) //nolint:bodyclose // it is in memory
			return err
		})
		require.True(t, x.Written, x.SDKErr)
		c.Close()
		require.Len(t, sent, 2)
		assert.Equal(t, sent[0], sent[1])
	}
}
