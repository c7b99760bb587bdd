package passcode

import (
	"encoding/json"
	"time"
)

// Result is the state of one request: the record kept in the request bucket and the very message announced on
// passcode.result.<request_id>. It never holds the passcode or the whole phone number.
type Result struct {
	RequestID string `json:"request_id"`
	Status    Status `json:"status"`
	Final     bool   `json:"final"` // Status.Final()
	Phone     string `json:"phone"` // masked; empty where the job's was unreadable
	UsageType string `json:"usage_type"`
	Attempts  int    `json:"attempts"` // calls to Aliyun, the one in progress included
	// BizID is Aliyun's id of the message; look-ups don't return it.
	BizID             string `json:"biz_id,omitempty"`
	ProviderRequestID string `json:"provider_request_id,omitempty"`
	Error             *Error `json:"error,omitempty"`
	// RetryAfterSeconds is the wait before another passcode for this phone, with [StatusRateLimited]; rounded up.
	RetryAfterSeconds int64     `json:"retry_after_seconds,omitempty"`
	NextAttemptAt     time.Time `json:"next_attempt_at,omitzero"`
	// Duplicate is a result announced again for a repeated job; it is never stored.
	Duplicate   bool              `json:"duplicate,omitempty"`
	Recovered   bool              `json:"recovered,omitempty"` // a look-up settled a doubtful send
	DeliveredAt time.Time         `json:"delivered_at,omitzero"`
	Replays     int               `json:"replays,omitempty"`
	Metadata    map[string]string `json:"metadata"`
	QueuedAt    time.Time         `json:"queued_at"` // when the stream stored the job
	UpdatedAt   time.Time         `json:"updated_at"`
	ExpiresAt   time.Time         `json:"expires_at"`
	// StreamSeq is the stream sequence of the job that owns the request: the same again
	// is a redelivery, another one a duplicate.
	StreamSeq uint64 `json:"stream_seq"`
	Worker    string `json:"worker"` // the host and process that wrote this state

	AttemptedAt   time.Time `json:"attempted_at,omitzero"`    // when the last attempt began; look-ups count from it
	Lookups       int       `json:"lookups,omitempty"`        // those of the last attempt that found nothing
	LookupBeganAt time.Time `json:"lookup_began_at,omitzero"` // while a look-up is in progress
	Interruptions int       `json:"interruptions,omitempty"`  // workers that went away while they held the job
}

// Error says why a request is not sent.
type Error struct {
	Code    string `json:"code"` // Aliyun's, or a word of ours such as "phone_limit"
	Class   Class  `json:"class"`
	Message string `json:"message"` // for people; phone numbers and the passcode are masked in it
}

// In returns r in the given status, with Final to match.
func (r Result) In(status Status) Result {
	r.Status, r.Final = status, status.Final()
	return r
}

// MarshalJSON writes metadata as an object also where there is none.
func (r Result) MarshalJSON() ([]byte, error) {
	type plain Result // without this method
	if r.Metadata == nil {
		r.Metadata = map[string]string{}
	}
	return json.Marshal(plain(r))
}
