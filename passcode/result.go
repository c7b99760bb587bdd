package passcode

import (
	"encoding/json"
	"time"
)

// Result is the state of one request: the record kept in the request bucket
// and, byte for byte, the message announced on passcode.result.<request_id>.
// It never holds the passcode or the whole phone number.
type Result struct {
	RequestID string `json:"request_id"`
	Status    Status `json:"status"`
	// Final is Status.Final(), for readers that don't know every status.
	Final bool `json:"final"`
	// Phone is the masked number; empty where the job's was unreadable.
	Phone     string `json:"phone"`
	UsageType string `json:"usage_type"`
	// Attempts counts the calls to Aliyun that were made for the request, the
	// one in progress included.
	Attempts int `json:"attempts"`
	// BizID is Aliyun's receipt. A send settled by look-up has none, because
	// look-ups don't return it.
	BizID             string `json:"biz_id,omitempty"`
	ProviderRequestID string `json:"provider_request_id,omitempty"`
	Error             *Error `json:"error,omitempty"`
	// RetryAfterSeconds says how long to wait before asking for another
	// passcode for this phone, with [StatusRateLimited]; rounded up.
	RetryAfterSeconds int64     `json:"retry_after_seconds,omitempty"`
	NextAttemptAt     time.Time `json:"next_attempt_at,omitzero"`
	// Duplicate is true on a result announced again for a repeated job. It is
	// never stored.
	Duplicate bool `json:"duplicate,omitempty"`
	// Recovered is true where a look-up settled a doubtful send.
	Recovered   bool              `json:"recovered,omitempty"`
	DeliveredAt time.Time         `json:"delivered_at,omitzero"`
	Replays     int               `json:"replays,omitempty"`
	Metadata    map[string]string `json:"metadata"`
	// QueuedAt is when the stream stored the job.
	QueuedAt  time.Time `json:"queued_at"`
	UpdatedAt time.Time `json:"updated_at"`
	ExpiresAt time.Time `json:"expires_at"`
	// StreamSeq is the stream sequence of the job that owns the request: the
	// same sequence again is a redelivery, another one a duplicate.
	StreamSeq uint64 `json:"stream_seq"`
	// Worker is the host and process that wrote this state.
	Worker string `json:"worker"`

	// AttemptedAt is when the last attempt began; look-ups count from it.
	AttemptedAt time.Time `json:"attempted_at,omitzero"`
	// Lookups counts the look-ups that were made for the last attempt and found
	// nothing.
	Lookups int `json:"lookups,omitempty"`
	// LookupBeganAt is set while a look-up is in progress.
	LookupBeganAt time.Time `json:"lookup_began_at,omitzero"`
	// Interruptions counts the workers that went away while they held the job.
	Interruptions int `json:"interruptions,omitempty"`
}

// Error says why a request is not sent.
type Error struct {
	// Code is Aliyun's code, or a word of ours such as "phone_limit".
	Code  string `json:"code"`
	Class Class  `json:"class"`
	// Message is for people. Phone numbers and the passcode are masked in it.
	Message string `json:"message"`
}

// In returns r in the given status, with Final to match.
func (r Result) In(status Status) Result {
	r.Status, r.Final = status, status.Final()
	return r
}

// MarshalJSON writes metadata as an object also where there is none, so that a
// reader needs no case for null.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result // without this method
	if r.Metadata == nil {
		r.Metadata = map[string]string{}
	}
	return json.Marshal(plain(r))
}
