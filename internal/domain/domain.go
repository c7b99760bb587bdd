// Package domain holds the types that the consumer and the adapters exchange, so that they need not know one
// another.
package domain

import (
	"errors"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Message is one SMS to send.
type Message struct {
	RequestID string
	Phone     passcode.Phone // canonical E.164
	Code      passcode.Passcode
	UsageType string
	Params    map[string]string
}

// Outcome is what one call to Aliyun led to. It holds no passcode and no whole phone number.
type Outcome struct {
	// Class is one of ok, transient, throttled, in_doubt, phone_limited, recipient, config and account.
	Class passcode.Class
	// Code is Aliyun's, or one of ours such as "timeout" if no answer could be read.
	Code              string
	Message           string // for people, with numbers and the passcode masked
	BizID             string // with class ok
	ProviderRequestID string
	// NotMade: our side made no call. With class transient the claim had run out, the worker was leaving or the broker
	// did not answer; with phone_limited a limit of ours refused.
	NotMade bool
	Window  time.Duration // for how long Aliyun closes the phone, with class phone_limited
}

// FindingState is what a look-up saw.
type FindingState int

// What a look-up may see.
const (
	NotFound    FindingState = iota // no row with the request's OutId
	Accepted                        // Aliyun has it: waiting, or delivered
	Undelivered                     // Aliyun had it, and the carrier could not deliver
)

// Finding is the answer of a look-up by request id.
type Finding struct {
	State     FindingState
	ErrorCode string // the carrier's, with Undelivered
}

// MayBeSent reports whether a request that needs an operator may have been sent, so that Aliyun is asked before
// anything is sent for it again.
func MayBeSent(rec passcode.Result) bool {
	doubt := rec.Status == passcode.StatusUnknown || rec.Error != nil && rec.Error.Class == passcode.ClassPoison
	return doubt && !rec.AttemptedAt.IsZero()
}

// RuleClosed is the Rule of a reservation refused because Aliyun closed the phone.
const RuleClosed = "closed"

// Reservation is the limiter's answer.
type Reservation struct {
	Allowed    bool
	RetryAfter time.Duration // until the limits would allow it
	Rule       string        // that refused, such as "5/1h", or RuleClosed
}

// Admission is a breaker's answer.
type Admission struct {
	Allowed bool
	Probe   bool          // the one call that tells whether the breaker may close
	Wait    time.Duration // how long to leave the job in the broker, if not allowed
}

// Origin is where a job came from.
type Origin struct {
	Stream   string
	Seq      uint64
	Subject  string
	QueuedAt time.Time
	// Deliveries is how often the job was delivered, this time included; 0: not known.
	Deliveries uint64
}

// HeaderReplay is the header of a replayed job: how often its request was replayed, this time included.
const HeaderReplay = "Passcode-Replay"

// HeaderAttemptedAt is the header of a dead letter, and of its replay, that says when the request's last attempt
// began: RFC 3339, in UTC, absent if there was none. Records expire before dead letters do, and then only this shows
// that a message may have been sent.
const HeaderAttemptedAt = "Passcode-Attempted-At"

// MaxReplays is more than anybody replays one request. A higher count was not written by a replay.
const MaxReplays = 1_000_000

// DeadLetter is a job that an operator must look at.
type DeadLetter struct {
	Reason       passcode.Reason
	RequestID    string // empty if none could be read
	ErrorCode    string
	ErrorMessage string
	Attempts     int
	AttemptedAt  time.Time // when the last attempt began; zero: there was none
	Replays      int
	Origin       Origin
	TraceParent  string
	TraceState   string
	Body         []byte // the job's, untouched
}

// Errors that adapters return and the consumer acts on; match with errors.Is.
var (
	// ErrConflict: the record was changed by somebody else since it was read.
	ErrConflict = errors.New("record changed meanwhile")
	// ErrCorrupt: the stored bytes are no record. Reading again gives the same.
	ErrCorrupt = errors.New("stored record is corrupt")
	// ErrUnstorable: the record given can't be stored, now or later.
	ErrUnstorable = errors.New("record can't be stored")
	// ErrDrained: the source of jobs was drained, and none is left in it.
	ErrDrained = errors.New("source is drained")
	// ErrNotFound: there is no record of that request.
	ErrNotFound = errors.New("no record of this request")
)
