package dlq

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/phone"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// letter is a dead letter as the commands show it: no passcode, the number masked.
type letter struct {
	Seq          uint64          `json:"seq"`
	ID           string          `json:"id"` // as --id takes it
	RequestID    string          `json:"request_id"`
	Reason       passcode.Reason `json:"reason"`
	ErrorCode    string          `json:"error_code"`
	ErrorMessage string          `json:"error_message"`
	Phone        string          `json:"phone"`
	UsageType    string          `json:"usage_type"`
	Attempts     int             `json:"attempts"`
	Replays      int             `json:"replays"`
	QueuedAt     time.Time       `json:"queued_at,omitzero"`
	AttemptedAt  time.Time       `json:"attempted_at,omitzero"` // the last of them
	DeadAt       time.Time       `json:"dead_at"`
	ExpiresAt    time.Time       `json:"expires_at,omitzero"`
	Expired      bool            `json:"expired"`
	OriginStream string          `json:"origin_stream"`
	OriginSeq    uint64          `json:"origin_seq"`
	Subject      string          `json:"origin_subject"`
	Worker       string          `json:"worker"`
	TraceParent  string          `json:"traceparent,omitempty"`
	BodySize     int             `json:"body_size"`
	Truncated    bool            `json:"truncated,omitempty"`
	Corrupt      string          `json:"corrupt,omitempty"` // what is wrong with a message that is no dead letter

	// What "show" adds: how the request stands, and what a replay would do.
	RequestNow passcode.Status   `json:"request_now,omitempty"`
	Replay     deadletter.Action `json:"replay,omitempty"`
	Cause      string            `json:"replay_cause,omitempty"`
	Why        string            `json:"replay_why,omitempty"`
	Asks       bool              `json:"replay_asks_first,omitempty"` // Aliyun, before it is sent

	// What "show" and "export" add: what the job says besides phone and passcode. The
	// values of params may hold the passcode too, as those of members that nobody
	// knows may; only the whole body shows them, where it is revealed.
	ReplyTo  string            `json:"reply_to,omitempty"`
	ClientIP string            `json:"client_ip,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Params   []string          `json:"params,omitempty"` // their names
	Body     string            `json:"body,omitempty"`
	Base64   []byte            `json:"body_base64,omitempty"` // the body where it is not UTF-8

	job passcode.Job
}

// letter is what "list" shows of a dead letter.
func (d *session) letter(s deadletter.Stored) letter {
	job, _ := s.Job() // what can be read of it
	l := letter{
		Seq: s.Seq, ID: s.ID, RequestID: s.RequestID, Reason: s.Reason,
		ErrorCode: s.ErrorCode, ErrorMessage: telemetry.Scrub(s.ErrorMessage),
		Phone: d.masked(job.Phone), UsageType: job.UsageType, Attempts: s.Attempts, Replays: s.Replays,
		QueuedAt: s.Origin.QueuedAt, AttemptedAt: s.AttemptedAt, DeadAt: s.DeadAt.UTC(),
		ExpiresAt:    s.ExpiresAt(job, d.Cfg.Worker.PasscodeTTL),
		OriginStream: s.Origin.Stream, OriginSeq: s.Origin.Seq, Subject: s.Origin.Subject,
		Worker: s.Worker, TraceParent: s.TraceParent, BodySize: s.BodySize, Truncated: s.Truncated,
		job: job,
	}
	l.Expired = !l.ExpiresAt.IsZero() && !l.ExpiresAt.After(d.now)
	if s.Err != nil {
		l.Corrupt = s.Err.Error()
	}
	return l
}

// whole is a dead letter with its job.
func (d *session) whole(s deadletter.Stored, revealed bool) letter {
	l := d.letter(s)
	l.ReplyTo, l.ClientIP, l.Metadata = l.job.ReplyTo, l.job.ClientIP, l.job.Metadata
	l.Params = slices.Sorted(maps.Keys(l.job.Params))
	switch {
	case !revealed:
	case utf8.Valid(s.Body):
		l.Body = string(s.Body)
	default:
		l.Base64 = s.Body
	}
	return l
}

// masked shows a number as records do, also one without its country code.
func (d *session) masked(number passcode.Phone) string {
	if strings.HasPrefix(number.Reveal(), "+") { // most are E.164, and reading one takes long
		return number.Masked()
	}
	if canonical, err := (phone.Parser{Strict: d.Cfg.Aliyun.StrictPhoneRegionNumberCheck}).Parse(number); err == nil {
		return canonical.Masked()
	}
	return number.Masked()
}

func (l letter) expiry(now time.Time) string {
	switch {
	case l.ExpiresAt.IsZero():
		return "-"
	case l.Expired:
		return "expired " + show.Span(now.Sub(l.ExpiresAt)) + " ago"
	default:
		return "in " + show.Span(l.ExpiresAt.Sub(now))
	}
}

func (l letter) code() string {
	if l.Corrupt != "" {
		return "(not a dead letter)"
	}
	return cmp.Or(l.ErrorCode, "-")
}
