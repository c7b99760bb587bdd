package deadletter

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/text"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Limits of header values, in bytes. What is longer is cut off.
const (
	maxMessageBytes = 1 << 10
	maxCodeBytes    = 128
	maxNameBytes    = 256 // of streams, subjects and workers
)

// The headers of a dead letter whose job did not fit into one message.
const (
	headerTruncated = "Passcode-Body-Truncated" // "true"
	headerBodySize  = "Passcode-Body-Size"      // of the job, in bytes
)

// ErrCorrupt says that a message is not a dead letter; match with errors.Is.
var ErrCorrupt = errors.New("not a dead letter")

// Entry is a stored dead letter.
type Entry struct {
	domain.DeadLetter
	DeadAt    time.Time
	Worker    string // the host and process that wrote it
	Truncated bool   // Body is only the beginning of the job, which can't be replayed
	BodySize  int    // of the whole job, in bytes
}

// header is a header of a dead letter and the field that it stands for.
type header struct {
	name  string
	field any
	limit int // of a text, in bytes
}

// headers are those that every dead letter has; one without a value is written empty.
func (e *Entry) headers() []header {
	return []header{
		{"Passcode-Reason", (*string)(&e.Reason), maxCodeBytes},
		{"Passcode-Error-Code", &e.ErrorCode, maxCodeBytes},
		{"Passcode-Error-Message", &e.ErrorMessage, maxMessageBytes},
		{"Passcode-Request-Id", &e.RequestID, maxNameBytes}, // empty where none could be read
		{name: "Passcode-Attempts", field: &e.Attempts},
		{"Passcode-Origin-Stream", &e.Origin.Stream, maxNameBytes},
		{name: "Passcode-Origin-Seq", field: &e.Origin.Seq},
		{"Passcode-Origin-Subject", &e.Origin.Subject, maxNameBytes},
		{name: "Passcode-Queued-At", field: &e.Origin.QueuedAt},
		{name: "Passcode-Dead-At", field: &e.DeadAt},
		{"Passcode-Worker", &e.Worker, maxNameBytes},
		{name: "Passcode-Replays", field: &e.Replays},
	}
}

// carried are those that a job has too; without a value they are left out.
func (e *Entry) carried() []header {
	return []header{
		{name: domain.HeaderAttemptedAt, field: &e.AttemptedAt},
		{"traceparent", &e.TraceParent, maxNameBytes}, // of W3C Trace Context, as is the next
		{"tracestate", &e.TraceState, maxMessageBytes},
	}
}

// value writes the field: a text as one printable line, a time in RFC 3339 or empty.
func (h header) value() string {
	switch field := h.field.(type) {
	case *string:
		return text.Line(*field, h.limit)
	case *time.Time:
		if field.IsZero() {
			return ""
		}
		return field.UTC().Format(time.RFC3339Nano)
	case *int:
		return strconv.Itoa(*field)
	default:
		return fmt.Sprint(*h.field.(*uint64))
	}
}

// read sets the field, and reports whether the value is right.
func (h header) read(value string) bool {
	var err error
	switch field := h.field.(type) {
	case *string:
		*field = text.Line(value, h.limit)
	case *int:
		*field, err = strconv.Atoi(value)
	case *uint64:
		*field, err = strconv.ParseUint(value, 10, 63)
	case *time.Time:
		if value == "" {
			return true
		}
		*field, err = time.Parse(time.RFC3339Nano, value)
		*field = field.UTC()
		// With its zone taken out a time may be of a year that it can't be written in.
		return err == nil && field.Year() >= 0 && field.Year() <= 9999
	}
	return err == nil
}

// Parse reads a message of the dead-letter stream. Its error is [ErrCorrupt] and
// names the header that is wrong, without its value.
func Parse(h nats.Header, body []byte) (Entry, error) {
	e := Entry{BodySize: len(body), Truncated: h.Get(headerTruncated) == "true"}
	e.Body = body
	all := append(e.headers(), e.carried()...)
	if e.Truncated {
		all = append(all, header{name: headerBodySize, field: &e.BodySize})
	}
	wrong := ""
	for _, one := range all {
		if !one.read(h.Get(one.name)) {
			wrong = cmp.Or(wrong, one.name)
		}
	}
	if e.Truncated && e.BodySize <= len(body) {
		wrong = cmp.Or(wrong, headerBodySize)
	}
	if wrong = cmp.Or(wrong, invalid(e.DeadLetter)); wrong != "" {
		return Entry{}, fmt.Errorf("%w: header %s is missing or wrong", ErrCorrupt, wrong)
	}
	return e, nil
}

// invalid names the header whose value no dead letter can have: it would make a wrong
// subject, or a message id that is not the job's own. It is empty where all are right.
func invalid(d domain.DeadLetter) string {
	switch {
	case !slices.Contains(passcode.Reasons(), d.Reason):
		return "Passcode-Reason"
	case d.RequestID != "" && !passcode.ValidRequestID(d.RequestID):
		return "Passcode-Request-Id"
	case d.Origin.Stream == "":
		return "Passcode-Origin-Stream"
	case d.Origin.Seq == 0:
		return "Passcode-Origin-Seq"
	case d.Attempts < 0:
		return "Passcode-Attempts"
	case d.Replays < 0 || d.Replays > domain.MaxReplays:
		return "Passcode-Replays"
	default:
		return ""
	}
}

// setCarried sets those headers of a dead letter that its job has too.
func (e Entry) setCarried(h nats.Header) {
	for _, one := range e.carried() {
		if value := one.value(); value != "" {
			h.Set(one.name, value)
		}
	}
}

// Stored is one message of the dead-letter stream.
type Stored struct {
	Entry        // of what is no dead letter only the reason that its subject claims, and when it came
	Seq   uint64 // its sequence in the stream, which names this very message
	ID    string // the request id, or "seq-N" where none could be read
	Err   error  // [ErrCorrupt] where the message is no dead letter
}

func newStored(prefix string, msg *jetstream.RawStreamMsg) Stored {
	// Whoever may publish here chooses the subject, and it is shown on terminals.
	own := strings.TrimPrefix(text.Line(msg.Subject, maxNameBytes), prefix+".")
	reason, id, _ := strings.Cut(own, ".")
	s := Stored{Seq: msg.Sequence, ID: id}
	if s.Entry, s.Err = Parse(msg.Header, msg.Data); s.Err != nil {
		s.Reason = passcode.Reason(reason)
	}
	if s.DeadAt.IsZero() {
		s.DeadAt = msg.Time
	}
	return s
}

// Request is the request's id, of the headers or else of the job; empty where there is none.
func (s Stored) Request() string {
	job, _ := s.Job() // what can be read of it
	return cmp.Or(s.RequestID, job.RequestID)
}

// Job reads the job as [passcode.Decode] does.
func (s Stored) Job() (passcode.Job, error) { return passcode.Decode(s.Body) }

// ExpiresAt is when the job's passcode stops being worth sending: as the job says, or
// ttl (worker.passcode_ttl) after it was stored. It is zero where neither is known.
func (s Stored) ExpiresAt(job passcode.Job, ttl time.Duration) time.Time {
	if job.ExpiresAt.IsZero() && !s.Origin.QueuedAt.IsZero() {
		return s.Origin.QueuedAt.Add(ttl)
	}
	return job.ExpiresAt
}
