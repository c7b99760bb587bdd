package jobs

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// Why a pull ended that nobody ended here.
var (
	errSilent  = errors.New("no answer to a request for jobs")
	errDeleted = errors.New("the consumer was deleted")
)

// pull asks the consumer for jobs over one subscription. It counts what the server owes it, so that each request
// asks for exactly what there is room for, because jobs that wait in this process are leased.
//
// The client's own Consume is not used. It never asks for more if all requested jobs arrive while it is sending its
// next request (nats.go v1.55.0: checkPending does nothing while fetchInProgress is set, and nothing calls it again).
// Then no job comes for two seconds, until the heartbeats are missed.
type pull struct {
	source      *Source
	inbox       *nats.Subscription
	created     time.Time        // of the stream that the jobs come from
	reconnected chan nats.Status // tells that the connection is back, without any of the requests

	// The source's lock guards these.
	owed  int       // how many of the jobs asked for may still arrive
	heard time.Time // when the server was last heard, or asked
	ended error     // why nothing more can be expected of this pull; nil: something can
}

// maxPullBytes bounds what one request asks for. More than a server holds back for a client (max_pending) would make
// it drop the connection, again and again.
const maxPullBytes = 4 << 20

// newPull makes the inbox in which jobs arrive. It asks for none yet.
func newPull(s *Source, created time.Time) (*pull, error) {
	nc := s.js.Conn()
	p := &pull{source: s, created: created, reconnected: nc.StatusChanged(nats.CONNECTED)}
	inbox, err := nc.Subscribe(nc.NewInbox(), p.arrive)
	if err != nil {
		nc.RemoveStatusListener(p.reconnected)
		return nil, err
	}
	p.inbox = inbox
	s.inboxes.Add(1)
	inbox.SetClosedHandler(func(string) {
		s.inboxes.Add(-1)
		p.end(errors.New("the connection is closed"))
	})
	// What arrives was asked for, so its number is bounded already.
	return p, inbox.SetPendingLimits(-1, -1)
}

// demand returns how many jobs to ask for, and counts them: they may arrive before the request has returned. It is
// 0 until there is room for half of the prefetch, so that a request is worth its while. The caller holds the lock.
func (p *pull) demand() int {
	prefetch := p.source.opts.Prefetch
	batch := prefetch - len(p.source.arrived) - p.owed
	if p.ended != nil || batch < 1 || 2*batch < prefetch {
		return 0
	}
	p.owed += batch
	p.heard = time.Now()
	return batch
}

func (p *pull) ask(batch int) {
	nc, opts := p.source.js.Conn(), p.source.opts
	maxBytes := max(maxPullBytes, 2*nc.MaxPayload()) // a message that doesn't fit would never come
	request := fmt.Appendf(nil, `{"batch":%d,"max_bytes":%d,"expires":%d,"idle_heartbeat":%d}`,
		batch, maxBytes, pullExpiry, pullHeartbeat)
	subject := jetstream.DefaultAPIPrefix + "CONSUMER.MSG.NEXT." + opts.Stream + "." + opts.Consumer
	if err := nc.PublishRequest(subject, p.inbox.Subject, request); err != nil {
		p.end(fmt.Errorf("ask for jobs: %w", err))
	}
}

// arrive takes what the server sends: jobs, heartbeats, and the ends of requests.
func (p *pull) arrive(msg *nats.Msg) {
	status, text := msg.Header.Get("Status"), msg.Header.Get("Description")
	left, err := strconv.Atoi(msg.Header.Get("Nats-Pending-Messages"))
	switch {
	case msg.Reply != "": // where its acknowledgement goes: a job
		p.hear(1, &delivery{msg: msg, pull: p})
	case status == "100": // a heartbeat
		p.hear(0)
	case err == nil: // a request came to its end, with so many jobs not delivered
		p.hear(left)
	case status == "503":
		p.end(fmt.Errorf("%w: %w", errSilent, nats.ErrNoResponders))
	case text == "Consumer Deleted":
		p.end(errDeleted)
	default: // such as a change of leaders, with which all requests are gone
		p.end(fmt.Errorf("the server ended a pull: %s %s", status, text))
	}
}

// hear takes note of an answer of the server, which then owes so many jobs less.
func (p *pull) hear(less int, jobs ...*delivery) {
	p.source.mu.Lock()
	defer p.source.mu.Unlock()
	p.heard, p.source.silent = time.Now(), false
	p.owed = max(p.owed-less, 0)
	p.source.arrived = append(p.source.arrived, jobs...)
	p.source.wake()
}

// end ends the pull. Only the first reason counts.
func (p *pull) end(why error) {
	p.source.mu.Lock()
	defer p.source.mu.Unlock()
	if p.ended == nil {
		p.ended = why
	}
	p.source.wake()
}

// delivery is one message of the jobs stream.
type delivery struct {
	msg    *nats.Msg
	pull   *pull // that brought it
	origin domain.Origin
}

// locate reads where the job came from.
func (d *delivery) locate() error {
	meta, err := d.msg.Metadata()
	if err != nil {
		return fmt.Errorf("a message without JetStream metadata: %w", err)
	}
	d.origin = domain.Origin{
		Stream: meta.Stream, Seq: meta.Sequence.Stream, Subject: d.msg.Subject,
		QueuedAt: meta.Timestamp, Deliveries: meta.NumDelivered,
	}
	return nil
}

func (d *delivery) Body() []byte              { return d.msg.Data }
func (d *delivery) Header(name string) string { return d.msg.Header.Get(name) }
func (d *delivery) Origin() domain.Origin     { return d.origin }

func (d *delivery) Ack() error    { return d.pull.source.acks.add(d) }
func (d *delivery) Extend() error { return d.say("+WPI") }

func (d *delivery) Nak(delay time.Duration) error {
	if delay <= 0 {
		return d.say("-NAK")
	}
	return d.say(fmt.Sprintf(`-NAK {"delay": %d}`, delay.Nanoseconds()))
}

func (d *delivery) Term(reason string) error { return d.say("+TERM " + workerTerm + " " + reason) }

// ackDelay is how long an ack may wait for others.
const ackDelay = 5 * time.Millisecond

// acks sends acknowledgements together. Nobody waits for one, and each by itself would wake this process and the server
// once more. If the worker dies with some, their jobs come again, and their records say that they are done.
type acks struct {
	mu      sync.Mutex
	waiting []*delivery
	ended   bool // they are sent at once
}

func (a *acks) add(d *delivery) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return d.say("+ACK")
	}
	a.waiting = append(a.waiting, d)
	if len(a.waiting) == 1 {
		time.AfterFunc(ackDelay, a.send) // end waits for it, or leaves it nothing to do
	}
	return nil
}

func (a *acks) send() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.waiting {
		_ = d.say("+ACK") // as good as one that gets lost on its way
	}
	a.waiting = a.waiting[:0]
}

// end sends what waits, and from then on each at once.
func (a *acks) end() {
	a.mu.Lock()
	a.ended = true
	a.mu.Unlock()
	a.send()
}

// say sends a word of JetStream's protocol of acknowledgements, unless the job's stream is not there any more, or may
// not be. A recreated one counts from the start again, so what is said of a job of the old one would be taken for a
// word on a job of the new one, and lose that. If nothing is said, the job comes again.
func (d *delivery) say(word string) error {
	if now := d.pull.source.created.Load(); now == nil || !now.Equal(d.pull.created) {
		return nil
	}
	return d.pull.source.js.Conn().Publish(d.msg.Reply, []byte(word))
}
