package jobs

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// delivery is one message of the jobs stream.
type delivery struct {
	nc     *nats.Conn
	msg    *nats.Msg
	origin domain.Origin
	// created is when the stream was created that delivered it, and current the same of
	// the stream that is there now.
	created time.Time
	current func() *time.Time
}

// gone reports whether the job's stream is not there any more, or may not be. One
// that was recreated in its place counts from the start again, so that whatever is said
// of a job of the old one would be taken for a word on a job of the new one, which
// then were lost. Where nothing is said the job comes again, if it still can.
func (d *delivery) gone() bool {
	now := d.current()
	return now == nil || !now.Equal(d.created)
}

func newDelivery(nc *nats.Conn, msg *nats.Msg, created time.Time, current func() *time.Time) (domain.Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("a message without JetStream metadata: %w", err)
	}
	return &delivery{
		nc: nc, msg: msg, created: created, current: current,
		origin: domain.Origin{
			Stream:   meta.Stream,
			Seq:      meta.Sequence.Stream,
			Subject:  msg.Subject,
			QueuedAt: meta.Timestamp, Deliveries: meta.NumDelivered,
		},
	}, nil
}

func (d *delivery) Body() []byte              { return d.msg.Data }
func (d *delivery) Header(name string) string { return d.msg.Header.Get(name) }
func (d *delivery) Origin() domain.Origin     { return d.origin }

func (d *delivery) Ack() error    { return d.say("+ACK") }
func (d *delivery) Extend() error { return d.say("+WPI") }

func (d *delivery) Nak(delay time.Duration) error {
	if delay <= 0 {
		return d.say("-NAK")
	}
	return d.say(fmt.Sprintf(`-NAK {"delay": %d}`, delay.Nanoseconds()))
}

func (d *delivery) Term(reason string) error { return d.say("+TERM " + workerTerm + " " + reason) }

// say sends a word of JetStream's protocol of acknowledgements.
func (d *delivery) say(word string) error {
	if d.gone() {
		return nil
	}
	return d.nc.Publish(d.msg.Reply, []byte(word))
}
