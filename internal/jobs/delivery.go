package jobs

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

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

func (d *delivery) Ack() error    { return d.say("+ACK") }
func (d *delivery) Extend() error { return d.say("+WPI") }

func (d *delivery) Nak(delay time.Duration) error {
	if delay <= 0 {
		return d.say("-NAK")
	}
	return d.say(fmt.Sprintf(`-NAK {"delay": %d}`, delay.Nanoseconds()))
}

func (d *delivery) Term(reason string) error { return d.say("+TERM " + workerTerm + " " + reason) }

// say sends a word of JetStream's protocol of acknowledgements, unless the job's stream is not there any more, or may
// not be. A recreated one counts from the start again, so what is said of a job of the old one would be taken for a
// word on a job of the new one, and lose that. If nothing is said, the job comes again.
func (d *delivery) say(word string) error {
	if now := d.pull.source.created.Load(); now == nil || !now.Equal(d.pull.created) {
		return nil
	}
	return d.pull.source.js.Conn().Publish(d.msg.Reply, []byte(word))
}
