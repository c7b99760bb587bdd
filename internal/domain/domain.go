// Package domain holds the words that the steps of the pipeline exchange: what
// goes into a call to Aliyun and what comes out of it, what a claim found, what
// the limiter decided, what a dead letter says. The adapters (ledger, ratelimit,
// aliyun, deadletter) and the consumer meet here and need not know one another.
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

// Outcome is what one call to Aliyun led to, classified at the door. Nothing in
// it holds a passcode or a whole phone number.
type Outcome struct {
	// Class is one of ok, transient, throttled, in_doubt, phone_limited,
	// recipient, config and account.
	Class passcode.Class
	// Code is Aliyun's code, or where no answer could be read a word of ours
	// such as "timeout" or "connection_refused".
	Code string
	// Message is for people, with numbers and the passcode masked.
	Message string
	// BizID is set with class ok.
	BizID             string
	ProviderRequestID string
	// NotMade is true where no call was made at all, for a reason of ours: the
	// claim had run out, or the worker was leaving. Class is transient then.
	NotMade bool
	// Window is how long Aliyun closes the phone, with class phone_limited.
	Window time.Duration
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
	State FindingState
	// ErrorCode is the carrier's report code, with Undelivered.
	ErrorCode string
}

// MayBeSent reports whether a request that needs an operator may have been sent
// nevertheless, so that Aliyun is asked before anything is sent for it again.
func MayBeSent(rec passcode.Result) bool {
	doubt := rec.Status == passcode.StatusUnknown || rec.Error != nil && rec.Error.Class == passcode.ClassPoison
	return doubt && !rec.AttemptedAt.IsZero()
}

// RuleClosed is the Rule of a reservation refused because Aliyun closed the phone.
const RuleClosed = "closed"

// Reservation is the limiter's answer.
type Reservation struct {
	Allowed bool
	// RetryAfter is how long until the limits would allow it, where they don't.
	RetryAfter time.Duration
	// Rule names the limit that refused, such as "5/1h", or "closed" where
	// Aliyun's own limit closed the phone.
	Rule string
}

// Admission is the account gate's answer.
type Admission struct {
	Allowed bool
	// Probe is true for the one call that finds out whether the account works
	// again. Its holder must report what it learned.
	Probe bool
	// Wait is how long to leave the job in the broker, where not allowed.
	Wait time.Duration
}

// Origin is where a job came from.
type Origin struct {
	Stream   string
	Seq      uint64
	Subject  string
	QueuedAt time.Time
	// Deliveries is how often the server has delivered the job, this time included;
	// 0 where that isn't known.
	Deliveries uint64
}

// HeaderReplay is the header of a job that an operator's replay published: how
// often its request was replayed, this time included.
const HeaderReplay = "Passcode-Replay"

// HeaderAttemptedAt is the header of a dead letter, and of the job that a replay
// makes of it, that says when the request's last attempt was begun: RFC 3339, in
// UTC, absent where none was. Records go before dead letters do, and without one
// this is all that shows that a message may have been sent.
const HeaderAttemptedAt = "Passcode-Attempted-At"

// MaxReplays is more than anybody replays one request. Whatever counts higher was
// not written by a replay: who counts on from it would come to the end of numbers.
const MaxReplays = 1_000_000

// DeadLetter is a job that an operator must look at.
type DeadLetter struct {
	Reason passcode.Reason
	// RequestID is empty where none could be read.
	RequestID    string
	ErrorCode    string
	ErrorMessage string
	Attempts     int
	// AttemptedAt is when the last attempt was begun, zero where there was none.
	AttemptedAt time.Time
	Replays     int
	Origin      Origin
	TraceParent string
	TraceState  string
	// Body is the job's bytes, untouched.
	Body []byte
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
