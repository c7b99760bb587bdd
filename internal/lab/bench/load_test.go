package bench

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stream notes when each job was published.
type stream struct {
	mu    sync.Mutex
	began time.Time
	at    map[int]time.Duration
}

func newStream() *stream { return &stream{began: time.Now(), at: map[int]time.Duration{}} }

func (s *stream) publish(_ context.Context, i int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at[i] = time.Since(s.began)
	return nil
}

func TestRateIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		d := NewDrive(Load{Jobs: 1000, Rate: 50, Publish: s.publish}, NewBook(Requests{}))
		require.NoError(t, d.Run(t.Context()))
		require.Len(t, s.at, 1000)
		for i, at := range s.at {
			assert.Equal(t, time.Duration(i)*20*time.Millisecond, at.Round(time.Microsecond))
		}
	})
}

// TestSlowPublishesCountAsLatency: what the stream holds up, nobody may hide by
// publishing later.
func TestSlowPublishesCountAsLatency(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		book := NewBook(Requests{})
		d := NewDrive(Load{Jobs: 2 * publishers, Rate: 1e6, Publish: func(_ context.Context, i int) error {
			<-time.After(time.Second)
			book.Announced(i, passcode.StatusSent, time.Now())
			return nil
		}}, book)
		require.NoError(t, d.Run(t.Context()))
		assert.InDelta(t, 2*time.Second, time.Duration(book.Progress(Progress{}).Result.Max), float64(time.Millisecond))
	})
}

func TestWithoutARateTheWindowIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		ctx, cancel := context.WithCancel(t.Context())
		d := NewDrive(Load{Jobs: 1000, Window: 10, Publish: s.publish}, NewBook(Requests{}))
		done := make(chan error)
		go func() { done <- d.Run(ctx) }()
		synctest.Wait()
		assert.Len(t, s.at, 10)
		d.Freed()
		d.Freed()
		synctest.Wait()
		assert.Len(t, s.at, 12)
		cancel()
		require.NoError(t, <-done)
		assert.Len(t, s.at, 12)
	})
}

// TestASmallWindowEndsToo: there are more publishers than slots.
func TestASmallWindowEndsToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		var d *Drive
		d = NewDrive(Load{Jobs: 500, Window: 3, Publish: func(ctx context.Context, i int) error {
			defer d.Freed()
			return s.publish(ctx, i)
		}}, NewBook(Requests{}))
		require.NoError(t, d.Run(t.Context()))
		assert.Len(t, s.at, 500)
	})
}

func TestTheTimeIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStream()
		book := NewBook(Requests{})
		d := NewDrive(Load{Jobs: MaxJobs, For: 10 * time.Second, Rate: 100, Publish: s.publish}, book)
		require.NoError(t, d.Run(t.Context()))
		assert.Equal(t, 10*time.Second, time.Since(s.began))
		assert.InDelta(t, 1000, len(s.at), 1)
		assert.Equal(t, len(s.at), book.Progress(Progress{}).Published)
		assert.Equal(t, len(s.at)-1, slices.Max(book.Open()), "no index was left out")
	})
}

func TestAJobThatIsRefusedEndsTheRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		full := errors.New("the stream is full")
		book := NewBook(Requests{})
		d := NewDrive(Load{Jobs: 1000, Rate: 100, Publish: func(_ context.Context, i int) error {
			if i >= 30 {
				return full
			}
			return nil
		}}, book)
		require.ErrorIs(t, d.Run(t.Context()), full)
		assert.Equal(t, 30, book.Progress(Progress{}).Published, "what was refused is not lost")
	})
}
