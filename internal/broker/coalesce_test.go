package broker

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// peer is the far end of a connection. It takes writes while it is open, and counts them.
type peer struct {
	net.Conn // nil: what is not replaced is not called

	mu       sync.Mutex
	taken    bytes.Buffer
	writes   int
	fails    error
	stuck    chan struct{} // writes wait until it is closed, or for their deadline; nil: they do not wait
	deadline time.Time
	closed   int
}

func (p *peer) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	if p.stuck != nil {
		until := p.deadline
		p.mu.Unlock()
		var ended error
		select {
		case <-p.stuck:
		case <-time.After(time.Until(until)):
			ended = errors.New("i/o timeout")
		}
		p.mu.Lock()
		if ended != nil {
			return 0, ended
		}
	}
	if p.fails != nil {
		return 0, p.fails
	}
	return p.taken.Write(b)
}

func (p *peer) SetWriteDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadline = t
	return nil
}

func (p *peer) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed++
	return nil
}

// busy is a coalescer that sent something just now.
func busy(p *peer) *coalescer {
	c := newCoalescer(p)
	c.sent = time.Now()
	return c
}

func TestALoneWriteIsMadeAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		c := busy(p)
		c.sent = c.sent.Add(-seldom - 1)
		_, err := io.WriteString(c, "x")
		require.NoError(t, err)
		assert.Equal(t, "x", p.taken.String())
		_, err = io.WriteString(c, "y")
		require.NoError(t, err)
		synctest.Wait()
		assert.Equal(t, "xy", p.taken.String())

		p.fails = errors.New("broken pipe")
		c.sent = c.sent.Add(-seldom - 1)
		_, err = io.WriteString(c, "z")
		require.ErrorIs(t, err, p.fails)
		assert.Equal(t, 1, p.closed)
		require.NoError(t, c.Close())
	})
}

func TestWritesOfManyGoInFew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &peer{stuck: make(chan struct{})}
		c := busy(p)
		var writers sync.WaitGroup
		for w := range 50 {
			writers.Go(func() {
				for i := range 20 {
					n, err := fmt.Fprintf(c, "<%d:%d>", w, i)
					assert.NoError(t, err)
					assert.Positive(t, n)
				}
			})
		}
		synctest.Wait() // the first write is in progress, everybody else has left theirs
		close(p.stuck)
		writers.Wait()
		require.NoError(t, c.Close())
		assert.LessOrEqual(t, p.writes, 2)
		sent := p.taken.String()
		assert.Equal(t, 50*20, strings.Count(sent, "<"))
		for w := range 50 {
			last := -1
			for i := range 20 {
				at := strings.Index(sent, fmt.Sprintf("<%d:%d>", w, i))
				assert.Greater(t, at, last, "each writer's bytes keep their order")
				last = at
			}
		}
	})
}

func TestAWriteThatFailsClosesTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken pipe")
		p := &peer{fails: broken}
		c := busy(p)
		_, err := io.WriteString(c, "x")
		require.NoError(t, err, "it was only left")
		synctest.Wait()
		_, err = io.WriteString(c, "y")
		require.ErrorIs(t, err, broken)
		assert.Equal(t, 1, p.closed, "so that the reader notices")
		require.NoError(t, c.Close())
		assert.Equal(t, 1, p.writes)
	})
}

func TestAPeerThatTakesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &peer{stuck: make(chan struct{})}
		c := busy(p)
		_, err := c.Write(make([]byte, 1))
		require.NoError(t, err)
		synctest.Wait()
		_, err = c.Write(make([]byte, maxPending+1))
		require.NoError(t, err)
		began := time.Now()
		_, err = c.Write(make([]byte, 1))
		require.ErrorContains(t, err, "i/o timeout", "no more is taken than there is room for")
		assert.Equal(t, writeTimeout, time.Since(began))
	})
}

func TestCloseSendsWhatIsPendingIfItCan(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &peer{}
		c := busy(p)
		_, err := io.WriteString(c, "the last words")
		require.NoError(t, err)
		require.NoError(t, c.Close())
		assert.Equal(t, "the last words", p.taken.String())
		_, err = io.WriteString(c, "x")
		require.ErrorIs(t, err, net.ErrClosed)

		p = &peer{stuck: make(chan struct{})}
		c = busy(p)
		_, err = io.WriteString(c, "x")
		require.NoError(t, err)
		began := time.Now()
		require.NoError(t, c.Close())
		assert.Equal(t, closeTimeout, time.Since(began), "a peer that takes nothing does not hold it up for long")
	})
}
