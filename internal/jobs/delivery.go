package jobs

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// delivery is one message of the jobs stream.
type delivery struct {
	msg    jetstream.Msg
	header nats.Header
	origin domain.Origin
	// made is when the stream was made that delivered it, and current the same of
	// the stream that is there now.
	made    time.Time
	current func() *time.Time
}

// gone reports whether the job's stream is not there any more, or may not be. One
// that was made in its place counts from the start again, so that whatever is said
// of a job of the old one would be taken for a word on a job of the new one, which
// then were lost. Where nothing is said the job comes again, if it still can.
func (d *delivery) gone() bool {
	now := d.current()
	return now == nil || !now.Equal(d.made)
}

func newDelivery(msg jetstream.Msg, made time.Time, current func() *time.Time) (domain.Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("a message without JetStream metadata: %w", err)
	}
	return &delivery{
		msg:    msg,
		header: msg.Headers(),
		made:   made, current: current,
		origin: domain.Origin{
			Stream:   meta.Stream,
			Seq:      meta.Sequence.Stream,
			Subject:  msg.Subject(),
			QueuedAt: meta.Timestamp, Deliveries: meta.NumDelivered,
		},
	}, nil
}

func (d *delivery) Body() []byte          { return d.msg.Data() }
func (d *delivery) Origin() domain.Origin { return d.origin }
func (d *delivery) Ack() error            { return d.say(d.msg.Ack) }
func (d *delivery) Extend() error         { return d.say(d.msg.InProgress) }

func (d *delivery) say(word func() error) error {
	if d.gone() {
		return nil
	}
	return word()
}

func (d *delivery) Header(name string) string { return d.header.Get(name) }

func (d *delivery) Nak(delay time.Duration) error {
	if delay <= 0 {
		return d.say(d.msg.Nak)
	}
	return d.say(func() error { return d.msg.NakWithDelay(delay) })
}

func (d *delivery) Term(reason string) error {
	return d.say(func() error { return d.msg.TermWithReason(workerTerm + reason) })
}
