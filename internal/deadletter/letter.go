package deadletter

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Headers of a dead letter. Times are RFC 3339 with fractions of a second, in
// UTC; counts are decimal. A header without a value is written empty, so that
// every dead letter has the same set; only those marked optional may be absent.
const (
	HeaderReason        = "Passcode-Reason"
	HeaderErrorCode     = "Passcode-Error-Code"
	HeaderErrorMessage  = "Passcode-Error-Message" // one line, at most MaxMessageBytes
	HeaderRequestID     = "Passcode-Request-Id"    // empty where none could be read
	HeaderAttempts      = "Passcode-Attempts"
	HeaderOriginStream  = "Passcode-Origin-Stream"
	HeaderOriginSeq     = "Passcode-Origin-Seq"
	HeaderOriginSubject = "Passcode-Origin-Subject"
	HeaderQueuedAt      = "Passcode-Queued-At"
	HeaderDeadAt        = "Passcode-Dead-At"
	HeaderWorker        = "Passcode-Worker"
	HeaderReplays       = "Passcode-Replays"

	// [domain.HeaderAttemptedAt] stands where an attempt was made; optional.

	// HeaderBodyTruncated ("true") and HeaderBodySize (the job's size in bytes)
	// stand on a dead letter whose job did not fit into one message; optional.
	HeaderBodyTruncated = "Passcode-Body-Truncated"
	HeaderBodySize      = "Passcode-Body-Size"

	// HeaderTraceParent and HeaderTraceState are the job's own, as W3C Trace
	// Context defines them; optional.
	HeaderTraceParent = "traceparent"
	HeaderTraceState  = "tracestate"
)

// Limits of header values, in bytes. What is longer is cut off.
const (
	MaxMessageBytes = 1 << 10
	maxCodeBytes    = 128
	maxNameBytes    = 256 // of streams, subjects and workers
	maxStateBytes   = 512 // of a trace state, by W3C Trace Context
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
	if e.Truncated {
		e.BodySize = r.count(HeaderBodySize)
		r.check(HeaderBodySize, e.BodySize > len(body))
	}
	e.TraceParent, e.TraceState = trace(header.Get(HeaderTraceParent), header.Get(HeaderTraceState))
	if wrong := cmp.Or(r.wrong, invalidHeader(e.DeadLetter)); wrong != "" {
		return Entry{}, fmt.Errorf("%w: header %s is missing or wrong", ErrCorrupt, wrong)
	}
	return e, nil
}

// invalidHeader names the header whose value no dead letter can have; it is empty
// where there is none. Such a value would make a wrong subject, or a message id that
// is not the job's own.
func invalidHeader(d domain.DeadLetter) string {
	switch {
	case !slices.Contains(passcode.Reasons(), d.Reason):
		return HeaderReason
	case d.RequestID != "" && !passcode.ValidRequestID(d.RequestID):
		return HeaderRequestID
	case d.Origin.Stream == "":
		return HeaderOriginStream
	case d.Origin.Seq == 0:
		return HeaderOriginSeq
	case d.Attempts < 0:
		return HeaderAttempts
	case d.Replays < 0 || d.Replays > domain.MaxReplays:
		return HeaderReplays
	default:
		return ""
	}
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

// oneLine makes a header value of any text: valid UTF-8, no line breaks or other
// control characters (they would end the header and begin another), single
// spaces, at most limit bytes.
func oneLine(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = strings.TrimRight(text[:limit], " ")
	}
	return text
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
