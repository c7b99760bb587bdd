package wire

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stubConn takes as many bytes of a write as it is told to.
type stubConn struct {
	net.Conn
	take  int
	wrote int
}

func (c *stubConn) Write(p []byte) (int, error) {
	n := min(c.take, len(p))
	c.wrote += n
	if n < len(p) {
		return n, errors.New("broken")
	}
	return n, nil
}

func newAttempt(t *testing.T) (*attempt, context.Context) {
	ctx, cancel := context.WithCancelCause(t.Context())
	t.Cleanup(func() { cancel(nil) })
	return &attempt{now: time.Now, cancel: cancel, ctx: ctx}, ctx
}

func newFenced(a *attempt, take int) (*fencedConn, *stubConn) {
	stub := &stubConn{take: take}
	c := Fence(stub).(*fencedConn)
	c.reading <- struct{}{}
	c.attempt.Store(a)
	return c, stub
}

func TestAttemptKnowsWhetherBytesLeft(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		takes   []int // of each write of ten bytes
		written bool
	}{
		{"no write", nil, false},
		{"a whole write", []int{10}, true},
		{"a part of it", []int{1}, true},
		{"none of it", []int{0}, false},
		{"none, then all", []int{0, 10}, true},
		{"all, then none", []int{10, 0}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a, _ := newAttempt(t)
			c, stub := newFenced(a, 0)
			for _, stub.take = range test.takes {
				_, _ = c.Write(make([]byte, 10))
			}
			assert.Equal(t, test.written, a.seal())
			assert.Equal(t, test.written, a.seal(), "asked twice")

			before := stub.wrote
			stub.take = 10
			if _, err := c.Write(make([]byte, 10)); !test.written {
				require.ErrorIs(t, err, errSealed, "nothing leaves after the answer was no")
				assert.Equal(t, before, stub.wrote)
			}
		})
	}
}

func TestAttemptLeavesOnOneConnectionOnly(t *testing.T) {
	t.Parallel()
	a, ctx := newAttempt(t)
	broken, _ := newFenced(a, 0)
	first, _ := newFenced(a, 10)
	second, stub := newFenced(a, 10)

	_, err := broken.Write([]byte("x"))
	require.Error(t, err)
	_, err = first.Write([]byte("x"))
	require.NoError(t, err, "a connection that took nothing does not count")
	_, err = second.Write([]byte("x"))
	require.ErrorIs(t, err, errSecondWrite)
	assert.Zero(t, stub.wrote)
	require.ErrorIs(t, context.Cause(ctx), errSecondWrite)
}

func TestAttemptIsFencedByBothClocks(t *testing.T) {
	t.Parallel()
	now := time.Now() // with a monotonic reading
	suspended := func() time.Time { return now.Round(0).Add(time.Hour) }
	a := &attempt{now: suspended, notAfter: now.Add(time.Second)}
	assert.True(t, a.late())
	// The wall clock was set back by an hour, and two seconds passed.
	assert.True(t, (&attempt{now: func() time.Time { return now.Add(2 * time.Second) }, notAfter: now.Add(time.Second)}).late())
	assert.False(t, (&attempt{now: func() time.Time { return now }, notAfter: now}).late(), "the bound itself is not late")
	assert.False(t, (&attempt{now: time.Now}).late(), "no bound")
}

func TestAConnectionOfNobodyWritesNothing(t *testing.T) {
	t.Parallel()
	stub := &stubConn{take: 10}
	_, err := (&fencedConn{Conn: stub}).Write([]byte("x"))
	require.ErrorIs(t, err, errNoAttempt)
	assert.Zero(t, stub.wrote)
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
		{live, wrap(errors.New("http: server closed idle connection")), true, "connection_closed"},
		{live, wrap(errors.New("odd")), true, "network"},
		{live, nil, false, "unsolicited_answer"},
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

// What decides it: nothing is written before the transport waits for the answer.
func TestAWriteAwaitsTheReader(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		event func(c *fencedConn, cancel func())
		err   error
	}{
		{"who comes", func(c *fencedConn, _ func()) { _, _ = c.Read(make([]byte, 1)) }, nil},
		{"who is gone", func(c *fencedConn, _ func()) { _ = c.Close() }, net.ErrClosed},
		{"whom nobody waits for any more", func(_ *fencedConn, cancel func()) { cancel() }, errSealed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				near, far := net.Pipe()
				c := Fence(near).(*fencedConn)
				c.attempt.Store(&attempt{now: time.Now, cancel: cancel, ctx: ctx})
				got := make(chan error)
				go func() {
					_, err := c.Write([]byte("x"))
					got <- err
				}()
				synctest.Wait()
				assert.False(t, c.attempt.Load().written(), "nothing was written yet")

				ended := make(chan struct{})
				go func() { defer close(ended); test.event(c, func() { cancel(nil) }) }()
				if test.err == nil {
					_, err := far.Read(make([]byte, 1))
					require.NoError(t, err)
				}
				require.ErrorIs(t, <-got, test.err)
				require.NoError(t, far.Close())
				<-ended
			})
		})
	}
}
