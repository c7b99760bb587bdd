package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// handler notes what it is brought. It naks a job, or refuses one that is
// lost, as often as patience says, and then ends it.
type handler struct {
	patience int
	spares   string // the body of a suspect that is not abandoned
	brought  chan brought
}

type brought struct {
	body   string
	header string
	origin domain.Origin
	why    domain.Undeliverable
	lost   bool
}

func (u *handler) Undeliverable(_ context.Context, d domain.Delivery, why domain.Undeliverable) {
	err := d.Extend()
	if why.Suspected && string(d.Body()) == u.spares {
		return
	}
	if u.patience--; u.patience >= 0 {
		err = errors.Join(err, d.Nak(time.Millisecond))
	} else {
		err = errors.Join(err, d.Term("ended"))
	}
	if err == nil {
		u.brought <- brought{body: string(d.Body()), header: d.Header("Nats-Msg-Id"), origin: d.Origin(), why: why}
	}
}

func (u *handler) Lost(_ context.Context, gone domain.Delivery, why domain.Undeliverable) error {
	u.brought <- brought{origin: gone.Origin(), why: why, lost: true}
	if u.patience--; u.patience >= 0 {
		return errors.New("the dead letter could not be written")
	}
	return nil
}

// scene is a work queue whose consumer has a limit of deliveries.
type scene struct {
	t        *testing.T
	broker   *brokertest.Handle
	nc       *nats.Conn
	js       jetstream.JetStream
	stream   jetstream.Stream
	consumer jetstream.ConsumerConfig
	u        *handler
}

func newScene(t *testing.T, maxDeliver int) *scene {
	t.Helper()
	s := &scene{t: t, u: &handler{brought: make(chan brought, 100)}}
	s.broker = brokertest.Server(t)
	s.nc, s.js = s.broker.Connect()
	ctx := bounded(t)
	var err error
	s.stream, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "JOBS", Subjects: []string{"jobs", "other"}, Retention: jetstream.WorkQueuePolicy, AllowDirect: true,
	})
	require.NoError(t, err)
	s.consumer = jetstream.ConsumerConfig{
		Durable: "w", FilterSubject: "jobs", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 200 * time.Millisecond, MaxDeliver: maxDeliver,
	}
	_, err = s.stream.CreateConsumer(ctx, s.consumer)
	require.NoError(t, err)
	return s
}

// lease changes for how long a job is given out.
func (s *scene) lease(d time.Duration) {
	s.t.Helper()
	s.consumer.AckWait = d
	_, err := s.stream.UpdateConsumer(bounded(s.t), s.consumer)
	require.NoError(s.t, err)
}

func (s *scene) publish(subject string, bodies ...string) {
	s.t.Helper()
	for _, body := range bodies {
		_, err := s.js.Publish(bounded(s.t), subject, []byte(body), jetstream.WithMsgID("id-"+body))
		require.NoError(s.t, err)
	}
}

// take has the next job delivered to somebody who is not a worker.
func (s *scene) take() jetstream.Msg {
	s.t.Helper()
	consumer, err := s.stream.Consumer(bounded(s.t), "w")
	require.NoError(s.t, err)
	msg, err := consumer.Next(jetstream.FetchMaxWait(10 * time.Second))
	require.NoError(s.t, err)
	return msg
}

// watch watches until the test ends, and returns once advisories are heard.
func (s *scene) watch() {
	s.t.Helper()
	nc, js := s.broker.Connect()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	w := jobs.Watch{
		JS: js, Handler: s.u, Stream: "JOBS", Consumer: "w", Subject: "jobs",
		Scrub:  func(s string) string { return strings.ReplaceAll(s, "secret", "****") },
		Logger: slog.New(slog.DiscardHandler),
		Sweep:  50 * time.Millisecond, Again: 50 * time.Millisecond,
	}
	go func() {
		w.Run(ctx)
		close(done)
	}()
	s.t.Cleanup(func() {
		cancel()
		<-done
	})
	require.Eventually(s.t, func() bool { return nc.NumSubscriptions() >= 2 }, 10*time.Second, time.Millisecond)
	require.NoError(s.t, nc.Flush())
}

func (s *scene) next() brought {
	s.t.Helper()
	select {
	case b := <-s.u.brought:
		return b
	case <-time.After(20 * time.Second):
		require.Fail(s.t, "nothing is brought to the handler")
		return brought{}
	}
}

// left waits until that many jobs are in the stream.
func (s *scene) left(n uint64) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		info, err := s.stream.Info(bounded(s.t))
		return err == nil && info.State.Msgs == n
	}, 20*time.Second, 5*time.Millisecond)
}

// TestRanOutOfDeliveries is heard, and the job is ended with all it has.
func TestRanOutOfDeliveries(t *testing.T) {
	t.Parallel()
	s := newScene(t, 1)
	s.watch()
	s.u.patience = 2
	s.publish("jobs", "a", "b")
	s.take()
	for range 3 {
		b := s.next()
		assert.Equal(t, "a", b.body)
		assert.Equal(t, "id-a", b.header)
		assert.Equal(t, uint64(1), b.origin.Seq)
		assert.Equal(t, "JOBS", b.origin.Stream)
		assert.Equal(t, "jobs", b.origin.Subject)
		assert.WithinDuration(t, time.Now(), b.origin.QueuedAt, time.Minute)
		assert.False(t, b.why.Terminated)
		assert.False(t, b.lost)
	}
	s.left(1)
	msg := s.take()
	assert.Equal(t, "b", string(msg.Data()), "what was not given up is delivered")
	require.NoError(t, msg.DoubleAck(bounded(t)))
}

// TestRanOutUnheard: jobs that the server gave up on while nobody listened are
// found, with others outstanding and without, and no other is touched.
func TestRanOutUnheard(t *testing.T) {
	t.Parallel()
	for name, outstanding := range map[string]bool{"nothing outstanding": false, "another outstanding": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, 1)
			given := make(chan *nats.Msg, 10)
			_, err := s.nc.ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", given)
			require.NoError(t, err)
			s.publish("other", "x")
			s.publish("jobs", "a", "b")
			s.take()
			s.take()
			for range 2 {
				<-given
			}
			left := uint64(1)
			if outstanding {
				s.lease(time.Hour) // of the one that stays outstanding, however slow the machine
				s.publish("jobs", "c", "d", "e")
				done := s.take()
				s.take()
				require.NoError(t, done.DoubleAck(bounded(t)))
				left = 3
				s.u.spares = "d"
			}
			s.watch()
			assert.Equal(t, "a", s.next().body)
			assert.Equal(t, "b", s.next().body)
			s.left(left)
			msg, err := s.stream.GetMsg(bounded(t), 1)
			require.NoError(t, err)
			assert.Equal(t, "x", string(msg.Data), "what is not a job is none of our business")
			assert.Empty(t, s.u.brought)
		})
	}
}

// TestTerminatedByAStranger is told, without what must not be shown. What a
// worker terminates is its own affair.
func TestTerminatedByAStranger(t *testing.T) {
	t.Parallel()
	s := newScene(t, -1)
	source := newSource(s.js, 2)
	var own []domain.Delivery
	for range 2 {
		s.publish("jobs", fmt.Sprint("of a worker ", len(own)))
		d, err := source.Next(bounded(t))
		require.NoError(t, err)
		own = append(own, d)
	}
	s.watch()
	s.u.patience = 1
	require.NoError(t, own[0].Term("dead_lettered: config"))
	require.NoError(t, own[1].Term("")) // the server trims reasons
	source.Drain()
	s.left(0)

	s.publish("jobs", "b")
	stranger := s.take()
	require.NoError(t, stranger.TermWithReason("secret\nof mine "+strings.Repeat("x", 1000)))
	for range 2 { // the first time it could not be told
		b := s.next()
		assert.True(t, b.lost)
		assert.True(t, b.why.Terminated)
		assert.Equal(t, uint64(3), b.origin.Seq)
		assert.Equal(t, "jobs", b.origin.Subject)
		assert.True(t, strings.HasPrefix(b.why.Reason, "**** of mine xxx"), b.why.Reason)
		assert.Less(t, len(b.why.Reason), 300)
	}

	// Deleted, as the server sees it: it says so also of jobs that were settled. So
	// the next that is told of is the one after.
	s.publish("jobs", "c")
	s.take()
	require.NoError(t, s.stream.DeleteMsg(bounded(t), 4))
	s.publish("jobs", "d")
	require.NoError(t, s.take().TermWithReason("mine"))
	assert.Equal(t, uint64(5), s.next().origin.Seq)
}
