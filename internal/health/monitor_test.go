package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// options are those of a worker that nothing ails.
func options(nc *nats.Conn, js jetstream.JetStream) Options {
	return Options{
		JS: js, Stream: "JOBS", Consumer: "w", Connected: nc.IsConnected,
		Account: func() string { return "" }, Standing: func() []error { return nil },
		Repair: func(context.Context) error { return nil }, Logger: slog.New(slog.DiscardHandler),
	}
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	server := brokertest.Server(t)
	nc, js := server.Connect()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	account := ""
	pause, pauseErr := "", error(nil)
	o := options(nc, js)
	o.Account = func() string { return account }
	o.Pause = func(_ context.Context, until time.Time) (string, error) {
		assert.WithinDuration(t, time.Now().Add(time.Minute), until, 30*time.Second)
		return pause, pauseErr
	}
	m := New(o)
	gauges := map[string]func() float64{}
	m.Gauges(func(name, _ string, value func() float64) { gauges[name] = value })
	look := func() []string {
		s := m.ask(ctx)
		m.last.Store(&s)
		return m.NotReady()
	}

	assert.Equal(t, []string{"broker: not asked yet"}, m.NotReady())
	assert.Equal(t, []string{"broker: stream JOBS does not exist"}, look())

	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "JOBS", Subjects: []string{"jobs"}, Retention: jetstream.WorkQueuePolicy})
	require.NoError(t, err)
	assert.Equal(t, []string{"broker: consumer w does not exist"}, look())

	_, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "w", AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
	assert.Empty(t, look())
	assert.Zero(t, gauges["oldest_job_age_seconds"]())

	_, err = js.Publish(ctx, "jobs", nil)
	require.NoError(t, err)
	m.now = func() time.Time { return time.Now().Add(90 * time.Second) }
	assert.Empty(t, look())
	assert.InDelta(t, 90, gauges["oldest_job_age_seconds"](), 10)
	// The server tells the consumer of a message after it has told the publisher.
	require.Eventually(t, func() bool { look(); return gauges["jobs_waiting"]() == 1 }, 10*time.Second, time.Millisecond)
	assert.Zero(t, gauges["jobs_outstanding"]())

	_, err = stream.PauseConsumer(ctx, "w", time.Now().Add(time.Minute))
	require.NoError(t, err)
	assert.Empty(t, look(), "what is said elsewhere is not said twice")
	assert.InDelta(t, 1, gauges["consumer_paused"](), 0)
	assert.InDelta(t, 60, gauges["consumer_pause_remaining_seconds"](), 30)
	pause = "until noon"
	assert.Equal(t, []string{"paused: until noon"}, look())
	pause, pauseErr = "", errors.New("nobody knows")
	assert.Equal(t, []string{"broker: nobody knows"}, look())
	pauseErr = nil

	account = "closed"
	assert.Equal(t, []string{"account: closed"}, look())

	server.Stop()
	require.Eventually(t, func() bool { return !nc.IsConnected() }, 10*time.Second, 5*time.Millisecond)
	assert.Equal(t, []string{"broker: not connected"}, look()[:1], "and nothing of what fails for that")
	assert.Equal(t, []string{"account: closed"}, look()[1:])
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	m := New(options(nc, js))
	stop := running(t, m)
	require.Eventually(t, func() bool { return !errors.Is(m.last.Load().err, errNotAsked) }, 10*time.Second, time.Millisecond)
	stop()
}

// running runs the monitor until the function returned is called.
func running(t *testing.T, m *Monitor) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		m.Run(ctx)
		close(done)
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

// TestPausesAreLoggedOnce, each change of them.
func TestPausesAreLoggedOnce(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "JOBS", Subjects: []string{"jobs"}})
	require.NoError(t, err)
	_, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "w"})
	require.NoError(t, err)

	lines := make(chan string, 100)
	o := options(nc, js)
	o.Pause = func(_ context.Context, until time.Time) (string, error) {
		return "until " + until.Format(time.Kitchen), nil
	}
	o.Logger = slog.New(slog.NewTextHandler(lineWriter(lines), nil))
	m := New(o)
	m.every = 5 * time.Millisecond
	stop := running(t, m)
	defer stop()
	noon := time.Date(2199, 1, 1, 12, 0, 0, 0, time.UTC)
	for _, until := range []time.Time{noon, noon.Add(time.Hour)} {
		_, err = stream.PauseConsumer(ctx, "w", until)
		require.NoError(t, err)
		line := <-lines
		assert.Contains(t, line, "level=WARN")
		assert.Contains(t, line, until.Format(time.Kitchen))
	}
	_, err = stream.ResumeConsumer(ctx, "w")
	require.NoError(t, err)
	assert.Contains(t, <-lines, "jobs flow again")
	stop()
	assert.Empty(t, lines)
}

type lineWriter chan string

func (w lineWriter) Write(line []byte) (int, error) {
	w <- string(line)
	return len(line), nil
}

// TestWhatIsMissingIsRepaired, and told once however often it is looked at.
func TestWhatIsMissingIsRepaired(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	create := func(name string) {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}})
		require.NoError(t, err)
	}
	create("JOBS")
	create("KV_records")
	_, err := js.CreateConsumer(ctx, "JOBS", jetstream.ConsumerConfig{Durable: "w"})
	require.NoError(t, err)

	lines, asked, allow := make(chan string, 100), make(chan struct{}, 100), make(chan struct{})
	o := options(nc, js)
	o.Others = []Stream{{Name: "KV_records", Called: "bucket records"}}
	o.Repair = func(ctx context.Context) error {
		select {
		case asked <- struct{}{}:
		default:
		}
		select {
		case <-allow:
			_, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: "KV_records", Subjects: []string{"KV_records"}})
			return err
		default:
			return errors.New("not allowed")
		}
	}
	o.Logger = slog.New(slog.NewTextHandler(lineWriter(lines), nil))
	m := New(o)
	m.every = 5 * time.Millisecond
	stop := running(t, m)
	defer stop()
	require.Eventually(t, func() bool { return len(m.NotReady()) == 0 }, 10*time.Second, time.Millisecond)
	require.NoError(t, js.DeleteStream(ctx, "KV_records"))
	for range 3 {
		<-asked
	}
	assert.Equal(t, []string{"broker: bucket records does not exist: not allowed"}, m.NotReady())
	assert.Contains(t, <-lines, "bucket records does not exist")
	close(allow)
	assert.Contains(t, <-lines, "the broker works again")
	assert.Empty(t, m.NotReady())
	stop()
	assert.Empty(t, lines)
}

// TestStandingTroubleIsNotReady is what operations on the broker say by failing. Where
// it answers questions all the while, it may be that a server must be restarted.
func TestStandingTroubleIsNotReady(t *testing.T) {
	t.Parallel()
	const (
		restart = "broker: east answers questions, but no writes: if its disk was full, make room, then restart it"
		full    = "broker: east stores no jobs (no space left on device): make room on its disk, then restart it"
	)
	refused := errors.New("the records fail")
	silent := fmt.Errorf("the records fail: %w", retry.ErrNoAnswer)
	for _, test := range []struct {
		last     snapshot
		standing []error
		want     []string
		restart  float64
	}{
		{snapshot{}, nil, nil, 0},
		{snapshot{}, []error{refused}, []string{"broker: the records fail"}, 0},
		{snapshot{leader: "east"}, []error{refused, silent}, []string{
			"broker: the records fail", "broker: " + silent.Error(), restart}, 1},
		{snapshot{leader: "east", err: errNoAnswer}, []error{silent}, []string{
			"broker: " + errNoAnswer.Error(), "broker: " + silent.Error()}, 0},
		{snapshot{leader: "east", storeError: "no space left on device"}, []error{silent}, []string{
			"broker: " + silent.Error(), full}, 1},
	} {
		m := New(Options{
			Connected: func() bool { return true }, Account: func() string { return "" },
			Standing: func() []error { return test.standing },
		})
		m.last.Store(&test.last)
		assert.Equal(t, test.want, m.NotReady())
		m.Gauges(func(name, _ string, value func() float64) {
			if name == "broker_restart_needed" {
				assert.InDelta(t, test.restart, value(), 0)
			}
		})
	}
}
