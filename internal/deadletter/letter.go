package deadletter

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/text"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Limits of header values, in bytes. What is longer is cut off.
const (
	maxMessageBytes = 1 << 10
	maxCodeBytes    = 128
	maxNameBytes    = 256 // of streams, subjects and workers
	maxStateBytes   = 512 // of a trace state, by W3C Trace Context
)

// The headers that only some dead letters have.
const (
	headerTruncated   = "Passcode-Body-Truncated" // "true": the job did not fit into one message
	headerBodySize    = "Passcode-Body-Size"      // and this was its size, in bytes
	headerTraceParent = "traceparent"             // the job's own, as W3C Trace Context defines them
	headerTraceState  = "tracestate"
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

// header is a header of a dead letter, with the field that it stands for.
type header struct {
	name string
	get  func() string
	set  func(value string) bool // false: the value is wrong
}

// headers are those that every dead letter has; one without a value is written
// empty. Besides them there is [domain.HeaderAttemptedAt] where an attempt was made.
func (e *Entry) headers() []header {
	return []header{
		line("Passcode-Reason", (*string)(&e.Reason), maxCodeBytes),
		line("Passcode-Error-Code", &e.ErrorCode, maxCodeBytes),
		line("Passcode-Error-Message", &e.ErrorMessage, maxMessageBytes),
		line("Passcode-Request-Id", &e.RequestID, maxNameBytes), // empty where none could be read
		number("Passcode-Attempts", &e.Attempts),
		line("Passcode-Origin-Stream", &e.Origin.Stream, maxNameBytes),
		number("Passcode-Origin-Seq", &e.Origin.Seq),
		line("Passcode-Origin-Subject", &e.Origin.Subject, maxNameBytes),
		moment("Passcode-Queued-At", &e.Origin.QueuedAt),
		moment("Passcode-Dead-At", &e.DeadAt),
		line("Passcode-Worker", &e.Worker, maxNameBytes),
		number("Passcode-Replays", &e.Replays),
	}
}

// line is a header of one printable line.
func line(name string, field *string, limit int) header {
	set := func(value string) bool { *field = text.Line(value, limit); return true }
	return header{name, func() string { return text.Line(*field, limit) }, set}
}

// number is a decimal header.
func number[T int | uint64](name string, field *T) header {
	set := func(value string) bool {
		n, err := strconv.ParseUint(value, 10, 63)
		*field = T(n)
		return err == nil
	}
	return header{name, func() string { return fmt.Sprint(*field) }, set}
}

// moment is a header in RFC 3339 with fractions of a second, in UTC. Empty is the
// zero time.
func moment(name string, field *time.Time) header {
	set := func(value string) bool {
		if value == "" {
			return true
		}
		t, err := time.Parse(time.RFC3339Nano, value)
		*field = t.UTC()
		// With its zone taken out a time may be of a year that it can't be written in.
		return err == nil && field.Year() >= 0 && field.Year() <= 9999
	}
	return header{name, func() string { return timestamp(*field) }, set}
}

// Parse reads a message of the dead-letter stream. Its error is [ErrCorrupt] and
// names the header that is wrong, not the value, which may be anything.
func Parse(h nats.Header, body []byte) (Entry, error) {
	e := Entry{BodySize: len(body), Truncated: h.Get(headerTruncated) == "true"}
	e.Body = body
	all := append(e.headers(), moment(domain.HeaderAttemptedAt, &e.AttemptedAt))
	if e.Truncated {
		all = append(all, number(headerBodySize, &e.BodySize))
	}
	wrong := ""
	for _, one := range all {
		if !one.set(h.Get(one.name)) {
			wrong = cmp.Or(wrong, one.name)
		}
	}
	if e.Truncated && e.BodySize <= len(body) {
		wrong = cmp.Or(wrong, headerBodySize)
	}
	if wrong = cmp.Or(wrong, invalid(e.DeadLetter)); wrong != "" {
		return Entry{}, fmt.Errorf("%w: header %s is missing or wrong", ErrCorrupt, wrong)
	}
	e.TraceParent, e.TraceState = trace(h.Get(headerTraceParent), h.Get(headerTraceState))
	return e, nil
}

// invalid names the header whose value no dead letter can have; it is empty where
// there is none. Such a value would make a wrong subject, or a message id that is not
// the job's own.
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

// setPresent sets those headers that have a value.
func setPresent(h nats.Header, values map[string]string) {
	for name, value := range values {
		if value != "" {
			h.Set(name, value)
		}
	}
}

func timestamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

var (
	traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)
	// noTrace finds what W3C Trace Context calls invalid: version ff, and ids of zeros
	// alone.
	noTrace = regexp.MustCompile(`^ff|-0+-`)
	// traceState is printable; its inner grammar is for those who read it.
	traceState = regexp.MustCompile(`^[!-~]([ -~]*[!-~])?$`)
)

// trace passes on what is valid of the two headers of W3C Trace Context, and no
// state without a parent.
func trace(parent, state string) (string, string) {
	if !traceParent.MatchString(parent) || noTrace.MatchString(parent) {
		return "", ""
	}
	if len(state) > maxStateBytes || !traceState.MatchString(state) {
		return parent, ""
	}
	return parent, state
}
