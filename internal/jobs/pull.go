package jobs

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Why a pull ended that nobody ended here.
var (
	errSilent      = errors.New("no answer to a request for jobs")
	errDeleted     = errors.New("the consumer was deleted")
	errReconnected = errors.New("the connection was lost")
	errClosed      = errors.New("the connection is closed")
)

// pull asks the consumer for jobs over one subscription. It counts what the server
// owes it, so that each request asks for exactly the jobs that there is room for: those
// that wait in this process are leased.
//
// The client's own Consume is not used. It never asks for more when all the jobs that
// it asked for arrive while it is still sending its next request (nats.go v1.55.0:
// checkPending does nothing while fetchInProgress is set, and nothing calls it again).
// Then no job comes for two seconds, until the heartbeats are missed.
type pull struct {
	source  *Source
	nc      *nats.Conn
	inbox   *nats.Subscription
	subject string // of the requests
	// maxBytes is how much one request asks for at most.
	maxBytes int64
	// created is when the stream was created that the jobs come from.
	created time.Time
	// reconnected tells that the connection is back, on which all requests are gone.
	reconnected chan nats.Status

	mu sync.Mutex
	// owed is how many of the jobs asked for may still arrive.
	owed int
	// heard is when the server was last heard, or asked.
	heard    time.Time
	answered bool
	// ended is why nothing more can be expected of this pull, nil while something can.
	ended error
}

// maxPullBytes bounds what one request asks for. As many of the largest messages as may
// be asked for at once would be more than a server holds back for a client
// (max_pending): it would drop the connection then, again and again.
const maxPullBytes = 4 << 20

// newPull makes the inbox in which jobs arrive. It asks for none yet.
func newPull(s *Source, created time.Time) (*pull, error) {
	nc := s.js.Conn()
	p := &pull{
		source: s, nc: nc, created: created,
		subject: jetstream.DefaultAPIPrefix + "CONSUMER.MSG.NEXT." + s.opts.Stream + "." + s.opts.Consumer,
		// A message that doesn't fit would never come.
		maxBytes:    max(maxPullBytes, 2*nc.MaxPayload()),
		reconnected: nc.StatusChanged(nats.CONNECTED),
	}
	inbox, err := nc.Subscribe(nc.NewInbox(), p.arrive)
	if err != nil {
		nc.RemoveStatusListener(p.reconnected)
		return nil, err
	}
	p.inbox = inbox
	s.mu.Lock()
	s.inboxes++
	s.mu.Unlock()
	inbox.SetClosedHandler(func(string) {
		s.mu.Lock()
		s.inboxes--
		s.mu.Unlock()
		p.end(errClosed)
	})
	// What arrives was asked for, so its number is bounded already.
	return p, inbox.SetPendingLimits(-1, -1)
}

// pullRequest is the body of a request for jobs, in the server's own names.
type pullRequest struct {
	Batch     int           `json:"batch"`
	MaxBytes  int64         `json:"max_bytes"`
	Expires   time.Duration `json:"expires"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
}

// ask asks for as many jobs as there is room for. It waits until that is half of the
// prefetch, so that a request is worth its while.
func (p *pull) ask(prefetch, waiting int) {
	p.mu.Lock()
	batch := prefetch - waiting - p.owed
	if p.ended != nil || batch < 1 || 2*batch < prefetch {
		p.mu.Unlock()
		return
	}
	// Counted first: jobs may arrive before the request has returned.
	p.owed += batch
	p.heard = time.Now()
	p.mu.Unlock()

	request, err := json.Marshal(pullRequest{
		Batch: batch, MaxBytes: p.maxBytes, Expires: pullExpiry, Heartbeat: pullHeartbeat,
	})
	if err == nil {
		err = p.nc.PublishRequest(p.subject, p.inbox.Subject, request)
	}
	if err != nil {
		p.end(fmt.Errorf("ask for jobs: %w", err))
	}
}

// arrive takes what the server sends: jobs, heartbeats, and the ends of requests.
func (p *pull) arrive(msg *nats.Msg) {
	status, text := msg.Header.Get("Status"), msg.Header.Get("Description")
	left, err := strconv.Atoi(msg.Header.Get("Nats-Pending-Messages"))
	switch {
	case msg.Reply != "": // where its acknowledgement goes: a job
		p.hear(1)
		p.source.add(arrival{msg, p})
	case status == "100": // a heartbeat
		p.hear(0)
	case err == nil: // a request came to its end, with so many jobs not delivered
		p.hear(left)
		p.source.wake()
	case status == "503":
		p.end(fmt.Errorf("%w: %w", errSilent, nats.ErrNoResponders))
	case text == "Consumer Deleted":
		p.end(errDeleted)
	default: // such as a change of leaders, with which all requests are gone
		p.end(fmt.Errorf("the server ended a pull: %s %s", status, text))
	}
}

// hear takes note of an answer of the server, which then owes so many jobs less.
func (p *pull) hear(less int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard, p.answered = time.Now(), true
	p.owed = max(p.owed-less, 0)
}

func (p *pull) wasAnswered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered
}

// end ends the pull. Only the first reason counts.
func (p *pull) end(why error) {
	p.mu.Lock()
	if p.ended == nil {
		p.ended = why
	}
	p.mu.Unlock()
	p.source.wake()
}

// state returns when the server was last heard, or asked, and why the pull ended.
func (p *pull) state() (heard time.Time, ended error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard, p.ended
}
