// Package deadletter keeps the jobs that need an operator: a JetStream stream with one message for each reason and
// request, the job's bytes as the body and what became of it in the headers.
package deadletter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/internal/text"
)

// defaultMaxPayload is the server's own default for its largest message.
const defaultMaxPayload = 1 << 20

// ErrInvalid says that the dead letter can't be written, now or later.
var ErrInvalid = errors.New("dead letter can't be written")

// Store writes dead letters. It may be used by many goroutines.
type Store struct {
	JS      jetstream.JetStream
	Stream  string // dead_letters.stream, which must exist once something is written
	Subject string // dead_letters.subject, the prefix of every dead letter's own
	Worker  string // the host and process that writes
	Now     func() time.Time
}

// Write stores a dead letter and returns once the stream has confirmed it, under the context's policy (see package
// retry). Writing the same again (origin and replays alike) stores nothing and is no error, unless it was removed
// meanwhile. A later one for the same reason and request takes its place.
//
// A job too large for one message is cut to fit, and the headers say so.
func (s *Store) Write(ctx context.Context, d domain.DeadLetter) error {
	if name := invalid(d); name != "" {
		return fmt.Errorf("%w: header %s would be wrong", ErrInvalid, name)
	}
	deadAt := s.Now()
	refused := math.MaxInt // the size of a message that was too large
	idTaken := false       // the message id is that of another job's dead letter
	err := retry.Do(ctx, func(ctx context.Context) error {
		limit := int(cmp.Or(s.JS.Conn().MaxPayload(), defaultMaxPayload)) // it is 0 before the first connection
		msg := s.message(d, deadAt, min(limit, refused/2), idTaken)
		ack, err := s.JS.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0)) // the loop is ours
		switch {
		case err == nil && ack.Duplicate && !idTaken:
			stands, err := s.stands(ctx, d)
			if err != nil || stands {
				return err
			}
			idTaken = true
			return fmt.Errorf("the message id is known, and the dead letter isn't there: %w", retry.ErrAgain)
		case (errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrStreamMessageExceedsMaximum)) && len(msg.Data) > 0:
			// Another server has another limit, or an operator gave the stream one. A
			// part of the job is better than none.
			refused = msg.Size()
			return fmt.Errorf("%w: %w", err, retry.ErrAgain)
		default:
			return err
		}
	})
	if err != nil {
		return fmt.Errorf("write dead letter to stream %s: %w", s.Stream, err)
	}
	return nil
}

// stands reports whether a dead letter whose message id the stream knows is there. A recreated jobs stream counts
// from 1 once more, so that within the duplicate window the id may be that of another job's, and this one would be
// lost. One that an operator has removed comes once more, which is the lesser evil. Without a request id the
// subject doesn't tell the two apart, and the newer is kept.
func (s *Store) stands(ctx context.Context, d domain.DeadLetter) (bool, error) {
	if d.RequestID == "" {
		return false, nil
	}
	reason, err := Find(ctx, s.JS, s.Stream, s.Subject, d.RequestID)
	return reason != "", err
}

// Find returns the reason of a dead letter of the request, empty where there is none.
func Find(ctx context.Context, js jetstream.JetStream, name, prefix, requestID string) (reason string, err error) {
	stream, err := js.Stream(ctx, name)
	if err != nil {
		return "", err
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(prefix+".*."+requestID))
	if err != nil {
		return "", err
	}
	for subject := range info.State.Subjects {
		reason = strings.TrimSuffix(strings.TrimPrefix(subject, prefix+"."), "."+requestID)
	}
	return reason, nil
}

// message is the dead letter as it is published, at most limit bytes of headers
// and body. idTaken gives it an id that no job of an earlier stream can have.
func (s *Store) message(d domain.DeadLetter, deadAt time.Time, limit int, idTaken bool) *nats.Msg {
	seq := strconv.FormatUint(d.Origin.Seq, 10)
	id := text.Line(d.Origin.Stream, maxNameBytes) + "-" + seq + "-" + strconv.Itoa(d.Replays)
	if idTaken {
		id += "-" + strconv.FormatInt(d.Origin.QueuedAt.UnixNano(), 10)
	}
	msg := nats.NewMsg(s.Subject + "." + string(d.Reason) + "." + cmp.Or(d.RequestID, "seq-"+seq))
	entry := Entry{DeadLetter: d, DeadAt: deadAt, Worker: s.Worker}
	for _, one := range entry.headers() {
		msg.Header.Set(one.name, one.value())
	}
	entry.setCarried(msg.Header)
	msg.Header.Set(jetstream.MsgIDHeader, id)
	// A prefix that another stream listens on must not pass as stored.
	msg.Header.Set(jetstream.ExpectedStreamHeader, s.Stream)
	limit += len(msg.Subject) // which the size of a message counts, and the limit doesn't
	if msg.Size()+len(d.Body) <= limit {
		msg.Data = d.Body
		return msg
	}
	msg.Header.Set(headerTruncated, "true")
	msg.Header.Set(headerBodySize, strconv.Itoa(len(d.Body)))
	msg.Data = d.Body[:min(max(limit-msg.Size(), 0), len(d.Body))]
	return msg
}
