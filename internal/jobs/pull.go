package jobs

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// pull is one long pull of the consumer. The client renews it whenever the
// connection comes back, the consumer has another leader, or its server falls
// silent. Each time it asks for all it may, on top of what has arrived and is not
// yet taken; so what has arrived waits in the connection's own list, which has
// room. (The client's iterator keeps it in a channel with room for what was asked
// for once, and drops the rest, which then comes again when its lease runs out.)
type pull struct {
	made      time.Time // when the stream was made
	consuming jetstream.ConsumeContext
	closed    <-chan struct{} // closed when nothing more can arrive
	log       *slog.Logger
	// arrived hands over one job at a time; the client doesn't ask for more than
	// the prefetch while it waits to be taken.
	arrived chan jetstream.Msg
	// doubt says that the consumer's server has been silent.
	doubt chan struct{}
	// ended is closed when nobody may come any more to take what arrives.
	ended chan struct{}
	once  sync.Once

	// silent is true from the first silence until a job arrives: one that lasts is
	// told once.
	silent atomic.Bool

	mu   sync.Mutex
	rest []jetstream.Msg // what arrived after ended
	err  error           // what ended the pull from the server's side
}

// maxPullBytes is how much one pull asks for at most. Jobs are small, so it is
// nothing but a bound: as many of the largest messages as may be asked for at once
// would be more than a server holds back for a client (max_pending), which drops
// the connection then, again and again.
const maxPullBytes = 4 << 20

func begin(consumer jetstream.Consumer, prefetch int, maxPayload int64, log *slog.Logger) (*pull, error) {
	p := &pull{log: log, arrived: make(chan jetstream.Msg), doubt: make(chan struct{}, 1), ended: make(chan struct{})}
	consuming, err := consumer.Consume(p.take,
		// Of a message that doesn't fit nothing would ever come.
		jetstream.PullMaxMessagesWithBytesLimit(prefetch, max(maxPullBytes, 2*int(maxPayload))),
		jetstream.PullExpiry(pullExpiry),
		jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.ConsumeErrHandler(p.trouble),
	)
	if err != nil {
		return nil, err
	}
	p.consuming, p.closed = consuming, consuming.Closed()
	return p, nil
}

// take gives a job to Next, and keeps it for later once the pull has ended.
func (p *pull) take(msg jetstream.Msg) {
	p.silent.Store(false)
	select {
	case p.arrived <- msg:
	case <-p.ended:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.rest = append(p.rest, msg)
	}
}

// left returns what arrived while the pull was ending, one job at a time.
func (p *pull) left() (jetstream.Msg, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rest) == 0 {
		return nil, false
	}
	msg := p.rest[0]
	p.rest = p.rest[1:]
	return msg, true
}

// trouble is told what the client met. It goes on by itself after most of it.
func (p *pull) trouble(_ jetstream.ConsumeContext, err error) {
	switch {
	case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrBadRequest), errors.Is(err, jetstream.ErrConnectionClosed):
		p.mu.Lock()
		defer p.mu.Unlock()
		p.err = err
	case errors.Is(err, jetstream.ErrNoHeartbeat), errors.Is(err, nats.ErrNoResponders):
		if !p.silent.Swap(true) {
			p.log.Warn("the broker is silent while jobs are waited for; asking on", "error", err)
		}
		select {
		case p.doubt <- struct{}{}:
		default: // it is known already
		}
	default:
		p.log.Info("pulling jobs goes on", "after", err)
	}
}

// failure is why a pull ended that nobody ended here.
func (p *pull) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// end stops asking for jobs. What has arrived still comes out of left.
func (p *pull) end() {
	p.once.Do(func() {
		close(p.ended)
		p.consuming.Drain()
	})
}
