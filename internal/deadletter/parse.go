package deadletter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// ErrCorrupt says that a message is not a dead letter; match with errors.Is.
var ErrCorrupt = errors.New("not a dead letter")

// Entry is a stored dead letter.
type Entry struct {
	domain.DeadLetter
	DeadAt time.Time
	// Worker is the host and process that wrote it.
	Worker string
	// Truncated is true where Body is only the beginning of the job, which can't
	// be replayed then.
	Truncated bool
	// BodySize is the size of the whole job, in bytes.
	BodySize int
}

// Parse reads a message of the dead-letter stream. Its error is [ErrCorrupt] and
// names the header that is wrong, not the value, which may be anything.
func Parse(header nats.Header, body []byte) (Entry, error) {
	r := reader{header: header}
	e := Entry{
		DeadLetter: domain.DeadLetter{
			Reason:       passcode.Reason(header.Get(HeaderReason)),
			RequestID:    header.Get(HeaderRequestID),
			ErrorCode:    oneLine(header.Get(HeaderErrorCode), maxCodeBytes),
			ErrorMessage: oneLine(header.Get(HeaderErrorMessage), MaxMessageBytes),
			Attempts:     r.count(HeaderAttempts),
			AttemptedAt:  r.time(domain.HeaderAttemptedAt),
			Replays:      r.count(HeaderReplays),
			Origin: domain.Origin{
				Stream:   oneLine(header.Get(HeaderOriginStream), maxNameBytes),
				Seq:      r.sequence(HeaderOriginSeq),
				Subject:  oneLine(header.Get(HeaderOriginSubject), maxNameBytes),
				QueuedAt: r.time(HeaderQueuedAt),
			},
			Body: body,
		},
		DeadAt:    r.time(HeaderDeadAt),
		Worker:    oneLine(header.Get(HeaderWorker), maxNameBytes),
		BodySize:  len(body),
		Truncated: header.Get(HeaderBodyTruncated) == "true",
	}
	r.check(HeaderReplays, e.Replays <= domain.MaxReplays)
	r.check(HeaderReason, slices.Contains(passcode.Reasons(), e.Reason))
	r.check(HeaderRequestID, e.RequestID == "" || passcode.ValidRequestID(e.RequestID))
	r.check(HeaderOriginStream, e.Origin.Stream != "")
	r.check(HeaderOriginSeq, e.Origin.Seq > 0)
	if e.Truncated {
		e.BodySize = r.count(HeaderBodySize)
		r.check(HeaderBodySize, e.BodySize > len(body))
	}
	if parent := header.Get(HeaderTraceParent); saneTraceParent(parent) {
		e.TraceParent = parent
		if state := header.Get(HeaderTraceState); saneTraceState(state) {
			e.TraceState = state
		}
	}
	if r.wrong != "" {
		return Entry{}, fmt.Errorf("%w: header %s is missing or wrong", ErrCorrupt, r.wrong)
	}
	return e, nil
}

// reader reads header values and keeps the name of the first that is wrong.
type reader struct {
	header nats.Header
	wrong  string
}

func (r *reader) check(name string, ok bool) {
	if !ok && r.wrong == "" {
		r.wrong = name
	}
}

func (r *reader) count(name string) int {
	n, err := strconv.Atoi(r.header.Get(name))
	r.check(name, err == nil && n >= 0)
	return n
}

func (r *reader) sequence(name string) uint64 {
	n, err := strconv.ParseUint(r.header.Get(name), 10, 64)
	r.check(name, err == nil)
	return n
}

// time reads a time; an empty value is the zero time.
func (r *reader) time(name string) time.Time {
	value := r.header.Get(name)
	if value == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	t = t.UTC()
	// With its zone taken out a time may be of a year that it can't be written in.
	r.check(name, err == nil && t.Year() >= 0 && t.Year() <= 9999)
	return t
}
